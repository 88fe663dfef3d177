"""hydra/launcher=slurm: the jobs of a sweep on a cluster through submitit, or on this machine to try that out.

submitit keeps pickles in ``jobs/<cluster>/`` of the sweep. The cluster runs them; nothing of ours reads them.
"""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sac_runner.errors import RunInUse, WrongInput, command, first_line, train_command
from sac_runner.storage.files import FREE_SPACE, fault_of
from sac_runner.storage.sweep_directory import SweepDirectory
from sac_runner.sweep.slurm_job import ClusterJob, user_signals
from sac_runner.text import plural

if TYPE_CHECKING:
    from submitit import AutoExecutor, Job

_NOT_OF_SUBMITIT = {"_target_", "cluster", "seeds", "at_a_time", "hang_minutes", "max_requeues"}
_OF_ANY_CLUSTER = {"name", "timeout_min", "cpus_per_task", "mem_gb", "gpus_per_node"}
_AT_LEAST = {"timeout_min": 1, "max_requeues": 0, "cpus_per_task": 1}
_ANSWER_S = 60.0  # for the cluster's commands


def check(options: dict[str, Any]) -> None:
    """Whether jobs can be submitted with ``options``, those of ``hydra.launcher``.

    Raises:
        WrongInput: submitit or SLURM is not there, or an option can't be.
    """
    if find_spec("submitit") is None:
        install = f"{shlex.quote(sys.executable)} -m pip install 'submitit>=1.5'"
        raise WrongInput("hydra/launcher=slurm needs submitit, which comes with the extra slurm", install)
    if options["cluster"] not in ("slurm", "local"):
        text = f"hydra.launcher.cluster={options['cluster']} must be slurm, or local to try it on this machine"
        raise WrongInput(text, train_command("hydra/launcher=slurm hydra.launcher.cluster=local ..."))
    if missing := _AT_LEAST.keys() - options.keys():
        text = f"hydra.launcher.{min(missing)} is missing: cluster belongs to hydra/launcher=slurm"
        raise WrongInput(text, train_command(f"hydra/launcher=slurm hydra.launcher.cluster={options['cluster']} ..."))
    if options["cluster"] == "slurm" and not (shutil.which("srun") and shutil.which("squeue")):
        text = "hydra/launcher=slurm: there is no srun on this machine, so it is not of a SLURM cluster"
        raise WrongInput(text, train_command("-m ..., without it; hydra.launcher.cluster=local tries it here"))
    for key, least in _AT_LEAST.items():
        if type(options[key]) is not int or options[key] < least:
            text = f"hydra.launcher.{key}={options[key]} must be a whole number, at least {least}"
            raise WrongInput(text, train_command(f"hydra/launcher=slurm hydra.launcher.{key}=10 ..."))
    with tempfile.TemporaryDirectory() as folder:
        try:
            executor_for(Path(folder), options)
        except (AssertionError, NameError, TypeError, ValueError) as e:
            options_of = train_command("hydra/launcher=slurm --cfg hydra --package hydra.launcher")
            raise WrongInput(f"hydra.launcher: {first_line(e)}", options_of) from e


def executor_for(folder: Path, options: dict[str, Any], **more: Any) -> "AutoExecutor":
    """What submits jobs.

    Args:
        folder: For submitit's files.
        options: Of ``hydra.launcher``; those without a value are left to the cluster.
        more: Of submitit.
    """
    from submitit import AutoExecutor

    cluster, cores = options["cluster"], options["cpus_per_task"]
    executor = AutoExecutor(folder, cluster=cluster, **{f"{cluster}_max_num_timeout": options["max_requeues"]})
    given = {key: value for key, value in options.items() if value is not None and key not in _NOT_OF_SUBMITIT} | more
    given["srun_args"] = [f"--cpus-per-task={cores}", *options.get("srun_args", [])]  # not inherited since SLURM 22.05
    executor.update_parameters(**{k if k in _OF_ANY_CLUSTER else f"slurm_{k}": value for k, value in given.items()})
    return executor


