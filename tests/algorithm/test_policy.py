import copy
import warnings

import numpy as np
import pytest
import torch

from sac_runner.algorithm import acting
from sac_runner.algorithm.acting import NumpyActor
from sac_runner.algorithm.networks import ACTIVATIONS
from tests.pretended_gpu import pretend_a_gpu
from tests.support import random_batch, random_noise, sac

OBS, NOISE = random_batch().obs.numpy(), random_noise().action.numpy()


def as_in_an_update(policy, noise=None):
    """What the actor of an update makes of ``OBS``."""
    obs = policy.obs_normalizer(torch.from_numpy(OBS))
    if noise is not None:
        return policy.actor.sample(obs, torch.from_numpy(noise))[0].detach().numpy()
    return torch.tanh(policy.actor(obs)[0]).detach().numpy()


def in_torch(policy):
    """How it acts on a GPU, with arrays."""

    def act(obs, noise):
        noise = None if noise is None else torch.from_numpy(noise)
        return policy.choose(torch.from_numpy(obs), noise).numpy()

    return act


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("log_std", [(-20.0, 2.0), (1.5, 1.6), (-0.6, -0.5)])
def test_acting_is_the_centre_and_with_noise_the_sample_of_the_policy_of_updates(log_std, activation):
    least, greatest = log_std
    policy = sac(agent={"log_std_min": least, "log_std_max": greatest, "activation": activation}).policy
    for noise in (None, NOISE):
        expected = as_in_an_update(policy, noise)
        for act in (policy.act, in_torch(policy)):
            np.testing.assert_allclose(act(OBS, noise), expected, rtol=1e-5, atol=1e-6)
    assert not np.array_equal(policy.act(OBS), policy.act(OBS, NOISE))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_an_activation_is_the_same_for_tensors_and_arrays(activation):
    x = np.concatenate([np.linspace(-300.0, 300.0, 1001), [0.0, -0.0]]).astype(np.float32)
    f = ACTIVATIONS[activation]
    with np.errstate(over="ignore"):
        y = f.of_array(x)
    np.testing.assert_allclose(y, f.of_tensor(torch.from_numpy(x)), rtol=1e-5, atol=1e-6)
    assert y.dtype == np.float32


@pytest.mark.parametrize("clip", [None, 1.0])
def test_acting_takes_raw_observations_and_normalizes_them(clip):
    agent = sac(normalization={"obs": True, "obs_clip": clip})
    agent.policy.obs_normalizer.observe(OBS)
    z = (OBS - OBS.mean(0)) / OBS.std(0)
    z = z if clip is None else z.clip(-clip, clip)
    expected = torch.tanh(agent.policy.actor(torch.from_numpy(z))[0]).detach().numpy()
    for act in (agent.policy.act, in_torch(agent.policy)):
        np.testing.assert_allclose(act(OBS, None), expected, rtol=1e-3, atol=1e-4)


def test_acting_moves_nothing():
    agent = sac(normalization={"obs": True})
    agent.policy.obs_normalizer.observe(OBS)
    before = {name: x.clone() for name, x in agent.policy.state_dict().items()}
    obs, noise = OBS.copy(), NOISE.copy()
    first = agent.policy.act(obs, noise)
    kept = first.copy()
    agent.policy.act(obs)
    assert all(torch.equal(before[name], x) for name, x in agent.policy.state_dict().items())
    assert np.array_equal(obs, OBS) and np.array_equal(noise, NOISE) and np.array_equal(first, kept)


def test_acting_is_with_the_weights_and_statistics_as_they_are_now():
    agent = sac(normalization={"obs": True})
    policy = agent.policy
    seen = [policy.act(OBS)]
    agent.update(random_batch(), random_noise())
    seen.append(policy.act(OBS))
    policy.obs_normalizer.observe(OBS)
    seen.append(policy.act(OBS))
    policy.load_state_dict(sac(seed=1, normalization={"obs": True}).policy.state_dict())
    seen.append(policy.act(OBS))
    np.testing.assert_allclose(seen[-1], as_in_an_update(policy), rtol=1e-5, atol=1e-6)
    assert all(np.abs(a - b).max() > 1e-4 for a, b in zip(seen, seen[1:], strict=False))


def test_a_copy_and_a_moved_policy_act_with_weights_of_their_own():
    policy = sac().policy
    first = policy.act(OBS)
    other = copy.deepcopy(policy)
    with torch.no_grad():
        other.actor.mean.bias += 1.0
    np.testing.assert_allclose(other.act(OBS), as_in_an_update(other), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(policy.act(OBS), first)
    policy.double()
    np.testing.assert_allclose(policy.act(OBS), first, rtol=1e-5, atol=1e-6)


def on_a_gpu(monkeypatch):
    """An agent whose weights are moved after it was made."""
    agent = sac(normalization={"obs": True})
    agent.policy.double().float()
    pretend_a_gpu(monkeypatch)
    monkeypatch.setattr(NumpyActor, "__init__", lambda *_: pytest.fail("acts in the computer's memory"))
    return agent


def test_on_a_gpu_acting_is_recorded_for_each_number_of_observations_and_stays_the_same(monkeypatch):
    agent, graphs = on_a_gpu(monkeypatch), []
    record = acting.recorded
    monkeypatch.setattr(acting, "recorded", lambda *of: graphs.append(len(graphs)) or record(*of))
    kept = []
    for step in range(10):
        obs, noise = random_batch(seed=step).obs.numpy(), random_noise(seed=step).action.numpy()
        for size, with_noise in ((1, True), (16, True), (16, False)):
            given = obs[:size], noise[:size] if with_noise else None
            kept.append((agent.policy.act(*given), in_torch(agent.policy)(*given)))
        agent.update(random_batch(), random_noise())
        agent.policy.obs_normalizer.observe(OBS)
    assert len(graphs) == 3
    for action, expected in kept:  # no later one was written into its memory
        np.testing.assert_array_equal(action, expected)


def test_on_a_gpu_only_so_many_numbers_of_observations_are_recorded(monkeypatch):
    policy, graphs = on_a_gpu(monkeypatch).policy, []
    record = acting.recorded
    monkeypatch.setattr(acting, "recorded", lambda *of: graphs.append(len(graphs)) or record(*of))
    for size in [*range(1, 17), 16, 16]:
        policy.act(OBS[:size], None)
    assert len(graphs) == 1
    for size in [size for size in range(1, 17) for _ in range(3)]:
        policy.act(OBS[:size], NOISE[:size])
    assert len(graphs) == 16
    np.testing.assert_array_equal(policy.act(OBS, NOISE), in_torch(policy)(OBS, NOISE))


def test_a_copy_of_a_policy_on_a_gpu_acts_with_weights_of_its_own(monkeypatch):
    policy = on_a_gpu(monkeypatch).policy
    for _ in range(4):
        first = policy.act(OBS)
    other = copy.deepcopy(policy)
    with torch.no_grad():
        other.actor.mean.bias += 1.0
    np.testing.assert_array_equal(other.act(OBS), in_torch(other)(OBS, None))
    np.testing.assert_array_equal(policy.act(OBS), first)


def test_actions_stay_inside_the_unit_box_for_any_noise():
    action = sac().policy.act(OBS, 1e6 * NOISE)
    assert np.abs(action).max() == 1.0
    assert action.dtype == np.float32 and action.flags.c_contiguous and action.flags.writeable


def test_diverged_weights_act_without_a_word():
    policy = sac().policy
    for value in (np.inf, np.nan):
        with torch.no_grad():
            policy.actor.hidden[0].weight.fill_(value)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert np.isnan(policy.act(OBS, NOISE)).any()
