import pytest
import torch

from sac_runner.algorithm import networks
from tests.support import random_batch, random_noise, sac


@pytest.mark.parametrize("log_std", [(-20.0, 2.0), (1.5, 1.6), (-0.6, -0.5)])
def test_acting_without_noise_is_the_mode_and_with_noise_the_sample(log_std):
    least, greatest = log_std
    policy = sac(agent={"log_std_min": least, "log_std_max": greatest}).policy
    obs = random_batch().obs
    noise = random_noise().action
    torch.testing.assert_close(policy.act(obs), torch.tanh(policy.actor(obs)[0]))
    torch.testing.assert_close(policy.act(obs, noise), policy.actor.sample(obs, noise)[0])
    assert not torch.equal(policy.act(obs), policy.act(obs, noise))


def test_acting_takes_raw_observations_and_normalizes_them():
    agent = sac(normalization={"obs": True})
    obs = random_batch().obs
    agent.policy.obs_normalizer.observe(obs)
    z = (obs - obs.mean(0)) / obs.std(0, correction=0)
    torch.testing.assert_close(agent.policy.act(obs), torch.tanh(agent.policy.actor(z)[0]), rtol=1e-3, atol=1e-4)


def test_acting_carries_no_gradient_and_moves_nothing():
    agent = sac(normalization={"obs": True})
    obs = random_batch().obs
    agent.policy.obs_normalizer.observe(obs)
    before = {name: x.clone() for name, x in agent.policy.state_dict().items()}
    actions = agent.policy.act(obs), agent.policy.act(obs, random_noise().action)
    assert not any(a.requires_grad for a in actions)
    assert all(torch.equal(before[name], x) for name, x in agent.policy.state_dict().items())


def test_actions_stay_inside_the_unit_box_for_any_noise():
    policy, obs = sac().policy, random_batch().obs
    action = policy.act(obs, 1e6 * random_noise().action)
    assert action.abs().max().item() == 1.0
    assert action.dtype == torch.float32


def test_acting_multiplies_past_onednn_and_leaves_the_way_of_products_as_it_was(monkeypatch):
    policy, obs, before = sac().policy, random_batch().obs, torch.get_float32_matmul_precision()
    within = []
    multiply = networks.F.linear

    def noted(*x):
        within.append(torch.get_float32_matmul_precision())
        return multiply(*x)

    monkeypatch.setattr(networks.F, "linear", noted)
    try:
        for precision in ("medium", "highest"):
            torch.set_float32_matmul_precision(precision)
            policy.act(obs)
            assert torch.get_float32_matmul_precision() == precision
        assert within == ["highest"] * 6  # two hidden layers and the mean, twice
    finally:
        torch.set_float32_matmul_precision(before)
