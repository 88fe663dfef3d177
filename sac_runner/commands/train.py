"""``sac-train``: launch, sweep or continue runs. Every setting is a ``key=value``."""

import re
import signal
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sac_runner.commands.arguments import open_door
from sac_runner.config.compose import Job, from_command_line
from sac_runner.config.schema import Config
from sac_runner.errors import RunInUse, WrongInput, train_command
from sac_runner.storage.checkpoints import find
from sac_runner.storage.lock import RunLock
from sac_runner.storage.names import create, create_exclusively, run_path
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.sweep.launchers import register

if TYPE_CHECKING:
    from sac_runner.training.run import Outcome

_LEFT_BY_A_START = re.compile(r"\.lock|\.owner-\d+|meta\.json|\.(meta\.json|config\.yaml)\.tmp")
"""What a start may leave that was refused, or killed before it had written its config."""


def main() -> None:
    """Entry point of ``sac-train`` and ``scripts/train``."""
    register(_try_out)
    open_door(partial(from_command_line, sys.argv[1:], _train))


def _train(job: Job) -> float:
    """One run, new or continued; returns its final evaluation mean, for Hydra's sweepers."""
    if job.config.resume is not None:
        return _resume(job, job.config.resume)
    if job.config.run.dir is not None:
        run = RunDirectory(Path(job.config.run.dir))
        if run.is_run:
            return _rerun(job, run)
    return _start(job)


def _start(job: Job) -> float:
    from sac_runner.training.randomness import draw_root_seed
    from sac_runner.training.run import dry_run, train

    seed = draw_root_seed() if job.config.seed is None else job.config.seed
    config = replace(job.config, seed=seed)  # a drawn seed is recorded with the run
    if config.dry_run:
        if config.run.dir is not None and Path(config.run.dir).exists() and not _is_unused(Path(config.run.dir)):
            raise _no_run(Path(config.run.dir))
        dry_run(config, job.overrides, job.recipe)
        return 0.0
    return _finish(train(config, job.overrides, job.recipe, lambda: RunLock(_make_directory(config, job.overrides))))


def _resume(job: Job, which: str) -> float:
    """``resume=RUN``: the stored config, with what may change on top."""
    from sac_runner.storage.find import find_run

    run = RunDirectory(find_run(which, job.config.outputs))
    with _owned(job, run) as lock:
        from sac_runner.training.resume import continued_config

        return _continue(job, run, continued_config(run, job.overrides, job.config), lock)


def _rerun(job: Job, run: RunDirectory) -> float:
    """The same command with the same ``run.dir``, such as a requeued job."""
    with _owned(job, run) as lock:
        from sac_runner.training.resume import difference, stored_config

        differs = difference(run, job.config)
        if differs:
            text = f"run.dir={run.path} holds another run ({'; '.join(differs)})"
            raise WrongInput(text, train_command("run.dir=NEW"))
        return _continue(job, run, stored_config(run), lock)


def _owned(job: Job, run: RunDirectory) -> AbstractContextManager[RunLock | None]:
    """Locked from the start, so that a second start is answered before the seconds that its imports take.

    A run that is only looked at need not be writable.
    """
    looked_at = job.config.dry_run or run.read_summary().get("status") == "finished"
    return nullcontext() if looked_at else RunLock(run.path)


def _continue(job: Job, run: RunDirectory, config: Config, lock: RunLock | None) -> float:
    from sac_runner.training.report import finished_already
    from sac_runner.training.run import dry_run, train

    continued = bool(find(run.checkpoints, "latest"))  # killed before its first checkpoint, it begins anew
    if job.config.dry_run:
        dry_run(config, job.overrides, None, continued)
        return 0.0
    try:
        words = finished_already(config, run)
    except (AttributeError, KeyError, TypeError, ValueError):  # not what this version writes; its checkpoint knows
        words = None
    if words is not None:
        print(words, file=sys.stderr)
        return float(run.read_summary()["scores"]["final"]["return_mean"])
    with lock or RunLock(run.path) as owned:
        return _finish(train(config, job.overrides, None, lambda: owned, continued))


def _try_out(config: Config) -> None:
    from sac_runner.training.preflight import try_out

    try_out(config)


def _finish(outcome: "Outcome") -> float:
    _draw_curve(outcome.run)
    if outcome.stop_signal is not None:
        sys.exit(130 if outcome.stop_signal == signal.SIGINT else 143)  # what schedulers take for a stop
    return outcome.final_return


def _make_directory(config: Config, overrides: list[str]) -> Path:
    if config.run.dir is not None:
        return _own_directory(Path(config.run.dir))
    env = config.env.name or config.env.id
    assert env is not None and config.seed is not None
    now = time.strftime("%Y%m%d-%H%M%S")
    return create_exclusively(run_path(config.outputs, env, now, overrides, config.run.name, config.seed))


def _own_directory(path: Path) -> Path:
    """``run.dir``: made new, or with nothing in it but what is left of a start that came to nothing."""
    if create(path) or _is_unused(path):
        return path
    if RunDirectory(path).is_run:  # when this start began, it was none
        with RunLock(path):
            raise RunInUse(f"{path} was begun by another start meanwhile", "the same command again")
    raise _no_run(path)


def _is_unused(path: Path) -> bool:
    return path.is_dir() and all(_LEFT_BY_A_START.fullmatch(entry.name) for entry in path.iterdir())


def _no_run(path: Path) -> WrongInput:
    return WrongInput(f"run.dir={path} is there and is no run", train_command("run.dir=NEW"))


def _draw_curve(run: RunDirectory) -> None:
    """Write ``curve.png``; a picture that fails must not end a run as failed."""
    from sac_runner.analysis.figures import learning_curve

    try:
        picture = learning_curve(run.path)
        if picture is not None:
            run.write_bytes("curve.png", picture)
    except Exception as e:
        print(f"warning: no curve.png: {e}", file=sys.stderr)
