"""A layer between the code and the disk: counts the file operations under one folder, and fails or kills at one."""

import contextlib
import errno
import gc
import io
import os
from pathlib import Path
from typing import NamedTuple

import pytest

KILLED = 137
_ONE_PATH = ("mkdir", "unlink", "rmdir", "stat", "lstat", "scandir", "listdir")
_TWO_PATHS = ("rename", "replace")
_DESCRIPTOR = ("fsync", "ftruncate", "pwrite")
CHANGES = {"create", "write", "mkdir", "unlink", "rmdir", "rename", "replace", "ftruncate", "pwrite"}
"""What changes the disk. A kill before any other operation leaves what a kill before the next of these does."""
NEEDS_ROOM = {"create", "write", "mkdir", "rename", "replace", "fsync", "close", "ftruncate", "pwrite"}
"""What a full disk may refuse; it still reads and deletes."""


class Operation(NamedTuple):
    """One call that reaches the disk."""

    name: str
    path: str
    """Relative to the folder of the layer; where something is renamed, both of its names."""


class Layer:
    """As long as its block lasts, ``strike(number, operation)`` is called before each operation under ``root``.

    It may raise, or end the process; for a write it may return "half", so that one half is written and the caller
    learns of it, or a function to call after one half is written.
    """

    def __init__(self, root, strike=lambda number, operation: None):
        self.operations, self._strike = [], strike
        self._root = os.path.realpath(root)

    def __enter__(self):
        self._patch = pytest.MonkeyPatch()
        for names, wrap in ((_ONE_PATH, self._one), (_TWO_PATHS, self._two), (_DESCRIPTOR, self._descriptor)):
            for name in names:
                self._patch.setattr(os, name, wrap(name, getattr(os, name)))
        self._patch.setattr(os, "open", self._os_open(os.open))
        self._patch.setattr(Path, "open", self._path_open(Path.open))
        return self

    def __exit__(self, *_):
        self._patch.undo()

    def reach(self, name, path):
        """An operation is about to happen."""
        operation = Operation(name, path)
        self.operations.append(operation)
        return self._strike(len(self.operations) - 1, operation)

    def _below(self, where, dir_fd=None):
        """``where``, relative to the root; None if it is not below."""
        try:
            if isinstance(where, int):
                path = os.readlink(f"/proc/self/fd/{where}")
            else:
                path = os.path.join(*([] if dir_fd is None else [os.readlink(f"/proc/self/fd/{dir_fd}")]), where)
        except (OSError, TypeError):
            return None
        path = os.path.abspath(path)
        inside = path == self._root or path.startswith(self._root + os.sep)
        return os.path.relpath(path, self._root) if inside else None

    def _one(self, name, inner):
        def call(where=".", *arguments, dir_fd=None, **options):
            path = self._below(where, dir_fd)
            if path is not None:
                self.reach(name, path)
            return inner(where, *arguments, **options, **({} if dir_fd is None else {"dir_fd": dir_fd}))

        return call

    def _two(self, name, inner):
        def call(source, target, **options):
            path = self._below(target)
            if path is not None:
                self.reach(name, f"{self._below(source)} -> {path}")
            return inner(source, target, **options)

        return call

    def _descriptor(self, name, inner):
        def call(descriptor, *arguments):
            path = self._below(descriptor)
            if path is not None:
                self.reach(name, path)
            return inner(descriptor, *arguments)

        return call

    def _os_open(self, inner):
        def call(where, flags, mode=0o777, *, dir_fd=None):
            path = self._below(where, dir_fd)
            if path is not None:
                self.reach("create" if flags & os.O_CREAT else "open", path)
            return inner(where, flags, mode, dir_fd=dir_fd)

        return call

    def _path_open(self, inner):
        def call(path, mode="r", buffering=-1, encoding=None, errors=None, newline=None):
            below = self._below(path)
            if below is None:
                return inner(path, mode, buffering, encoding, errors, newline)
            self.reach("open" if mode.startswith("r") else "create", below)
            raw = _File(path, mode.replace("b", ""), self, below)
            if buffering == 0:
                return raw
            buffered = io.BufferedReader(raw) if raw.readable() else io.BufferedWriter(raw)
            return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding, errors, newline)

        return call


class _File(io.FileIO):
    """What lies below a buffer, so that the buffer's own handling of short writes is tried too."""

    def __init__(self, path, mode, layer, below):
        super().__init__(path, mode)
        self._layer, self._below = layer, below

    def write(self, data):
        data = memoryview(data).cast("B")
        then = self._layer.reach("write", self._below)
        if then is None:
            return super().write(data)
        written = super().write(data[: max(1, len(data) // 2)])
        return written if then == "half" else then()

    def readinto(self, buffer):
        self._layer.reach("read", self._below)
        return super().readinto(buffer)

    def readall(self):
        self._layer.reach("read", self._below)
        return super().readall()

    def close(self):
        if not self.closed:
            super().close()  # the system closes it, whatever it answers
            self._layer.reach("close", self._below)


def _end():
    os._exit(KILLED)


def kill(at, half=False):
    """The process ends before operation ``at``, or after one half of it, if it is a write."""

    def strike(number, operation):
        if number == at:
            return _end if half else _end()

    return strike


def fail(at, error, for_good=False, half=False):
    """Operation ``at`` fails, or all from it on; with ``half`` it is a write that takes half, the next one fails."""

    def strike(number, operation):
        if half and number == at:
            return "half"
        if (number == at + half or (for_good and number > at)) and can_fail(operation, error):
            raise OSError(error, os.strerror(error))

    return strike


def can_fail(operation, error):
    """Whether a disk may answer ``operation`` with ``error``."""
    return error != errno.ENOSPC or operation.name in NEEDS_ROOM


def write_short(at, for_good=False):
    """Write ``at`` takes one half only, and says so; or all from it on."""

    def strike(number, operation):
        if operation.name == "write" and (number == at or (for_good and number > at)):
            return "half"

    return strike


def killed(work, folder, strike):
    """Do ``work`` in a process of its own, which ``strike`` ends; whether it did."""
    gc.freeze()  # nothing of here is looked at there, which would copy it
    process = os.fork()
    if not process:
        with contextlib.suppress(BaseException), Layer(folder, strike):
            work()
        os._exit(0)
    gc.unfreeze()
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    assert code in (0, KILLED)
    return code == KILLED
