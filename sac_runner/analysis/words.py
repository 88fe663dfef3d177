"""A comparison in words for the terminal: a table, what differs, and what the seeds do and do not tell."""

import math
from collections.abc import Sequence
from statistics import median

from sac_runner.analysis.comparison import Better, Comparison, Panel, Row
from sac_runner.analysis.grouping import Grouping
from sac_runner.analysis.load import LeftOut
from sac_runner.text import columns, cut, number, plural, short

_MORE_IS_BETTER = (
    "eval/return_mean",
    "eval/return_min",
    "eval/return_max",
    "eval/success_rate",
    "rollout/episode_return",
    "rollout/success",
)
_SURE = 0.05  # how often chance may look like what is called a difference
_LISTED = 5  # groups in a sentence, and runs that were left out; the report lists all
_CELL = 60  # characters, of a long label; the report has all of them
_LINE = 400


def lines(comparison: Comparison) -> list[str]:
    """All that is printed before the names of the files."""
    said: list[str] = []
    for panel in comparison.panels:
        said += [*([""] if said else []), *_of_panel(panel, comparison)]
    if len(comparison.panels) > 1:
        said += ["", *overall(comparison)]
    return [cut(line, _LINE) for line in [*said, *_left_out_lines(comparison.left_out)]]


def overall(comparison: Comparison) -> list[str]:
    """What can be said of several environments together."""
    said = ["Each environment is compared by itself: returns of different ones have no common mean."]
    base, n = comparison.panels[0].baseline.group.label, len(comparison.panels)
    for label, better in comparison.overall.items():
        said.append(
            f"Over {n} environments P({label} {_better_than(comparison.metric)} {base}) is {probability(better)}."
        )
    return said


def _better_than(metric: str) -> str:
    return "better than" if metric in _MORE_IS_BETTER else "above"


def _of_panel(panel: Panel, comparison: Comparison) -> list[str]:
    cells = table(panel, comparison.metric, comparison.to_reach)
    return [
        headline(panel, comparison.metric),
        *columns([[cut(cell, _CELL) for cell in row] for row in cells], right=[len(cells[0]) - 1]),
        differences(panel),
        verdict(panel, comparison.metric, short_labels(panel)),
        *(f"caution: {caution}" for caution in panel.cautions),
        *_left_out_lines(panel.short),
    ]


def headline(panel: Panel, metric: str) -> str:
    """``eval/return_mean at 100,000 env steps, deterministic, LunarLanderContinuous-v3``."""
    runs = [score.run for row in panel.rows for score in row.scores]
    way = ""
    if metric.startswith("eval/"):
        ways = {run.config.get("eval.deterministic") for run in runs}
        way = ", deterministic" if ways == {True} else ", sampled" if ways == {False} else ", some sampled"
    return f"{metric} at {panel.at:,.0f} env steps{way}, {panel.env_id}"


def table(panel: Panel, metric: str, to_reach: float | None) -> list[list[str]]:
    """Cells of the header, and of a line for each group."""
    names = short_labels(panel)
    other = names[panel.baseline.group.label]
    header = ["group", "n", "IQM [95%]", "area", "minutes"]
    if to_reach is not None:
        header.insert(4, f"to {number(to_reach)}")
    if len(panel.rows) > 1:
        header.insert(-1, f"P({_better_than(metric)} {other if len(other) <= 20 else 'baseline'})")
    return [header, *(_cells(row, to_reach, panel) for row in panel.rows)]


def _cells(row: Row, to_reach: float | None, panel: Panel) -> list[str]:
    n, of = len(row.scores), len(row.group.runs)
    cells = [row.group.label, str(n) if n == of else f"{n} of {of}", score(row), number_or_dash(row.area)]
    if to_reach is not None:
        cells.append(reached(row))
    if len(panel.rows) > 1:
        cells.append(improvement(row, panel))
    return [*cells, number_or_dash(row.minutes)]


def score(row: Row) -> str:
    """``247 [221, 262]``; the values themselves where they are few."""
    if not row.scores:
        return "-"
    if row.interval is None:
        return f"{plural(len(row.finals), 'seed')}: {' '.join(map(number, sorted(row.finals)))}"
    low, high = row.interval
    return f"{number(row.iqm)} [{number(low)}, {number(high)}]"


def reached(row: Row) -> str:
    """``58k (5/5)``: the median over those that came to the level, and how many did."""
    steps = [steps for steps, _ in row.reached]
    middle = short(int(float(f"{median(steps):.3g}"))) if steps else "-"
    return f"{middle} ({len(steps)}/{len(row.scores)})"


def improvement(row: Row, panel: Panel) -> str:
    """``baseline``, or P(better)."""
    if row is panel.baseline:
        return "baseline"
    return probability(row.better) if row.better else "-"


def probability(better: Better) -> str:
    """``0.56 [0.20, 0.88]``."""
    interval = f" [{better.interval[0]:.2f}, {better.interval[1]:.2f}]" if better.interval else ""
    return f"{better.probability:.2f}{interval}"


