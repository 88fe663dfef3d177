"""``sac-train``: launch, sweep or continue runs. Every setting is a ``key=value``."""

import contextlib
import secrets
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from sac_runner.commands.arguments import open_door, version_line
from sac_runner.config.compose import Job, from_command_line
from sac_runner.config.convert import flat, from_plain, key_of, written
from sac_runner.config.schema import Config
from sac_runner.errors import Damaged, WrongInput, say, train_command, warn
from sac_runner.storage.checkpoints import find
from sac_runner.storage.find import find_run_or_sweep
from sac_runner.storage.lock import RunLock
from sac_runner.storage.new_folder import make_run_directory, require_startable
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.storage.signed import read_signed
from sac_runner.storage.sweep_directory import SweepDirectory, find_job, job_folder
from sac_runner.sweep.job_process import end_with_launcher
from sac_runner.sweep.launchers import executor, limits, register
from sac_runner.sweep.probe import answer_on_stdout
from sac_runner.sweep.session import Session

if TYPE_CHECKING:
    from sac_runner.training.run import Outcome


def main() -> None:
    """Entry point of ``sac-train`` and ``scripts/train``."""
    if sys.argv[1:2] == ["--job"]:
        open_door(partial(_train_frozen, sys.argv[2:]))
    elif sys.argv[1:] == ["--probe"]:
        open_door(_probe)
    else:
        open_door(_launch)


def _launch() -> None:
    if "--version" in sys.argv[1:]:  # Hydra would tell its own
        print(version_line())
        return
    typed = [Path(sys.argv[0]).name, *sys.argv[1:]]
    with Session(typed) as session:
        register(session)
        from_command_line(sys.argv[1:], partial(_train, session), lambda: session.sweep.path if session.sweep else None)
    if code := session.exit_code():
        sys.exit(code)


def _train_frozen(arguments: list[str]) -> None:
    """``--job FILE``: one job of a sweep, on the config that it was frozen to."""
    if len(arguments) != 1:
        raise WrongInput("--job takes one file, jobs/NNNN.json of a sweep", train_command("resume=SWEEP"))
    end_with_launcher()
    file = Path(arguments[0]).absolute()
    data = read_signed(file)
    try:
        sweep = SweepDirectory(file.parent.parent)
        config, folder = from_plain(data["config"]), job_folder(sweep.path, data["path"])
        job = Job(config, data["overrides"], data["recipe"], {}, {})
    except (KeyError, TypeError, ValueError) as e:
        raise Damaged(f"{file} is not a job of a sweep") from e
    sweep.require_inside()
    config = replace(config, run=replace(config.run, dir=str(folder)))
    _train_in(replace(job, config=config), RunDirectory(folder), data["setting"])


def _train(session: Session, job: Job) -> float:
    """One run, new or continued; returns its final evaluation mean, for Hydra's sweepers."""
    if job.config.resume is not None:
        return _resume(session, job, job.config.resume)
    if job.config.run.dir is not None:
        return _train_in(job, RunDirectory(Path(job.config.run.dir)))
    return _start(job)


def _train_in(job: Job, run: RunDirectory, swept: dict[str, str] | None = None) -> float:
    return _rerun(job, run, swept) if run.is_run else _start(job, swept)


def _start(job: Job, swept: dict[str, str] | None = None) -> float:
    from sac_runner.training.run import dry_run, train

    seed = secrets.randbits(32) if job.config.seed is None else job.config.seed
    config = replace(job.config, seed=seed)  # a drawn seed is recorded with the run
    if config.dry_run:
        require_startable(config, job.overrides)
        dry_run(config, job.overrides, job.recipe)
        return 0.0
    with contextlib.ExitStack() as owned:

        def own() -> AbstractContextManager[RunLock]:
            return nullcontext(owned.enter_context(RunLock(make_run_directory(config, job.overrides))))

        return _finish(train(config, job.overrides, job.recipe, own, swept=swept))


def _resume(session: Session, job: Job, which: str) -> float:
    """``resume=RUN``: the stored config, with what may change on top. ``resume=SWEEP``: what it has left to do."""
    found = find_run_or_sweep(which, job.config.outputs)
    if SweepDirectory(found).is_sweep:
        _resume_sweep(session, job, SweepDirectory(found))
        return 0.0
    if asked := [override for key, override in job.of_hydra.items() if key.startswith("hydra.launcher.")]:
        text = f"{asked[0].lstrip('+')}: {found} is a run, and no launcher's"
        raise WrongInput(text, train_command(f"resume={quote(str(found))}"))
    run = RunDirectory(found)
    with _owned(job, run) as lock:
        from sac_runner.training.resume import continued_config

        config = continued_config(run, job.overrides, job.config)
        if (planned := find_job(found)) is None:
            return _continue(job, run, config, lock, None)
        sweep, its_job = planned
        return _continue(job, run, config, lock, its_job.setting, partial(sweep.forget_end, its_job))


