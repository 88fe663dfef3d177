"""The jobs of a sweep as processes of this machine: started, watched, ended, each by itself."""

import contextlib
import signal
import subprocess
import time
from collections import Counter
from types import FrameType

from sac_runner.errors import DiskFailed
from sac_runner.signals import handling, stop_signals
from sac_runner.storage.lock import owner_of
from sac_runner.storage.status import is_owned
from sac_runner.storage.sweep_directory import Ended, SweepDirectory, SweepJob
from sac_runner.sweep.board import Board
from sac_runner.sweep.job_process import LAST_WORDS_S, JobProcess
from sac_runner.sweep.resources import Allotment
from sac_runner.sweep.table import end_line
from sac_runner.text import cut

_POLL_S = 0.1
_SAVING_S = 30.0  # for a process that is told to stop, after an error of ours
_STARTS, _RETRY_S = 3, 10.0  # tries of a job, and the pause after one that fails


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
                            process.killed = f"killed: it did not end within {LAST_WORDS_S:g} s of the second Ctrl-C"
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
            self._kill_at = min(self._kill_at, time.monotonic() + LAST_WORDS_S)
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


def failure(sweep: SweepDirectory, job: SweepJob) -> str | None:
    """What to say of ``job`` at its end, if it has failed."""
    now = sweep.status(job)
    return end_line(sweep, job, now) if now.state == "failed" else None
