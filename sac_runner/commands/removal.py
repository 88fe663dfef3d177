"""``sac-runs --prune``: what would go, the question, and the removal."""

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from sac_runner.commands.runs_table import bytes_of, sizes, table, terminal_width
from sac_runner.errors import RunInUse, RunnerError, WrongInput, say
from sac_runner.storage.overview import RunSeen, SweepSeen
from sac_runner.storage.prune import clean_up_removed, prune_replay, prune_run, prune_sweep
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.storage.sweep_directory import SweepDirectory
from sac_runner.sweep.slurm import refuse_if_queued
from sac_runner.text import plural


class _Step(NamedTuple):
    """One removal."""

    path: Path
    runs: int
    n_bytes: int
    remove: Callable[[], None]


def remove(what: str, singles: list[RunSeen], sweeps: list[SweepSeen], outputs: Path, yes: bool) -> None:
    """List what goes, ask, and remove it; exit 1 if some of it stays.

    Args:
        what: ``replay`` or ``runs``.
        singles: Runs that are no job of a sweep, as far as they match.
        sweeps: Sweeps, with the jobs that match.
        outputs: Nothing outside of it goes.
        yes: Not to ask.

    Raises:
        WrongInput: There is nobody to ask; nothing was removed.
    """
    stay = {} if what == "replay" else {sweep.path: why for sweep in sweeps if (why := _why_it_stays(sweep))}
    whole = [] if what == "replay" else [sweep for sweep in sweeps if sweep.path not in stay and _goes_whole(sweep)]
    parts = [sweep for sweep in sweeps if sweep not in whole]
    within = [job for sweep in parts if sweep.path not in stay for job in sweep.jobs]
    runs = [run for run in [*singles, *within] if _goes(run, what)]
    steps = [_step(run, what, outputs) for run in runs] + [_sweep_step(sweep, outputs) for sweep in whole]
    if not steps:
        clean_up_removed(outputs)
        say("\n".join([*stay.values(), f"nothing to remove in {outputs}/"]))
        return
    lines = table(runs, whole, False, time.time(), terminal_width())
    print(*lines, *_consequences(what, parts, runs), *stay.values(), sep="\n", flush=True)
    _ask(what, steps, yes)
    clean_up_removed(outputs)
    _remove_all(what, steps)


def _why_it_stays(sweep: SweepSeen) -> str | None:
    if sweep.is_owned:
        return f"{sweep.path.name} stays: it is running"
    try:
        refuse_if_queued(SweepDirectory(sweep.path))  # jobs that wait to go on look like those that were stopped
    except RunInUse as e:
        return f"{sweep.path.name} stays: {e.message}"
    return None


def _goes_whole(sweep: SweepSeen) -> bool:
    idle = all(job.status.state != "running" for job in sweep.jobs)
    return idle and len(sweep.jobs) == sweep.n_jobs


def _goes(run: RunSeen, what: str) -> bool:
    if what == "replay":
        return run.status.state == "finished" and run.replay_bytes > 0
    return run.status.state != "running" and RunDirectory(run.path).is_run


def _step(run: RunSeen, what: str, outputs: Path) -> _Step:
    directory = RunDirectory(run.path)
    if what == "replay":
        return _Step(run.path, 1, run.replay_bytes, partial(prune_replay, directory, outputs))
    return _Step(run.path, 1, run.n_bytes, partial(prune_run, directory, outputs, _unfinished([run])))


def _sweep_step(sweep: SweepSeen, outputs: Path) -> _Step:
    prune = partial(prune_sweep, SweepDirectory(sweep.path), outputs, _unfinished(sweep.jobs))
    return _Step(sweep.path, len(sweep.jobs), bytes_of(sweep), prune)


def _unfinished(runs: list[RunSeen]) -> set[Path]:
    return {run.path for run in runs if run.status.state != "finished"}


def _consequences(what: str, parts: list[SweepSeen], runs: list[RunSeen]) -> list[str]:
    """What is lost."""
    if what == "replay":
        return ["without their replay they can't be continued; they are evaluated, watched and compared as before"]
    going = {run.path for run in runs}
    again = [sweep.path.name for sweep in parts if any(job.path in going for job in sweep.jobs)]
    return [f"{name} would train them anew, should it be resumed" for name in again]


def _ask(what: str, steps: list[_Step], yes: bool) -> None:
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise WrongInput("nothing was removed: there is no terminal to ask on", "the same command with --yes")
    print(f"remove {_described(what, steps)}? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        say("nothing was removed")
        sys.exit(1)


def _described(what: str, steps: list[_Step]) -> str:
    whose = "the replay of " if what == "replay" else ""
    return f"{whose}{plural(sum(step.runs for step in steps), 'run')}, {sizes(sum(s.n_bytes for s in steps), 0)}"


def _remove_all(what: str, steps: list[_Step]) -> None:
    done = []
    for step in steps:
        try:
            step.remove()
            done.append(step)
        except RunnerError as e:
            say(f"left: {e.message}")
    print(f"removed {_described(what, done)}")
    if len(done) < len(steps):
        sys.exit(1)
