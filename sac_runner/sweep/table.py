"""What came out of a sweep: a table for people, the same as CSV and JSON, and a number for sweepers."""

import contextlib
import csv
import io
import math
import statistics
from dataclasses import dataclass
from shlex import quote
from typing import Any

import numpy as np

from sac_runner.analysis.statistics import FEW, iqm, iqm_interval
from sac_runner.errors import DiskFailed, command, train_command, warn
from sac_runner.storage.files import json_bytes, write_atomically
from sac_runner.storage.metrics_file import read_points
from sac_runner.storage.status import Status, counted
from sac_runner.storage.sweep_directory import SweepDirectory, SweepJob
from sac_runner.text import columns, cut, duration, number, plural

_LABEL, _CAUSE = 60, 200  # columns at most
_UNEQUAL = 1.01  # ratio of env steps above which runs count as unequal: a step of several environments is not cut
WORST_RETURN = -1e9
"""Of a job without any evaluation, in a sweep without any: finite, as sweepers want it."""


@dataclass(frozen=True)
class Row:
    """One setting."""

    label: str
    env: str
    """As it was swept; empty where it was not."""
    seeds: int
    finals: list[float]
    """Final evaluation mean of each finished job."""
    at: list[int]
    """Env steps of that."""
    bests: list[float]
    """Best evaluation mean of each finished job."""
    minutes: list[float]
    """Wall time of each finished job."""


def rows_of(jobs: list[tuple[SweepJob, Status]]) -> list[Row]:
    """A row for each setting, the best final mean first, each environment by itself; settings without one last."""
    rows = []
    for label in dict.fromkeys(job.label for job, _ in jobs):
        env = next(_env(job) for job, _ in jobs if job.label == label)
        own = [now for job, now in jobs if job.label == label]
        done = [now for now in own if now.state == "finished" and "final" in now.scores]
        finals = [float(now.scores["final"]["return_mean"]) for now in done]
        at = [int(now.scores["final"]["env_steps"]) for now in done]
        bests = [float(now.scores["best"]["return_mean"]) for now in done]
        rows.append(Row(label, env, len(own), finals, at, bests, [now.wall_time_s / 60 for now in done]))
    envs = list(dict.fromkeys(row.env for row in rows))
    return sorted(
        rows, key=lambda row: (envs.index(row.env), -statistics.fmean(row.finals) if row.finals else math.inf)
    )


def _env(job: SweepJob) -> str:
    return " ".join(job.setting[key] for key in ("env", "env.id") if key in job.setting)


def summarize(sweep: SweepDirectory) -> str:
    """The table of ``sweep``; ``sweep_summary.csv`` and ``.json`` are written beside its jobs."""
    jobs = [(job, sweep.status(job)) for job in sweep.jobs()]
    rows = rows_of(jobs)
    try:
        write_atomically(sweep.path / "sweep_summary.csv", _csv(jobs).encode())
        write_atomically(sweep.path / "sweep_summary.json", json_bytes(_plain(rows, jobs)))
    except DiskFailed as e:
        warn(f"no sweep_summary: {e.message}")
    said = [_headline(sweep, jobs), *_table(rows), *_unequal(rows), *_unfinished(sweep, jobs), *_next(sweep, jobs)]
    return "\n".join(said)


def _headline(sweep: SweepDirectory, jobs: list[tuple[SweepJob, Status]]) -> str:
    states = [now.state for _, now in jobs]
    counts = counted(states) if "finished" in states else f"0 done, {counted(states)}"
    seconds = sum(now.wall_time_s for _, now in jobs)
    return f"{sweep.path.name}: {plural(len(jobs), 'run')}, {counts}, {duration(seconds)} of training"


def _table(rows: list[Row]) -> list[str]:
    header = ["setting", "seeds", "final return", "IQM [95%]", "best", "min/run"]
    return columns([header, *map(_cells, rows)], right=(1, 2, 4, 5))


def _cells(row: Row) -> list[str]:
    label, seeds = cut(row.label, _LABEL), f"{len(row.finals)}/{row.seeds}"
    if not row.finals:
        return [label, seeds, "-", "", "-", "-"]
    mean, best, minutes = (statistics.fmean(x) for x in (row.finals, row.bests, row.minutes))
    spread = f" +- {number(statistics.stdev(row.finals))}" if len(row.finals) > 1 else ""
    return [label, seeds, number(mean) + spread, _interval(row.finals), number(best), f"{minutes:.1f}"]


def _interval(finals: list[float]) -> str:
    if len(finals) < FEW:
        return f"{plural(len(finals), 'seed')}: {' '.join(map(number, sorted(finals)))}"
    scores = np.array(finals)
    low, high = iqm_interval(scores)
    return f"{number(float(iqm(scores)))} [{number(low)}, {number(high)}]"


