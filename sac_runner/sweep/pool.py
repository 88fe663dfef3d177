"""The jobs of a sweep as processes of this machine: started, watched, ended, each by itself."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Self

from sac_runner.errors import DiskFailed
from sac_runner.signals import handling, stop_signals
from sac_runner.storage.lock import owner_of
from sac_runner.storage.status import is_owned, sign_of_life
from sac_runner.storage.sweep_directory import Ended, SweepDirectory, SweepJob, last_line
from sac_runner.sweep.board import Board
from sac_runner.sweep.resources import Allotment
from sac_runner.sweep.table import end_line
from sac_runner.text import cut

LAUNCHER = "SAC_LAUNCHER"
"""Environment variable with the process that a job must not outlive."""

_PR_SET_PDEATHSIG = 1  # of <linux/prctl.h>
_POLL_S = 0.1
_LAST_WORDS_S = 5.0  # for a process that is told to say where it hangs, or to end at once
_SAVING_S = 30.0  # for a process that is told to stop, after an error of ours
_STARTS, _RETRY_S = 3, 10.0  # tries of a job, and the pause after one that fails


@dataclass
class JobProcess:
    """The process of a job, and what it leaves when it ends."""

    sweep: SweepDirectory
    job: SweepJob
    popen: subprocess.Popen[bytes]
    log_begin: int
    started: float = field(default_factory=time.monotonic)
    hung_at: float | None = None
    """When it was found to hang."""
    killed: str | None = None
    """Why it was killed, where we did it."""
    _sign: tuple[float, float] = (0.0, 0.0)
    """The newest sign of life by the file system's clock, and when it was seen by ours, which makes no steps."""

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
        if self.hung_at is not None and now - self.hung_at > _LAST_WORDS_S:
            self.popen.kill()
        sign = sign_of_life(self.sweep.run(self.job).path)
        if sign != self._sign[0]:
            self._sign = sign, now
        if self.hung_at is None and now - max(self.started, self._sign[1]) > hang_s:
            self.hung_at = now
            self.popen.send_signal(signal.SIGABRT)

    def keep_end(self, hang_s: float, cause: str | None = None) -> None:
        """Say in the sweep how it has ended, and of what ``cause`` if that is known."""
        code = self.popen.returncode
        if self.hung_at is not None:
            cause = f"no sign of life for {hang_s / 60:g} minutes: ended"
            if os.path.isfile(self.sweep.run(self.job).path / "crash.log"):  # Path.is_file may raise
                cause += "; crash.log shows where it hung"
        elif cause is None:
            cause = self.killed or _cause(code, self.sweep.log_file(self.job), self.log_begin)
        with contextlib.suppress(DiskFailed):  # the run's own summary is what counts
            self.sweep.write_end(self.job, Ended(128 - code if code < 0 else code, cause))


