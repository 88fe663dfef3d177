"""From what a user types to runs with their curves, configs, versions and states; what can't be used is named."""

import difflib
import glob
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from sac_runner.analysis.curves import NOWHERE, RETURN, Curve, read_curve
from sac_runner.config.convert import flat
from sac_runner.errors import Damaged, RunnerError, WrongInput, command, warn
from sac_runner.storage.find import find_run_or_sweep, list_runs, list_sweeps, run_label, typed_path
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.storage.status import Status, status
from sac_runner.storage.stored_config import plain_config
from sac_runner.storage.sweep_directory import SweepDirectory, SweepJob, find_job

_DEPTH = 5  # outputs/sweeps/<sweep>/<setting>/<seed>


@dataclass(frozen=True)
class Run:
    """A run that has the metric, or failed before it was measured."""

    path: Path
    name: str
    """The part of its path below ``runs`` or ``sweeps``."""
    env_id: str
    seed: Any
    config: dict[str, Any]
    """Dotted key -> value, as stored; it may be of another version."""
    meta: dict[str, Any]
    """``meta.json``, empty where it is missing or damaged."""
    status: Status
    setting: dict[str, str] | None
    """What was swept, as typed, where the run is a job of a sweep."""
    curve: Curve
    evaluations: dict[int, float]
    """Env steps -> mean return, whatever the curve is of: what tells one run from another."""

    @property
    def is_measured(self) -> bool:
        """Whether it has the metric; one that failed before counts as failed all the same."""
        return self.curve is not NOWHERE


class LeftOut(NamedTuple):
    """A run that can't be used."""

    name: str
    why: str


class Loaded(NamedTuple):
    """What there is to compare."""

    runs: list[Run]
    """In the order of the arguments, a sweep's in that of its jobs."""
    left_out: list[LeftOut]


class _Place(NamedTuple):
    """A run directory to read; a sweep's job may not have begun."""

    path: Path
    status: Callable[[], Status]
    """Asked for just before the curve is read: a run may go on meanwhile."""
    setting: dict[str, str] | None = None
    """What was swept, as typed, where the run is a job of a sweep."""
    planned: Callable[[], dict[str, Any]] | None = None
    """The config of such a job, for one that failed before it wrote its own."""


def load(texts: list[str], outputs: Path, metric: str) -> Loaded:
    """The runs that ``texts`` name, each once, with their curves of ``metric``.

    Args:
        texts: Paths of runs, sweeps or folders that hold some, unique parts of names, ``last``, patterns.
        outputs: The folder of all runs and sweeps.
        metric: A tag.

    Raises:
        WrongInput: One names nothing, or no run has the metric.
    """
    runs: list[Run] = []
    left_out: list[LeftOut] = []
    tags: dict[str, None] = {}
    for place in _places(texts, outputs):
        name = run_label(place.path.absolute()).strip("/")
        now = place.status()
        try:
            if now.state == "waiting":
                raise WrongInput(RunDirectory(place.path).why_closed or "has not begun")
            run, there = _read(place, name, now, metric)
            tags.update(dict.fromkeys(there))
            if not run.is_measured and now.state != "failed":
                raise WrongInput(f"has no {metric} yet")
            runs.append(run)
        except RunnerError as e:
            why = e.message.replace(f"{place.path}{os.sep}", "")
            left_out.append(LeftOut(name, f"{now.cause}: {why}" if now.state == "failed" and now.cause else why))
    measured = {run.env_id for run in runs if run.is_measured}
    left_out += [LeftOut(run.name, run.status.cause or "failed") for run in runs if run.env_id not in measured]
    if not measured:
        raise _nothing(metric, left_out, list(tags))
    return Loaded([run for run in runs if run.env_id in measured], left_out)


def _read(place: _Place, name: str, now: Status, metric: str) -> tuple[Run, list[str]]:
    """The run, its curve ``NOWHERE`` where it has no ``metric`` yet, and all tags that it has.

    Raises:
        RunnerError: It can't be used.
    """
    run, curve, tags, evaluations = RunDirectory(place.path), NOWHERE, list[str](), dict[int, float]()
    if now.state == "failed" and place.planned is not None and not run.is_run:  # as it was made, or in its first reset
        config = flat(place.planned())
    else:
        config = flat(plain_config(run))
    env_id = config.get("env.id")
    if not isinstance(env_id, str):
        raise Damaged("config.yaml names no env.id")
    if now.state != "failed" or os.path.lexists(run.path / "metrics.csv"):
        read, columns = read_curve(run.path / "metrics.csv", metric, (now.env_steps, now.wall_time_s))
        curve, tags, evaluations = read or curve, columns.tags, columns.points[RETURN]
    seed, meta = config.get("seed"), run.read_meta()
    return Run(place.path, name, env_id, seed, config, meta, now, place.setting, curve, evaluations), tags


