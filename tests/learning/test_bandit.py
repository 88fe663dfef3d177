"""SAC learns through the replay buffer what can be known by hand, in seconds."""

import math

import numpy as np
import pytest
import torch

from sac_runner.interaction.replay import ReplayBuffer
from sac_runner.types import UpdateNoise
from tests.support import FIXED, sac

BATCH = 64


def learn(agent, reward_of, updates, terminated=True, bootstrap=True, size=256):
    """Updates on one-step episodes with uniform actions; ``terminated`` False ends them by truncation."""
    rng = np.random.default_rng(0)
    replay = ReplayBuffer(size, 1, 1, 1, bootstrap)
    obs, ends = np.ones((1, 1), np.float32), np.array([True])
    replay.start(obs)
    for _ in range(size):
        action = rng.uniform(-1.0, 1.0, (1, 1)).astype(np.float32)
        replay.add(action, reward_of(action[:, 0]), ends & terminated, ends & (not terminated), obs, obs)
    for _ in range(updates):
        noise = UpdateNoise(*torch.from_numpy(rng.standard_normal((2, BATCH, 1), np.float32)))
        metrics = agent.update(replay.batch(replay.draw(BATCH, rng)), noise)
    return metrics


def test_a_bandit_is_learned_with_the_spread_that_alpha_asks_for():
    alpha, best = 0.02, 0.5
    fast = {"actor_lr": 3e-3, "critic_lr": 3e-3, "tau": 0.05, "hidden_sizes": [32, 32]}
    agent = sac(1, 1, agent=fast, alpha=FIXED | {"value": alpha})
    learn(agent, lambda a: -((a - best) ** 2), updates=1200)
    obs = np.ones((4000, 1), np.float32)
    noise = np.random.default_rng(1).standard_normal((4000, 1), np.float32)
    sampled = agent.policy.act(obs, noise)
    assert agent.policy.act(obs[:1]).item() == pytest.approx(best, abs=0.1)
    # the soft optimum is exp(reward / alpha), a Gaussian of variance alpha / 2
    assert sampled.mean().item() == pytest.approx(best, abs=0.1)
    assert sampled.std().item() == pytest.approx(math.sqrt(alpha / 2.0), rel=0.25)


@pytest.mark.parametrize(
    ("terminated", "bootstrap", "value"),
    [(True, True, 1.0), (False, True, 2.0), (False, False, 1.0)],
    ids=["terminated", "truncated", "truncated_counted_as_an_end"],
)
def test_a_truncated_episode_bootstraps_and_a_terminated_one_does_not(terminated, bootstrap, value):
    fast = {"gamma": 0.5, "critic_lr": 1e-2, "tau": 0.2, "hidden_sizes": [16]}
    agent = sac(1, 1, agent=fast, alpha=FIXED | {"value": 0.0})
    metrics = learn(agent, np.ones_like, updates=250, terminated=terminated, bootstrap=bootstrap)
    assert metrics["q_mean"].item() == pytest.approx(value, abs=0.05)
