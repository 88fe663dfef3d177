"""The networks: a squashed Gaussian actor, and all critics computed as one stack.

Every layer starts as PyTorch's default ``nn.Linear``: weights and biases uniform in +-1/sqrt(inputs), drawn from a
generator that is handed in.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

_WIDE_OBS = 64
"""obs_dim from which on the gradient of observations, which nobody needs, costs more than a second product.

7 % of an update where it is 348.
"""

_NARROW = 64
"""Inputs or outputs below which a product stays in full precision with ``precision=medium`` too.

On a CPU, to make bfloat16 of what it multiplies takes 40 us, whatever its size: longer than the product.
"""


class Activation(NamedTuple):
    """A function of each element."""

    of_tensor: Callable[[Tensor], Tensor]
    of_array: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    """The same in NumPy, for acting."""


ACTIVATIONS = {
    "relu": Activation(torch.relu, lambda x: np.maximum(x, 0.0)),
    "leaky_relu": Activation(F.leaky_relu, lambda x: np.maximum(x, 0.01 * x)),
    "tanh": Activation(torch.tanh, np.tanh),
    "elu": Activation(F.elu, lambda x: np.where(x > 0.0, x, np.expm1(x))),
    "silu": Activation(F.silu, lambda x: np.divide(x, 1.0 + np.exp(-x))),
}


def _uniform(shape: Sequence[int], inputs: int, generator: torch.Generator) -> nn.Parameter:
    bound = 1.0 / math.sqrt(inputs)
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound, generator=generator))


def _affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A layer of ``weight`` (outputs, inputs), or a stack of them, (n, inputs, outputs)."""
    product = F.linear if weight.dim() == 2 else _stacked
    if not torch.is_autocast_enabled(x.device.type) or min(weight.shape[-2:]) >= _NARROW:
        return product(x, weight, bias)
    with torch.autocast(x.device.type, enabled=False):
        return product(x.to(weight.dtype), weight, bias.to(weight.dtype))