def _nothing(metric: str, left_out: list[LeftOut], tags: list[str]) -> WrongInput:
    known = [tag for tag in tags if "/" in tag]
    if known and metric not in known:
        begun = [tag for tag in (RETURN, *known) if tag.startswith(metric.rstrip("s"))]
        near = begun or difflib.get_close_matches(metric, known, 1, 0.4) or [RETURN]
        return WrongInput(f"no run has the metric {metric}; there are {', '.join(known)}", f"--metric {near[0]}")
    first = f"{left_out[0].name} {left_out[0].why}" if left_out else "no run"
    more = f", and {len(left_out) - 1} more" if len(left_out) > 1 else ""
    return WrongInput(f"there is nothing to compare: {first}{more}", command("runs"))


def _places(texts: list[str], outputs: Path) -> list[_Place]:
    """Each once, wherever it was named."""
    found: dict[str, _Place] = {}
    passed_over: list[WrongInput] = []
    for text in texts:
        try:
            for place in _places_of(text, outputs):
                found.setdefault(os.path.realpath(place.path), place)
        except WrongInput as e:
            if not os.path.exists(text):
                raise
            passed_over.append(e)  # a pattern that the shell has filled in finds other files too
    if not found and passed_over:
        raise passed_over[0]
    return list(found.values())


def _places_of(text: str, outputs: Path) -> list[_Place]:
    path = typed_path(text)
    exists = os.path.exists(path)  # Path.exists raises where it may not look
    below = list(_below(path, _DEPTH)) if text and os.path.isdir(path) else []
    if below:
        return below
    if glob.has_magic(text) and not exists:
        return _matching(text, outputs)
    try:
        return list(_below(find_run_or_sweep(text, outputs), 0))
    except WrongInput as e:
        alike = [run for run in list_runs(outputs) if text and text in run_label(run)]
        if len(alike) > 1 and not exists:
            raise WrongInput(e.message, f"{command('compare')} '*{text}*'   # all of them") from e
        raise


def _matching(pattern: str, outputs: Path) -> list[_Place]:
    """What lies at ``pattern``; if nothing does, the runs and sweeps under ``outputs`` whose names it fits."""
    paths = [Path(path) for path in sorted(glob.glob(os.path.expanduser(pattern), recursive=True))]
    found = [place for path in paths if os.path.isdir(path) for place in _below(path, _DEPTH)]
    if not found:
        known = [*list_runs(outputs), *list_sweeps(outputs)]
        fitting = [x for x in known if fnmatchcase(run_label(x), pattern) or fnmatchcase(x.name, pattern)]
        found = [place for path in fitting for place in _below(path, 0)]
    if not found:
        raise WrongInput(f"no run and no sweep fits {pattern}", f"{command('runs')}, which lists them")
    return found


def _below(folder: Path, depth: int) -> Iterator[_Place]:
    """``folder`` itself if it is a run or a sweep, else those in the folders below it."""
    sweep = SweepDirectory(folder)
    if sweep.is_sweep:
        yield from _jobs(sweep)
    elif RunDirectory(folder).is_run:
        yield _alone(folder)
    elif depth:
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as e:
            warn(f"can't read {folder}: {e.strerror}")
            return
        for entry in entries:
            if os.path.isdir(entry.path) and not entry.name.startswith("."):
                yield from _below(Path(entry.path), depth - 1)


def _jobs(sweep: SweepDirectory) -> Iterator[_Place]:
    try:
        yield from [_job_place(sweep, job) for job in sweep.jobs()]
    except RunnerError as e:
        warn(f"{e.message}; its runs are taken as they are")
        yield from [_run_place(config.parent) for config in sorted(sweep.path.glob("*/*/config.yaml"))]


def _alone(run: Path) -> _Place:
    """A run that was named by itself, with its job if it lies in its sweep."""
    if (planned := find_job(run)) is None:
        return _run_place(run)
    return _job_place(*planned)._replace(path=run)


def _job_place(sweep: SweepDirectory, job: SweepJob) -> _Place:
    return _Place(sweep.path / job.path, partial(sweep.status, job), job.setting, partial(sweep.read_config, job))


def _run_place(run: Path) -> _Place:
    return _Place(run, partial(status, RunDirectory(run)))
