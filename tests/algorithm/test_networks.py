import math

import pytest
import torch
from torch.nn import functional as F

from sac_runner.algorithm.networks import (
    CriticStack,
    SquashedGaussianActor,
    StackedLayerNorm,
    squashed_gaussian_log_prob,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def actor(obs_dim=3, action_dim=2, log_std_range=(-20.0, 2.0), epsilon=None, seed=0):
    return SquashedGaussianActor(obs_dim, action_dim, [16, 12], "relu", log_std_range, epsilon, generator(seed))


def critics(n=3, layer_norm=False, seed=0):
    return CriticStack(3, 2, [16, 12], "relu", n, layer_norm, generator(seed))


def log_prob(u, mean, std, epsilon=None):
    """Of one action component for each row of ``u`` (B,)."""
    u = u.reshape(-1, 1)
    noise, log_std = (u - mean) / std, torch.full_like(u, math.log(std))
    return squashed_gaussian_log_prob(u, u.tanh(), noise, log_std, epsilon)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.7, 0.3), (-1.5, 2.0), (0.0, 0.01)])
def test_density_over_the_action_interval_integrates_to_one(mean, std):
    # In a, not u: the integral is 1 only with the right correction for the squashing. The ends hold what is left.
    a = torch.linspace(-1.0, 1.0, 2_000_001, dtype=torch.float64)[1:-1]
    density = log_prob(a.atanh(), mean, std).exp()
    assert torch.trapezoid(density, a).item() == pytest.approx(1.0, abs=2e-3)


def test_log_prob_of_a_vector_is_the_sum_of_its_components():
    u = torch.tensor([[0.3, -1.2]], dtype=torch.float64)
    joint = squashed_gaussian_log_prob(u, u.tanh(), u, torch.zeros_like(u), None)
    torch.testing.assert_close(joint[0], log_prob(u[0], 0.0, 1.0).sum())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [0.0, 1e-3, 1.0, 7.0, 20.0, 100.0, 1e4])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_log_prob_and_its_gradient_stay_exact_far_into_saturation(dtype, size, sign):
    u = torch.tensor([[sign * size]], dtype=dtype, requires_grad=True)
    zero = torch.zeros_like(u)
    actual = squashed_gaussian_log_prob(u, u.tanh(), zero, zero, None)
    actual.sum().backward()
    # log(1 - tanh(u)^2) = log 4 - 2|u| - 2 log(1 + exp(-2|u|)), which no rounding can turn into log 0
    log_slope = math.log(4.0) - 2.0 * size - 2.0 * math.log1p(math.exp(-2.0 * size))
    exact = -0.5 * math.log(2.0 * math.pi) - log_slope
    tolerance = 1e-6 if dtype is torch.float32 else 1e-14
    assert actual.item() == pytest.approx(exact, rel=tolerance, abs=tolerance)
    assert u.grad.item() == pytest.approx(2.0 * math.tanh(sign * size), rel=tolerance, abs=tolerance)


def test_log_prob_with_epsilon_is_the_tutorials():
    rng = generator()
    mean, log_std = torch.randn(64, 2, generator=rng), torch.randn(64, 2, generator=rng)
    noise = torch.randn(64, 2, generator=rng)
    u = mean + log_std.exp() * noise
    expected = torch.distributions.Normal(mean, log_std.exp()).log_prob(u) - torch.log(1 - u.tanh().pow(2) + 1e-6)
    actual = squashed_gaussian_log_prob(u, u.tanh(), noise, log_std, 1e-6)
    torch.testing.assert_close(actual, expected.sum(1), rtol=1e-4, atol=1e-4)


def test_epsilon_caps_the_correction_and_null_does_not():
    capped, exact = (log_prob(torch.tensor([20.0]), 20.0, 1.0, e) for e in (1e-6, None))
    gaussian = -0.5 * math.log(2.0 * math.pi)
    assert capped.item() == pytest.approx(gaussian - math.log(1e-6), rel=1e-5)
    assert exact.item() == pytest.approx(gaussian - math.log(4.0) + 40.0, rel=1e-5)


def test_sample_is_the_squashed_gaussian_of_its_noise():
    net, obs = actor(), torch.randn(5, 3, generator=generator())
    noise = torch.randn(5, 2, generator=generator(1))
    mean, log_std = net(obs)
    action, log_p = net.sample(obs, noise)
    torch.testing.assert_close(action, torch.tanh(mean + log_std.exp() * noise))
    assert action.shape == (5, 2) and log_p.shape == (5,)


def test_sampled_actions_have_the_density_that_log_prob_says():
    # Entropy two ways: the mean of -log_prob, and the integral of -p log p over the interval.
    net = actor(action_dim=1).double()
    with torch.no_grad():
        one = torch.randn(1, 3, generator=generator(), dtype=torch.float64)
        mean, log_std = (x.item() for x in net(one))
        noise = torch.randn(200_000, 1, generator=generator(), dtype=torch.float64)
        sampled = -net.sample(one.expand(200_000, 3), noise)[1].mean().item()
    a = torch.linspace(-1.0, 1.0, 400_001, dtype=torch.float64)[1:-1]
    log_p = log_prob(a.atanh(), mean, math.exp(log_std))
    assert sampled == pytest.approx(torch.trapezoid(-log_p.exp() * log_p, a).item(), abs=0.01)


