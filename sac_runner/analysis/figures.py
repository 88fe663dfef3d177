"""Pictures: the learning curve of a run, and the lines of a comparison."""

import io
import re
import textwrap
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sac_runner.analysis.comparison import Comparison, Panel, Row
from sac_runner.analysis.curves import Line
from sac_runner.analysis.statistics import FEW, Floats
from sac_runner.storage.metrics_file import read_points
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.text import cut, plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PALETTE = ("#2385CB", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#8C6BB1", "#7F7F7F")
"""Okabe and Ito's, which the colour-blind tell apart, its blue lighter, and violet and grey in the place of yellow and
black: to be seen on white and on black."""
_DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)))
_INK, _LINE = "#1d2126", "#e2e4e7"
_POINTS = 400  # of a thin line; more can't be seen


def learning_curve(run: Path) -> bytes | None:
    """The run's returns over env steps as a PNG; None while it has no evaluation."""
    from matplotlib.figure import Figure  # takes half a second to import

    ends = (f"eval/return_{end}" for end in ("mean", "min", "max"))
    training, mean, low, high = read_points(RunDirectory(run), "rollout/episode_return", *ends)
    if not mean:
        return None
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    if training:
        axes.plot(list(training), list(training.values()), color="0.75", lw=1, label="training episodes")
    both = [step for step in mean if step in low and step in high]  # a damaged header can lack one
    worst, top = ([end[step] for step in both] for end in (low, high))
    axes.fill_between(both, worst, top, color="C0", alpha=0.15, lw=0, label="evaluation, worst to best episode")
    axes.plot(list(mean), list(mean.values()), color="C0", lw=2, marker="o", ms=3, label="evaluation, mean")
    axes.set(xlabel="env steps", ylabel="return", title="/".join(run.absolute().parts[-2:]))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="best")
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    return picture.getvalue()


def styles(comparison: Comparison) -> dict[str, tuple[str, Any]]:
    """Label -> colour and dashes, the same in every panel."""
    labels = dict.fromkeys(row.group.label for panel in comparison.panels for row in panel.rows)
    n = len(PALETTE)
    return {label: (PALETTE[i % n], _DASHES[i // n % len(_DASHES)]) for i, label in enumerate(labels)}


class Pictures(NamedTuple):
    """The lines of all groups over env steps and over minutes, a row for each environment."""

    png: bytes
    svg: str
    """An ``<svg>`` element of a page that sets the colours ``--ink`` and ``--line``."""


def draw(comparison: Comparison) -> Pictures:
    """Draw the lines once, for a file and for a page."""
    import matplotlib

    png, svg = io.BytesIO(), io.StringIO()
    of_svg = matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "comparison", "text.parse_math": False})
    with of_svg, warnings.catch_warnings():  # a dollar in a name is a dollar, and the font may lack a letter of it
        warnings.filterwarnings("ignore", "Glyph .* missing")
        figure = _figure(comparison)
        figure.savefig(png, format="png", dpi=144, facecolor="white")
        figure.set_layout_engine("none")  # it stays as it is laid out
        figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None})
    text = svg.getvalue()
    text = text[text.index("<svg") :].replace(_INK, "var(--ink)").replace(_LINE, "var(--line)")
    text = re.sub(r"<metadata>.*?</metadata>| xmlns(:xlink)?=\"[^\"]*\"", "", text, flags=re.DOTALL)
    return Pictures(png.getvalue(), text)


