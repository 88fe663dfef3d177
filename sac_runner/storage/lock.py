"""One owner for a run directory: a kernel lock that dies with its process, or a claim where there are no such locks."""

import contextlib
import errno
import fcntl
import os
import time
from pathlib import Path
from types import TracebackType

from sac_runner.errors import RunInUse, WrongInput, warn
from sac_runner.storage.claim import NAMING_S, Claim
from sac_runner.storage.files import FREE_SPACE, fault_of
from sac_runner.text import cut

_BEAT_S = 1.0


class RunLock:
    """Held while a run trains; a context manager."""

    def __init__(self, run: Path) -> None:
        """Lock ``run``, without waiting.

        Raises:
            RunInUse: Another process holds it.
            WrongInput: ``run`` can't be written.
            DiskFailed: The disk is full or broken.
        """
        self.run = run
        self._claim: Claim | None = None
        self._next_beat = 0.0
        self._descriptor = -1
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW  # it is written before links are looked for
            self._descriptor = os.open(run / ".lock", flags, 0o644)
            if not os.access(run, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            owner = self._lock(run)
        except OSError as e:
            self._close()
            if e.errno == errno.ELOOP:
                raise WrongInput(f"{run / '.lock'} is refused: it leads out of the run") from e
            fault = fault_of(e)
            copy = f"a copy of it: cp -r {run} COPY && chmod -R u+w COPY"
            remedy = copy if fault is WrongInput else FREE_SPACE
            raise fault(f"can't write {run}: {e.strerror}", remedy) from e
        if owner is not None:
            self._close()
            raise RunInUse(f"{run} is in use by {owner}", "wait for it, or stop it")
        with contextlib.suppress(OSError):  # only says who; a full disk is named later
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"process {os.getpid()} on {os.uname().nodename}\n".encode(), 0)
        os.register_at_fork(after_in_child=self._close)  # a process that an environment forks must not keep the lock

    def _lock(self, run: Path) -> str | None:
        """Lock the file, or say who has."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(NAMING_S)
            with contextlib.suppress(OSError):  # another start may only have looked whether it is free
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return None
            return owner_of(run)
        except OSError as e:
            warn(f"{run} can't be locked ({e.strerror}): its owner is told by .owner files in it instead")
            self._claim = Claim(run, self._descriptor)
            return self._claim.other
        return None

    def beat(self) -> None:
        """Show that the owner gets on: the time of ``.lock`` is that of its newest sign of life."""
        now = time.monotonic()
        if now >= self._next_beat:
            self._next_beat = now + _BEAT_S
            with contextlib.suppress(OSError):
                os.utime(self._descriptor)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> "RunLock":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._claim is not None:
            self._claim.release()
            self._claim = None
        self._close()


def owner_of(run: Path) -> str:
    """Who trains in ``run``, as far as it says."""
    try:
        with (run / ".lock").open(errors="replace") as file:
            return cut(file.read(100).strip(), 100) or "another process"
    except OSError:
        return "another process"
