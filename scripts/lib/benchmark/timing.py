"""Candidates timed in turn, round by round, so that a machine whose speed drifts is the same for all of them."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple


class Spread(NamedTuple):
    """Figures of several rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Their median, least and greatest."""
        return cls(statistics.median(values), min(values), max(values))


class Row(NamedTuple):
    """One line of the table."""

    part: str
    case: str
    ours: Spread
    other: Spread | None
    """None where there is nothing to hold it against."""
    unit: str
    against: str
    """What ``other`` is."""
    ratio: Spread | None
    """By the ratio of each round: how many times better, or, of parts (update, replay), how many times as long."""
    goal: str


def in_turn(rounds: int, *candidates: Callable[[], float]) -> list[list[float]]:
    """What each candidate measures in each round; they take turns, and every second round they swap the order."""
    measured: list[list[float]] = [[] for _ in candidates]
    for i in range(rounds):
        order = range(len(candidates)) if i % 2 == 0 else range(len(candidates) - 1, -1, -1)
        for j in order:
            measured[j].append(candidates[j]())
    return measured


def compared(
    part: str,
    case: str,
    ours: Sequence[float],
    other: Sequence[float],
    unit: str,
    against: str,
    goal: str = "",
    more_is_better: bool = True,
) -> Row:
    """A row of two candidates that were measured in turn."""
    ratios = [a / b if more_is_better else b / a for a, b in zip(ours, other, strict=True)]
    return Row(part, case, Spread.of(ours), Spread.of(other), unit, against, Spread.of(ratios), goal)


def milliseconds(body: Callable[[], object], seconds: float = 1.0) -> float:
    """Of one call, over as many as fit into ``seconds``."""
    for _ in range(5):
        body()
    calls, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        body()
        calls += 1
    return 1e3 * (time.perf_counter() - begun) / calls