def _stacked(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    if not torch.compiler.is_compiling():
        return torch.baddbmm(bias, x, weight)
    product = torch.bmm(x, weight)  # the compiler makes the sum one with what follows: 0.95 to 0.98 of an update
    return product + bias.to(product.dtype)


class Linear(nn.Module):
    """An ordinary affine layer, with its initial weights drawn from ``generator``."""

    def __init__(self, inputs: int, outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        self.weight = _uniform((outputs, inputs), inputs, generator)
        self.bias = _uniform((outputs,), inputs, generator)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs) -> (B, outputs)."""
        return _affine(x, self.weight, self.bias)


class StackedLinear(nn.Module):
    """``n`` affine layers side by side, one batched product for all."""

    def __init__(self, n: int, inputs: int, outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        self.weight = _uniform((n, inputs, outputs), inputs, generator)
        self.bias = _uniform((n, 1, outputs), inputs, generator)

    def forward(self, x: Tensor) -> Tensor:
        """(n, B, inputs) -> (n, B, outputs)."""
        return _affine(x, self.weight, self.bias)


class StackedLayerNorm(nn.Module):
    """Layer norm over the features, with a scale and a shift for each of ``n`` stacked networks."""

    def __init__(self, n: int, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n, 1, features))
        self.bias = nn.Parameter(torch.zeros(n, 1, features))

    def forward(self, x: Tensor) -> Tensor:
        """(n, B, features) -> (n, B, features)."""
        return torch.addcmul(self.bias, F.layer_norm(x, x.shape[-1:]), self.weight)


class SquashedGaussianActor(nn.Module):
    """The policy pi(a|s): a = tanh(mean(s) + std(s) * noise)."""

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        hidden_sizes: Sequence[int],
        activation: str,
        log_std_range: tuple[float, float],
        log_prob_epsilon: float | None,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        sizes = [obs_dim, *hidden_sizes]
        self.hidden = nn.ModuleList(Linear(i, o, generator) for i, o in pairwise(sizes))
        self.mean = Linear(sizes[-1], action_dim, generator)
        self.log_std = Linear(sizes[-1], action_dim, generator)
        self.activation = ACTIVATIONS[activation]
        self.log_std_range = log_std_range
        self.log_prob_epsilon = log_prob_epsilon

    def forward(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation before the squashing, each (B, action_dim), of normalized obs."""
        x = obs
        for layer in self.hidden:
            x = self.activation.of_tensor(layer(x))
        weight = torch.cat([self.mean.weight, self.log_std.weight])  # one product for both
        mean, log_std = _affine(x, weight, torch.cat([self.mean.bias, self.log_std.bias])).chunk(2, dim=-1)
        return mean, log_std.clamp(*self.log_std_range)

    def sample(self, obs: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """A reparameterised action and its log-probability.

        ``noise`` (B, action_dim) is standard normal and comes from outside: gradients flow as through PyTorch's
        ``rsample``, but the draw belongs to the caller, so acting and updating are pure functions.

        Returns:
            action (B, action_dim) in [-1, 1], log pi(action|obs) (B,) in nats.
        """
        mean, log_std = self(obs)
        pre_tanh = mean + log_std.exp() * noise
        action = torch.tanh(pre_tanh)
        log_prob = squashed_gaussian_log_prob(pre_tanh, action, noise, log_std, self.log_prob_epsilon)
        return action, log_prob


def squashed_gaussian_log_prob(
    pre_tanh: Tensor, action: Tensor, noise: Tensor, log_std: Tensor, epsilon: float | None
) -> Tensor:
    """Log pi(a|s) = sum_j [log N(u_j; mean_j, std_j) - log(1 - tanh(u_j)^2)]: arXiv 1812.05905v2, Eq. 26.

    Without ``epsilon`` the correction is the exact 2 (log 2 - u - softplus(-2u)), finite for every u. With it, it is
    the tutorial's log(1 - a^2 + epsilon), which saturates once |u| > 7 for 1e-6.

    Args:
        pre_tanh: u, (B, action_dim).
        action: tanh(u), (B, action_dim).
        noise: (u - mean) / std, (B, action_dim).
        log_std: (B, action_dim).
        epsilon: > 0, or None for the exact form.

    Returns:
        (B,), nats.
    """
    gaussian = -0.5 * noise.square() - log_std - 0.5 * math.log(2.0 * math.pi)
    if epsilon is None:
        log_slope = 2.0 * (math.log(2.0) - pre_tanh - F.softplus(-2.0 * pre_tanh))
    else:
        log_slope = torch.log(1.0 - action.square() + epsilon)
    return (gaussian - log_slope).sum(dim=-1)


class CriticStack(nn.Module):
    """``n_critics`` soft Q-functions Q_i(s, a) of the same shape."""

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        hidden_sizes: Sequence[int],
        activation: str,
        n_critics: int,
        layer_norm: bool,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        sizes = [obs_dim + action_dim, *hidden_sizes]
        self.hidden = nn.ModuleList(StackedLinear(n_critics, i, o, generator) for i, o in pairwise(sizes))
        self.norms = nn.ModuleList(
            StackedLayerNorm(n_critics, size) if layer_norm else nn.Identity() for size in hidden_sizes
        )
        self.out = StackedLinear(n_critics, sizes[-1], 1, generator)
        self.activation = ACTIVATIONS[activation].of_tensor
        self.n_critics = n_critics

    def forward(self, obs: Tensor, action: Tensor) -> Tensor:
        """(B, obs_dim), (B, action_dim) -> (n_critics, B)."""
        x = self.activation(self.norms[0](self._first(obs, action))) if self.hidden else self._joint(obs, action)
        for layer, norm in zip(self.hidden[1:], self.norms[1:], strict=True):
            x = self.activation(norm(layer(x)))
        # One output column: a sum, which the compiler fuses with the layer before, instead of a product.
        return (x * self.out.weight.mT).sum(dim=-1) + self.out.bias.squeeze(-1)

    def _first(self, obs: Tensor, action: Tensor) -> Tensor:
        """The first layer, of both side by side: (n_critics, B, features)."""
        layer, both = self.hidden[0], (self.n_critics, -1, -1)
        assert isinstance(layer, StackedLinear)
        if not action.requires_grad or obs.shape[-1] < _WIDE_OBS:
            return layer.forward(self._joint(obs, action))
        # The actor's step: a joint input would make autograd compute the gradient of obs too, which nobody uses.
        of_obs, of_action = layer.weight.split([obs.shape[-1], action.shape[-1]], dim=1)
        return _affine(action.expand(both), of_action, _affine(obs.expand(both), of_obs, layer.bias))

    def _joint(self, obs: Tensor, action: Tensor) -> Tensor:
        return torch.cat([obs, action], dim=-1).expand(self.n_critics, -1, -1)
