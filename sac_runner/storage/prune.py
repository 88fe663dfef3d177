"""Removing runs, sweeps, or only replay buffers: nothing that a living process owns, nothing that a link leads to.

What goes gets another name first and is deleted under it: a kill leaves either all of it or something that is plainly
gone, which ``clean_up_removed`` deletes later.
"""

import contextlib
import os
import resource
import shutil
from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path

from sac_runner.errors import Damaged, DiskFailed, WrongInput
from sac_runner.storage import checkpoints
from sac_runner.storage.checkpoints import Checkpoint
from sac_runner.storage.files import clean_up
from sac_runner.storage.lock import RunLock
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.storage.segments import drop_segments
from sac_runner.storage.signed import read_signed
from sac_runner.storage.status import status
from sac_runner.storage.sweep_directory import SweepDirectory, find_job


def prune_run(run: RunDirectory, outputs: Path, unfinished: Collection[Path] = ()) -> None:
    """Remove ``run``, and the folders above it that are empty then.

    Args:
        run: To remove.
        outputs: Where it lies.
        unfinished: Runs that were not finished when this was decided: one that is by now stays.

    Raises:
        RunInUse: A process owns it, or the sweep that it is a job of.
        WrongInput: It is not a run under ``outputs``, holds another one, has finished since, or can't be written.
        DiskFailed: The disk refuses it; it is as it was, or plainly gone.
    """
    _require_own(run.path, outputs)
    with ExitStack() as locks:
        sweep = SweepDirectory(run.path.parents[1])
        if sweep.is_sweep:
            locks.enter_context(RunLock(sweep.path))
        locks.enter_context(RunLock(run.path))
        _require_run(run)
        _require_as_decided(run, unfinished)
        _require_alone(run)
        aside = _set_aside(run.path)
        _forget_end(run)
    _delete(aside)
    _drop_empty(run.path.parent, outputs)


def _forget_end(run: RunDirectory) -> None:
    """A job whose run goes has not begun; where its end can't be forgotten, it stays listed as failed."""
    with contextlib.suppress(OSError):
        if (planned := find_job(run.path)) is not None:
            sweep, job = planned
            sweep.forget_end(job)


def _require_alone(run: RunDirectory) -> None:
    """Refuse if another run lies inside: ``run.dir`` can be the folder of an environment's runs."""
    for name in ("config.yaml", ".lock"):
        for other in (path.parent for path in run.path.rglob(name) if path.parent != run.path):
            raise WrongInput(f"{run.path} stays: it holds another run, {other}")


def prune_sweep(sweep: SweepDirectory, outputs: Path, unfinished: Collection[Path] = ()) -> None:
    """Remove ``sweep`` with all of its runs.

    Args:
        sweep: To remove.
        outputs: Where it lies.
        unfinished: As for ``prune_run``.

    Raises:
        RunInUse: A process owns it, or one of its runs.
        WrongInput: It is not a sweep under ``outputs``, one of its runs has finished since, or it can't be written.
        DiskFailed: The disk refuses it; it is as it was, or plainly gone.
    """
    _require_own(sweep.path, outputs)
    _allow_many_files()
    with ExitStack() as locks:
        locks.enter_context(RunLock(sweep.path))
        if not sweep.is_sweep:
            raise WrongInput(f"{sweep.path} is not a sweep: it has no sweep.json")
        for folder in (path for pattern in ("*", "*/*") for path in sweep.path.glob(pattern)):
            if why := RunDirectory(folder).why_closed:
                raise WrongInput(f"can't read {folder}, where somebody may train: {why}")
        patterns = [
            f"{place}/{name}" for place in ("**", "*/*") for name in ("config.yaml", ".lock")
        ]  # ** leaves links out
        runs = {path.parent for pattern in patterns for path in sweep.path.glob(pattern)}
        for folder in sorted(runs - {sweep.path}):
            _require_own(folder, outputs)
            locks.enter_context(RunLock(folder))
            _require_as_decided(RunDirectory(folder), unfinished)
        aside = _set_aside(sweep.path)
    _delete(aside)
    _drop_empty(sweep.path.parent, outputs)


