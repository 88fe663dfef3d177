"""The words around a run: what was understood at its start, what came out and what to type next at its end."""

import contextlib
import os
from collections.abc import Sequence
from shlex import quote
from typing import Any

from sac_runner.config.convert import by_key
from sac_runner.config.schema import (
    AlphaConfig,
    AnnealedAlphaConfig,
    AutoAlphaConfig,
    Config,
    FixedAlphaConfig,
    PerRoundConfig,
    PerStepConfig,
)
from sac_runner.errors import Damaged, DiskFailed, RunnerError, WrongInput, command, train_command
from sac_runner.storage import checkpoints
from sac_runner.storage.files import folder_size, matching
from sac_runner.storage.find import find_run, find_run_or_sweep
from sac_runner.storage.names import shown
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.text import duration, plural, spread
from sac_runner.training.record import Record
from sac_runner.training.resume import from_its_weights
from sac_runner.training.schedule import Counters, ending, is_finished


def header(config: Config, overrides: list[str], recipe: str | None, action_dim: int, least_s: float = 0.0) -> str:
    """The first lines of a run, its place aside.

    Args:
        config: Validated.
        overrides: As typed.
        recipe: What it follows, if anything.
        action_dim: Of the environment.
        least_s: Seconds that its updates take.
    """
    steps = f"{config.total_env_steps:,} env steps" if config.total_env_steps else "as many env steps as it takes"
    if isinstance(config.schedule, PerRoundConfig):
        either = ", at most " if config.total_env_steps else ", "
        steps = f"{plural(config.schedule.rounds, 'round')}{either}{steps}"
    if least_s >= 60:
        steps += f", at least {least_s / 60:,.0f} min"
    first = f"{config.env.id}  seed {config.seed}  {steps}" + (f"  {recipe}" if recipe else "")
    alpha, normalization = _alpha(config.alpha, action_dim), _normalization(config)
    second = f"alpha {alpha}, normalization {normalization}, {plural(config.env.num_envs, 'env')}, {_ratio(config)}"
    elsewhere = ("env", "seed", "outputs", "resume", "dry_run")  # said in other words, or none of the run
    asked = {key: o for key, o in by_key(overrides).items() if key not in elsewhere and not key.startswith("run.")}
    changed = [override.lstrip("+") for override in asked.values()]
    return first + "\n" + second + (f"; changed: {' '.join(changed)}" if changed else "")


def _alpha(alpha: AlphaConfig, action_dim: int) -> str:
    match alpha:
        case FixedAlphaConfig():
            return f"fixed {alpha.value:g}"
        case AnnealedAlphaConfig():
            return f"annealed {alpha.start:g} to {alpha.end:g} over {alpha.over_env_steps:,} env steps"
        case AutoAlphaConfig(target_entropy=None):
            return f"auto (target entropy {alpha.target_entropy_per_action_dim * action_dim:g})"
        case AutoAlphaConfig():
            return f"auto (target entropy {alpha.target_entropy:g})"


def _normalization(config: Config) -> str:
    asked = [name for name in ("obs", "reward") if getattr(config.normalization, name)]
    return " and ".join(asked) or "none"


def _ratio(config: Config) -> str:
    match config.schedule:
        case PerStepConfig(updates_per_env_step=ratio):
            return f"{ratio:g} update{'s'[: ratio > 1]} per env step"
        case PerRoundConfig() as schedule:
            updates = plural(schedule.updates_per_round, "update")
            return f"{plural(schedule.episodes_per_round, 'episode')} and {updates} per round"


def closing(record: Record, counters: Counters, why: str) -> str:
    """The last lines of a run that came to its end."""
    config, seconds = record.config, record.pace.wall_time
    speed = counters.env_steps / max(seconds, 1e-9)
    final, best = record.scores["final"], record.scores["best"]
    end = "done" if why == "finished" else f"done ({why})"
    size, replay = folder_size(record.run.path), folder_size(record.run.replay)
    caution = (
        "best was chosen by them: expect a little less"
        if best["env_steps"] != final["env_steps"]
        else "the last was the best"
    )
    saved = f"{shown(record.run.path)}   {size / 1e6:.1f} MB" + (f", {replay / 1e6:.1f} of it replay" if replay else "")
    name = "last" if _is_last(record.run) else quote(str(shown(record.run.path)))
    trust = " --trust" if ":" in (config.env.id or "") else ""  # both import the package that it names
    following = [f"{command('watch')} {name}{trust}", f"{command('evaluate')} {name}{trust}"]
    following.append(f"{command('tensorboard')} {name}")
    more = _more(config, record.run, name, counters, final)
    if more.startswith("resume="):
        following.append(train_command(more))
    return "\n".join(
        [
            f"{end:<8} {counters.env_steps:,} env steps in {duration(seconds)} ({speed:,.0f}/s), seed {config.seed}",
            f"return   final {_score(final)}    best {_score(best)} at {best['env_steps']:,}   "
            f"({plural(final['episodes'], 'episode')}; {caution})",
            f"saved    {saved}",
            f"next     {' | '.join(following)}",
        ]
    )


