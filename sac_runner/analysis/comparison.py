"""Groups of runs held against each other: scores, intervals and lines, of each environment by itself."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import numpy as np

from sac_runner.analysis import statistics
from sac_runner.analysis.cautions import alike, cautions, of_the_step
from sac_runner.analysis.copies import without_copies
from sac_runner.analysis.curves import Line, line
from sac_runner.analysis.grouping import Group, Grouping, find_group, group_runs
from sac_runner.analysis.load import LeftOut, Loaded, Run
from sac_runner.analysis.statistics import FEW, Floats
from sac_runner.config.convert import written
from sac_runner.errors import WrongInput

_WHOLE = 0.9  # of its env steps, from which on a curve counts as whole: not every row has every metric


class Score(NamedTuple):
    """What a run is counted with."""

    run: Run
    final: float
    """At the env step of the comparison."""
    best: float
    """The highest evaluation up to there, or ``final`` if that is higher."""
    area: float
    """Mean height of the curve up to there."""
    minutes: float
    """Wall time up to there, NaN where unknown."""
    reached: tuple[float, float] | None
    """Env steps and minutes of the first evaluation at the level asked for; None if there was none, or none asked."""


class Better(NamedTuple):
    """A group against the baseline."""

    probability: float
    """That a run of it scores more."""
    interval: tuple[float, float] | None
    """None where seeds are few."""
    p_value: float
    """How often equal settings come out as far apart, or farther; NaN over several environments."""


@dataclass(frozen=True)
class Row:
    """A group's results; every number is NaN where no run is counted.

    Runs of one seed are not independent of each other: they count as one, by their mean.
    """

    group: Group
    scores: list[Score]
    """A score for each run that is counted."""
    iqm: float
    interval: tuple[float, float] | None
    """None where seeds are few."""
    best: float
    """IQM over seeds; so is ``area``."""
    area: float
    minutes: float
    """Median."""
    better: Better | None
    """None for the baseline itself."""
    over_steps: Line | None
    over_minutes: Line | None

    @property
    def finals(self) -> Floats:
        """(seeds,)."""
        return _by_seed(self.scores, "final")

    @property
    def reached(self) -> list[tuple[float, float]]:
        """Env steps and minutes of those that came to the level."""
        return [score.reached for score in self.scores if score.reached is not None]


@dataclass(frozen=True)
class Panel:
    """One environment."""

    env_id: str
    at: float
    """Env steps at which scores are taken."""
    grouping: Grouping
    rows: list[Row]
    """The baseline first, then by falling IQM."""
    short: list[LeftOut]
    """Runs that end before, and are left out of the scores."""
    cautions: list[str]
    alike: list[str]
    """What else all runs share: code, versions."""

    @property
    def baseline(self) -> Row:
        """What the others are held against."""
        return self.rows[0]


@dataclass(frozen=True)
class Comparison:
    """All that is shown."""

    metric: str
    to_reach: float | None
    panels: list[Panel]
    left_out: list[LeftOut]
    """Runs that could not be used at all."""
    overall: dict[str, Better]
    """Label -> over all environments, of groups that each has, as it has the baseline; empty of a single one."""


def compare(
    loaded: Loaded, metric: str, by: list[str] | None, baseline: str | None, to_reach: float | None, at: float | None
) -> Comparison:
    """Hold the groups of ``loaded`` against each other.

    Args:
        loaded: The runs.
        metric: The tag that their curves are of.
        by: As for ``group_runs``.
        baseline: A group's label or a unique part of it; None takes the first that has a run to count.
        to_reach: A level.
        at: Env steps at which scores are taken; None takes the last that all finished runs came to.

    Raises:
        WrongInput: No run came to ``at``, or there is no such group or key.
    """
    groupings, copies = zip(*map(without_copies, group_runs(loaded.runs, by)), strict=True)
    if baseline is not None and not any(find_group(baseline, grouping) for grouping in groupings):
        labels = [group.label for grouping in groupings for group in grouping.groups]
        raise WrongInput(f"--baseline {baseline}: no group, or more than one", f"one of {', '.join(labels)}")
    panels = [_panel(grouping, metric, baseline, to_reach, at) for grouping in groupings]
    return Comparison(metric, to_reach, panels, [*loaded.left_out, *chain(*copies)], _overall(panels))


def _overall(panels: list[Panel]) -> dict[str, Better]:
    """A probability has no unit, so that it has a mean over environments as a return has not."""
    rows = [{row.group.label: row for row in panel.rows if row.scores} for panel in panels]
    base = panels[0].baseline.group.label
    if len(panels) == 1 or any(
        panel.baseline.group.label != base or base not in own for panel, own in zip(panels, rows, strict=True)
    ):
        return {}
    common = [label for label in rows[0] if label != base and all(label in own for own in rows)]
    return {label: _better([own[label].finals for own in rows], [own[base].finals for own in rows]) for label in common}


def _panel(
    grouping: Grouping, metric: str, baseline: str | None, to_reach: float | None, asked_at: float | None
) -> Panel:
    groups = grouping.groups
    runs = [run for group in groups for run in group.runs]
    at = _taken_at(runs) if asked_at is None else asked_at
    counted = _counted(runs, at)
    begin = min(max(run.curve.env_steps[0] for run in counted), at)
    of_run = {id(run): _score(run, begin, at, to_reach) for run in counted}
    scores = {group.label: [of_run[id(run)] for run in group.runs if id(run) in of_run] for group in groups}
    named = find_group(baseline, grouping) if baseline else None
    base = named or next(group for group in groups if scores[group.label])
    short = [LeftOut(run.name, _how_far(run)) for run in runs if id(run) not in of_run]
    said = [*of_the_step(at, counted, metric, asked_at is not None), *cautions(grouping, metric, counted)]
    if baseline and named is None:
        said.insert(0, f"--baseline {baseline} is not a group here: {base.label} is what the others are held against")
    return Panel(grouping.env_id, at, grouping, _sorted_rows(groups, scores, base), short, said, alike(grouping))


def _counted(runs: list[Run], at: float) -> list[Run]:
    """Those that came to ``at``; refuse where none did."""
    counted = [run for run in runs if run.curve.reach >= at]
    if not counted:
        env_id, longest = runs[0].env_id, max(run.curve.reach for run in runs)
        message = f"--at {at:,.0f}: no run of {env_id} came so far, the longest to {longest:,.0f} env steps"
        raise WrongInput(message, f"--at {longest:.0f}")
    return counted


def _sorted_rows(groups: list[Group], scores: dict[str, list[Score]], base: Group) -> list[Row]:
    """The baseline first, then by falling IQM, those without a score last."""
    rows = [_row(group, scores[group.label], scores[base.label], group is base) for group in groups]
    return sorted(rows, key=lambda row: (row.group is not base, not row.scores, -row.iqm if row.scores else 0.0))


def _taken_at(runs: list[Run]) -> float:
    """The last env step that all have come to which finished; if none has, those that go on, and else all."""
    finished = [run.curve.reach for run in runs if run.status.state == "finished" and not _is_torn(run)]
    going_on = [run.curve.reach for run in runs if run.status.state == "running"]
    return min(finished or going_on or [run.curve.reach for run in runs if run.is_measured])


def _is_torn(run: Run) -> bool:
    """Whether much is missing at the end of its curve."""
    return run.curve.reach < _WHOLE * run.status.env_steps


def _how_far(run: Run) -> str:
    now, reach = run.status, f"{run.curve.reach:,.0f}"
    if now.state == "finished":
        return f"metrics.csv ends at {reach} of {now.env_steps:,}" if _is_torn(run) else f"finished at {reach}"
    if now.state == "running":
        return f"still running at {reach}"
    return f"{now.state} at {max(now.env_steps, run.curve.reach):,.0f}" + (f" ({now.cause})" if now.cause else "")


def _score(run: Run, begin: float, at: float, to_reach: float | None) -> Score:
    curve = run.curve
    return Score(
        run,
        curve.at(at),
        curve.best(at),
        curve.area(begin, at),
        curve.minutes_at(at),
        None if to_reach is None else curve.first_at_least(to_reach, at),
    )


def _row(group: Group, scores: list[Score], base: list[Score], is_base: bool) -> Row:
    finals = _by_seed(scores, "final")
    curves = [[score.run.curve for score in own] for own in _seeds(scores)]

    def over(statistic: Callable[[Floats], Floats | float], name: str) -> float:
        return float(statistic(_by_seed(scores, name))) if scores else math.nan

    return Row(
        group,
        scores,
        over(statistics.iqm, "final"),
        None if len(finals) < FEW else statistics.iqm_interval(finals),
        over(statistics.iqm, "best"),
        over(statistics.iqm, "area"),
        over(np.median, "minutes"),
        None if is_base or not scores or not base else _better([finals], [_by_seed(base, "final")]),
        line([[(curve.env_steps, curve.values) for curve in own] for own in curves]),
        line([[(curve.minutes, curve.values) for curve in own] for own in curves]),
    )


def _by_seed(scores: list[Score], name: str) -> Floats:
    """(seeds,), the mean over each one's runs."""
    return np.array([np.mean([getattr(score, name) for score in own]) for own in _seeds(scores)])


def _seeds(scores: list[Score]) -> list[list[Score]]:
    """Those of each seed together."""
    seeds: dict[str, list[Score]] = {}
    for score in scores:
        seeds.setdefault(written(score.run.seed), []).append(score)
    return list(seeds.values())


def _better(finals: list[Floats], base: list[Floats]) -> Better:
    """A group held against the baseline: for each environment the scores of its runs, and of the baseline's."""
    few = min(len(x) for x in (*finals, *base)) < FEW
    return Better(
        statistics.probability_of_improvement(finals, base),
        None if few else statistics.improvement_interval(finals, base),
        statistics.p_value(finals[0], base[0]) if len(finals) == 1 else math.nan,
    )