def _allow_many_files() -> None:
    """Each lock keeps one open; the usual 1,024 are fewer than a great sweep has runs."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def prune_replay(run: RunDirectory, outputs: Path) -> None:
    """Remove the replay buffer of a finished run, which is then as if it had been trained to keep it until finished.

    Older checkpoints, of no use without, go first: the newest one, which says that there is no replay before the first
    segment goes, needs their room on a full disk.

    Raises:
        RunInUse: A process owns it.
        WrongInput: It is not a run under ``outputs``, is not finished, or can't be written.
        Damaged: Its newest checkpoint is; it is as it was.
        DiskFailed: The disk refuses it; what is left of the replay can be pruned again.
    """
    for folder in (run.path, run.checkpoints, run.replay):
        _require_own(folder, outputs)
    with RunLock(run.path):
        _require_run(run)
        if status(run).state != "finished":
            raise WrongInput(f"{run.path} is not finished: it needs its replay")
        clean_up(run.checkpoints)
        found = checkpoints.find(run.checkpoints, "latest")
        for newest in found[-1:]:
            newest.verify()
            for older in found[:-1]:
                older.drop()
            clean_up(run.checkpoints)
            _forget_replay(newest)
        drop_segments(run.replay, set())
        clean_up(run.replay)


def clean_up_removed(outputs: Path) -> None:
    """Delete what a removal that was killed has left under ``outputs``."""
    for pattern in ("runs/.*.removed", "runs/*/.*.removed", "sweeps/.*.removed", "sweeps/*/*/.*.removed"):
        for path in outputs.glob(pattern):
            with contextlib.suppress(WrongInput):
                _require_own(path, outputs)
                shutil.rmtree(path, ignore_errors=True)
                _drop_empty(path.parent, outputs)


def _forget_replay(checkpoint: Checkpoint) -> None:
    """Save ``checkpoint`` again as one that lists no replay, in one rename."""
    manifest = checkpoint.manifest()
    names = [Path(file) for file in manifest["files"]]
    arrays = {file.stem: checkpoint.arrays(file.stem) for file in names if file.suffix == ".safetensors"}
    plain = {file.stem: checkpoint.plain(file.stem) for file in names if file.suffix == ".json"}
    plain["state"]["replay"] = None
    note = {key: value for key, value in manifest.items() if key not in ("format", "kind", "env_steps", "files")}
    checkpoints.save(checkpoint.path.parent, "latest", checkpoint.env_steps, arrays, plain, note)


def _require_own(path: Path, outputs: Path) -> None:
    """Refuse what lies outside of ``outputs``, or is reached by a link within it."""
    inside = os.path.relpath(path.absolute(), outputs.absolute())
    if (
        inside == "."
        or inside.startswith("..")
        or os.path.realpath(path) != os.path.join(os.path.realpath(outputs), inside)
    ):
        raise WrongInput(f"{path} is left alone: it does not lie in {outputs} itself")


def _require_run(run: RunDirectory) -> None:
    """Asked for under its lock: what was found a moment ago may be another's by now."""
    if not run.is_run or not (run.path / "meta.json").is_file():
        raise WrongInput(f"{run.path} is not a run: it lacks config.yaml or meta.json")


def _require_as_decided(run: RunDirectory, unfinished: Collection[Path]) -> None:
    """One that was killed may have been continued while somebody thought about it; a disk may not have answered."""
    with contextlib.suppress(Damaged):  # a summary that is not there or says nothing is of no finished run
        if run.path in unfinished and read_signed(run.path / "summary.json").get("status") == "finished":
            raise WrongInput(f"{run.path} stays: it has finished meanwhile")


def _set_aside(path: Path) -> Path:
    """Give ``path`` the name under which it is gone, as long as it is locked."""
    aside = path.with_name(f".{path.name}.removed")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        os.rename(path, aside)
    except OSError as e:
        raise DiskFailed(f"can't remove {path}: {e.strerror}") from e
    return aside


def _delete(aside: Path) -> None:
    """Once nothing in it is open, its locks included: NFS keeps an open file under another name, and so its folder."""
    try:
        shutil.rmtree(aside)
    except OSError as e:
        raise DiskFailed(f"can't remove {aside}: {e.strerror}") from e


def _drop_empty(folder: Path, outputs: Path) -> None:
    """``folder`` and those above it, as far as they are empty."""
    with contextlib.suppress(OSError):
        while os.path.realpath(folder) != os.path.realpath(outputs):
            folder.rmdir()
            folder = folder.parent
