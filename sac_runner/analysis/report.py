"""A comparison as one page that needs nothing else: pictures, tables, what to be careful of, how it was computed."""

import math
import time
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from sac_runner.analysis.comparison import Comparison, Panel, Row
from sac_runner.analysis.figures import styles
from sac_runner.analysis.load import LeftOut
from sac_runner.analysis.statistics import FEW
from sac_runner.analysis.tables import CURVES, SCORES
from sac_runner.analysis.words import differences, headline, number_or_dash, overall, table, verdict
from sac_runner.config.convert import written
from sac_runner.text import number, plural

_STYLE = Path(__file__).with_name("report.css")
_NOTHING_FROM_ELSEWHERE = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_HOW = {
    "score": "A run's score is the metric at the env step that the table names, on the straight line between the "
    "evaluations before and after. It is the last step that all finished runs came to (while none has finished, those "
    "that go on), unless --at chose another. Runs that end before it are left out and named. Runs of one seed in a "
    "group count as one, by their mean.",
    "IQM": "The interquartile mean: the mean of the seeds' scores without the lowest and the highest quarter, each "
    "rounded down, so of fewer than 4 seeds it is their mean.",
    "interval, band": "95 % percentile bootstrap over seeds: 10,000 resamples for scores, 1,000 for bands, fixed "
    f"random numbers. There is none below {FEW} seeds. Of few seeds it is too narrow: simulated on normal scores it "
    "holds the true IQM 90 times in 100 with 5 seeds, 93 with 10.",
    "area": "The area under a run's curve, from the first evaluation to the score's step, over the env steps between "
    "them: a mean return. IQM over seeds.",
    "to a level": "Env steps of the first evaluation at or above it: the median over the runs that came to it up to "
    "the score's step, and how many did. Where not all did, the median flatters.",
    "P(better)": "The probability that a run of the group scores more than one of the baseline, ties by half; 0.5 is "
    "no difference. Its interval draws the runs of both anew. Over several environments it is the mean of theirs.",
    "separate": "Seeds are said to separate two settings where runs as far apart come of one and the same setting less "
    "than 1 time in 20 (two-sided permutation test of ranks, exact for few runs). That is stricter than the interval "
    "of P(better), which few seeds make too narrow. Comparisons are not corrected for their number.",
    "best": "The highest evaluation up to the score's step, or the score if that is higher, chosen by itself: expect "
    "less of it. In the table of runs and in scores.csv.",
    "minutes": "Wall time of the run up to the score's step, evaluation included; median over seeds. It means "
    "something only where the machine and what else it did were the same.",
}


def report(comparison: Comparison, svg: str, typed: str) -> str:
    """The page. All that comes from files is escaped, and it asks for nothing elsewhere.

    Args:
        comparison: What is shown.
        svg: Its picture.
        typed: The command line that made it.
    """
    runs = [run for panel in comparison.panels for row in panel.rows for run in row.group.runs]
    title = f"{comparison.metric}: {' and '.join(panel.env_id for panel in comparison.panels)}"
    parts = [
        f"<header><h1>{escape(title)}</h1>",
        f'<p class="soft">{plural(len(runs), "run")}, {time.strftime("%-d %B %Y, %H:%M")}</p>',
        *(f'<p class="lead">{escape(_lead(panel, comparison))}</p>' for panel in comparison.panels),
        "</header>",
        f"<figure>{svg}</figure>",
        _cautions(comparison),
        *(_scores(panel, comparison) for panel in comparison.panels),
        *(_differences(panel) for panel in comparison.panels),
        _runs(comparison),
        _how(),
        f"<footer>Made by <code>{escape(typed)}</code></footer>",
    ]
    style = _STYLE.read_text()
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{_NOTHING_FROM_ELSEWHERE}">'
        f'<meta name="viewport" content="width=device-width"><style>\n{style}</style></head>\n<body><main>\n'
        + "\n".join(part for part in parts if part)
        + "\n</main></body></html>\n"
    )


