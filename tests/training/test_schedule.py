from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sac_runner.training.schedule import (
    Counters,
    acts_randomly,
    ends_round,
    falls_due,
    is_finished,
    is_good_enough,
    updates_due,
)
from tests.support import PER_ROUND, PER_STEP, config


def per_step(warmup, ratio):
    return config(schedule=PER_STEP | {"warmup_env_steps": warmup, "updates_per_env_step": ratio}).schedule


def play(schedule, num_envs, steps):
    """Updates due after each step of all environments, each time made at once."""
    counters = Counters()
    for _ in range(steps):
        counters.env_steps += num_envs
        due = updates_due(schedule, counters)
        counters.updates += due
        yield due


@pytest.mark.parametrize(
    ("ratio", "num_envs", "expected"),
    [
        (1.0, 1, [1, 1, 1, 1, 1, 1]),
        (2.0, 1, [2, 2, 2, 2, 2, 2]),
        (0.25, 1, [0, 0, 0, 1, 0, 0]),
        (0.25, 4, [1, 1, 1, 1, 1, 1]),
        (0.25, 7, [1, 2, 2, 2, 1, 2]),  # floor(1.75 n): 1, 3, 5, 7, 8, 10
        (1.5, 1, [1, 2, 1, 2, 1, 2]),
    ],
)
def test_updates_follow_the_ratio(ratio, num_envs, expected):
    assert list(play(per_step(0, ratio), num_envs, 6)) == expected


@pytest.mark.parametrize("num_envs", [1, 4, 7])
@pytest.mark.parametrize("ratio", [0.25, 1.0, 2.0, 1 / 3, 0.1, 0.7])
def test_the_debt_is_carried_exactly_however_long_the_run(ratio, num_envs):
    exact, total = Fraction(str(ratio)), 0
    for n, due in enumerate(play(per_step(20, ratio), num_envs, 2000), 1):
        assert due >= 0
        total += due
        assert total == max(0, n * num_envs - 20) * exact // 1


def test_a_ratio_of_a_tenth_is_a_tenth_and_not_the_float_above_it():
    # The float 0.1 is a little more than 1/10, 0.7 a little less: read as such, 10 steps at 0.7 would owe 6 updates.
    assert updates_due(per_step(0, 0.7), Counters(env_steps=10)) == 7
    assert updates_due(per_step(0, 0.29), Counters(env_steps=100)) == 29


@given(st.integers(0, 10**9), st.floats(1e-6, 100), st.integers(1, 64), st.integers(0, 10**6))
def test_updates_due_are_never_negative_and_leave_less_than_one_owed(env_steps, ratio, num_envs, warmup):
    schedule, counters = per_step(warmup, ratio), Counters(env_steps=env_steps)
    counters.updates = updates_due(schedule, counters)
    counters.env_steps += num_envs
    due = updates_due(schedule, counters)
    owed = max(0, counters.env_steps - warmup) * Fraction(str(ratio)) - counters.updates - due
    assert due >= 0 and 0 <= owed < 1


def test_the_warm_up_ends_on_its_last_step():
    schedule = per_step(10, 1.0)
    assert [acts_randomly(schedule, Counters(env_steps=n)) for n in (0, 9, 10, 11)] == [True, True, False, False]
    assert [updates_due(schedule, Counters(env_steps=n)) for n in (0, 9, 10, 11)] == [0, 0, 0, 1]
    assert not acts_randomly(per_step(0, 1.0), Counters())


def test_rounds_update_once_their_episodes_are_collected():
    schedule, counters, made = config(schedule=PER_ROUND).schedule, Counters(), []
    for _ in range(6):
        counters.episodes += 1
        assert not acts_randomly(schedule, counters)
        due = updates_due(schedule, counters)
        assert ends_round(schedule, counters) == (due > 0)
        made.append(due)
        counters.updates += due
        counters.rounds += ends_round(schedule, counters)
    assert made == [0, 5, 0, 5, 0, 5]


def test_a_round_is_not_asked_for_by_env_steps():
    assert updates_due(config(schedule=PER_ROUND).schedule, Counters(env_steps=10**6, episodes=1)) == 0
    assert not ends_round(config().schedule, Counters(episodes=10**6))


@pytest.mark.parametrize(
    ("total", "schedule", "counters", "finished"),
    [
        (100, PER_STEP, Counters(env_steps=99), False),
        (100, PER_STEP, Counters(env_steps=100), True),
        (100, PER_STEP, Counters(env_steps=104), True),
        (None, PER_ROUND, Counters(env_steps=10**9, rounds=2), False),
        (None, PER_ROUND, Counters(rounds=3), True),
        (100, PER_ROUND, Counters(env_steps=100, rounds=2), True),
        (100, PER_ROUND, Counters(env_steps=50, rounds=3), True),
        (100, PER_STEP, Counters(env_steps=50, rounds=3), False),
    ],
)
def test_a_run_ends_with_its_env_steps_or_its_rounds(total, schedule, counters, finished):
    assert is_finished(config(total_env_steps=total, schedule=schedule), counters) == finished


@pytest.mark.parametrize(("mean_return", "reached"), [(0.99, False), (1.0, True), (1.01, True)])
def test_a_return_that_is_just_what_was_asked_for_ends_a_run(mean_return, reached):
    stop = {"at_return": 1.0, "max_minutes": None}
    assert is_good_enough(config(stop=stop), 1000, mean_return) == reached


@given(st.integers(1, 50), st.lists(st.integers(1, 120), min_size=1, max_size=30))
def test_nothing_that_falls_due_is_skipped_or_repeated(every, strides):
    now, fired = 0, 0
    for stride in strides:
        before, now = now, now + stride
        passed = [n for n in range(before + 1, now + 1) if n % every == 0]
        assert falls_due(before, now, every) == bool(passed)
        fired += falls_due(before, now, every)
    assert fired <= now // every and (max(strides) > every or fired == now // every)


def test_nothing_falls_due_where_it_is_not_asked_for_or_time_stands_still():
    assert not falls_due(0, 10**9, None)
    assert not falls_due(100, 100, 100)
