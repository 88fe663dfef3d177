"""Statistics over seeds, as "Deep RL at the Edge of the Statistical Precipice" (arXiv 2108.13264) defines them.

Intervals are 95 % percentile bootstrap intervals. Their chance is their own, so the same scores always give the same
interval, in whatever order the runs come.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

REPETITIONS = 10_000
"""Resamples behind an interval of scores; its ends then vary by about 1 % of its width."""
_PERCENTILES = (2.5, 97.5)
_SEED = 20210813
_AT_ONCE = 4_000_000  # resampled scores that are sorted at a time, 32 MB


def iqm(scores: Floats) -> float:
    """The mean of the middle half: a quarter of the scores, rounded down, is left out at either end.

    Args:
        scores: Of any shape; runs and environments count alike.
    """
    return float(_trimmed_mean(scores.ravel(), 0))


def _trimmed_mean(scores: Floats, axis: int) -> Floats:
    n = scores.shape[axis]
    middle = np.sort(scores, axis).take(np.arange(n // 4, n - n // 4), axis)
    return np.asarray(middle.mean(axis))


def iqm_interval(scores: Floats) -> tuple[float, float]:
    """The 95 % interval of ``iqm``.

    Args:
        scores: (runs,) of one environment, or (runs, environments); runs are drawn anew within each environment.
    """
    rng = np.random.default_rng(_SEED)
    ordered = np.sort(scores, 0)
    drawn = rng.integers(len(ordered), size=(REPETITIONS, *ordered.shape))
    resampled = np.take_along_axis(ordered[None], drawn, 1).reshape(REPETITIONS, -1)
    low, high = np.percentile(_trimmed_mean(resampled, 1), _PERCENTILES)
    return float(low), float(high)
