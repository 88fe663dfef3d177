"""All runs and sweeps at a glance, from what is quickly read: no YAML is parsed, no metric but the newest one read."""

import contextlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, TypeVar

from sac_runner.errors import RunnerError
from sac_runner.storage.files import folder_size
from sac_runner.storage.find import list_runs, list_sweeps, run_label, started
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.storage.signed import read_signed
from sac_runner.storage.status import State, Status, is_owned, status
from sac_runner.storage.sweep_directory import SweepDirectory, SweepJob

_ENV = re.compile(r"^env:\n((?: .*\n)+)", re.MULTILINE)
_ENV_NAMES = re.compile(r"^  (?:name|id): (.+)$", re.MULTILINE)
_BUDGET = re.compile(r"^total_env_steps: (\d+)$", re.MULTILINE)


class RunSeen(NamedTuple):
    """A run, or a job of a sweep that has not begun yet."""

    path: Path
    label: str
    """Label, as in ``run_label``."""
    envs: tuple[str, ...]
    """``env.name`` and ``env.id``, as far as they are known."""
    status: Status
    total_env_steps: int | None
    """Its budget; None where rounds alone end it, or nothing is known."""
    started: float
    """In seconds since 1970, 0 where nothing says."""
    n_bytes: int
    replay_bytes: int
    """Part of ``n_bytes``."""


class SweepSeen(NamedTuple):
    """A sweep and its jobs."""

    path: Path
    started: float
    """Start time, as in ``RunSeen``."""
    is_owned: bool
    """Whether a process runs it."""
    state: State
    """``running``, or else the worst state of its jobs, before the filters of ``sac-runs``."""
    damage: str | None
    """Why its plan can't be read; ``jobs`` are those runs then that are there."""
    jobs: list[RunSeen]
    n_jobs: int
    """How many there are, before the filters of ``sac-runs``."""
    own_bytes: int
    """Size of what belongs to no single run."""


Seen = TypeVar("Seen", RunSeen, SweepSeen, RunSeen | SweepSeen)


def see(outputs: Path) -> tuple[list[RunSeen], list[SweepSeen]]:
    """Runs that are no job of a sweep, and sweeps, each newest first."""
    within: dict[Path, list[Path]] = {sweep: [] for sweep in list_sweeps(outputs)}
    singles: list[Path] = []
    for run in list_runs(outputs):
        within.get(run.parents[1], singles).append(run)
    sweeps = [_see_sweep(SweepDirectory(sweep), found) for sweep, found in within.items()]
    return newest_first(map(see_run, singles)), newest_first(sweeps)


def newest_first(seen: Iterable[Seen]) -> list[Seen]:
    """Newest first, as for ``last``: the path decides between equal times."""
    return sorted(seen, key=lambda one: (one.started, str(one.path)), reverse=True)


def _see_sweep(sweep: SweepDirectory, found: list[Path]) -> SweepSeen:
    try:
        jobs, damage = [_see_job(sweep, job) for job in sweep.jobs()], None
    except RunnerError as e:
        jobs, damage = [], e.message
    planned = {job.path for job in jobs}
    jobs += [see_run(run) for run in found if run not in planned]
    own = folder_size(sweep.path, deep=False) + folder_size(sweep.path / "jobs")
    owned = is_owned(sweep.path)
    state: State = "running" if owned else _worst([job.status.state for job in jobs])
    return SweepSeen(sweep.path, started(sweep.path)[0], owned, state, damage, jobs, len(jobs), own)


def _worst(states: list[State]) -> State:
    """``running``, ``finished``, or else what matters most; without any job there is nothing that has begun."""
    order: tuple[State, ...] = ("running", "failed", "killed", "stopped", "waiting", "finished")
    return min(states, key=order.index, default="waiting")


def _see_job(sweep: SweepDirectory, job: SweepJob) -> RunSeen:
    run = sweep.run(job)
    if run.is_run:
        return see_run(run.path, sweep.status(job))
    envs: tuple[str, ...] = ()
    with contextlib.suppress(RunnerError, KeyError, TypeError):
        env = read_signed(sweep.job_file(job))["config"]["env"]
        envs = tuple(name for name in (env["name"], env["id"]) if isinstance(name, str))
    return RunSeen(run.path, run_label(run.path), envs, sweep.status(job), job.total_env_steps, 0.0, 0, 0)


def see_run(path: Path, now: Status | None = None) -> RunSeen:
    """A run, wherever it lies; ``now``: what is known of it."""
    run = RunDirectory(path)
    envs, total = _read_config(run)
    size, replay = folder_size(path), folder_size(run.replay)
    return RunSeen(path, run_label(path), envs, now or status(run), total, started(path)[0], size, replay)


def _read_config(run: RunDirectory) -> tuple[tuple[str, ...], int | None]:
    """Names of the environment, and the budget."""
    try:
        text = (run.path / "config.yaml").read_text(errors="replace")
    except OSError:
        return (), None
    env, budget = _ENV.search(text), _BUDGET.search(text)
    names = _ENV_NAMES.findall(env[1]) if env else []
    return tuple(name.strip("'\"") for name in names if name != "null"), int(budget[1]) if budget else None
