"""The jobs of a sweep as processes of this machine: started, watched, ended, each by itself."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import BinaryIO

from sac_runner.errors import DiskFailed
from sac_runner.storage.status import is_owned, silent_s
from sac_runner.storage.sweep_directory import Ended, SweepDirectory, SweepJob
from sac_runner.sweep.board import Board
from sac_runner.sweep.resources import Allotment

LAUNCHER = "SAC_LAUNCHER"
"""Environment variable with the process that a job must not outlive."""

_PR_SET_PDEATHSIG = 1  # of <linux/prctl.h>
_POLL_S = 0.1
_LAST_WORDS_S = 5.0  # for a process that is told to say where it hangs
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


@dataclass
class _Process:
    """A job that runs."""

    job: SweepJob
    slot: int
    popen: subprocess.Popen[bytes]
    log: BinaryIO
    log_begin: int
    started: float = field(default_factory=time.monotonic)
    hung_at: float | None = None
    """When it was found to hang."""


class Pool:
    """Runs jobs, ``allotment.at_a_time`` of them at any moment."""

    def __init__(self, sweep: SweepDirectory, allotment: Allotment, hang_minutes: float | None, board: Board) -> None:
        """Nothing starts before ``run``.

        Args:
            sweep: Its jobs are frozen in it.
            allotment: What each job gets.
            hang_minutes: A job without a sign of life for so long is ended; None waits for ever.
            board: Shows how far it is.
        """
        self.sweep, self.allotment, self.board = sweep, allotment, board
        self.hang_s = float("inf") if hang_minutes is None else 60 * hang_minutes
        self.stop_signal: int | None = None
        self._running: list[_Process] = []
        self._told_of: set[int] = set()

    def run(self, jobs: list[SweepJob]) -> int | None:
        """Run ``jobs`` to their ends, failed ones too.

        Returns:
            The signal that stopped it, if one did: running jobs have saved, the others have not begun.
        """
        waiting = list(jobs)
        with self._signals():
            try:
                while self._running or (waiting and self.stop_signal is None):
                    self._start_some(waiting)
                    self._reap()
                    self._end_hung()
                    self.board.update()
                    time.sleep(_POLL_S)
            finally:
                self._end_all()
        return self.stop_signal

    def _start_some(self, waiting: list[SweepJob]) -> None:
        free = set(range(self.allotment.at_a_time)) - {process.slot for process in self._running}
        for job in list(waiting):
            if not free or self.stop_signal is not None:
                return
            if is_owned(self.sweep.run(job).path):  # left by a launcher that was killed: it stops and saves now
                self._tell_once(job)
                continue
            waiting.remove(job)
            self._running.append(self._start(job, free.pop()))

    def _tell_once(self, job: SweepJob) -> None:
        if job.number not in self._told_of:
            self._told_of.add(job.number)
            self.board.say(f"waiting  {job.path}  another process still trains it")

    def _start(self, job: SweepJob, slot: int) -> _Process:
        self.sweep.begin(job)
        log = self.sweep.log_file(job).open("ab", buffering=0)
        popen = subprocess.Popen(
            job_command(self.sweep, job),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **self.allotment.environment(slot), LAUNCHER: str(os.getpid())},
            start_new_session=True,  # Ctrl-C reaches the launcher alone, which passes it on once
        )
        return _Process(job, slot, popen, log, log.tell())

    def _reap(self) -> None:
        for process in list(self._running):
            if process.popen.poll() is not None:
                self._running.remove(process)
                process.log.close()
                self._keep_end(process)

    def _keep_end(self, process: _Process) -> None:
        job, code = process.job, process.popen.returncode
        if process.hung_at is not None:
            cause = f"no sign of life for {self.hang_s / 60:g} minutes: ended"
            if (self.sweep.run(job).path / "crash.log").is_file():
                cause += "; crash.log shows where it hung"
        else:
            cause = _cause(self.sweep, process)
        with contextlib.suppress(DiskFailed):  # the run's own summary is what counts
            self.sweep.write_end(job, Ended(128 - code if code < 0 else code, cause))
        now = self.sweep.status(job)
        if now.state == "failed":
            at = f" at {now.env_steps:,}" if now.env_steps else ""
            self.board.say(f"failed   {job.path}  {now.cause}{at} -> {self.sweep.log_file(job)}")

    def _end_hung(self) -> None:
        """A process that hangs is asked where, which it can say even from within C, and killed after that."""
        now = time.monotonic()
        for process in self._running:
            if process.hung_at is not None:
                if now - process.hung_at > _LAST_WORDS_S:
                    process.popen.kill()
            elif min(now - process.started, silent_s(self.sweep.run(process.job).path)) > self.hang_s:
                process.hung_at = now
                process.popen.send_signal(signal.SIGABRT)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Ctrl-C and a scheduler's signals reach every job; once more, they end at once, unsaved."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._handle) for number in _STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        again, self.stop_signal = self.stop_signal is not None, number
        for process in self._running:
            if process.popen.poll() is None:
                process.popen.send_signal(signal.SIGINT if number == signal.SIGINT else signal.SIGTERM)
        with contextlib.suppress(OSError):
            words = b"\nending at once, unsaved\n" if again else b"\nstopping and saving; once more stops at once\n"
            os.write(2, words)

    def _end_all(self) -> None:
        """After an error of ours: no job goes on unwatched."""
        for process in self._running:
            with contextlib.suppress(OSError):
                process.popen.terminate()
        for process in self._running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.popen.wait(30)
            process.log.close()


def job_command(sweep: SweepDirectory, job: SweepJob) -> list[str]:
    """The command line of one job: ``sac-train`` on what was frozen."""
    return [sys.executable, "-m", "sac_runner.commands.train", "--job", str(sweep.job_file(job))]


def _cause(sweep: SweepDirectory, process: _Process) -> str:
    code = process.popen.returncode
    if code == -signal.SIGKILL:
        return "killed by signal 9 (out of memory?)"
    if code < 0:
        return f"killed by signal {-code} ({signal.strsignal(-code)})"
    said = _last_line(process.log_begin, sweep.log_file(process.job).read_bytes) if code else None
    return said or f"exit code {code}"


def _last_line(begin: int, read: Callable[[], bytes]) -> str | None:
    """Of what a process printed: its last error, or else its last line."""
    try:
        lines = read()[begin:].decode(errors="replace").splitlines()
    except OSError:
        return None
    said = [line.strip() for line in lines if line.strip() and not line.startswith("  try:")]
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