def _unequal(rows: list[Row]) -> list[str]:
    """A job may have gone on by hand for longer than the others."""
    said = []
    for env in dict.fromkeys(row.env for row in rows):
        at = [steps for row in rows if row.env == env for steps in row.at]
        if at and max(at) > _UNEQUAL * min(at):
            returns = f"final returns{f' of {env}' * bool(env)} are of {min(at):,} to {max(at):,} env steps"
            said.append(f"caution: {returns}; compare scores all where the shortest ends")
    return said


def _unfinished(sweep: SweepDirectory, jobs: list[tuple[SweepJob, Status]]) -> list[str]:
    return [end_line(sweep, job, now) for job, now in jobs if now.state in ("failed", "killed", "stopped")]


def end_line(sweep: SweepDirectory, job: SweepJob, now: Status) -> str:
    """Of a job that failed, was killed or stopped."""
    at = f" at {now.env_steps:,}" if now.env_steps else ""
    if now.state == "stopped":
        saved = "" if now.cause and now.cause.endswith("not saved") else ", saved"
        return f"stopped  {job.path}  {now.cause or 'told to stop'}{at}{saved}"
    cause, log = cut(now.cause or "ended without a word", _CAUSE), sweep.log_file(job)
    return f"{now.state:<8} {job.path}  {cause}{at} -> {log if log.exists() else log.parent}"  # where SLURM's own are


def _next(sweep: SweepDirectory, jobs: list[tuple[SweepJob, Status]]) -> list[str]:
    left = sum(now.state != "finished" for _, now in jobs)
    path, these = quote(str(sweep.path)), "this" if left == 1 else "these"
    ways = [f"{train_command(f'resume={path}')} (only {these} {left})"] if left else []
    if any(now.scores for _, now in jobs):
        ways += [f"{command('compare')} {path}", f"{command('tensorboard')} {path}"]
    return [f"next     {' | '.join(ways)}"]


def _csv(jobs: list[tuple[SweepJob, Status]]) -> str:
    """A line for each job."""
    keys = list(dict.fromkeys(key for job, _ in jobs for key in job.setting))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    scores = [(which, what) for which in ("final", "best") for what in ("return_mean", "return_std", "env_steps")]
    names = [f"{which}_{what}" for which, what in scores]
    writer.writerow(["run", *keys, "seed", "state", "cause", "env_steps", "wall_time_s", *names])
    for job, now in jobs:
        found = [now.scores.get(which, {}).get(what, "") for which, what in scores]
        values = [job.setting.get(key, "") for key in keys]
        writer.writerow(
            [job.path, *values, job.seed, now.state, now.cause or "", now.env_steps, now.wall_time_s, *found]
        )
    return text.getvalue()


def _plain(rows: list[Row], jobs: list[tuple[SweepJob, Status]]) -> dict[str, Any]:
    settings = []
    for row in rows:
        scores = np.array(row.finals)
        known = len(row.finals) > 0
        settings.append(
            {
                "setting": row.label,
                "seeds": row.seeds,
                "final_returns": row.finals,
                "best_returns": row.bests,
                "final_mean": statistics.fmean(row.finals) if known else None,
                "final_iqm": float(iqm(scores)) if known else None,
                "final_iqm_95": list(iqm_interval(scores)) if len(row.finals) >= FEW else None,
                "minutes": row.minutes,
            }
        )
    runs = [{"run": job.path, "setting": job.setting, "seed": job.seed, **now._asdict()} for job, now in jobs]
    return {"settings": settings, "runs": runs}


def job_returns(sweep: SweepDirectory, jobs: list[SweepJob], every: list[SweepJob]) -> list[float]:
    """The mean of each final evaluation of ``jobs``, for a sweeper; where there is none, the lowest of ``every`` job's.

    A sweeper takes no NaN, and must not prefer what fails.
    """
    finals = [_final(sweep.status(job)) for job in jobs]
    missing = WORST_RETURN
    if None in finals:
        missing = min((x for job in every if (x := _lowest(sweep, job)) is not None), default=WORST_RETURN)
    return [missing if final is None else final for final in finals]


def _final(now: Status) -> float | None:
    done = now.state == "finished" and "final" in now.scores
    return float(now.scores["final"]["return_mean"]) if done else None


def _lowest(sweep: SweepDirectory, job: SweepJob) -> float | None:
    with contextlib.suppress(DiskFailed):
        (curve,) = read_points(sweep.run(job), "eval/return_mean")
        return min(curve.values(), default=None)
    return None
