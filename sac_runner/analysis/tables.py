"""A comparison as CSV: every number that is shown, and those that are not."""

import csv
import io
import math
import statistics
from collections.abc import Iterable
from typing import Any

from sac_runner.analysis.comparison import Better, Comparison, Panel, Row

SCORES = {
    "kind": "run, group, or overall: a group over all environments",
    "environment": "its Gymnasium id",
    "group": "its label",
    "run": "the run's directory",
    "seed": "of the run",
    "state": "of the run: finished, running, failed, stopped or killed",
    "counted": "a run: 1, or 0 if it ends before env_steps; a group: its counted runs",
    "env_steps": "where scores are taken",
    "final": "the metric there; of a group the IQM over the seeds of its counted runs, as in best and area",
    "low": "95 % bootstrap interval of final, its lower end",
    "high": "and its upper end",
    "best": "the highest value up to there",
    "area": "area under the curve up to there over the env steps that it spans",
    "minutes": "of wall time up to there; of a group the median over seeds",
    "reached": "a run: 1 if it came to the level of --to-reach, else 0; a group: how many of its runs did",
    "reach_env_steps": "env steps of the first evaluation at that level or above; of a group the median of those",
    "reach_minutes": "minutes of wall time to it",
    "p_better": "probability that a run of the group scores more than one of the baseline",
    "p_low": "its 95 % bootstrap interval, the lower end",
    "p_high": "and the upper end",
    "p_value": "two-sided p-value of a rank permutation test against the baseline",
}
"""Column of scores.csv -> what it holds."""
CURVES = {
    "environment": "its Gymnasium id",
    "group": "its label",
    "axis": "env_steps or minutes",
    "x": "where on that axis",
    "iqm": "over the seeds of the group's counted runs, interpolated there",
    "low": "95 % bootstrap interval, its lower end",
    "high": "and its upper end",
    "runs": "how many are counted",
}
"""Column of curves.csv -> what it holds."""


def scores_csv(comparison: Comparison) -> str:
    """A line for each run and each group, the columns being those of ``SCORES``."""
    lines = [line for panel in comparison.panels for line in _scores(panel, comparison.to_reach)]
    for label, better in comparison.overall.items():
        lines.append({"kind": "overall", "environment": "all", "group": label, **_against_baseline(better)})
    return _csv(SCORES, lines)


def curves_csv(comparison: Comparison) -> str:
    """A line for each point of each group's lines, the columns being those of ``CURVES``."""
    return _csv(CURVES, (line for panel in comparison.panels for row in panel.rows for line in _points(panel, row)))


def _csv(names: dict[str, str], lines: Iterable[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(names), lineterminator="\n")
    writer.writeheader()
    for line in lines:
        known = {k: x for k, x in line.items() if x is not None and not (isinstance(x, float) and math.isnan(x))}
        writer.writerow({k: f"{x:.10g}" if isinstance(x, float) else x for k, x in known.items()})
    return text.getvalue()


def _scores(panel: Panel, to_reach: float | None) -> Iterable[dict[str, Any]]:
    for row in panel.rows:
        yield {"environment": panel.env_id, "group": row.group.label, "env_steps": panel.at, **_of_group(row, to_reach)}
        counted = {id(score.run): score for score in row.scores}
        for run in row.group.runs:
            line: dict[str, Any] = {"kind": "run", "environment": panel.env_id, "group": row.group.label}
            line["run"] = str(run.path)
            line |= {"seed": run.seed, "state": run.status.state, "counted": int(id(run) in counted)}
            score = counted.get(id(run))
            if score is not None:
                steps, minutes = score.reached or (None, None)
                line |= {"env_steps": panel.at, **{k: getattr(score, k) for k in ("final", "best", "area", "minutes")}}
                line |= {"reached": None if to_reach is None else int(score.reached is not None)}
                line |= {"reach_env_steps": steps, "reach_minutes": minutes}
            yield line


def _of_group(row: Row, to_reach: float | None) -> dict[str, Any]:
    low, high = row.interval or (None, None)
    line: dict[str, Any] = {"kind": "group", "counted": len(row.scores), "final": row.iqm, "low": low, "high": high}
    line |= {"best": row.best, "area": row.area, "minutes": row.minutes}
    if to_reach is not None:
        line["reached"] = len(row.reached)
        if row.reached:
            line["reach_env_steps"], line["reach_minutes"] = map(statistics.median, zip(*row.reached, strict=True))
    return line if row.better is None else line | _against_baseline(row.better)


def _against_baseline(better: Better) -> dict[str, Any]:
    low, high = better.interval or (None, None)
    return {"p_better": better.probability, "p_low": low, "p_high": high, "p_value": better.p_value}


def _points(panel: Panel, row: Row) -> Iterable[dict[str, Any]]:
    for axis, line in (("env_steps", row.over_steps), ("minutes", row.over_minutes)):
        for i in range(len(line.x) if line else 0):
            assert line is not None
            low, high = (float(line.band[0][i]), float(line.band[1][i])) if line.band else (None, None)
            yield {
                "environment": panel.env_id,
                "group": row.group.label,
                "axis": axis,
                "x": float(line.x[i]),
                "iqm": float(line.iqm[i]),
                "low": low,
                "high": high,
                "runs": len(row.scores),
            }
