"""One metric over env steps and over wall time: of a run, read fast as only its columns are, and of a group."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sac_runner.analysis.statistics import FEW, Floats, band, iqm
from sac_runner.storage.metrics_file import Columns, read_columns

_WALL_TIME = "perf/wall_time_s"
RETURN = "eval/return_mean"
_POINTS = 150  # of a line at most; a picture shows no more


class Curve(NamedTuple):
    """A metric where it was measured; at least one point but of a run that failed before."""

    env_steps: Floats
    """(points,), rising."""
    minutes: Floats
    """(points,) of wall time; NaN where the run tells none."""
    values: Floats
    """(points,)."""

    @property
    def reach(self) -> float:
        """Env steps at the last point, -1 where there is none."""
        return float(self.env_steps[-1]) if len(self.env_steps) else -1.0

    def at(self, env_steps: float) -> float:
        """The value there, on the straight line between two points."""
        return float(np.interp(env_steps, self.env_steps, self.values))

    def minutes_at(self, env_steps: float) -> float:
        """The same of the wall time."""
        return float(np.interp(env_steps, self.env_steps, self.minutes))

    def best(self, end: float) -> float:
        """The highest value up to ``end`` env steps, that at ``end`` included."""
        return float(self.values[self.env_steps <= end].max(initial=self.at(end)))

    def area(self, begin: float, end: float) -> float:
        """The mean height from ``begin`` to ``end`` env steps: the area under the curve over their distance."""
        between = self.env_steps[(self.env_steps > begin) & (self.env_steps < end)]
        steps = np.array([begin, *between, end])
        values = np.interp(steps, self.env_steps, self.values)
        return float(np.trapezoid(values, steps) / (end - begin)) if end > begin else float(values[-1])

    def first_at_least(self, level: float, end: float) -> tuple[float, float] | None:
        """Env steps and minutes of the first point up to ``end`` that is at ``level`` or above; None if none is."""
        (there,) = np.nonzero((self.values >= level) & (self.env_steps <= end))
        return (float(self.env_steps[there[0]]), float(self.minutes[there[0]])) if len(there) else None


NOWHERE = Curve(np.array([]), np.array([]), np.array([]))


def read_curve(metrics: Path, tag: str, end: tuple[int, float]) -> tuple[Curve | None, Columns]:
    """The curve of ``tag``, None where it has no point, and what it was read from.

    Args:
        metrics: ``metrics.csv``.
        tag: Of the metric.
        end: Env steps and seconds at the run's end, as far as they are known.

    Raises:
        Damaged: There is no such file, or it has no env steps.
        DiskFailed: It can't be read.
    """
    columns = read_columns(metrics, [tag, _WALL_TIME, RETURN])
    points, clock = columns.points[tag], columns.points[_WALL_TIME]
    if not points:
        return None, columns
    clock = {0: 0.0, **clock, **({end[0]: end[1]} if end[1] > 0 else {})}
    steps, seconds = np.array(sorted(clock.items()), dtype=np.float64).T
    at = np.array(sorted(points), dtype=np.float64)
    minutes = np.interp(at, steps, np.maximum.accumulate(seconds)) / 60 if len(clock) > 1 else np.full_like(at, np.nan)
    return Curve(at, minutes, np.array([points[step] for step in sorted(points)])), columns


class Line(NamedTuple):
    """The middle of a group where all of its counted runs are."""

    x: Floats
    iqm: Floats
    band: tuple[Floats, Floats] | None
    """None where seeds are few."""


def line(seeds: Sequence[Sequence[tuple[Floats, Floats]]]) -> Line | None:
    """Between the latest beginning and the earliest end; None where that is nowhere, or not known.

    Args:
        seeds: The curves (x, y) of each seed, whose mean is one curve.
    """
    curves = [curve for own in seeds for curve in own]
    if not curves or any(np.isnan(x).any() for x, _ in curves):
        return None
    begin, end = max(x[0] for x, _ in curves), min(x[-1] for x, _ in curves)
    if begin > end:
        return None
    grid = np.unique(np.concatenate([x for x, _ in curves]).clip(begin, end))
    if len(grid) > _POINTS:
        grid = np.linspace(begin, end, _POINTS)
    values = np.array([np.mean([np.interp(grid, x, y) for x, y in own], axis=0) for own in seeds])
    return Line(grid, iqm(values), None if len(seeds) < FEW else band(values))
