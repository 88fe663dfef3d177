"""A sweep on disk: the plan of its jobs, the config that each was frozen to, how its processes ended.

``sweep.json`` is the plan and is written before the first job starts. What has become of a job is read from its run
directory; ``jobs/`` adds what that can't know: what its process printed, and how it ended.
"""

import contextlib
import os
import re
import time
from pathlib import Path
from typing import Any, NamedTuple

from sac_runner.errors import Damaged, RunnerError, WrongInput
from sac_runner.signals import STOP_SIGNALS
from sac_runner.storage.files import make_folder, matching, write_atomically
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.storage.signed import read_signed, signed
from sac_runner.storage.status import Status, status

VERSION = 1
_PATH = re.compile(r"(?!\.)[A-Za-z0-9._-]+/(?!\.)[A-Za-z0-9._-]+")
_STOPPED = tuple(128 + number for number in STOP_SIGNALS)  # told to


class SweepJob(NamedTuple):
    """One run of a sweep, as planned."""

    number: int
    path: str
    """Path of its run directory within the sweep: ``<setting>/s<seed>``."""
    setting: dict[str, str]
    """Swept key -> value as Hydra writes it, such as ``alpha`` -> ``fixed_0.05``; the seed aside."""
    seed: int
    total_env_steps: int | None
    """Its budget; None where rounds alone end it."""

    @property
    def label(self) -> str:
        """``alpha=fixed_0.05``, or ``default`` where nothing but seeds is swept."""
        return " ".join(f"{key}={value}" for key, value in self.setting.items()) or "default"


class Ended(NamedTuple):
    """How the newest process of a job ended."""

    exit_code: int
    """Exit code as in the shell: 128 + n where signal n killed it."""
    cause: str


