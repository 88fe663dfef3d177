"""One sweep, from the first batch of jobs that a sweeper hands over to its table."""

import secrets
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from sac_runner.config.convert import from_plain, key_of, to_plain
from sac_runner.config.schema import Config
from sac_runner.errors import Damaged, RunnerError, WrongInput, say
from sac_runner.machine import MOST_THREADS, available_cores, available_memory, threads_asked_for
from sac_runner.storage.find import find_run
from sac_runner.storage.lock import RunLock
from sac_runner.storage.new_folder import create_exclusively, nearest_there, refuse_where_none_can_be_made
from sac_runner.storage.sweep_directory import SweepDirectory, SweepJob
from sac_runner.sweep.plan import Setting, number_jobs, seeds_of, sweep_path
from sac_runner.sweep.probe import measure
from sac_runner.sweep.resources import Allotment, Machine, Needs, allot, most_threads, visible_gpus
from sac_runner.sweep.slurm import refuse_if_queued
from sac_runner.sweep.table import job_returns, summarize
from sac_runner.text import duration, plural, size


@dataclass(frozen=True)
class Limits:
    """How a sweep may use where it runs."""

    seeds: int | None
    """Runs of each setting; None takes the seeds that the overrides name."""
    at_a_time: int | None
    """Jobs that run at the same time; None takes as many as the machine allows."""
    cores: int | None
    """Of each job, where it runs on a machine of a cluster; None shares out this one."""
    launcher: dict[str, Any]
    """All that was asked of the launcher: what the sweep goes on with if it is resumed."""


class Proposed(NamedTuple):
    """A setting as a sweeper hands it over, composed and checked."""

    overrides: list[str]
    setting: Setting
    config: Config
    recipe: str | None
    of_seed: Callable[[int], Config]
    """Its config with another seed, and with what follows from that (``${seed}``)."""


Execute = Callable[[SweepDirectory, list[SweepJob], Allotment], int | None]
"""Runs jobs to their ends, on this machine or a cluster; returns the signal that stopped it, if one did."""


class Session:
    """The sweep of this process; a context manager, whose end is the table."""

    def __init__(self, command: list[str]) -> None:
        """No sweep yet; ``command`` is what was typed."""
        self._command = command
        self.sweep: SweepDirectory | None = None
        self._jobs: list[SweepJob] = []
        self._plan: dict[str, Any] = {}
        self._at_the_end = ExitStack()

    def run(self, proposed: list[Proposed], swept: list[str], limits: Limits, execute: Execute) -> list[float]:
        """Freeze a job for each setting and seed, run them all, and score each setting.

        Args:
            proposed: The settings.
            swept: Keys that differ, the seed aside.
            limits: Of the sweep.
            execute: Runs the jobs.

        Returns:
            For each of ``proposed`` the mean of its jobs' returns; 0 after a dry run.

        Raises:
            WrongInput: A job can't be run, and the sweep is as it was; or the cluster refuses them.
        """
        by_seed = len({p.config.seed for p in proposed}) > 1
        asked = [(p, seed) for p in proposed for seed in seeds_of(p.config.seed, limits.seeds, by_seed)]
        drawn = [(p, secrets.randbits(32) if seed is None else seed) for p, seed in asked]
        configs = [_frozen(p.of_seed(seed)) for p, seed in drawn]
        now = time.strftime("%Y%m%d-%H%M%S")
        path = sweep_path(configs[0].outputs, now, swept, configs[0].run.name)
        if self.sweep is None and not configs[0].dry_run:  # before environments are tried out, which takes seconds
            refuse_where_none_can_be_made(path)
        allotment, needs = self._allot(configs, limits)
        configs = [replace(c, threads=allotment.threads if c.threads == "auto" else c.threads) for c in configs]
        asked_for = [(p.setting, seed, c.total_env_steps) for (p, seed), c in zip(drawn, configs, strict=True)]
        jobs = number_jobs(self._jobs, asked_for)
        free = shutil.disk_usage(nearest_there(path)).free
        if configs[0].dry_run:
            print(_announcement(jobs, allotment, needs, free, None))
            return [0.0] * len(proposed)
        sweep = self._open(path, configs[0], swept)
        self._jobs += jobs
        self._plan |= {"at_a_time": allotment.at_a_time, "launcher": limits.launcher}
        frozen = [_job_data(p, c, job) for (p, _), c, job in zip(drawn, configs, jobs, strict=True)]
        sweep.write_plan(self._plan, self._jobs, frozen)
        say(_announcement(jobs, allotment, needs, free, sweep.path))
        self._execute(sweep, jobs, allotment, execute)
        returns = job_returns(sweep, jobs, self._jobs)
        of_setting = [[x for x, (p, _) in zip(returns, drawn, strict=True) if p is one] for one in proposed]
        return [sum(some) / len(some) for some in of_setting]

    def resume(self, sweep: SweepDirectory, limits: Limits, execute: Execute, dry_run: bool) -> None:
        """Run what of ``sweep`` is missing, has failed or was cut off.

        Raises:
            WrongInput: It is not a sweep, or what its jobs name is not there any more.
            Damaged: Its plan can't be read.
            RunInUse: Another process runs it.
            DiskFailed: How its jobs are run from here on can't be written into its plan.
        """
        sweep.require_inside()
        if not dry_run:
            refuse_if_queued(sweep)
            self._own(sweep)  # before its plan is read, to which its sweeper adds jobs
        jobs = sweep.jobs()
        states = {job.path: sweep.status(job).state for job in jobs}
        left = [job for job in jobs if states[job.path] != "finished"]
        words = f"{sweep.path}: {len(jobs) - len(left)} of {plural(len(jobs), 'run')} done, {len(left)} to go"
        if dry_run:
            print("\n".join([words, *(f"  {job.path}  {states[job.path]}" for job in left)]))
            return
        say(words)
        if left:
            allotment, _ = self._allot(_intact(sweep, left), limits)
            began = time.strftime("%FT%T%z")
            now = {"at_a_time": allotment.at_a_time, "launcher": limits.launcher, "started": began}
            sweep.write_plan(sweep.read_plan() | now, jobs, [])
            self._execute(sweep, left, allotment, execute)

    def _allot(self, configs: list[Config], limits: Limits) -> tuple[Allotment, list[Needs]]:
        """What each job gets, and what each needs."""
        machine = Machine(available_cores(), available_memory(), 0)
        threads = most_threads(configs)
        if limits.cores is not None:
            here = [replace(config, threads=min(machine.cores, MOST_THREADS), device="auto") for config in configs]
            return Allotment(limits.at_a_time or len(configs), threads or limits.cores, []), measure(here)
        most = threads_asked_for() or MOST_THREADS
        at_first = allot(len(configs), limits.at_a_time, threads, 0, machine, most=most)
        each = measure([replace(config, threads=at_first.threads) for config in configs])
        machine = replace(machine, gpus=max(needs.gpus for needs in each))
        memory = max(needs.memory for needs in each)
        return allot(len(configs), limits.at_a_time, threads, memory, machine, visible_gpus(), most), each

    def _open(self, path: Path, config: Config, swept: list[str]) -> SweepDirectory:
        """The sweep's directory, made with its first batch."""
        if self.sweep is None:
            self._plan = {
                "name": config.run.name or "_".join(swept) or "seeds",
                "started": time.strftime("%FT%T%z"),
                "command": self._command,
                "swept": swept,
            }
            self._own(SweepDirectory(create_exclusively(path)))
        assert self.sweep is not None
        return self.sweep

    def _own(self, sweep: SweepDirectory) -> None:
        self._at_the_end.enter_context(RunLock(sweep.path))
        self.sweep = sweep

    def _execute(self, sweep: SweepDirectory, jobs: list[SweepJob], allotment: Allotment, execute: Execute) -> None:
        stop_signal = execute(sweep, jobs, allotment)
        if stop_signal is not None:  # whatever else a sweeper had in mind
            sys.exit(130 if stop_signal == signal.SIGINT else 143)

    def __enter__(self) -> "Session":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._at_the_end:
            if self.sweep is not None and self.sweep.is_sweep:  # else a full disk took no plan
                say(summarize(self.sweep))

    def exit_code(self) -> int:
        """0 where every job is finished, else that of one that says why it failed, or 1."""
        if self.sweep is None:
            return 0
        left = [job for job in self.sweep.jobs() if self.sweep.status(job).state != "finished"]
        codes = [ended.exit_code for job in left if (ended := self.sweep.read_end(job)) is not None]
        return next((code for code in codes if code in (70, 73, 74, 76)), 1 if left else 0)


