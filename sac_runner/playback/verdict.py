"""The words of ``evaluate``: by what the checkpoint was chosen, what came out, whether it is what was recorded."""

import numpy as np

from sac_runner.config.schema import Config
from sac_runner.interaction.collector import Episode
from sac_runner.playback.assess import Assessment
from sac_runner.storage.checkpoints import Checkpoint
from sac_runner.storage.metrics_file import read_points
from sac_runner.storage.names import shown
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.text import number, plural, spread
from sac_runner.training.evaluation import Protocol


def verdict(assessment: Assessment) -> str:
    """A few lines for the terminal."""
    a = assessment
    returns, lengths, successes = a.evaluation.returns, a.evaluation.lengths, a.evaluation.successes
    lines = [
        policy_line(a.config, a.stored.checkpoint, a.run),
        f"chosen   {_chosen(a)}",
        f"here     {_here(a)}",
        f"return   {spread(returns.mean(), returns.std())}   min {number(returns.min())}   max {number(returns.max())}",
        f"length   {spread(lengths.mean(), lengths.std())}",
    ]
    if successes:
        lines.append(f"success  {np.mean(successes):.0%}")
    return "\n".join(lines + (_comparison(a) if a.as_trained else []))


def policy_line(config: Config, checkpoint: Checkpoint, run: RunDirectory) -> str:
    """Which policy this is about."""
    return f"{config.env.id}  {checkpoint.kind} checkpoint, {checkpoint.env_steps:,} env steps  {shown(run.path)}"


def episode_line(index: int, seed: int, episode: Episode) -> str:
    """How an episode went."""
    success = {None: "", True: "   success", False: "   no success"}[episode.success]
    return f"episode {index + 1:<3} return {number(episode.ret)}   length {episode.length}{success}   (seed {seed})"


def _chosen(a: Assessment) -> str:
    score = a.stored.score
    if score is None:
        return f"as asked for: {a.asked}; it was not evaluated in training"
    there = Protocol.of(score)
    episodes = f"{plural(there.episodes, 'episode')}{' each' if a.asked == 'best' else ''} on seeds {there.seeds}"
    result = f"there {spread(score['return_mean'], score['return_std'])}"
    if a.asked != "best":
        return f"as asked for: {a.asked}; evaluated in training by {episodes}, {result}"
    (curve,) = read_points(a.run, "eval/return_mean")
    return f"best of {len(curve)} evaluations of {episodes}, {result}"


def _here(a: Assessment) -> str:
    how = "deterministic" if a.protocol.deterministic else "sampled actions"
    episodes, seeds = plural(a.protocol.episodes, "episode"), a.protocol.seeds
    if a.as_trained:
        return f"as in training: {episodes} on seeds {seeds}, {how}"
    seeds = f"fresh seeds {seeds}" if a.is_fresh else f"seeds {seeds}, some of which chose the best policy"
    return f"{episodes} on {seeds}, {how}"


def _comparison(a: Assessment) -> list[str]:
    differences = a.differences()
    at = f"recorded at {a.stored.checkpoint.env_steps:,} env steps"
    if not differences:
        return [f"equal    bit for bit to what was {at}"]
    more = f", and {len(differences) - 1} more scores" if len(differences) > 1 else ""
    cause = "; ".join(a.changed()) or "nothing that is known; perhaps the kind of processor"
    return [f"differs  from what was {at}: {differences[0]}{more}", f"changed  {cause}"]