def _figure(comparison: Comparison) -> "Figure":
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    of_group = styles(comparison)
    many = len(of_group) > len(PALETTE)
    heights = [max(3.9, 0.6 + _inches(panel)) for panel in comparison.panels]
    figure = Figure(figsize=(11, sum(heights) + 0.4), layout=ConstrainedLayoutEngine(h_pad=0.1))
    axes = figure.subplots(len(heights), 2, squeeze=False, sharey="row", width_ratios=(3, 2), height_ratios=heights)
    for (left, right), panel in zip(axes, comparison.panels, strict=True):
        for row in reversed(panel.rows):  # the baseline on top
            _draw(left, row, row.over_steps, of_group[row.group.label], "env_steps", many)
            _draw(right, row, row.over_minutes, of_group[row.group.label], "minutes", many)
        left.axvline(panel.at, color=_INK, lw=0.8, ls=(0, (2, 3)), zorder=0)
        left.set_ylabel(comparison.metric, color=_INK)
        left.set_title(panel.env_id, loc="left", color=_INK, fontsize=11, fontweight="bold")
        _legend(right, panel, of_group)
        for x in (left, right):
            x.autoscale_view()
            _tidy(x)
    for x, text in zip(axes[-1], ("env steps", "minutes of wall time"), strict=True):
        x.set_xlabel(text, color=_INK)
    few = f"from {FEW} seeds on"
    note = (
        f"bold: IQM over seeds, as far as all of a group go; band: its 95 % bootstrap interval, {few}; thin: each seed"
    )
    figure.supxlabel(note, fontsize=8, color=_INK, alpha=0.75, x=0.01, ha="left")
    return figure


def _draw(axes: "Axes", row: Row, line: Line | None, style: tuple[str, Any], axis: str, many: bool) -> None:
    from matplotlib.collections import LineCollection

    color, dashes = style
    counted = {id(score.run) for score in row.scores}
    runs = [run for run in row.group.runs if run.is_measured]
    seeds = [_thinned(getattr(run.curve, axis), run.curve.values) for run in runs]
    whole = ["-" if id(run) in counted else (0, (3, 2)) for run in runs]
    faint = 0.1 if many else min(0.5, 0.15 + 1 / max(len(seeds), 1))
    axes.add_collection(LineCollection(seeds, colors=color, linewidths=0.7, alpha=faint, linestyles=whole, zorder=2))
    if line is None:
        return
    if line.band is not None:
        axes.fill_between(line.x, *line.band, color=color, alpha=0.07 if many else 0.18, lw=0, zorder=3)
    marker = "o" if len(line.x) == 1 else ""  # a line of one point is none
    width = 1.6 if many else 2.2
    axes.plot(line.x, line.iqm, color=color, lw=width, ls=dashes, zorder=4, marker=marker, ms=4)


def _thinned(x: Floats, y: Floats) -> Floats:
    """(points, 2), no more than can be seen."""
    seen = np.unique(np.linspace(0, len(x) - 1, min(len(x), _POINTS)).round().astype(int))
    return np.column_stack([x[seen], y[seen]])


def _legend(axes: "Axes", panel: Panel, of_group: dict[str, tuple[str, Any]]) -> None:
    """Beside the last axes, the highest score first."""
    from matplotlib.lines import Line2D

    handles = []
    for row, words in _entries(panel):
        color, dashes = of_group[row.group.label] if row else ("none", "-")
        handles.append(Line2D([], [], color=color, ls=dashes, lw=2.2, label=words))
    axes.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(1.02, 1.0), frameon=False, fontsize=9, labelcolor=_INK
    )


def _entries(panel: Panel) -> list[tuple[Row | None, str]]:
    """Rows with their words, as many as can be told apart; then how many more there are."""
    rows = sorted(panel.rows, key=lambda row: -row.iqm if row.scores else np.inf)
    words = [f"{cut(row.group.label, 60)} ({plural(len(row.finals), 'seed')})" for row in rows]
    entries: list[tuple[Row | None, str]] = [
        (row, textwrap.fill(text, 34)) for row, text in zip(rows, words, strict=True)
    ]
    more = len(entries) - len(PALETTE) * len(_DASHES)
    return [*entries[:-more], (None, f"and {more} more")] if more > 0 else entries


def _inches(panel: Panel) -> float:
    """Height of the legend, in inches."""
    return sum(0.17 * (1 + words.count("\n")) + 0.06 for _, words in _entries(panel))


def _tidy(axes: "Axes") -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter("{x:,.10g}")
    axes.yaxis.set_major_formatter("{x:,.10g}")
    axes.grid(color=_LINE, lw=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_LINE)
    axes.tick_params(colors=_INK, length=0, labelsize=9)
    axes.margins(x=0.01)