def _frozen(config: Config) -> Config:
    """What does not depend on when the job starts: which run ``init_from=last`` is."""
    source = None if config.init_from is None else str(find_run(config.init_from, config.outputs).resolve())
    return replace(config, init_from=source)


def _job_data(proposed: Proposed, config: Config, job: SweepJob) -> dict[str, Any]:
    overrides = [override for override in proposed.overrides if key_of(override) not in ("seed", "sweep")]
    return {
        "config": to_plain(config),
        "overrides": [*overrides, f"seed={job.seed}"],
        "recipe": proposed.recipe,
        "setting": job.setting,
        "path": job.path,
    }


def _intact(sweep: SweepDirectory, jobs: list[SweepJob]) -> list[Config]:
    """What ``jobs`` were frozen to; one that can't be read is left out, and says so when it is run.

    Raises:
        Damaged, WrongInput: None of them can be read.
    """
    found, failures = [], list[RunnerError]()
    for job in jobs:
        try:
            found.append(frozen_config(sweep, job))
        except (Damaged, WrongInput) as e:
            failures.append(e)
    if not found:
        raise failures[0]
    return found


def frozen_config(sweep: SweepDirectory, job: SweepJob) -> Config:
    """What ``job`` was frozen to.

    Raises:
        Damaged: It can't be read.
        WrongInput: It is of another version.
    """
    return from_plain(sweep.read_config(job))


def _announcement(jobs: list[SweepJob], allotment: Allotment, needs: list[Needs], free: int, path: Path | None) -> str:
    """The plan, before anything starts."""
    settings = list(dict.fromkeys(job.label for job in jobs))
    seeds = len(jobs) // len(settings)
    lines = [f"{plural(len(jobs), 'run')}: {plural(len(settings), 'setting')} x {plural(seeds, 'seed')}"]
    if any(job.setting for job in jobs):
        lines += [f"  {label}" for label in settings[:8]]
        lines += [f"  and {len(settings) - 8} more"] if len(settings) > 8 else []
    seconds = sum(need.seconds for need in needs) / allotment.at_a_time
    time_needed = f"about {duration(seconds)} in all, evaluation aside; " if seconds else "time not measured; "
    disk = sum(need.disk for need in needs)
    scarce = " (too little is free)" if disk > free else ""
    disk_needed = f"{size(disk)} of disk{scarce}" if disk else "disk not measured"
    gpus = f" on GPU {', '.join(allotment.gpus)}" if allotment.gpus else ""
    where = f" -> {path}" if path is not None else "; a dry run: nothing is written"
    share = f"{allotment.at_a_time} at a time, {plural(allotment.threads, 'thread')} each{gpus}"
    lines.append(f"{share}; {time_needed}{disk_needed}{where}")
    return "\n".join(lines)