def _lead(panel: Panel, comparison: Comparison) -> str:
    """With whole labels, as no table has named them yet."""
    where = f"{panel.env_id}: " if len(comparison.panels) > 1 else ""
    return where + verdict(panel, comparison.metric, {row.group.label: row.group.label for row in panel.rows})


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], classes: Sequence[str]) -> str:
    """``rows`` are HTML, ``header`` is text."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join(
        f"<tr>{''.join(f'<td class={name!r}>{cell}</td>' for name, cell in zip(classes, row, strict=True))}</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cautions(comparison: Comparison) -> str:
    several = len(comparison.panels) > 1
    said = [
        (f"{panel.env_id}: " if several else "") + caution for panel in comparison.panels for caution in panel.cautions
    ]
    said += overall(comparison) if several else []
    items = "".join(f"<li>{escape(caution)}</li>" for caution in said)
    return f'<section class="card cautions"><h2>Be careful</h2><ul>{items}</ul></section>' if said else ""


def _scores(panel: Panel, comparison: Comparison) -> str:
    header, *lines = table(panel, comparison.metric, comparison.to_reach)
    keys, strip = styles(comparison), _Strip(panel)
    rows = [
        [_key(keys[row.group.label]) + escape(cells[0]), escape(cells[1]), strip.of(row, keys[row.group.label][0])]
        + [escape(cell) for cell in cells[2:]]
        for cells, row in zip(lines, panel.rows, strict=True)
    ]
    shown = _table([*header[:2], "", *header[2:]], rows, ["", *["num"] * len(header)])
    return f'<section><h2>{escape(headline(panel, comparison.metric))}</h2><div class="card">{shown}</div></section>'


def _key(style: tuple[str, Any]) -> str:
    color, dashes = style
    gaps = "" if isinstance(dashes, str) else f' stroke-dasharray="{" ".join(f"{3 * x:g}" for x in dashes[1])}"'
    line = f'<line x1="0" x2="26" y1="4" y2="4" stroke="{color}" stroke-width="4"{gaps}/>'
    return f'<svg class="key" viewBox="0 0 26 8">{line}</svg>'


class _Strip:
    """Each seed as a dot, the interval as a bar, the IQM as a stroke; all groups on one scale."""

    def __init__(self, panel: Panel) -> None:
        ends = [x for row in panel.rows for x in (*row.finals, *(row.interval or ()))]
        self._low, self._high = min(ends), max(ends)

    def of(self, row: Row, color: str) -> str:
        """An ``<svg>`` element; its title has the numbers."""
        if not row.scores:
            return ""
        dots = "".join(f'<circle cx="{self._x(x)}" cy="11" r="2.6" fill="{color}" opacity=".75"/>' for x in row.finals)
        low, high = (self._x(x) for x in row.interval or (row.iqm, row.iqm))
        bar = f'<rect x="{low}" width="{high - low:.1f}" y="6" height="10" rx="2" fill="{color}" opacity=".25"/>'
        x = self._x(row.iqm)
        stroke = f'<line x1="{x}" x2="{x}" y1="3" y2="19" stroke="var(--ink)" stroke-width="1.5"/>'
        title = f"<title>{', '.join(map(number, sorted(row.finals)))}</title>"
        return f'<svg class="strip" viewBox="0 0 190 22">{title}{bar}{dots}{stroke}</svg>'

    def _x(self, value: float) -> float:
        share = (value - self._low) / (self._high - self._low) if self._high > self._low else 0.5
        return round(6 + 178 * share, 1)


def _differences(panel: Panel) -> str:
    differing = panel.grouping.differing
    if not differing:
        return ""
    rows = [
        [
            f"<code>{escape(key.removesuffix('.mode'))}</code>"
            + "".join(f"<br><small>{escape(x)}</small>" for x in follow)
        ]
        + [escape(written(row.group.values[key])) if key in row.group.values else "" for row in panel.rows]
        for key, follow in differing.items()
    ]
    shown = _table(["", *(row.group.label for row in panel.rows)], rows, ["", *["num"] * len(panel.rows)])
    card = f'<div class="card differing">{shown}</div><p class="soft">{escape(differences(panel))}</p>'
    return f"<section><h2>What differs, {escape(panel.env_id)}</h2>{card}</section>"


def _runs(comparison: Comparison) -> str:
    keys = styles(comparison)
    rows = [
        cells
        for panel in comparison.panels
        for row in panel.rows
        for cells in _runs_of(row, _key(keys[row.group.label]))
    ]
    header = ["group", "seed", "state", "env steps", "score", "best", "minutes", "directory"]
    left_out = [*(x for panel in comparison.panels for x in panel.short), *comparison.left_out]
    shown = _table(header, rows, ["", "num", "", *["num"] * 4, "path"])
    return f'<section><h2>Runs</h2><div class="card">{shown}</div>{_left_out(left_out)}</section>'


def _runs_of(row: Row, key: str) -> Iterable[list[str]]:
    scores = {id(score.run): score for score in row.scores}
    for run in row.group.runs:
        score, now = scores.get(id(run)), run.status
        numbers = [score.final, score.best, score.minutes] if score else [math.nan] * 3
        yield [
            key + escape(row.group.label),
            escape(written(run.seed)),
            escape(now.state + (f": {now.cause}" if now.cause and now.cause != now.state else "")),
            f"{max(run.curve.reach, 0):,.0f}",
            *map(number_or_dash, numbers),
            escape(str(run.path)),
        ]


def _left_out(left_out: Sequence[LeftOut]) -> str:
    items = "".join(f"<li><code>{escape(name)}</code> {escape(why)}</li>" for name, why in left_out)
    return f"<h3>Left out of the scores</h3><ul>{items}</ul>" if left_out else ""


def _how() -> str:
    files = {"scores.csv": SCORES, "curves.csv": CURVES}
    parts = [f"<section><h2>How it was computed</h2>{_list(_HOW)}"]
    parts += [f"<details><summary>columns of {name}</summary>{_list(what)}</details>" for name, what in files.items()]
    return "".join([*parts, "</section>"])


def _list(meanings: dict[str, str]) -> str:
    return f"<dl>{''.join(f'<dt>{escape(k)}</dt><dd>{escape(x)}</dd>' for k, x in meanings.items())}</dl>"