class SweepDirectory:
    """``outputs/sweeps/<time>_<name>``."""

    def __init__(self, path: Path) -> None:
        """``path`` need not hold a sweep: ``is_sweep`` says whether."""
        self.path = path

    @property
    def _folder(self) -> Path:
        return self.path / "jobs"  # no attribute: a cluster's queue holds pickles, maybe of an earlier version

    @property
    def is_sweep(self) -> bool:
        """Whether a plan was written here."""
        return os.path.isfile(self.path / "sweep.json")  # Path.is_file raises where it may not look

    def write_plan(self, plan: dict[str, Any], jobs: list[SweepJob], frozen: list[dict[str, Any]]) -> None:
        """Freeze ``jobs``, and only then name them in the plan; a sweeper may call this again with more.

        Args:
            plan: What else is to be known: ``name``, ``command``, ``at_a_time``, ...
            jobs: All of them, earlier ones included.
            frozen: For each of the last ``len(frozen)`` jobs, what its process is to run.

        Raises:
            DiskFailed: The plan is as it was before.
        """
        make_folder(self._folder)
        for job, data in zip(jobs[len(jobs) - len(frozen) :], frozen, strict=True):
            write_atomically(self.job_file(job), signed(data))
        rows = [job._asdict() for job in jobs]
        write_atomically(self.path / "sweep.json", signed({"version": VERSION, **plan, "jobs": rows}))

    def read_plan(self) -> dict[str, Any]:
        """``sweep.json``.

        Raises:
            WrongInput: This is not a sweep.
            Damaged: It is not what was written, or of a later version.
        """
        if not self.is_sweep:
            raise WrongInput(f"{self.path} is not a sweep: it has no sweep.json")
        plan = read_signed(self.path / "sweep.json")
        if plan.get("version") != VERSION:
            raise Damaged(f"{self.path / 'sweep.json'} is of version {plan.get('version')}, this is {VERSION}")
        return plan

    def jobs(self) -> list[SweepJob]:
        """What was planned.

        Raises:
            WrongInput: This is not a sweep.
            Damaged: The plan can't be read.
        """
        try:
            return [_job(**row) for row in self.read_plan()["jobs"]]
        except (KeyError, TypeError) as e:
            raise Damaged(f"{self.path / 'sweep.json'} is damaged: its jobs are not what was written") from e
        except ValueError as e:
            raise Damaged(f"{self.path / 'sweep.json'} names {e}, which is not a place for a run") from e

    def require_inside(self) -> None:
        """Nothing that a sweep which somebody sent writes or reads may be elsewhere.

        Raises:
            WrongInput: One of its files or folders is a link.
        """
        for pattern in ("*", "*/*", "*/s[0-9]*/.*"):  # submitit makes links of its own below jobs/
            for path in matching(self.path, pattern):
                if path.is_symlink():
                    raise WrongInput(f"{path} is refused: it is a link, and may lead out of the sweep")

    def run(self, job: SweepJob) -> RunDirectory:
        """The run directory of ``job``, which need not be there yet."""
        return RunDirectory(self.path / job.path)

    def status(self, job: SweepJob) -> Status:
        """What has become of ``job``: what its run says, and what that can't know of how its process ended."""
        now, ended = status(self.run(job)), self.read_end(job)
        if ended is None or ended.exit_code in _STOPPED or now.state in ("finished", "running", "failed"):
            return now
        if ended.exit_code == 0 and now.state == "waiting":  # it was done, and its run was removed
            return now
        return now._replace(state="failed", cause=", ".join(filter(None, [ended.cause, now.cause])))

    def job_file(self, job: SweepJob) -> Path:
        """What the process of ``job`` is to run."""
        return self._folder / f"{job.number:04}.json"

    def read_config(self, job: SweepJob) -> dict[str, Any]:
        """What ``job`` was frozen to, as plain data.

        Raises:
            Damaged: It can't be read.
            DiskFailed: Nor can its file.
        """
        config = read_signed(self.job_file(job)).get("config")
        if not isinstance(config, dict):
            raise Damaged(f"{self.job_file(job)} is not a job of a sweep")
        return config

    def log_file(self, job: SweepJob) -> Path:
        """All that the processes of ``job`` printed."""
        return self._folder / f"{job.number:04}.log"

    def _end_file(self, job: SweepJob) -> Path:
        return self._folder / f"{job.number:04}.end.json"

    def forget_end(self, job: SweepJob) -> None:
        """How a process of ``job`` ended is no longer the news: another one starts, or its run goes."""
        self._end_file(job).unlink(missing_ok=True)

    def write_end(self, job: SweepJob, ended: Ended) -> None:
        """Keep how the process of ``job`` ended.

        Raises:
            DiskFailed: It is not kept.
        """
        write_atomically(self._end_file(job), signed(ended._asdict() | {"at": time.strftime("%FT%T%z")}))

    def read_end(self, job: SweepJob) -> Ended | None:
        """How the newest process of ``job`` ended; None while it runs, and where its launcher was killed too."""
        try:
            data = read_signed(self._end_file(job))
            return Ended(int(data["exit_code"]), str(data["cause"]))
        except (RunnerError, KeyError, TypeError, ValueError):
            return None


def find_job(run: Path) -> tuple[SweepDirectory, SweepJob] | None:
    """The sweep and the job that ``run`` is; None where it is no job, or the plan can't be read."""
    sweep = SweepDirectory(run.absolute().parent.parent)  # /data, as of a container, has no parents[1]
    with contextlib.suppress(RunnerError):
        return next(((sweep, job) for job in sweep.jobs() if sweep.run(job).path == run.absolute()), None)
    return None


def _job(**row: Any) -> SweepJob:
    """A job as the plan has it.

    Raises:
        TypeError: It has other keys or types.
        ValueError: Its path, which is all that it says, is none of a run: a plan that somebody sent must not lead out
            of its folder.
    """
    job = SweepJob(**row)
    texts = (job.path, *job.setting, *job.setting.values()) if isinstance(job.setting, dict) else (None,)
    budget = job.total_env_steps
    counts = (job.number, job.seed, 0 if budget is None else budget)
    if not all(type(text) is str for text in texts) or not all(type(count) is int for count in counts):
        raise TypeError(row)
    job_folder(Path(), job.path)  # for its ValueError alone
    return job


def job_folder(sweep: Path, path: str) -> Path:
    """The run directory of a job of ``sweep``, whose ``path`` somebody may have written.

    Raises:
        ValueError: It is no ``<setting>/s<seed>``.
    """
    if not _PATH.fullmatch(path):
        raise ValueError(path)
    return sweep / path
