"""Writing so that a reader, or a crash, finds the old file or the new one and never half of either."""

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from sac_runner.errors import Damaged, DiskFailed, WrongInput

FREE_SPACE = "free some space, or another folder: outputs=PATH"


def fault_of(error: OSError) -> type[DiskFailed] | type[WrongInput]:
    """Whose fault a refused write is: the disk's where it is full or broken, else that of who named the place."""
    return DiskFailed if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO) else WrongInput


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """What the system refuses within is a write of ``path`` that failed: ``DiskFailed``."""
    try:
        yield
    except OSError as e:
        raise DiskFailed(f"can't write {path}: {e.strerror}", FREE_SPACE) from e


def write_atomically(path: Path, data: bytes) -> None:
    """Write aside, fsync, rename over ``path``, fsync its folder.

    Raises:
        DiskFailed: The disk is full or refuses to write; ``path`` is as before, unless only the folder's fsync failed.
    """
    aside = path.with_name(f".{path.name}.tmp")
    with _writing(path):
        try:
            write_durably(aside, data)
            os.replace(aside, path)
            fsync_folder(path.parent)
        except OSError:
            with contextlib.suppress(OSError):
                aside.unlink()
            raise


def write_durably(path: Path, data: bytes) -> None:
    """Write ``data`` and fsync it; not atomic."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def make_folder(folder: Path) -> None:
    """Make ``folder`` where it is not there yet.

    Raises:
        DiskFailed: It can't be made.
    """
    with _writing(folder):
        folder.mkdir(exist_ok=True)


def fsync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def new_folder_atomically(path: Path) -> Iterator[Path]:
    """A folder to fill, which becomes ``path`` in one rename when the block ends, and vanishes when it raises.

    Raises:
        DiskFailed: The disk is full or refuses to write; nothing is left.
    """
    aside = path.with_name(f".{path.name}.tmp")
    shutil.rmtree(aside, ignore_errors=True)  # a killed save leaves one
    try:
        with _writing(path):
            aside.mkdir(parents=True)
            yield aside
            fsync_folder(aside)
            _put_in_place(aside, path)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _put_in_place(aside: Path, path: Path) -> None:
    """Rename the folder ``aside`` to ``path``, and only then delete what was there."""
    replaced = path.with_name(f".{path.name}.old")
    shutil.rmtree(replaced, ignore_errors=True)
    if path.exists():
        os.rename(path, replaced)
    try:
        os.rename(aside, path)
    except OSError:
        if replaced.exists():
            os.rename(replaced, path)
        raise
    fsync_folder(path.parent)
    shutil.rmtree(replaced, ignore_errors=True)


class Appended:
    """A file that only grows. What a full disk refuses waits in memory, so that no line is lost or torn meanwhile."""

    def __init__(self, path: Path, mode: Literal["ab", "xb"]) -> None:
        """Open ``path`` to go on with (``ab``), or new (``xb``).

        Raises:
            DiskFailed: It can't be.
        """
        self.path = path
        with _writing(path):
            self._file = path.open(mode, buffering=0)
        self._waiting = bytearray()

    def write(self, data: bytes) -> None:
        """Put ``data`` after the rest; ``flush`` hands it over."""
        self._waiting += data

    def flush(self) -> None:
        """Hand everything to the operating system.

        Raises:
            DiskFailed: It did not take all of it; the next flush goes on where this one ended.
        """
        with _writing(self.path):
            while self._waiting:
                del self._waiting[: self._file.write(self._waiting)]

    def sync(self) -> None:
        """Have everything on the disk itself, where it outlives a power cut.

        Raises:
            DiskFailed: It is not.
        """
        self.flush()
        with _writing(self.path):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file, as far as it is written."""
        with contextlib.suppress(OSError):  # nothing is buffered: what flush handed over is not in question
            self._file.close()


def clean_up(folder: Path) -> None:
    """Take away what a killed write left in ``folder``, and give back what it was about to replace.

    Raises:
        DiskFailed: The disk refuses it.
    """
    try:
        for path in matching(folder, ".*.old"):
            replaced = path.with_name(path.name[1:].removesuffix(".old"))
            if replaced.exists():
                shutil.rmtree(path, ignore_errors=True)
            else:
                os.rename(path, replaced)
        for path in matching(folder, ".*.tmp"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
    except OSError as e:
        raise DiskFailed(f"can't clean up {folder}: {e.strerror}") from e


def folder_size(folder: str | Path, deep: bool = True) -> int:
    """Bytes of the files in ``folder``, as far as they can be read; with ``deep`` of folders in it too."""
    size = 0
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                with contextlib.suppress(OSError):  # a run that goes on drops some
                    size += entry.stat(follow_symlinks=False).st_size
            elif deep:
                size += folder_size(entry.path)
    return size


def matching(folder: Path, pattern: str) -> list[Path]:
    """What ``folder`` has of this pattern; nothing where there is no such folder.

    Raises:
        DiskFailed: It can't be read.
    """
    try:
        return list(folder.glob(pattern))
    except OSError as e:
        raise DiskFailed(f"can't read {folder}: {e.strerror}") from e


def read_whole(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        Damaged: It is not there.
        DiskFailed: It can't be read, which says nothing of what is in it.
    """
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as e:
        raise Damaged(f"{path} is missing") from e
    except OSError as e:
        raise DiskFailed(f"can't read {path}: {e.strerror}") from e


def read_inside(folder: Path, name: str) -> bytes:
    """The bytes of the file ``name`` in ``folder``, and of none elsewhere.

    Raises:
        Damaged: It is not there, or leads out of the folder.
        DiskFailed: It can't be read, which says nothing of what is in it.
    """
    path = folder / name
    # islink is False where the disk can't say, and then it will not read either
    if path.name != name or os.path.islink(path) or os.path.islink(folder):
        raise Damaged(f"{path} is refused: it leads out of its folder")
    return read_whole(path)


def json_bytes(value: Any) -> bytes:
    """Readable JSON with a final newline."""
    return (json.dumps(value, indent=2) + "\n").encode()
