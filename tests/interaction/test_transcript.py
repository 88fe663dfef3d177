import numpy as np
import pytest

from sac_runner.interaction import transcript
from sac_runner.interaction.transcript import Transcript

LENGTHS = (4, 7, 1000)
"""Steps of the episodes of three environments."""


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Hashed and forgotten every third step."""
    monkeypatch.setattr(transcript, "_MOST", 3)


def first(env):
    return np.array([env, -1.0], np.float32)


def begun():
    ours = Transcript(len(LENGTHS), (2,), (1,))
    for env in range(len(LENGTHS)):
        ours.begin(env)
        ours.begun(env, first(env))
    return ours


def play(ours, steps, digest_every=10**9):
    """Steps of numbers that tell them apart; episodes end after ``LENGTHS``."""
    for t in range(1, steps + 1):
        action = np.array([[env + t / 1000] for env in range(len(LENGTHS))], np.float32)
        ours.act(action)
        obs = np.array([[env, t] for env in range(len(LENGTHS))], np.float32)
        ended = np.array([t % length == 0 for length in LENGTHS])
        ours.answer(obs, obs[:, 1].astype(np.float64), ended, np.zeros_like(ended))
        for env in np.flatnonzero(ended):
            ours.begin(env)
            ours.begun(env, first(env))
        if t % digest_every == 0:
            ours.digests()


@pytest.mark.parametrize("steps", range(12))
def test_the_digest_is_the_same_however_often_it_is_asked_for(steps):
    often, once = begun(), begun()
    play(often, steps, digest_every=1)
    play(once, steps)
    digests = once.digests()
    assert often.digests() == digests == once.digests() and len(set(digests)) == 3


def test_wide_observations_are_hashed_before_they_take_much_memory(monkeypatch):
    monkeypatch.setattr(transcript, "_MOST", 500)
    wide, none = Transcript(1, (2**20,), (1,)), np.zeros(1, np.bool_)
    for _ in range(9):
        wide.act(np.zeros((1, 1), np.float32))
        wide.answer(np.zeros((1, 2**20), np.float32), np.zeros(1), none, none)
        assert sum(obs.nbytes for obs, *_ in wide._answers) <= 2**24


def test_a_digest_is_of_the_current_episode_alone():
    later, earlier = begun(), begun()
    play(later, 7 * 4)
    play(earlier, 4)
    assert later.digests()[0] == earlier.digests()[0] == begun().digests()[0] != earlier.digests()[2]


@pytest.mark.parametrize("steps", [*range(12), 60])
def test_nothing_that_a_checkpoint_needs_is_forgotten(steps):
    ours = begun()
    play(ours, steps)
    for env, length in enumerate(LENGTHS):
        taken = np.arange(steps - steps % length + 1, steps + 1)
        assert ours.length(env) == len(taken)
        np.testing.assert_array_equal(ours.actions(env), np.float32(env + taken / 1000)[:, None])


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(transcript, "LONGEST_REPLAY", 20)
    ours = begun()
    play(ours, 500)
    assert ours.length(2) == 500 and ours.actions(2).shape == (0, 1)
    assert len(ours._actions) <= 7 + 3 and len(ours._answers) <= 3
    assert len(ours.digests()[2]) == 32
