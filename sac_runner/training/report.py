"""The words around a run: what was understood at its start, what came out and what to type next at its end."""

from pathlib import Path
from shlex import quote

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
from sac_runner.errors import DiskFailed, command, train_command
from sac_runner.storage.files import folder_size, matching
from sac_runner.storage.find import outputs_folder
from sac_runner.storage.names import shown
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.text import duration, plural, spread
from sac_runner.training.record import Record
from sac_runner.training.resume import from_its_weights
from sac_runner.training.schedule import Counters, is_finished, is_over


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
    elsewhere = ("env=", "seed=", "outputs=", "run.", "resume=", "dry_run=")  # said in other words, or none of the run
    changed = [o.lstrip("+") for o in by_key(overrides).values() if not o.startswith(elsewhere)]
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
    found = config.run.dir is None and Path(config.outputs) == outputs_folder()
    name = "last" if found else quote(str(shown(record.run.path)))
    trust = " --trust" if ":" in (config.env.id or "") else ""  # both import the package that it names
    following = [f"{command('watch')} {name}{trust}", f"{command('evaluate')} {name}{trust}"]
    following.append(f"{command('tensorboard')} {name}")
    more = _more(config, record.run, name, counters)
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


def _score(score: dict[str, float]) -> str:
    return spread(score["return_mean"], score["return_std"])


def finished_already(config: Config, run: RunDirectory) -> str | None:
    """What to say of a run that has nothing left to do; None if it has."""
    summary = run.read_summary()
    if summary.get("status") != "finished":
        return None
    counters = Counters(**{name: summary[name] for name in vars(Counters())})
    final = summary["scores"]["final"]
    if not is_over(config, counters, final["env_steps"], final["return_mean"]):
        return None
    path = quote(str(shown(run.path)))
    reached = f"{shown(run.path)} is finished: return {_score(final)} at {counters.env_steps:,} env steps"
    return f"{reached}\n  more: {train_command(_more(config, run, path, counters))}"


def _more(config: Config, run: RunDirectory, name: str, counters: Counters) -> str:
    """What goes on from the finished run ``name``."""
    if not _has_replay(run):
        return from_its_weights(run)
    if not is_finished(config, counters):
        return f"resume={name}" + (" stop.at_return=null" if config.stop.at_return is not None else "")
    if config.agent.lr_schedule == "linear":  # it would go on at a rate of zero
        return from_its_weights(run)
    more = [f"resume={name}"]
    if isinstance(config.schedule, PerRoundConfig) and counters.rounds >= config.schedule.rounds:
        more.append(f"schedule.rounds={2 * counters.rounds}")
    if config.total_env_steps is not None and counters.env_steps >= config.total_env_steps:
        more.append(f"total_env_steps={2 * counters.env_steps}")
    return " ".join(more)


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