class Pool:
    """Runs jobs, ``allotment.at_a_time`` of them at any moment."""

    def __init__(self, sweep: SweepDirectory, allotment: Allotment, hang_s: float, board: Board) -> None:
        """Nothing starts before ``run``.

        Args:
            sweep: Its jobs are frozen in it.
            allotment: What each job gets.
            hang_s: A job without a sign of life for so long is ended.
            board: Shows how far it is.
        """
        self.sweep, self.allotment, self.hang_s, self.board = sweep, allotment, hang_s, board
        self.stop_signal: int | None = None
        self._running: dict[int, JobProcess] = {}
        """By slot."""
        self._faults: Counter[int] = Counter()
        self._next_start = 0.0
        self._told_of: set[int] = set()
        self._stop_told = False
        self._kill_at = float("inf")

    def run(self, jobs: list[SweepJob]) -> int | None:
        """Run ``jobs`` to their ends, failed ones too.

        Returns:
            The signal that stopped it, if one did: running jobs have saved, the others have not begun.
        """
        waiting = list(jobs)
        with handling(stop_signals(), self._handle):  # Ctrl-C and a scheduler's signals reach every job
            try:
                while self._running or (waiting and self.stop_signal is None):
                    self._start_some(waiting)
                    self._reap()
                    for process in self._running.values():
                        process.end_if_hung(self.hang_s)
                        if time.monotonic() >= self._kill_at:
                            process.killed = f"killed: it did not end within {_LAST_WORDS_S:g} s of the second Ctrl-C"
                            process.popen.kill()
                    self._tell_of_stop()
                    self.board.update()
                    time.sleep(_POLL_S)
            finally:
                self._end_all()
        return self.stop_signal

    def _start_some(self, waiting: list[SweepJob]) -> None:
        if time.monotonic() < self._next_start:
            return
        free = set(range(self.allotment.at_a_time)) - self._running.keys()
        for job in list(waiting):
            if not free or self.stop_signal is not None:
                return
            try:
                if is_owned(self.sweep.run(job).path):  # left by a launcher that was killed: it stops and saves now
                    self._tell_once(job)
                    continue
                slot = free.pop()
                process = JobProcess.start(self.sweep, job, self.allotment.environment(slot), own_session=True)
            except OSError as e:  # too many processes, a disk that fails: it may be over soon
                waiting.remove(job)
                self._faults[job.number] += 1
                if self._faults[job.number] < _STARTS:
                    waiting.append(job)
                else:
                    self._keep_unstarted(job, e)
                self._next_start = time.monotonic() + _RETRY_S
                return
            waiting.remove(job)
            self._running[slot] = process
            if self.stop_signal is not None:  # it came while this one was begun
                process.popen.send_signal(self.stop_signal)

    def _keep_unstarted(self, job: SweepJob, error: OSError) -> None:
        cause = f"can't start: {error}"
        with contextlib.suppress(DiskFailed):
            self.sweep.write_end(job, Ended(1, cause))
        self.board.say(f"failed   {job.path}  {cut(cause, 200)}")

    def _tell_once(self, job: SweepJob) -> None:
        if job.number not in self._told_of:
            self._told_of.add(job.number)
            owner = owner_of(self.sweep.run(job).path)
            self.board.say(f"waiting  {job.path}  {owner} still trains it; if it hangs, kill it")

    def _reap(self) -> None:
        for slot, process in list(self._running.items()):
            if process.popen.poll() is not None:
                del self._running[slot]
                process.keep_end(self.hang_s)
                if words := failure(self.sweep, process.job):
                    self.board.say(words)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """Jobs know all of these signals, and which of them, sent twice, means: at once; one that hangs hears none."""
        if self.stop_signal is not None and number == signal.SIGINT:
            self._kill_at = min(self._kill_at, time.monotonic() + _LAST_WORDS_S)
        self.stop_signal = self.stop_signal or number
        for process in list(self._running.values()):
            if process.popen.poll() is None:
                process.popen.send_signal(number)

    def _tell_of_stop(self) -> None:
        """Not from within the handler, where the board would not know of it."""
        if self.stop_signal is not None and not self._stop_told:
            self._stop_told = True
            self.board.say("stopping and saving; Ctrl-C once more stops at once, unsaved")

    def _end_all(self) -> None:
        """After an error of ours: no job goes on unwatched."""
        for process in self._running.values():
            with contextlib.suppress(OSError):
                process.popen.terminate()
        for process in self._running.values():
            cause = None
            try:
                process.popen.wait(_SAVING_S)
            except subprocess.TimeoutExpired:
                process.popen.kill()
                process.popen.wait()
                cause = f"killed: it did not stop within {_SAVING_S:g} s of an error of its launcher"
            process.keep_end(self.hang_s, cause)


def job_command(sweep: SweepDirectory, job: SweepJob) -> list[str]:
    """The command line of one job, ``sac-train`` on what was frozen; no file of the working directory is a library."""
    return [sys.executable, "-P", "-m", "sac_runner.commands.train", "--job", str(sweep.job_file(job))]


def failure(sweep: SweepDirectory, job: SweepJob) -> str | None:
    """What to say of ``job`` at its end, if it has failed."""
    try:
        now = sweep.status(job)
    except OSError:  # of a disk that does not answer just now; the table will tell
        return None
    return end_line(sweep, job, now) if now.state == "failed" else None


def _cause(code: int, log: Path, begin: int) -> str:
    if code == -signal.SIGKILL:
        return "killed by signal 9 (out of memory?)"
    if code < 0:
        return f"killed by signal {-code} ({signal.strsignal(-code)})"
    return (last_line(log, begin) if code else None) or f"exit code {code}"


def end_with_launcher() -> None:
    """Have this process told to stop and save when its launcher is killed: what goes on with the sweep must find it."""
    launcher = os.environ.pop(LAUNCHER, None)
    if launcher is None:
        return
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(launcher):  # it was killed before this
        sys.exit(128 + signal.SIGTERM)
