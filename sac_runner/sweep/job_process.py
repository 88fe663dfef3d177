"""A job of a sweep as a process: started, watched, ended, and told to end where its launcher is killed."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from sac_runner.errors import DiskFailed
from sac_runner.storage.crash import last_words
from sac_runner.storage.status import sign_of_life
from sac_runner.storage.sweep_directory import Ended, SweepDirectory, SweepJob

LAUNCHER = "SAC_LAUNCHER"
"""Environment variable with the process that a job must not outlive."""
LAST_WORDS_S = 5.0
"""For a process that is told to say where it hangs, or to end at once."""

_TAIL = 65_536  # bytes of a log: what is said of its end is there
_PR_SET_PDEATHSIG = 1  # of <linux/prctl.h>
_AWAY_S = 10.0  # between two looks, from which on what was not seen meanwhile says nothing
_EXPLAINED = (1, 2, 70, 73, 74, 76)
"""Exit codes before which we, or Python, print what happened."""


@dataclass
class JobProcess:
    """The process of a job, and what it leaves when it ends."""

    sweep: SweepDirectory
    job: SweepJob
    popen: subprocess.Popen[bytes]
    log_begin: int
    hung_at: float | None = None
    """When it was found to hang."""
    killed: str | None = None
    """Why it was killed, where we did it."""
    _looked: float = field(default_factory=time.monotonic)
    _sign: float = 0.0
    """The newest sign of life by the file system's clock."""
    _alive_at: float = field(default_factory=time.monotonic)
    """When it was seen, or the job begun, by ours, which makes no steps; later by what nobody looked since."""

    @classmethod
    def start(cls, sweep: SweepDirectory, job: SweepJob, environment: dict[str, str], own_session: bool) -> Self:
        """Start ``job``; it is told to stop where this process is killed.

        Args:
            sweep: Where it is frozen.
            job: Of ``sweep``.
            environment: Variables on top of those of this process.
            own_session: Ctrl-C on the terminal does not reach it.

        Raises:
            OSError: It has not started.
        """
        sweep.forget_end(job)
        log = sweep.log_file(job).open("ab", buffering=0)
        try:
            begin = log.tell()
            popen = subprocess.Popen(
                job_command(sweep, job),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **environment, LAUNCHER: str(os.getpid())},
                start_new_session=own_session,
            )
        finally:
            with contextlib.suppress(OSError):  # a network disk may fail it, and the process has started
                log.close()
        return cls(sweep, job, popen, begin)

    def end_if_hung(self, hang_s: float) -> None:
        """One that hangs is asked where, which it can say even from within C, and killed after that."""
        now = time.monotonic()
        gap, self._looked = now - self._looked, now
        if self.hung_at is not None and now - self.hung_at > LAST_WORDS_S:
            self.popen.kill()
        sign = sign_of_life(self.sweep.run(self.job).path)
        if sign != self._sign:
            self._sign, self._alive_at = sign, now
        elif gap > _AWAY_S:  # suspended, or waiting for a disk: nothing was to be seen
            self._alive_at += gap
        if self.hung_at is None and now - self._alive_at > hang_s:
            self.hung_at = now
            self.popen.send_signal(signal.SIGABRT)

    def keep_end(self, hang_s: float, cause: str | None = None) -> None:
        """Say in the sweep how it has ended, and of what ``cause`` if that is known."""
        code = self.popen.returncode
        if self.hung_at is not None:
            cause = f"no sign of life for {hang_s / 60:g} minutes: ended"
            if last_words(self.sweep.run(self.job)) is not None:
                cause += "; crash.log shows where it hung"
        elif cause is None:
            cause = self.killed or _cause(code, self.sweep.log_file(self.job), self.log_begin)
        with contextlib.suppress(DiskFailed):  # the run's own summary is what counts
            self.sweep.write_end(self.job, Ended(128 - code if code < 0 else code, cause))


def job_command(sweep: SweepDirectory, job: SweepJob) -> list[str]:
    """The command line of one job, ``sac-train`` on what was frozen; no file of the working directory is a library."""
    return [sys.executable, "-P", "-m", "sac_runner.commands.train", "--job", str(sweep.job_file(job))]


def _cause(code: int, log: Path, begin: int) -> str:
    if code == -signal.SIGKILL:
        return "killed by signal 9 (out of memory?)"
    if code < 0:
        return f"killed by signal {-code} ({signal.strsignal(-code)})"
    return (last_line(log, begin) if code in _EXPLAINED else None) or f"exit code {code}"


def last_line(log: Path, begin: int = 0, only: str = "") -> str | None:
    """The last error that a process printed, or else its last line.

    Args:
        log: What it printed.
        begin: Bytes that are left out.
        only: How a line must begin to count.
    """
    try:
        with log.open("rb") as file:
            file.seek(max(begin, file.seek(0, os.SEEK_END) - _TAIL))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return None
    said = [line.strip() for line in lines if line.strip() and line.startswith(only) and not line.startswith("  try:")]
    errors = [line for line in said if line.startswith("error: ")]
    last = (errors or said or [""])[-1].removeprefix("error: ")
    return last[:200] or None


def end_with_launcher() -> None:
    """Have this process told to stop and save when its launcher is killed: what goes on with the sweep must find it."""
    launcher = os.environ.pop(LAUNCHER, None)
    if launcher is None:
        return
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(launcher):  # it was killed before this
        sys.exit(128 + signal.SIGTERM)
