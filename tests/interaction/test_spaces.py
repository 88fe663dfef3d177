import json

import gymnasium as gym
import numpy as np
import pytest

from sac_runner.interaction.envs import make_env
from sac_runner.interaction.spaces import spaces_from_plain, spaces_of
from tests.support import config


def env_config(env_id="tests.scripted:Spaces-v0", **env):
    return config(env={"id": env_id, **env}).env


def observing(kind):
    return env_config(kwargs={"observes": kind}, flatten_dict=True)


@pytest.mark.parametrize("kind", ["vector", "matrix", "scalar", "float64", "dict"])
def test_raw_observations_become_what_the_agent_saw(kind):
    spaces = spaces_of(observing(kind))
    flat, _ = make_env(observing(kind)).reset(seed=3)
    raw, _ = gym.make("tests.scripted:Spaces-v0", observes=kind).reset(seed=3)
    rows, batched = spaces.flatten(raw)
    assert not batched and rows.dtype == np.float32
    np.testing.assert_array_equal(rows, np.asarray(flat, np.float32)[None])
    many = {key: np.stack([x] * 4) for key, x in raw.items()} if kind == "dict" else np.stack([raw] * 4)
    rows, batched = spaces.flatten(many)
    assert batched
    np.testing.assert_array_equal(rows, np.stack([np.asarray(flat, np.float32)] * 4))
    assert spaces.flatten(flat)[0].shape == (1, spaces.obs_dim)
    assert spaces.flatten(np.stack([flat] * 2))[0].shape == (2, spaces.obs_dim)


@pytest.mark.parametrize(
    ("kind", "obs"),
    [
        ("vector", np.zeros(3)),
        ("vector", np.zeros((2, 2, 2))),
        ("vector", np.zeros(())),
        ("vector", {"state": np.zeros(2)}),
        ("dict", {"goal": np.zeros(2)}),
        ("dict", {"goal": np.zeros(2), "state": np.zeros(4)}),
        ("dict", np.zeros(4)),
    ],
)
def test_other_shapes_are_refused_by_name(kind, obs):
    with pytest.raises(ValueError, match="obs"):
        spaces_of(observing(kind)).flatten(obs)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 1e300])
def test_numbers_that_are_none_in_float32_are_refused(wrong):
    vector, mapping = spaces_of(observing("vector")), spaces_of(observing("dict"))
    obs = {part.keys[0]: np.zeros(part.shape) for part in mapping.obs}
    obs[mapping.obs[-1].keys[0]] += wrong
    for spaces, seen in ((vector, np.full(vector.obs_dim, wrong)), (mapping, obs)):
        with pytest.raises(ValueError, match="obs has a number that is NaN or infinite"):
            spaces.flatten(seen)


@pytest.mark.parametrize("kind", ["vector", "matrix", "dict"])
def test_plain_data_says_it_all(kind):
    spaces = spaces_of(observing(kind))
    assert spaces_from_plain(json.loads(json.dumps(spaces.to_plain()))) == spaces


def test_actions_reach_the_bounds_and_keep_shape_and_dtype():
    low, high = [[-0.3, 0.0], [1.0, -7.0]], [[0.1, 4.0], [2.0, 5.0]]
    spaces = spaces_of(env_config("tests.scripted:Echo-v0", kwargs={"low": low, "high": high}))
    spaces = spaces_from_plain(spaces.to_plain())
    unit = np.array([[-1, -1, -1, -1], [1, 1, 1, 1], [0, 0, 0, 0]], np.float32)
    action = spaces.to_env(unit)
    assert action.shape == (3, 2, 2) and action.dtype == np.float32
    np.testing.assert_array_equal(action[:2], np.array([low, high], np.float32))
    np.testing.assert_allclose(action[2], (np.array(low) + np.array(high)) / 2, rtol=1e-6)
    assert all(a in spaces.action for a in action)


@pytest.mark.parametrize("plain", [{}, {"obs": 3}, {"obs": [], "obs_dim": 1, "action": {"shape": [1], "dtype": "no"}}])
def test_other_plain_data_is_refused(plain):
    with pytest.raises((KeyError, TypeError, ValueError)):
        spaces_from_plain(plain)