def number_or_dash(x: float) -> str:
    """``-`` for NaN."""
    return "-" if math.isnan(x) else number(x)


def short_labels(panel: Panel) -> dict[str, str]:
    """Label -> ``auto`` for ``alpha=auto``, where all of them are of one and the same key."""
    labels = [row.group.label for row in panel.rows]
    keys = {label.partition("=")[0] for label in labels}
    alone = len(keys) == 1 and len(labels) > 1 and all(label.count("=") == 1 for label in labels)
    return {label: label.partition("=")[2] if alone else label for label in labels}


def differences(panel: Panel) -> str:
    """What the groups differ in, and what all runs share."""
    shared = ", ".join([f"{plural(panel.grouping.equal, 'other key')}", *panel.alike])
    differing = ", ".join(differing_keys(panel.grouping))
    return f"{f'differ in {differing}' if differing else 'one group'}; equal: {shared}."


def differing_keys(grouping: Grouping) -> list[str]:
    """``alpha``, ``agent.lr (and 3 that follow it)``."""
    names = []
    for key, followers in grouping.differing.items():
        follow = f" (and {len(followers)} that follow{'s'[: len(followers) == 1]} it)" if followers else ""
        names.append(key.removesuffix(".mode") + follow)
    return names


def verdict(panel: Panel, metric: str, names: dict[str, str]) -> str:
    """What the seeds do and do not tell, in a sentence or two.

    Args:
        panel: One environment.
        metric: A tag.
        names: Label -> what the group is called.
    """
    base, others = panel.baseline, [row for row in panel.rows[1:] if row.scores]
    name = names[base.group.label]
    if not base.scores:
        return f"No run of {name} is counted, so there is nothing to hold the others against."
    if not others:
        rest = [names[row.group.label] for row in panel.rows[1:]]
        if rest:
            return f"No run of {_and(rest, 'or')} is counted, so there is nothing to hold {name} against."
        of = "one group" if panel.grouping.mixed else "one setting"
        return f"{_seeds([base])} of {of}: nothing to hold it against."
    kinds: dict[str, list[Row]] = {}
    for row in others:
        kinds.setdefault(_kind(row, base), []).append(row)
    called = {kind: [names[row.group.label] for row in rows] for kind, rows in kinds.items()}
    good = metric in _MORE_IS_BETTER
    than = {"more": "better than" if good else "above", "less": "worse than" if good else "below"}
    parts = [
        f"{_and(called[kind])} {'is' if len(called[kind]) == 1 else 'are'} {words} {name}"
        for kind, words in than.items()
        if kind in kinds
    ]
    if "open" in kinds:
        parts.append(f"{_seeds([base, *kinds['open']])} do not separate {_and(called['open'], 'or')} from {name}")
    if "few" in kinds:
        parts.append(f"too few seeds to tell {_and(called['few'], 'or')} from {name}: {_too_few(kinds['few'], base)}")
    return "; ".join(parts) + "." + _of_many(kinds)


def _too_few(rows: Sequence[Row], base: Row) -> str:
    ways = {_ways(row, base) for row in rows}
    if ways == {2}:
        return "one run each is an anecdote"
    fewest = min(ways - {2})
    times = f"1 time in {fewest // 2}" if fewest % 2 == 0 else f"2 times in {fewest}"
    return f"even if every one of them did better, it would be chance {times}{' or more often' if 2 in ways else ''}"


def _kind(row: Row, base: Row) -> str:
    """``more`` or ``less`` than the baseline, ``open``, or ``few`` where no scores at all could have told."""
    assert row.better is not None
    if 2 / _ways(row, base) > _SURE:
        return "few"
    if row.better.p_value > _SURE:
        return "open"
    return "more" if row.better.probability > 0.5 else "less"


def _ways(row: Row, base: Row) -> int:
    """In how many ways equal settings can come out; in two of them all runs of the one are above all of the other."""
    return math.comb(len(row.finals) + len(base.finals), len(base.finals))


def _of_many(kinds: dict[str, list[Row]]) -> str:
    compared = sum(len(rows) for kind, rows in kinds.items() if kind != "few")
    found = compared - len(kinds.get("open", []))
    by_chance = _SURE * compared
    return (
        f" Of {compared} comparisons about {by_chance:.2g} would look like that by chance."
        if found and by_chance >= 0.5
        else ""
    )


def _seeds(rows: Sequence[Row]) -> str:
    counts = sorted({len(row.finals) for row in rows})
    return plural(counts[0], "seed") if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"


def _and(names: list[str], word: str = "and") -> str:
    if len(names) > _LISTED:
        names = [*names[: _LISTED - 1], f"{len(names) - _LISTED + 1} more"]
    return f" {word} ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _left_out_lines(left_out: list[LeftOut]) -> list[str]:
    named = [f"left out {name}: {why}" for name, why in left_out[:_LISTED]]
    more = len(left_out) - _LISTED
    return [*named, f"left out {plural(more, 'more run')}, which the report lists"] if more > 0 else named
