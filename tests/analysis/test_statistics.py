"""Against scipy, and against rliable's definitions, written out here once more."""

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from sac_runner.analysis.statistics import (
    band,
    improvement_interval,
    iqm,
    iqm_interval,
    p_value,
    probability_of_improvement,
)

numbers = st.floats(-1000, 1000, allow_subnormal=False).map(lambda x: round(x, 3))
some = arrays(np.float64, st.integers(1, 12), elements=numbers)
wholes = arrays(np.float64, st.integers(1, 8), elements=st.integers(0, 5))  # with ties
few_wholes = arrays(np.float64, st.integers(1, 4), elements=st.integers(0, 3))
quick = settings(max_examples=30)


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).normal(100, 30, shape)


def close(interval, expected, share=0.04):
    """Equal but for the chance of resampling, which moves an end by some percent of the width."""
    width = expected[1] - expected[0]
    return np.abs(np.subtract(interval, expected)).max() < share * width


@quick
@given(some)
def test_iqm_is_scipys_mean_without_a_quarter_at_either_end(scores):
    assert iqm(scores) == pytest.approx(stats.trim_mean(scores, 0.25))


@quick
@given(arrays(np.float64, (5, 3), elements=numbers))
def test_the_middle_is_that_of_each_point_by_itself(scores):
    assert iqm(scores) == pytest.approx(stats.trim_mean(scores, 0.25, axis=0))


@pytest.mark.parametrize("n", [4, 5, 8, 30])
def test_interval_of_the_iqm_is_scipys_percentile_bootstrap(n):
    scores = drawn(n)
    theirs = stats.bootstrap(
        (scores,),
        lambda x, axis: stats.trim_mean(x, 0.25, axis=axis),
        method="percentile",
        n_resamples=20_000,
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert close(iqm_interval(scores), theirs)


@quick
@given(some, st.randoms(use_true_random=False))
def test_the_same_scores_give_the_same_interval_in_any_order(scores, random):
    shuffled = scores.tolist()
    random.shuffle(shuffled)
    assert iqm_interval(np.array(shuffled)) == iqm_interval(scores)
    curves = np.stack([scores, scores**2, np.roll(scores, 1)], 1)
    order = random.sample(range(len(scores)), len(scores))
    assert np.array_equal(band(curves[order]), band(curves))


@quick
@given(some, st.floats(0.1, 10), numbers)
def test_an_interval_moves_and_grows_with_the_scores(scores, scale, shift):
    low, high = iqm_interval(scores)
    assert iqm_interval(scores * scale + shift) == pytest.approx((low * scale + shift, high * scale + shift), abs=1e-6)


@quick
@given(some)
def test_an_interval_lies_within_the_scores_and_mirrors_with_them(scores):
    low, high = iqm_interval(scores)
    slack = 1e-9 * (1 + np.abs(scores).max())
    assert scores.min() - slack <= low <= high <= scores.max() + slack
    if len(scores) == 1:
        assert low == high == scores[0]


def test_a_band_is_the_interval_at_each_point():
    curves = drawn(6, 9)
    low, high = band(curves)
    for i in range(9):
        assert close((low[i], high[i]), iqm_interval(curves[:, i]), 0.1)


def test_a_band_draws_whole_curves():
    rising = drawn(7)[:, None] + np.linspace(0, 5, 40)  # parallel lines have a parallel band
    low, high = band(rising)
    assert np.allclose(np.diff(low), 5 / 39) and np.allclose(np.diff(high), 5 / 39)


def by_counting(x, y):
    """P(X > Y) + P(X = Y) / 2, pair by pair."""
    return np.mean([(a > b) + 0.5 * (a == b) for a, b in product(x, y)])


@quick
@given(st.lists(st.tuples(wholes, wholes), min_size=1, max_size=3))
def test_probability_of_improvement_is_the_mean_over_environments_of_pairs_won_and_half_the_ties(tasks):
    x, y = zip(*tasks, strict=True)
    expected = np.mean([by_counting(a, b) for a, b in tasks])
    assert probability_of_improvement(x, y) == pytest.approx(expected)
    assert probability_of_improvement(y, x) == pytest.approx(1 - expected)


@quick
@given(arrays(np.float64, 6, elements=numbers), arrays(np.float64, 4, elements=numbers))
def test_probability_of_improvement_is_the_u_of_mann_and_whitney_as_rliable_has_it(x, y):
    u = stats.mannwhitneyu(x, y, alternative="greater", method="asymptotic").statistic
    assert probability_of_improvement([x], [y]) == pytest.approx(u / 24)


def test_interval_of_the_probability_draws_the_runs_of_both_in_each_environment():
    x, y = [drawn(6), drawn(5, seed=3)], [drawn(8, seed=1) - 10, drawn(6, seed=2)]
    rng = np.random.default_rng(3)
    resampled = [
        np.mean([by_counting(rng.choice(a, len(a)), rng.choice(b, len(b))) for a, b in zip(x, y, strict=True)])
        for _ in range(1_500)
    ]
    assert close(improvement_interval(x, y), np.percentile(resampled, [2.5, 97.5]), 0.08)


@quick
@given(wholes, wholes, st.randoms(use_true_random=False))
def test_that_interval_has_bounds_mirrors_and_knows_no_order(x, y, random):
    low, high = improvement_interval([x], [y])
    assert 0 <= low <= high <= 1 + 1e-9
    shuffled = np.array(random.sample(x.tolist(), len(x)))
    assert improvement_interval([shuffled], [y]) == (low, high)
    assert improvement_interval([x + 3.25], [y + 3.25]) == (low, high)
    if x.min() > y.max():
        assert (low, high) == pytest.approx((1, 1))


@quick
@given(st.lists(numbers, min_size=2, max_size=10, unique=True), st.integers(1, 9))
def test_chance_is_scipys_exact_test_of_mann_and_whitney(values, cut):
    x, y = np.array(values[: cut % len(values) or 1]), np.array(values[cut % len(values) or 1 :])
    expected = stats.mannwhitneyu(x, y, method="exact").pvalue
    assert p_value(x, y) == pytest.approx(expected)


@quick
@given(few_wholes, few_wholes)
def test_chance_with_ties_is_that_of_all_ways_to_part_the_runs(x, y):
    pooled, n = np.concatenate([x, y]), len(x)
    parted = [np.isin(np.arange(len(pooled)), own) for own in combinations(range(len(pooled)), n)]
    distances = [abs(by_counting(pooled[own], pooled[~own]) - 0.5) for own in parted]
    assert p_value(x, y) == pytest.approx(np.mean([d >= abs(by_counting(x, y) - 0.5) - 1e-9 for d in distances]))


def test_chance_of_many_runs_is_drawn_and_never_zero():
    x, y = drawn(12), drawn(14, seed=1) + 12
    assert p_value(x, y) == pytest.approx(stats.mannwhitneyu(x, y).pvalue, rel=0.15)
    assert 0 < p_value(x, y + 1000) < 1e-3


def test_equal_settings_are_rarely_told_apart():
    apart = [p_value(drawn(5, seed=2 * i), drawn(5, seed=2 * i + 1)) <= 0.05 for i in range(300)]
    assert np.mean(apart) < 0.05
