"""Whole updates in float64 against two independent references: NumPy by hand, and the tutorial's formulas."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sac_runner.types import Batch, UpdateNoise
from tests.algorithm.numpy_sac import NumpySAC
from tests.support import ANNEALED, AUTO, FIXED, in_float64, random_batch, random_noise, sac, weights

RTOL = 1e-10
STEPS = 3  # the targets leave the critics at the first, and Adam's moments count from the second

CASES = {
    "default": {},
    "auto_alpha_target_given": {"alpha": AUTO | {"initial": 0.3, "lr": 1e-2, "target_entropy": 0.7}},
    "fixed_alpha": {"alpha": FIXED},
    "no_entropy": {"alpha": FIXED | {"value": 0.0}},
    "annealed_alpha": {"alpha": ANNEALED | {"over_env_steps": 25}},
    "layer_norm": {"agent": {"critic_layer_norm": True}},
    "one_critic": {"agent": {"n_critics": 1}},
    "three_critics": {"agent": {"n_critics": 3, "critic_layer_norm": True, "activation": "silu"}},
    "normalization": {"normalization": {"obs": True, "reward": True, "obs_clip": 1.0, "reward_clip": 0.5}},
    "max_grad_norm": {"agent": {"max_grad_norm": 0.1}},
    "clamped_log_std": {"agent": {"log_std_min": -0.05, "log_std_max": 0.05}},
    "linear_lr": {"agent": {"lr_schedule": "linear", "lr_final_share": 0.1, "lr_decay_env_steps": 25}},
    "separate_lr": {"agent": {"actor_lr": 1e-3, "critic_lr": 1e-2, "tau": 0.3, "gamma": 0.5}},
    "tanh": {"agent": {"activation": "tanh", "hidden_sizes": [9]}},
    "elu": {"agent": {"activation": "elu", "hidden_sizes": [9, 8, 7]}},
    "all_at_once": {
        "agent": {"critic_layer_norm": True, "max_grad_norm": 0.1, "lr_schedule": "linear", "lr_final_share": 0.1}
        | {"lr_decay_env_steps": 25},
        "normalization": {"obs": True, "reward": True, "obs_clip": 1.0, "reward_clip": 0.5},
    },
    "tutorial_log_prob": {"agent": {"activation": "leaky_relu", "log_prob_epsilon": 1e-2}},
}


def reference(agent, overrides):
    knobs = {name: getattr(agent.config, name) for name in vars(agent.config)}
    alpha = {**AUTO, **overrides.get("alpha", {})}
    target_entropy = None
    if alpha["mode"] == "auto":
        target_entropy = -2.0 if alpha["target_entropy"] is None else alpha["target_entropy"]
    networks = (weights(agent.policy.actor), weights(agent.critic), weights(agent.critic_target))
    return NumpySAC(
        *networks, agent.alpha.value.item(), target_entropy, **knobs, alpha_lr=float(np.float32(alpha.get("lr", 0.0)))
    )


def moments(x):
    """Mean and variance with the prior of weight 1e-4 on mean 0 and variance 1."""
    total = len(x) + 1e-4
    mean = x.sum(axis=0) / total
    return mean, ((x**2).sum(axis=0) + 1e-4) / total - mean**2


def show_frames(agent):
    """Gives the normalizers three steps of one environment; returns what they should know of them."""
    rng = np.random.default_rng(3)
    frames, rewards = rng.normal(1.0, 3.0, (3, 2, 3)), rng.normal(2.0, 5.0, 3)
    for x, r in zip(frames, rewards, strict=True):
        agent.observe(x, np.array([r]), np.array([False]))
    gamma = agent.config.gamma
    returns = [rewards[0], gamma * rewards[0] + rewards[1], gamma**2 * rewards[0] + gamma * rewards[1] + rewards[2]]
    return moments(frames.reshape(-1, 3)), moments(np.array(returns))[1]


def normalized(batch, known, clips):
    ((mean, var), return_var), (obs_clip, reward_clip) = known, clips
    arrays = batch._asdict()
    for name in ("obs", "next_obs"):
        arrays[name] = np.clip((arrays[name] - mean) / (np.sqrt(var) + 1e-8), -obs_clip, obs_clip)
    arrays["reward"] = np.clip(arrays["reward"] / np.sqrt(return_var + 1e-8), -reward_clip, reward_clip)
    return Batch(**arrays)


def assert_equal_weights(module, expected):
    actual = weights(module)
    assert actual.keys() == expected.keys()
    for name, x in actual.items():
        np.testing.assert_allclose(x, expected[name], rtol=RTOL, err_msg=name)


@pytest.mark.parametrize("name", CASES)
def test_update_equals_the_equations_in_numpy(name):
    assert_equal_numpy(CASES[name])


def assert_equal_numpy(overrides, updates=lambda agent: agent.update):
    agent = in_float64(sac(**overrides))
    update = updates(agent)
    known = show_frames(agent) if "normalization" in overrides else None
    numpy_sac = reference(agent, overrides)
    saturated = set()
    for i in range(STEPS):
        batch = random_batch(seed=i, dtype=torch.float64)
        noise = random_noise(seed=i, dtype=torch.float64)
        noise = UpdateNoise(noise.next_action, noise.action * 3.0)  # far enough for |a| > 0.99
        agent.set_env_step(10 * i)
        if "over_env_steps" in overrides.get("alpha", {}):
            numpy_sac.alpha = [0.5, 0.34, 0.18][i]
        if "lr_schedule" in overrides.get("agent", {}):  # Adam takes its step size from a float32
            numpy_sac.actor_adam.lr = numpy_sac.critic_adam.lr = float(np.float32([3e-4, 1.92e-4, 0.84e-4][i]))
        else:
            numpy_sac.actor_adam.lr = float(np.float32(agent.config.actor_lr))
            numpy_sac.critic_adam.lr = float(np.float32(agent.config.critic_lr))
        metrics = update(batch, noise)
        arrays = Batch(*(x.numpy() for x in batch))
        if known:
            arrays = normalized(arrays, known, (1.0, 0.5))
        expected = numpy_sac.update(*arrays, noise.next_action.numpy(), noise.action.numpy())
        assert metrics.keys() == expected.keys()
        for key, value in metrics.items():
            rtol = 1e-6 if key == "action_saturation" else RTOL  # a share, counted in float32
            np.testing.assert_allclose(value.item(), expected[key], rtol=rtol, err_msg=f"{key} of update {i}")
        saturated.add(expected["action_saturation"])
    assert_equal_weights(agent.critic, numpy_sac.critic)
    assert_equal_weights(agent.critic_target, numpy_sac.target)
    assert_equal_weights(agent.policy.actor, numpy_sac.actor)
    np.testing.assert_allclose(agent.alpha.value.item(), numpy_sac.alpha, rtol=RTOL)
    assert any(0.0 < share < 1.0 for share in saturated)


def tutorial_q(stack, i):
    """Critic ``i`` of the stack as a network of its own."""
    layers = []
    for stacked in [*stack.hidden, stack.out]:
        layer = nn.Linear(stacked.weight.shape[1], stacked.weight.shape[2], dtype=torch.float64)
        layer.weight.data.copy_(stacked.weight.data[i].T)
        layer.bias.data.copy_(stacked.bias.data[i, 0])
        layers += [layer, nn.LeakyReLU()]
    return nn.Sequential(*layers[:-1])


class TutorialPolicy(nn.Module):
    def __init__(self, actor):
        super().__init__()
        self.parts = nn.ParameterDict({k.replace(".", "_"): p.detach().clone() for k, p in actor.named_parameters()})

    def sample(self, obs, noise):
        p, x = self.parts, obs
        for i in (0, 1):
            x = F.leaky_relu(F.linear(x, p[f"hidden_{i}_weight"], p[f"hidden_{i}_bias"]))
        mean = F.linear(x, p["mean_weight"], p["mean_bias"])
        std = F.linear(x, p["log_std_weight"], p["log_std_bias"]).clamp(-20, 2).exp()
        u = mean + std * noise
        log_prob = torch.distributions.Normal(mean, std).log_prob(u) - torch.log(1 - torch.tanh(u).pow(2) + 1e-6)
        return torch.tanh(u), log_prob.sum(1, keepdim=True)


def step(optimizer, loss):
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


@pytest.mark.parametrize("alpha", [FIXED | {"value": 0.05}, AUTO], ids=["appendix_a", "appendix_b"])
def test_updates_equal_the_tutorials(alpha):
    tutorial = {"activation": "leaky_relu", "log_prob_epsilon": 1e-6}
    agent = in_float64(sac(agent=tutorial, alpha=alpha))
    lr = torch.tensor(3e-4).item()
    policy = TutorialPolicy(agent.policy.actor)
    q1, q2, q1_target, q2_target = (tutorial_q(agent.critic, i) for i in (0, 1, 0, 1))
    policy_adam, q1_adam, q2_adam = (torch.optim.Adam(m.parameters(), lr=lr) for m in (policy, q1, q2))
    log_alpha = torch.tensor([math.log(agent.alpha.value)], dtype=torch.float64, requires_grad=True)
    alpha_adam = torch.optim.Adam([log_alpha], lr=lr)
    for i in range(STEPS):
        batch, noise = random_batch(seed=i, dtype=torch.float64), random_noise(seed=i, dtype=torch.float64)
        agent.update(batch, noise)

        weight = log_alpha.exp().detach()
        reward, done = batch.reward.unsqueeze(1), batch.terminated.unsqueeze(1)
        with torch.no_grad():
            next_action, next_log_prob = policy.sample(batch.next_obs, noise.next_action)
            next_pair = torch.cat([batch.next_obs, next_action], 1)
            value = torch.min(q1_target(next_pair), q2_target(next_pair)) - weight * next_log_prob
            y = reward + 0.99 * (1 - done) * value
        pair = torch.cat([batch.obs, batch.action], 1)
        step(q1_adam, F.mse_loss(q1(pair), y))
        step(q2_adam, F.mse_loss(q2(pair), y))
        action, log_prob = policy.sample(batch.obs, noise.action)
        pair = torch.cat([batch.obs, action], 1)
        step(policy_adam, -(torch.min(q1(pair), q2(pair)) - weight * log_prob).mean())
        if alpha["mode"] == "auto":
            step(alpha_adam, -(log_alpha * (log_prob - 2.0).detach()).mean())
        for target, online in ((q1_target, q1), (q2_target, q2)):
            for t, p in zip(target.parameters(), online.parameters(), strict=True):
                t.data.copy_(t.data * (1.0 - 0.005) + p.data * 0.005)

    for stack, pairs in ((agent.critic, (q1, q2)), (agent.critic_target, (q1_target, q2_target))):
        for i, single in enumerate(pairs):
            sliced = tutorial_q(stack, i)
            for mine, theirs in zip(sliced.parameters(), single.parameters(), strict=True):
                torch.testing.assert_close(mine, theirs, rtol=RTOL, atol=0.0)
    for name, p in agent.policy.actor.named_parameters():
        torch.testing.assert_close(p.detach(), policy.parts[name.replace(".", "_")].detach(), rtol=RTOL, atol=0.0)
    torch.testing.assert_close(agent.alpha.value, log_alpha.exp().detach()[0], rtol=RTOL, atol=0.0)
