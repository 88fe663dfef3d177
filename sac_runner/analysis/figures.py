"""Pictures of run directories."""

import contextlib
import io
import re
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sac_runner.analysis.comparison import FEW, Comparison, Line, Panel, Row
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.text import plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#8C6BB1", "#7F7F7F")
"""Okabe and Ito's, which the colour-blind tell apart; violet and grey for its yellow and black, to be seen on both."""
_DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)))
_POINTS = 400  # of a thin line; more can't be seen


def learning_curve(run: Path) -> bytes | None:
    """The run's returns over env steps as a PNG; None while it has no evaluation."""
    from matplotlib.figure import Figure  # takes half a second to import

    curves = RunDirectory(run).read_metrics()
    if "eval/return_mean" not in curves:
        return None
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    if "rollout/episode_return" in curves:
        axes.plot(*zip(*curves["rollout/episode_return"], strict=True), color="0.75", lw=1, label="training episodes")
    steps, mean = zip(*curves["eval/return_mean"], strict=True)
    low, high = (dict(curves.get(f"eval/return_{end}", [])) for end in ("min", "max"))
    both = [step for step in steps if step in low and step in high]  # a damaged header can lack one
    worst, top = ([end[step] for step in both] for end in (low, high))
    axes.fill_between(both, worst, top, color="C0", alpha=0.15, lw=0, label="evaluation, worst to best episode")
    axes.plot(steps, mean, color="C0", lw=2, marker="o", ms=3, label="evaluation, mean")
    axes.set(xlabel="env steps", ylabel="return", title=f"{run.parent.name}/{run.name}")
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


def comparison_png(comparison: Comparison) -> bytes:
    """The lines of all groups over env steps and over minutes, a row for each environment."""
    picture = io.BytesIO()
    with _any_letter():
        _figure(comparison, "#222222", "#dddddd").savefig(picture, format="png", dpi=144, facecolor="white")
    return picture.getvalue()


def comparison_svg(comparison: Comparison) -> str:
    """The same as an ``<svg>`` element of a page that sets the colours ``--ink`` and ``--line``."""
    import matplotlib

    ink, line = "#010203", "#040506"
    picture = io.StringIO()
    with _any_letter(), matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "comparison"}):
        _figure(comparison, ink, line).savefig(picture, format="svg", transparent=True, metadata={"Date": None})
    svg = picture.getvalue()
    svg = svg[svg.index("<svg") :].replace(ink, "var(--ink)").replace(line, "var(--line)")
    return re.sub(r"<metadata>.*?</metadata>| xmlns(:xlink)?=\"[^\"]*\"", "", svg, flags=re.DOTALL)


@contextlib.contextmanager
def _any_letter() -> Iterator[None]:
    """A name may have letters that matplotlib's font lacks, of which it warns at each."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")
        yield


def _figure(comparison: Comparison, ink: str, line: str) -> "Figure":
    from matplotlib.figure import Figure

    rows = len(comparison.panels)
    figure = Figure(figsize=(11, 3.9 * rows + 0.4), layout="constrained")
    axes = figure.subplots(rows, 2, squeeze=False, sharey="row", width_ratios=(3, 2))
    of_group = styles(comparison)
    for (left, right), panel in zip(axes, comparison.panels, strict=True):
        for row in reversed(panel.rows):  # the baseline on top
            _draw(left, row, row.over_steps, of_group[row.group.label], "env_steps")
            _draw(right, row, row.over_minutes, of_group[row.group.label], "minutes")
        left.axvline(panel.at, color=ink, lw=0.8, ls=(0, (2, 3)), zorder=0)
        left.set_ylabel(comparison.metric, color=ink, parse_math=False)
        left.set_title(panel.env_id, loc="left", color=ink, fontsize=11, fontweight="bold", parse_math=False)
        _legend(right, panel, of_group, ink)
        for x in (left, right):
            _tidy(x, ink, line)
    for x, text in zip(axes[-1], ("env steps", "minutes of wall time"), strict=True):
        x.set_xlabel(text, color=ink)
    few = f"from {FEW} seeds on"
    note = (
        f"bold: IQM over seeds, as far as all of a group go; band: its 95 % bootstrap interval, {few}; thin: each seed"
    )
    figure.supxlabel(note, fontsize=8, color=ink, alpha=0.75, x=0.01, ha="left")
    return figure


def _draw(axes: "Axes", row: Row, line: Line | None, style: tuple[str, Any], axis: str) -> None:
    color, dashes = style
    counted = {id(score.run) for score in row.scores}
    faint = min(0.5, 0.15 + 1 / len(row.group.runs))
    for run in row.group.runs:
        x = getattr(run.curve, axis)
        seen = np.unique(np.linspace(0, len(x) - 1, min(len(x), _POINTS)).round().astype(int))
        ls = "-" if id(run) in counted else (0, (3, 2))
        axes.plot(x[seen], run.curve.values[seen], color=color, lw=0.7, alpha=faint, ls=ls, zorder=2)
    if line is None:
        return
    if line.band is not None:
        axes.fill_between(line.x, *line.band, color=color, alpha=0.18, lw=0, zorder=3)
    marker = "o" if len(line.x) == 1 else ""  # a line of one point is none
    axes.plot(line.x, line.middle, color=color, lw=2.2, ls=dashes, zorder=4, marker=marker, ms=4)


def _legend(axes: "Axes", panel: Panel, of_group: dict[str, tuple[str, Any]], ink: str) -> None:
    """Beside the last axes, the highest score first."""
    from matplotlib.lines import Line2D

    rows = sorted(panel.rows, key=lambda row: -row.iqm if row.scores else np.inf)
    handles = []
    for row in rows:
        color, dashes = of_group[row.group.label]
        words = f"{textwrap.shorten(row.group.label, 72, placeholder='..')}  ({plural(len(row.scores), 'seed')})"
        label = textwrap.fill(words, 34)
        handles.append(Line2D([], [], color=color, ls=dashes, lw=2.2, label=label))
    size = 9 if len(rows) <= 10 else 7
    legend = axes.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(1.02, 1.0), frameon=False, fontsize=size, labelcolor=ink
    )
    for text in legend.get_texts():
        text.set_parse_math(False)  # a dollar is a dollar


def _tidy(axes: "Axes", ink: str, line: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.yaxis.set_major_formatter("{x:,g}")
    axes.grid(color=line, lw=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(line)
    axes.tick_params(colors=ink, length=0, labelsize=9)
    axes.margins(x=0.01)
