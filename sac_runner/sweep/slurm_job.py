"""What submitit runs on a node: a job of a sweep as a process, for as long as the cluster lets it."""

import contextlib
import os
import signal
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sac_runner.errors import DiskFailed
from sac_runner.signals import handling
from sac_runner.storage.status import is_owned
from sac_runner.storage.sweep_directory import Ended, SweepDirectory, SweepJob
from sac_runner.sweep.job_process import JobProcess

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

STOPPED = 143
"""Exit code of a job that was told to stop and has saved."""

_POLL_S = 0.1
_GRACE_S = 900.0


@dataclass
class ClusterJob:
    """Called on the node; may be pickled."""

    sweep: SweepDirectory
    job: SweepJob
    environment: dict[str, str]
    hang_s: float

    def __call__(self) -> None:
        """Start the job, or go on with it, and wait for its end.

        Raises:
            SystemExit: It was stopped; where the cluster did that, it is queued again.
        """
        _drop_torn_pickles()
        requeue, stop = user_signals()
        came: list[int] = []
        with handling((signal.SIGTERM, requeue, stop), lambda number, frame: came.append(number)):
            code = self._run(came, stop)
            if code not in (STOPPED, -signal.SIGTERM, -requeue, -stop):
                return
            with contextlib.suppress(DiskFailed):
                self.sweep.write_end(self.job, Ended(STOPPED, "stopped by the cluster"))
            _outstay(came)
        if requeue in came:
            signal.raise_signal(requeue)  # submitit's handler is back: it queues this again, or leaves it at that
        sys.exit(STOPPED)

    def _run(self, came: list[int], stop: int) -> int:
        while is_owned(self.sweep.run(self.job).path):  # an earlier process of it still saves
            if came:
                return STOPPED
            time.sleep(_POLL_S)
        process = JobProcess.start(self.sweep, self.job, self.environment, own_session=False)
        told = False
        while process.popen.poll() is None:
            process.end_if_hung(self.hang_s)
            if came and not told:  # SLURM tells the process as well: the same signal once more would end it unsaved
                told = True
                process.popen.send_signal(signal.SIGTERM if came[0] == stop else stop)
            time.sleep(_POLL_S)
        process.keep_end(self.hang_s)
        return process.popen.returncode

    def checkpoint(self) -> "DelayedSubmission":
        """What submitit is to queue again: the same, whose run goes on."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def user_signals() -> tuple[int, int]:
    """The signal by which submitit is told to queue a job again, and the one by which we have it stop for good."""
    from submitit import JobEnvironment

    theirs: int = getattr(signal, f"SIG{JobEnvironment.USR_SIG}")
    return theirs, signal.SIGUSR1 if theirs == signal.SIGUSR2 else signal.SIGUSR2


def _drop_torn_pickles() -> None:
    """What a kill has left fails every later save: submitit's ``temporary_save_path`` asserts that there is none."""
    from submitit import JobEnvironment

    paths = JobEnvironment().paths
    for pickle in (paths.submitted_pickle, paths.result_pickle):
        pickle.with_name(f"{pickle.name}.save_tmp").unlink(missing_ok=True)


def _outstay(came: list[int]) -> None:
    """Stay until SLURM ends this, where SIGTERM alone announced that.

    It queues a pre-empted job again only if it had to end it; one that leaves by itself counts as failed (SLURM 22.05).
    """
    end = time.monotonic() + _GRACE_S  # nobody ends it, where a user sent the signal
    while os.environ["SUBMITIT_EXECUTOR"] == "slurm" and set(came) == {signal.SIGTERM} and time.monotonic() < end:
        time.sleep(_POLL_S)