def _resume_sweep(session: Session, job: Job, sweep: SweepDirectory) -> None:
    if changes := _changes(job):
        text = f"a sweep goes on as it was planned: {' '.join(changes)} can't change what its jobs are"
        raise WrongInput(text, train_command(f"resume={quote(str(sweep.path))}"))
    planned = sweep.read_plan().get("launcher")
    if not isinstance(planned, dict):
        raise Damaged(f"{sweep.path / 'sweep.json'} does not say how its jobs were run")
    parameters = _on_top(planned, job)
    session.resume(sweep, limits(parameters), executor(parameters), job.config.dry_run)


def _on_top(planned: dict[str, Any], job: Job) -> dict[str, Any]:
    """A sweep's launcher with what this command asks of it; or another one, or one from a file of the user's own."""
    chosen = job.of_hydra.get("hydra/launcher", "").partition("=")[2]
    if chosen and (chosen not in ("local", "slurm") or (chosen == "slurm") != ("cluster" in planned)):
        return job.launcher
    typed = {key.removeprefix("hydra.launcher.").partition(".")[0] for key in job.of_hydra}
    asked = {key: x for key, x in job.launcher.items() if key in typed}
    both = {key: (planned.get(key), x) for key, x in asked.items()}
    within = {key: there | x for key, (there, x) in both.items() if isinstance(there, dict) and isinstance(x, dict)}
    return planned | asked | within


def _changes(job: Job) -> list[str]:
    """What a command with ``resume`` asks for beside that."""
    return [override for override in job.overrides if key_of(override) not in ("resume", "outputs", "dry_run")]


def _rerun(job: Job, run: RunDirectory, swept: dict[str, str] | None) -> float:
    """The same command with the same ``run.dir``, such as a requeued job."""
    with _owned(job, run) as lock:
        from sac_runner.training.resume import difference, stored_config

        differs = difference(run, job.config, may_change=swept is not None)  # a job may have gone on by hand
        if differs:
            text = f"run.dir={run.path} holds another run ({'; '.join(differs)})"
            keys, values = [each.partition(":")[0] for each in differs], flat(job.config)
            more = " ".join(f"{key}={written(values[key])}" for key in keys if key in values)
            other = difference(run, job.config, may_change=True)
            raise WrongInput(text, train_command("run.dir=NEW" if other else f"resume={quote(str(run.path))} {more}"))
        return _continue(job, run, stored_config(run), lock, swept)


def _owned(job: Job, run: RunDirectory) -> AbstractContextManager[RunLock | None]:
    """Locked from the start, so that a second start is answered before the seconds that its imports take.

    A run that is only looked at need not be writable.
    """
    looked_at = job.config.dry_run or run.read_summary().get("status") == "finished"
    return nullcontext() if looked_at else RunLock(run.path)


def _continue(
    job: Job,
    run: RunDirectory,
    config: Config,
    lock: RunLock | None,
    swept: dict[str, str] | None,
    begin: Callable[[], None] = lambda: None,
) -> float:
    from sac_runner.training.report import finished_already
    from sac_runner.training.run import dry_run, train

    try:
        words = finished_already(config, run, [] if job.config.resume is None else _changes(job))
    except (AttributeError, KeyError, TypeError, ValueError):  # not what this version writes; its checkpoint knows
        words = None
    if words is not None:
        say(words)
        return float(run.read_summary()["scores"]["final"]["return_mean"])
    saved = find(run.checkpoints, "latest")
    if not saved and run.read_summary().get("env_steps"):
        lost = f"{run.path} has lost its checkpoints, and nothing else says how to go on"
        raise Damaged(lost, f"train it anew: {train_command('run.dir=NEW ...')}")
    if job.config.dry_run:
        dry_run(config, job.overrides, None, run if saved else None)
        return 0.0
    if not saved:
        warn(f"{run.path} has no checkpoint yet: it begins anew")
    with lock or RunLock(run.path) as owned:  # killed before its first checkpoint, it begins anew
        begin()
        return _finish(train(config, job.overrides, None, lambda: nullcontext(owned), bool(saved), swept))


def _probe() -> None:
    """``--probe``: what jobs of a sweep need, for its launcher."""
    from sac_runner.training.preflight import needs, try_out

    answer_on_stdout(try_out, needs)


def _finish(outcome: "Outcome") -> float:
    """What comes after the training, its run directory still being owned."""
    _draw_curve(outcome.run)
    if outcome.stop_signal is not None:
        sys.exit(130 if outcome.stop_signal == signal.SIGINT else 143)  # what schedulers take for a stop
    return outcome.final_return


def _draw_curve(run: RunDirectory) -> None:
    """Write ``curve.png``; a picture that fails must not end a run as failed."""
    from sac_runner.analysis.figures import learning_curve

    try:
        picture = learning_curve(run.path)
        if picture is not None:
            run.write_bytes("curve.png", picture)
    except Exception as e:
        warn(f"no curve.png: {e}")


if __name__ == "__main__":
    main()