def test_actor_is_the_affine_layers_in_their_order():
    net, obs = actor(), torch.randn(5, 3, generator=generator())
    x = obs
    for layer in net.hidden:
        x = F.relu(x @ layer.weight.T + layer.bias)
    mean, log_std = net(obs)
    torch.testing.assert_close(mean, x @ net.mean.weight.T + net.mean.bias)
    torch.testing.assert_close(log_std, x @ net.log_std.weight.T + net.log_std.bias)


def test_log_std_is_clamped_to_its_range():
    net = actor(log_std_range=(-0.1, 0.05))
    log_std = net(10.0 * torch.randn(200, 3, generator=generator()))[1]
    assert (log_std.min().item(), log_std.max().item()) == (pytest.approx(-0.1), pytest.approx(0.05))


@pytest.mark.parametrize("layer_norm", [False, True])
def test_each_critic_of_the_stack_is_a_network_of_its_own(layer_norm):
    stack = critics(layer_norm=layer_norm)
    with torch.no_grad():  # scales and shifts start equal in all: apart, they show whose is used
        for p in stack.norms.parameters():
            p.add_(torch.randn(p.shape, generator=generator(1)))
    obs, action = torch.randn(7, 3, generator=generator(2)), torch.randn(7, 2, generator=generator(3))
    q = stack(obs, action)
    assert q.shape == (3, 7)
    for i in range(3):
        x = torch.cat([obs, action], dim=1)
        for layer, norm in zip(stack.hidden, stack.norms, strict=True):
            x = x @ layer.weight[i] + layer.bias[i]
            if layer_norm:
                x = F.layer_norm(x, x.shape[-1:], norm.weight[i, 0], norm.bias[i, 0])
            x = F.relu(x)
        torch.testing.assert_close(q[i], (x @ stack.out.weight[i] + stack.out.bias[i])[:, 0])


def test_layer_norm_gives_each_row_mean_zero_and_variance_one_at_the_start():
    y = StackedLayerNorm(2, 50)(5.0 + 3.0 * torch.randn(2, 4, 50, generator=generator()))
    torch.testing.assert_close(y.mean(dim=-1), torch.zeros(2, 4), rtol=0.0, atol=1e-5)
    torch.testing.assert_close(y.var(dim=-1, correction=0), torch.ones(2, 4), rtol=0.0, atol=1e-4)


@pytest.mark.parametrize("hidden", [[16, 12], []])
def test_an_action_with_a_gradient_gives_the_same_values_also_where_observations_are_wide(hidden):
    stack = CriticStack(100, 3, hidden, "tanh", 2, False, generator()).double()
    obs = torch.randn(5, 100, generator=generator(1), dtype=torch.float64)
    action = torch.randn(5, 3, generator=generator(2), dtype=torch.float64)
    free, held = action.clone().requires_grad_(), action.clone().requires_grad_()
    joint = torch.cat([obs, held], dim=1).expand(2, -1, -1)
    for layer in stack.hidden:
        joint = torch.tanh(layer(joint))
    expected, values = stack.out(joint).squeeze(-1), stack(obs, free)
    torch.testing.assert_close(values, expected)
    torch.testing.assert_close(stack(obs, action), expected)
    weights = list(stack.parameters())
    for x, y in zip(
        *(torch.autograd.grad(q.sum(), [a, *weights]) for q, a in ((values, free), (expected, held))), strict=True
    ):
        torch.testing.assert_close(x, y)


def test_critics_start_apart():
    for name, p in critics().named_parameters():
        assert len({tuple(x.flatten().tolist()) for x in p}) == 3, name


@pytest.mark.parametrize("build", [actor, critics])
def test_initial_weights_are_a_function_of_the_generator(build):
    first, again, other = (list(build(seed=s).parameters()) for s in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_initial_weights_fill_the_default_range_of_nn_linear():
    wide = SquashedGaussianActor(100, 50, [400], "relu", (-20.0, 2.0), None, generator())
    stack = CriticStack(60, 40, [400], "relu", 2, False, generator())
    layers = {wide.hidden[0]: 100, wide.mean: 400, wide.log_std: 400, stack.hidden[0]: 100, stack.out: 400}
    for layer, inputs in layers.items():
        bound = 1.0 / math.sqrt(inputs)
        drawn = torch.cat([p.detach().flatten() for p in (layer.weight, layer.bias)])
        assert drawn.abs().max().item() <= bound
        # a uniform draw in +-bound has the standard deviation bound / sqrt(3)
        assert drawn.std().item() == pytest.approx(bound / math.sqrt(3.0), rel=0.05)
