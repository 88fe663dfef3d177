import numpy as np
import pytest
import torch
from gymnasium.wrappers.utils import RunningMeanStd
from hypothesis import given
from hypothesis import strategies as st

from sac_runner.algorithm.normalization import ObsNormalizer, RewardNormalizer, RunningMoments
from tests.support import CPU, random_batch, random_noise, sac

PRIOR = 1e-4  # weight of mean 0 and variance 1 at the start


def with_prior(x):
    total = len(x) + PRIOR
    mean = x.sum(axis=0) / total
    return mean, (((x - mean) ** 2).sum(axis=0) + PRIOR * (1.0 + mean**2)) / total


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1.0, 1e4]))
def test_any_split_into_chunks_gives_the_moments_of_the_whole(sizes, seed, offset):
    x = offset + np.random.default_rng(seed).normal(size=(sum(sizes), 3)) * [0.1, 1.0, 100.0]
    moments = RunningMoments((3,))
    for chunk in np.split(x, np.cumsum(sizes)[:-1]):
        moments.update(chunk)
    mean, var = with_prior(x)
    np.testing.assert_allclose(moments.mean, mean, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(moments.var, var, rtol=1e-6, atol=1e-9)
    assert moments.count.item() == pytest.approx(len(x) + PRIOR, rel=1e-12)


def test_moments_start_at_mean_zero_and_variance_one():
    moments = RunningMoments((2,))
    assert moments.mean.tolist() == [0.0, 0.0] and moments.var.tolist() == [1.0, 1.0]


def test_moments_of_float32_frames_are_those_of_gymnasium_in_float64():
    rng = np.random.default_rng(0)
    ours, theirs = RunningMoments((2,)), RunningMeanStd(epsilon=PRIOR, shape=(2,), dtype=np.float64)
    for size in (1, 5, 1, 64):
        x = (1e4 + rng.normal(size=(size, 2))).astype(np.float32)
        ours.update(x)
        theirs.update(x.astype(np.float64))
    np.testing.assert_allclose(ours.mean, theirs.mean, rtol=1e-12)
    np.testing.assert_allclose(ours.var, theirs.var, rtol=1e-9)


def test_statistics_are_kept_in_float64_when_an_agent_is_built_and_moved():
    agent = sac(normalization={"obs": True, "reward": True})
    agent.policy.to(CPU)
    for moments in (agent.policy.obs_normalizer.moments, agent.reward_normalizer.moments):
        assert {x.dtype for x in moments.state_dict().values()} == {torch.float64}


def test_observations_are_centred_scaled_and_clipped():
    normalizer = ObsNormalizer(2, clip=1.2)
    frames = np.array([[0.0, 10.0], [2.0, 30.0], [4.0, 50.0]], np.float32)
    normalizer.observe(frames)
    z = (3.0 / 2.0) ** 0.5
    expected = [[-1.2, -1.2], [0.0, 0.0], [1.2, 1.2]]
    for actual in normalizer(torch.from_numpy(frames)).numpy(), normalizer.in_numpy()(frames):
        np.testing.assert_allclose(actual, expected, atol=1e-3)
        assert actual.dtype == np.float32
    unclipped = ObsNormalizer(2, clip=None)
    unclipped.observe(frames)
    for actual in unclipped(torch.from_numpy(frames[2:])).numpy(), unclipped.in_numpy()(frames[2:]):
        np.testing.assert_allclose(actual, [[z, z]], atol=1e-3)


def test_observations_that_never_vary_stay_finite():
    normalizer = ObsNormalizer(1, clip=None)
    for _ in range(100):
        normalizer.observe(np.full((50, 1), 3.0, np.float32))
    normalizer.moments.var.zero_()  # as after more of them than a test can take
    obs = np.array([[3.0], [4.0]], np.float32)
    for actual in normalizer(torch.from_numpy(obs)).numpy(), normalizer.in_numpy()(obs):
        np.testing.assert_allclose(actual, (obs - normalizer.moments.mean.numpy()) / 1e-8, rtol=1e-5)


def scripted_rewards():
    rng = np.random.default_rng(5)
    return rng.normal(1.0, 4.0, (40, 3)), rng.random((40, 3)) < 0.2


@pytest.mark.parametrize("clip", [None, 0.7])
def test_reward_scale_is_the_spread_of_each_environments_discounted_return(clip):
    # As VecNormalize of OpenAI Baselines: G <- gamma G + r, its variance taken in, G <- 0 where an episode ended.
    rewards, dones = scripted_rewards()
    normalizer = RewardNormalizer(num_envs=3, gamma=0.9, clip=clip)
    seen, running = [], np.zeros(3)
    for reward, done in zip(rewards, dones, strict=True):
        normalizer.observe(reward, done)
        running = 0.9 * running + reward
        seen += running.tolist()
        running = np.where(done, 0.0, running)
        scale = np.sqrt(with_prior(np.array(seen))[1] + 1e-8)
        expected = reward / scale
        if clip is not None:
            expected = np.clip(expected, -clip, clip)
        np.testing.assert_allclose(normalizer(torch.from_numpy(reward)), expected, rtol=1e-9)
        assert normalizer.scale.item() == pytest.approx(scale, rel=1e-9)
    assert normalizer(torch.ones(2)).dtype == torch.float32


def test_statistics_reach_another_device(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "cpu", torch.Tensor.clone)  # as from a GPU: another memory
    monkeypatch.setattr(torch.Tensor, "is_cpu", False)
    agent = sac(normalization={"obs": True, "reward": True})
    agent.observe(np.full((4, 3), 5.0, np.float32), np.array([7.0]), np.array([False]))
    moments = agent.policy.obs_normalizer.moments, agent.reward_normalizer.moments
    assert [round(x.mean.max().item(), 2) for x in moments] == [5.0, 7.0]
    assert [round(x.count.item(), 2) for x in moments] == [4.0, 1.0] and moments[0].var.max() < 0.1
    assert agent.reward_normalizer.discounted_return.tolist() == [7.0]
    agent.load_state_dict(sac(normalization={"obs": True, "reward": True}).state_dict())
    agent.observe(np.full((4, 3), -3.0, np.float32), np.array([2.0]), np.array([False]))
    assert [round(x.mean.max().item(), 2) for x in moments] == [-3.0, 2.0]
    assert agent.reward_normalizer.discounted_return.tolist() == [2.0]


def test_environments_do_not_share_a_return():
    alone, beside = RewardNormalizer(1, 0.9, None), RewardNormalizer(2, 0.9, None)
    for _ in range(3):
        alone.observe(np.array([1.0]), np.array([False]))
        beside.observe(np.array([1.0, 5.0]), np.array([False, True]))
    torch.testing.assert_close(beside.discounted_return, torch.tensor([2.71, 0.0], dtype=torch.float64))
    torch.testing.assert_close(alone.discounted_return, beside.discounted_return[:1])


def test_only_observe_moves_statistics_and_it_counts_every_frame_once():
    agent = sac(normalization={"obs": True, "reward": True}, env={"num_envs": 2})
    frames, noise = random_batch(size=3).obs.numpy(), random_noise(3).action.numpy()
    agent.observe(frames, np.array([1.0, 2.0]), np.array([False, True]))
    obs_moments, reward_moments = agent.policy.obs_normalizer.moments, agent.reward_normalizer.moments
    assert obs_moments.count.item() == pytest.approx(3 + PRIOR, rel=1e-12)
    assert reward_moments.count.item() == pytest.approx(2 + PRIOR, rel=1e-12)

    def statistics():
        return [x.clone() for m in (agent.policy.obs_normalizer, agent.reward_normalizer) for x in m.buffers()]

    before = statistics()
    agent.policy.act(frames)
    agent.policy.act(frames, noise)
    agent.update(random_batch(), random_noise())
    agent.q_value(frames, noise)
    assert len(before) == 7 and all(map(torch.equal, before, statistics()))


def test_groups_that_are_off_change_nothing():
    agent = sac()
    batch = random_batch()
    agent.observe(batch.obs.numpy(), batch.reward.numpy(), batch.terminated.bool().numpy())
    assert torch.equal(agent.policy.obs_normalizer(batch.obs), batch.obs)
    assert np.array_equal(agent.policy.obs_normalizer.in_numpy()(batch.obs.numpy()), batch.obs)
    assert torch.equal(agent.reward_normalizer(batch.reward), batch.reward)
    assert not agent.policy.obs_normalizer.state_dict() and not agent.reward_normalizer.state_dict()
