"""One owner for a run directory: a kernel lock that dies with its process."""

import contextlib
import errno
import fcntl
import os
import sys
from pathlib import Path
from types import TracebackType

from sac_runner.errors import RunInUse, WrongInput


class RunLock:
    """Held while a run trains; a context manager."""

    def __init__(self, run: Path) -> None:
        """Lock ``run``, without waiting.

        Raises:
            RunInUse: Another process holds it.
            WrongInput: ``run`` can't be written.
        """
        try:
            self._descriptor = os.open(run / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            if not os.access(run, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as e:
            raise WrongInput(f"can't write {run}: {e.strerror}", f"a copy of it: cp -r {run} NEW") from e
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            owner = os.read(self._descriptor, 100).decode(errors="replace").strip()
            os.close(self._descriptor)
            raise RunInUse(f"{run} is in use by {owner or 'another process'}", "wait for it, or stop it") from e
        except OSError as e:  # a file system without locks: go on without
            print(f"warning: {run} can't be locked: {e.strerror}", file=sys.stderr)
        with contextlib.suppress(OSError):  # only says who; a full disk is named later
            os.ftruncate(self._descriptor, 0)
            os.write(self._descriptor, f"process {os.getpid()} on {os.uname().nodename}\n".encode())

    def __enter__(self) -> "RunLock":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)
