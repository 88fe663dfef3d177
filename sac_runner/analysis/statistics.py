"""Statistics over seeds, as "Deep RL at the Edge of the Statistical Precipice" (arXiv 2108.13264) defines them.

Intervals are 95 % percentile bootstrap intervals. Their chance is their own, so the same scores always give the same
interval, in whatever order the runs come.
"""

import math
from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FEW = 5
"""Seeds below which there is no interval: of four, of which a resample is the lowest 5 times in 100, it would be their
range."""
_REPETITIONS = 10_000  # an interval's ends then vary by some 1 % of its width
_REPETITIONS_OF_BANDS = 1_000  # for the eye
_PERCENTILES = (2.5, 97.5)
_SEED = 20210813
_AT_ONCE = 2_000_000  # resampled scores at a time, 16 MB
_ENUMERATED = 20_000  # ways to tell two groups apart: two of 8 runs have 12,870


def iqm(scores: Floats) -> Floats:
    """The interquartile mean over the runs, (runs, ...): a quarter of them, rounded down, is left out at either end."""
    n = len(scores)
    return np.asarray(np.sort(scores, 0)[n // 4 : n - n // 4].mean(0))


def iqm_interval(scores: Floats) -> tuple[float, float]:
    """The 95 % interval of ``iqm`` over (runs,)."""
    ordered = np.sort(scores)

    def resample(rng: np.random.Generator, n: int) -> Floats:
        return iqm(ordered[rng.integers(len(ordered), size=(n, len(ordered)))].T)

    low, high = _interval(resample, _REPETITIONS, ordered.size)
    return float(low), float(high)


def band(values: Floats) -> tuple[Floats, Floats]:
    """The 95 % interval of ``iqm`` at each point, each resampled run being drawn with its whole curve.

    Args:
        values: (runs, points).
    """
    ordered = values[np.lexsort(values.T)]

    def resample(rng: np.random.Generator, n: int) -> Floats:
        return iqm(ordered[rng.integers(len(ordered), size=(len(ordered), n))])

    low, high = _interval(resample, _REPETITIONS_OF_BANDS, ordered.size)
    return low, high


def probability_of_improvement(x: Sequence[Floats], y: Sequence[Floats]) -> float:
    """How probable it is that a run of ``x`` scores more than one of ``y``, ties by half: the mean over environments.

    Args:
        x: For each environment the scores of its runs, (runs,).
        y: The same of the other, with as many environments.
    """
    return float(np.mean([_wins(a, b).mean() for a, b in zip(x, y, strict=True)]))


def improvement_interval(x: Sequence[Floats], y: Sequence[Floats]) -> tuple[float, float]:
    """The 95 % interval of ``probability_of_improvement``, runs being drawn anew within each environment."""
    pairs = [(np.sort(a), np.sort(b)) for a, b in zip(x, y, strict=True)]

    def resample(rng: np.random.Generator, n: int) -> Floats:
        won = [np.sum(_shares(rng, len(a), n) @ _wins(a, b) * _shares(rng, len(b), n), 1) for a, b in pairs]
        return np.asarray(np.mean(won, 0))

    low, high = _interval(resample, _REPETITIONS, max(len(a) + len(b) for a, b in pairs))
    return float(low), float(high)


def p_value(x: Floats, y: Floats) -> float:
    """How often runs as far apart as ``x`` and ``y`` come of one and the same setting (permutation test of ranks).

    The two-sided p-value of a Mann-Whitney test, ties included: exact for few runs, from 10,000 permutations else.
    """
    pooled = np.sort(np.concatenate([x, y]))
    ranks = _wins(pooled, pooled).sum(1)
    observed = ranks[np.searchsorted(pooled, x)].sum()
    if math.comb(len(pooled), len(x)) <= _ENUMERATED:
        sums = ranks[np.array(list(combinations(range(len(pooled)), len(x))))].sum(1)
    else:
        shuffled = np.random.default_rng(_SEED).permuted(np.tile(ranks, (_REPETITIONS, 1)), axis=1)
        sums = np.append(shuffled[:, : len(x)].sum(1), observed)  # what was seen is one way too: never 0
    distance = np.abs(sums - ranks.mean() * len(x))
    return float(np.mean(distance >= abs(observed - ranks.mean() * len(x)) - 1e-9))


def _wins(x: Floats, y: Floats) -> Floats:
    """(runs of x, runs of y): 1 where that of ``x`` scores more, 0.5 where it ties."""
    return np.asarray((x[:, None] > y) + 0.5 * (x[:, None] == y))


def _shares(rng: np.random.Generator, runs: int, n: int) -> Floats:
    """(n, runs): which share of each of ``n`` resamples each run makes up."""
    return rng.multinomial(runs, np.full(runs, 1 / runs), n) / runs


def _interval(
    resample: Callable[[np.random.Generator, int], Floats], repetitions: int, size: int
) -> tuple[Floats, Floats]:
    """Percentiles over what ``resample`` gives for so many resamples of ``size`` numbers each, a block at a time."""
    rng, block = np.random.default_rng(_SEED), max(_AT_ONCE // size, 1)
    blocks = [resample(rng, min(block, repetitions - done)) for done in range(0, repetitions, block)]
    low, high = np.percentile(np.concatenate(blocks), _PERCENTILES, 0)
    return low, high