def _is_last(run: RunDirectory) -> bool:
    """Whether ``last`` means it to all commands: another start may be newer."""
    with contextlib.suppress(RunnerError, OSError):
        return all(os.path.samefile(find("last"), run.path) for find in (find_run, find_run_or_sweep))
    return False


def _score(score: dict[str, float]) -> str:
    return spread(score["return_mean"], score["return_std"])


def finished_already(config: Config, run: RunDirectory, changes: Sequence[str] = ()) -> str | None:
    """What to say of a run that has nothing left to do; None if it has.

    Args:
        config: As it would go on.
        run: As it lies there.
        changes: Overrides that have made ``config`` of what is stored.
    """
    summary = run.read_summary()
    if summary.get("status") != "finished":
        return None
    counters = Counters(**{name: summary[name] for name in vars(Counters())})
    final = summary["scores"]["final"]
    judged = _before_the_end(run) or final
    if ending(config, counters, judged["env_steps"], judged["return_mean"]) is None:
        return None
    path = quote(str(shown(run.path)))
    reached = f"{shown(run.path)} is finished: return {_score(final)} at {counters.env_steps:,} env steps"
    return f"{reached}\n  more: {train_command(_more(config, run, path, counters, final, changes))}"


def _before_the_end(run: RunDirectory) -> dict[str, Any] | None:
    """The newest evaluation that the run had without the one which only its end brought; None where nothing says."""
    with contextlib.suppress(Damaged, DiskFailed, WrongInput):
        for checkpoint in checkpoints.find(run.checkpoints, "latest")[-1:]:
            scores: dict[str, dict[str, Any]] = checkpoint.plain("state")["record"]["scores"]
            return scores["final"]
    return None


def _more(
    config: Config,
    run: RunDirectory,
    name: str,
    counters: Counters,
    final: dict[str, Any],
    changes: Sequence[str] = (),
) -> str:
    """What goes on from the finished run ``name``, with ``changes`` and what else it takes; ``final``: evaluation."""
    agent, level = config.agent, config.stop.at_return
    at_zero = is_finished(config, counters) and agent.lr_schedule == "linear" and agent.lr_final_share == 0
    if at_zero or not _has_replay(run):
        return from_its_weights(run, changes)
    more = by_key(changes)
    if isinstance(config.schedule, PerRoundConfig) and counters.rounds >= config.schedule.rounds:
        more["schedule.rounds"] = f"schedule.rounds={2 * counters.rounds}"
    if config.total_env_steps is not None and counters.env_steps >= config.total_env_steps:
        more["total_env_steps"] = f"total_env_steps={2 * counters.env_steps}"
    if level is not None and max(score["return_mean"] for score in (final, _before_the_end(run) or final)) >= level:
        more["stop.at_return"] = "stop.at_return=null"
    return " ".join([f"resume={name}", *map(quote, more.values())])


def _has_replay(run: RunDirectory) -> bool:
    """Whether it was kept and not removed since; where the disk can't say, the resume will."""
    try:
        return bool(matching(run.replay, "rows-*"))
    except DiskFailed:
        return True


def stopped(record: Record, counters: Counters, turn: Counters | None) -> str:
    """The last line of a run that was told to stop, if within a turn that began at ``turn``."""
    at, path = f"stopped at {counters.env_steps:,} env steps", quote(str(shown(record.run.path)))
    if record.config.checkpoint.keep_replay == "never" and record.needs_replay(counters, turn):
        return f"{at}; without its replay it can't continue. Its weights: {train_command(from_its_weights(record.run))}"
    return f"{at}, saved. Continue: {train_command(f'resume={path}')}"
