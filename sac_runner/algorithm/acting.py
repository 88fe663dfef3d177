"""Acting on a few observations: in NumPy, since PyTorch's overhead is several times the products themselves.

On a GPU as a CUDA graph.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sac_runner.algorithm.cuda_graph import recorded
from sac_runner.algorithm.networks import Linear, SquashedGaussianActor

Array = NDArray[np.float32]


class NumpyActor:
    """The actor's choices, computed on the memory of its weights: it always acts with what is written there now.

    Observations are columns here. As rows, OpenBLAS takes 34 us for 8 of them and 256 x 256 weights; so, 14.
    """

    def __init__(self, actor: SquashedGaussianActor, normalize: Callable[[Array], Array]) -> None:
        """``actor`` is in the computer's memory; ``normalize`` takes raw observations (B, obs_dim)."""
        self._normalize = normalize
        self._hidden = _arrays(actor.hidden)
        self._mean, self._log_std = _arrays([actor.mean, actor.log_std])
        self._activation = actor.activation.of_array
        self._least, self._most = actor.log_std_range

    @np.errstate(all="ignore")  # of weights that have diverged the collector speaks, by name
    def act(self, obs: Array, noise: Array | None) -> Array:
        """tanh(mean), or tanh(mean + std * noise): (B, obs_dim) raw, (B, action_dim) -> (B, action_dim)."""
        x = self._normalize(obs).T
        for layer in self._hidden:
            x = self._activation(_affine(x, *layer))
        action = _affine(x, *self._mean)
        if noise is not None:
            log_std = np.minimum(np.maximum(_affine(x, *self._log_std), self._least), self._most)
            action += np.exp(log_std) * noise.T
        return np.ascontiguousarray(np.tanh(action).T)


Choose = Callable[[Tensor, Tensor | None], Tensor]
"""(obs (B, obs_dim) raw, noise (B, action_dim) or None) -> actions (B, action_dim), all on the policy's device."""

_RECORDED_FROM = 3
"""Calls with as many observations from which on they are a CUDA graph: what comes once or twice is not worth one."""

_MOST_GRAPHS = 16


class GpuActor:
    """The actor's choices on a GPU: a CUDA graph for each number of observations, with noise and without."""

    def __init__(self, choose: Choose, device: torch.device, records: bool) -> None:
        """Nothing is recorded yet.

        Args:
            choose: Computes on ``device``.
            device: A GPU.
            records: Else each operator is asked for by itself: graphs are for one thread that has the GPU to itself.
        """
        self._choose, self._device, self._records = choose, device, records
        self._calls: dict[tuple[int, bool], int] = {}
        self._graphs: dict[tuple[int, bool], _Graph] = {}

    def act(self, obs: Array, noise: Array | None) -> Array:
        """(B, obs_dim) raw, (B, action_dim) -> (B, action_dim)."""
        key = len(obs), noise is not None
        graph = self._graphs.get(key)
        if graph is None:
            self._calls[key] = self._calls.get(key, 0) + 1
            worth_it = self._calls[key] >= _RECORDED_FROM and len(self._graphs) < _MOST_GRAPHS
            if not (self._records and worth_it):
                return self._at_once(obs, noise)
            graph = self._graphs[key] = self._record(obs, noise)
        graph.obs[:] = obs
        if graph.noise is not None:
            graph.noise[:] = noise
        graph.replay()
        torch.cuda.current_stream(self._device).synchronize()
        return graph.action.copy()

    def _at_once(self, obs: Array, noise: Array | None) -> Array:
        there = [None if x is None else torch.from_numpy(x).to(self._device) for x in (obs, noise)]
        assert there[0] is not None
        action: Array = self._choose(there[0], there[1]).cpu().numpy()
        return action

    def _record(self, obs: Array, noise: Array | None) -> "_Graph":
        device = self._device
        obs_here = torch.from_numpy(obs).pin_memory()
        noise_here = None if noise is None else torch.from_numpy(noise).pin_memory()

        def choose() -> Tensor:
            there = None if noise_here is None else noise_here.to(device, non_blocking=True)
            return self._choose(obs_here.to(device, non_blocking=True), there)

        action = torch.empty(choose().shape).pin_memory()
        replay = recorded(lambda: action.copy_(choose(), non_blocking=True), device)
        noise_array = None if noise_here is None else noise_here.numpy()
        return _Graph(obs_here.numpy(), noise_array, action.numpy(), replay)

    def __deepcopy__(self, _: dict[int, Any]) -> None:
        """None: a copied policy has weights of its own, and graphs can't be copied."""


class _Graph(NamedTuple):
    """Page-locked memory that a replay reads and writes."""

    obs: Array
    noise: Array | None
    action: Array
    replay: Callable[[], Tensor]


def _arrays(layers: Iterable[nn.Module]) -> list[tuple[Array, Array]]:
    """Weight (outputs, inputs) and bias (outputs, 1) of each."""
    parts = [(layer.weight, layer.bias) for layer in layers if isinstance(layer, Linear)]
    return [(weight.detach().numpy(), bias.detach().numpy()[:, None]) for weight, bias in parts]


def _affine(x: Array, weight: Array, bias: Array) -> Array:
    y: Array = weight @ x
    y += bias
    return y
