"""Making the folders of new runs and sweeps: no two starts ever share one, and what is there is left alone."""

import contextlib
import errno
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

from sac_runner.config.schema import Config
from sac_runner.errors import RunInUse, WrongInput, train_command
from sac_runner.storage.files import fault_of, fsync_folder
from sac_runner.storage.lock import RunLock
from sac_runner.storage.names import run_path
from sac_runner.storage.run_directory import RunDirectory

_LEFT_BY_A_START = re.compile(r"\.lock|\.owner-\d+|meta\.json|\.(meta\.json|config\.yaml)\.tmp")
"""What a start may leave that was refused, or killed before it had written its config."""


def make_run_directory(config: Config, overrides: list[str]) -> Path:
    """The directory of a new run: ``run.dir``, or one that its name is made up for.

    Args:
        config: Validated, with a seed.
        overrides: As typed.

    Raises:
        RunInUse: ``run.dir`` became a run a moment ago.
        WrongInput: ``run.dir`` holds something else, or the folder above can't be written.
        DiskFailed: The disk is full.
    """
    if config.run.dir is not None:
        return own_directory(Path(config.run.dir))
    return create_exclusively(_made_up(config, overrides))


def require_startable(config: Config, overrides: list[str]) -> None:
    """What ``make_run_directory`` would say, as far as that can be known before anything is made.

    Raises:
        WrongInput: ``run.dir`` holds anything of its own, or there is a place that can't be written.
    """
    if config.run.dir is None:
        refuse_where_none_can_be_made(_made_up(config, overrides))
    elif not os.path.lexists(config.run.dir):
        with _of_run_dir():
            refuse_where_none_can_be_made(Path(config.run.dir))
    elif not _is_unused(Path(config.run.dir)):
        raise _no_run(Path(config.run.dir))


def _made_up(config: Config, overrides: list[str]) -> Path:
    env = config.env.name or config.env.id
    assert env is not None and config.seed is not None
    now = time.strftime("%Y%m%d-%H%M%S")
    return run_path(config.outputs, env, now, overrides, config.run.name, config.seed)


def own_directory(path: Path) -> Path:
    """``run.dir``: made new, or with nothing in it but what is left of a start that came to nothing.

    Raises:
        RunInUse, WrongInput, DiskFailed: As ``make_run_directory``.
    """
    with _of_run_dir():
        made = create(path)
    if made or _is_unused(path):
        return path
    if RunDirectory(path).is_run:  # when this start began, it was none
        with RunLock(path):
            raise RunInUse(f"{path} was begun by another start meanwhile", "the same command again")
    raise _no_run(path)


@contextlib.contextmanager
def _of_run_dir() -> Iterator[None]:
    try:
        yield
    except WrongInput as e:
        raise WrongInput(e.message, train_command("run.dir=NEW")) from e


def _is_unused(path: Path) -> bool:
    if why := RunDirectory(path).why_closed:
        raise WrongInput(f"can't read run.dir={path}: {why}", train_command("run.dir=NEW"))
    return path.is_dir() and all(_LEFT_BY_A_START.fullmatch(entry.name) for entry in path.iterdir())


def _no_run(path: Path) -> WrongInput:
    return WrongInput(f"run.dir={path} exists and is not a run", train_command("run.dir=NEW"))


def nearest_there(path: Path) -> Path:
    """``path``, or what is there of the folders above it, as far as can be seen."""
    whole = path.absolute()
    return next(p for p in (whole, *whole.parents) if os.path.exists(p))  # Path.exists raises where it may not look


def refuse_where_none_can_be_made(path: Path) -> None:
    """What ``create`` would say of the folder ``path``, as far as that can be known before anything is made.

    Raises:
        WrongInput: What lies above is not a folder, or can't be written.
    """
    above = nearest_there(path.parent)
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        why = os.strerror(errno.EACCES if above.is_dir() else errno.ENOTDIR)
        raise WrongInput(f"can't write {path}: {why}", train_command("outputs=PATH"))


def create_exclusively(path: Path) -> Path:
    """Make the folder ``path``, or ``path-2``, ``path-3`` ... if it exists: two starts never share one.

    Raises:
        WrongInput: The folder above can't be written.
        DiskFailed: The disk is full.
    """
    attempt, n = path, 1
    while not create(attempt):
        n += 1
        attempt = path.with_name(f"{path.name}-{n}")
    return attempt


def create(path: Path) -> bool:
    """Make the folder ``path``; False if there is something of this name.

    Raises:
        WrongInput: The folder above can't be written.
        DiskFailed: The disk is full.
    """
    there = nearest_there(path.parent)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir()
    except FileExistsError:
        if not path.parent.is_dir():
            why = os.strerror(errno.ENOTDIR)
            raise WrongInput(f"can't write {path}: {why}", train_command("outputs=PATH")) from None
        return False
    except OSError as e:
        raise fault_of(e)(f"can't write {path}: {e.strerror}", train_command("outputs=PATH")) from e
    with contextlib.suppress(OSError):  # of a folder that may be written and not read
        for above in path.absolute().parents:  # a power cut must not take it with all that is saved in it
            fsync_folder(above)
            if above == there:
                break
    return True
