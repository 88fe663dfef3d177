"""The jobs of a sweep on a cluster: submitted, watched, stopped; they go on where this process is killed."""

import contextlib
import os
import signal
import time
from types import FrameType
from typing import Any

from sac_runner.errors import DiskFailed
from sac_runner.signals import handling
from sac_runner.storage.sweep_directory import Ended, SweepDirectory, SweepJob
from sac_runner.sweep.board import Board
from sac_runner.sweep.job_process import last_line
from sac_runner.sweep.pool import failure
from sac_runner.sweep.resources import Allotment
from sac_runner.sweep.slurm import Here, Slurm, executor_for, folder_of, name_of
from sac_runner.sweep.slurm_job import STOPPED, ClusterJob

_POLL_S = 0.25
_LOOK_S = 30.0  # between two looks at the queue, which every user's launchers ask
_LOOK_WHILE_STOPPING_S = 3.0


class Submission:
    """Jobs that are submitted to a cluster, and watched."""

    def __init__(
        self,
        sweep: SweepDirectory,
        allotment: Allotment,
        hang_s: float,
        board: Board,
        options: dict[str, Any],
    ) -> None:
        """Nothing is submitted before ``run``.

        Args:
            sweep: Its jobs are frozen in it.
            allotment: What each job gets.
            hang_s: A job without a sign of life for so long is ended.
            board: Shows how far it is.
            options: Checked.
        """
        self.sweep, self.allotment, self.hang_s, self.board = sweep, allotment, hang_s, board
        self.folder = folder_of(sweep, options["cluster"])
        executor = executor_for(self.folder, options, name=name_of(sweep), array_parallelism=allotment.at_a_time)
        self.cluster = Slurm(executor, name_of(sweep)) if options["cluster"] == "slurm" else Here(executor)
        self._jobs: dict[str, SweepJob] = {}
        self._slots: dict[str, int] = {}
        self._interrupts = 0
        self._told = False

    def run(self, jobs: list[SweepJob]) -> int | None:
        """Run ``jobs`` to their ends, failed ones too.

        Returns:
            SIGINT after Ctrl-C: what ran has saved, the rest has not begun. Any other signal ends this process alone:
            a login node that goes down must not take the jobs along.

        Raises:
            WrongInput: The cluster refuses them.
        """
        waiting = list(jobs)
        with handling([signal.SIGINT], self._handle):
            while self._jobs or (waiting and not self._interrupts):
                if not self._interrupts:
                    self._submit_some(waiting)
                elif not self._told:
                    self._told = True
                    if refused := self.cluster.stop():
                        once_more = f"scancel --name {name_of(self.sweep)}, which ends what runs unsaved"
                        self.board.say(f"{refused.rstrip()}\nnot all jobs were told to stop; later: {once_more}")
                elif self._interrupts > 1:
                    break
                self._reap()
                self.board.update()
                time.sleep(_POLL_S)
        return signal.SIGINT if self._interrupts else None

    def _submit_some(self, waiting: list[SweepJob]) -> None:
        room = len(waiting) if self.cluster.queues else self.allotment.at_a_time - len(self._jobs)
        some, waiting[:] = waiting[:room], waiting[room:]
        if some:
            for job in some:
                self.sweep.forget_end(job)
            free = [slot for slot in range(len(self._slots) + len(some)) if slot not in self._slots.values()]
            slots, share = free[: len(some)], self.allotment.environment
            ids = self.cluster.submit(
                [ClusterJob(self.sweep, job, share(slot), self.hang_s) for job, slot in zip(some, slots, strict=True)]
            )
            self._jobs |= dict(zip(ids, some, strict=True))
            self._slots |= dict(zip(ids, slots, strict=True))

    def _reap(self) -> None:
        queued = self.cluster.queued(_LOOK_WHILE_STOPPING_S if self._interrupts else _LOOK_S)
        for number, job in list(self._jobs.items()):
            ended = self.sweep.read_end(job)
            at_once = self.cluster.queues and ended is not None and (ended.exit_code != STOPPED or self._interrupts)
            if at_once or number not in queued:
                del self._jobs[number], self._slots[number]
                if ended is None and not self._interrupts:
                    self._keep_lost(number, job)
                if words := failure(self.sweep, job):
                    self.board.say(words)

    def _keep_lost(self, number: str, job: SweepJob) -> None:
        """Say in the sweep what the cluster said of a job that could not say itself how it ended."""
        log = self.folder / f"{number}_0_log.err"
        cause = last_line(log, only="slurmstepd") or last_line(log) or "left the queue before it began"
        with contextlib.suppress(DiskFailed):
            self.sweep.write_end(job, Ended(1, cause))

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._interrupts += 1
        words = "leaving" if self._interrupts > 1 else "stopping and saving; once more leaves without waiting for that"
        with contextlib.suppress(OSError):
            os.write(2, f"\n{words}\n".encode())