class Slurm:
    """The cluster."""

    queues = True

    def __init__(self, executor: "AutoExecutor", name: str) -> None:
        self._executor, self._name = executor, name
        self._queued: set[str] = set()
        self._looked_at = 0.0

    def submit(self, jobs: list[ClusterJob]) -> list[str]:
        """As one array; returns the number of each."""
        from submitit.core.utils import FailedJobError, FailedSubmissionError
        from submitit.helpers import clean_env, environment_variables

        kept = {key: os.environ[key] for key in ("SLURM_CONF", "SUBMITIT_PREEMPT_SIGNAL") if key in os.environ}
        try:
            with clean_env(), environment_variables(**kept):  # of a job that this one may run in
                ids = [job.job_id for job in self._executor.submit_array(jobs)]
        except (FailedJobError, FailedSubmissionError) as e:
            raise WrongInput(f"the cluster refuses: {first_line(e)}") from e
        except OSError as e:  # of the pickles that it writes
            raise fault_of(e)(f"can't write {self._executor.folder}: {e.strerror}", FREE_SPACE) from e
        self._queued |= {*ids}
        self._looked_at = time.monotonic()
        return ids

    def queued(self, each_s: float) -> set[str]:
        """Those that wait or run, as of ``each_s`` seconds ago at most, or of when the cluster last gave an answer."""
        if time.monotonic() - self._looked_at > each_s:
            self._looked_at = time.monotonic()
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                self._queued = queued(self._name)
        return self._queued

    def stop(self) -> str:
        """Take back those that wait, and have the others save; returns what the cluster has against it."""
        scancel = ["scancel", "--quiet", "--user", str(os.getuid()), "--name", self._name]
        save = f"--signal={signal.Signals(user_signals()[1]).name}"
        return "".join(_said([*scancel, *of]) for of in (["--state=PENDING"], ["--state=RUNNING", save]))


class Here:
    """This machine."""

    queues = False

    def __init__(self, executor: "AutoExecutor") -> None:
        self._executor = executor
        self._jobs: list[Job[None]] = []

    def submit(self, jobs: list[ClusterJob]) -> list[str]:
        """Each as a process, whose number is returned; Ctrl-C on the terminal does not reach it."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            new = self._executor.submit_array(jobs)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._jobs += new
        return [job.job_id for job in new]

    def queued(self, each_s: float) -> set[str]:
        """Those that run."""
        self._jobs = [job for job in self._jobs if not job.done()]
        return {job.job_id for job in self._jobs}

    def stop(self) -> str:
        """Have them save."""
        for number in self.queued(0.0):
            os.kill(int(number), signal.SIGTERM)
        return ""


def _said(command: list[str]) -> str:
    """What ``command`` says on stderr."""
    try:
        return subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=_ANSWER_S).stderr
    except (OSError, subprocess.TimeoutExpired) as e:
        return f"{first_line(e)}\n"


def queued(name: str) -> set[str]:
    """The numbers of the jobs called ``name`` that SLURM has, in the queue or running.

    Raises:
        OSError: No squeue is here.
        SubprocessError: It fails.
    """
    whose = ["--user", str(os.getuid()), "--name", name]
    asked = ["squeue", "--noheader", "--array", *whose, "--format", "%i"]
    return {*subprocess.run(asked, capture_output=True, text=True, timeout=_ANSWER_S, check=True).stdout.split()}


def refuse_if_queued(sweep: SweepDirectory) -> None:
    """A job that a cluster has must not be run a second time.

    Raises:
        RunInUse: SLURM has jobs of ``sweep``, or can't be asked.
    """
    if not folder_of(sweep, "slurm").is_dir():
        return
    try:
        there = queued(name_of(sweep))
    except (OSError, subprocess.SubprocessError) as e:
        text = f"{sweep.path} was submitted to SLURM, and squeue can't say here what of it is left: {first_line(e)}"
        raise RunInUse(text, f"on the cluster; or, if nothing is left: rm -r {folder_of(sweep, 'slurm')}") from e
    if there:
        text = f"SLURM still has {plural(len(there), 'job')} of {sweep.path}"
        raise RunInUse(text, f"{command('runs')} --follow {sweep.path}; to end them: scancel --name {name_of(sweep)}")


def is_queued(sweep: SweepDirectory) -> bool:
    """Whether SLURM has jobs of ``sweep``, or can't say just now."""
    try:
        return folder_of(sweep, "slurm").is_dir() and bool(queued(name_of(sweep)))
    except OSError:  # there is none here
        return False
    except subprocess.SubprocessError:
        return True


def folder_of(sweep: SweepDirectory, cluster: str) -> Path:
    """Where submitit keeps its files."""
    return sweep.path / "jobs" / cluster


def name_of(sweep: SweepDirectory) -> str:
    """What the jobs of ``sweep`` are called on a cluster."""
    return f"sac-{sweep.path.resolve().name}"
