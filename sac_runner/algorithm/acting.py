"""Acting in NumPy: around the products of a few observations, PyTorch takes several times as long as they do."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from torch import nn

from sac_runner.algorithm.networks import Linear, SquashedGaussianActor


class NumpyActor:
    """The actor's choices, computed on the memory of its weights: it always acts with what is written there now.

    Observations are columns here. As rows, OpenBLAS takes 34 us for 8 of them and 256 x 256 weights; so, 14.
    """

    def __init__(self, actor: SquashedGaussianActor) -> None:
        """``actor`` is in the computer's memory."""
        self._weight, self._address = actor.mean.weight, actor.mean.weight.data_ptr()
        self._hidden = _arrays(actor.hidden)
        self._mean, self._log_std = _arrays([actor.mean, actor.log_std])
        self._activation = actor.activation.of_array
        self._least, self._most = actor.log_std_range

    def is_current(self) -> bool:
        """Whether the weights are where they were: not after the actor was moved, nor in a copy of it."""
        return self._weight.data_ptr() == self._address

    def act(self, obs: NDArray[np.float32], noise: NDArray[np.float32] | None) -> NDArray[np.float32]:
        """tanh(mean), or tanh(mean + std * noise): (B, obs_dim) normalized, (B, action_dim) -> (B, action_dim)."""
        x = obs.T
        for layer in self._hidden:
            x = self._activation(_affine(x, *layer))
        action = _affine(x, *self._mean)
        if noise is not None:
            log_std = np.minimum(np.maximum(_affine(x, *self._log_std), self._least), self._most)
            action += np.exp(log_std) * noise.T
        return np.ascontiguousarray(np.tanh(action).T)


def _arrays(layers: Iterable[nn.Module]) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Weight (outputs, inputs) and bias (outputs, 1) of each."""
    parts = [(layer.weight, layer.bias) for layer in layers if isinstance(layer, Linear)]
    return [(weight.detach().numpy(), bias.detach().numpy()[:, None]) for weight, bias in parts]


def _affine(x: NDArray[np.float32], weight: NDArray[np.float32], bias: NDArray[np.float32]) -> NDArray[np.float32]:
    y: NDArray[np.float32] = weight @ x
    y += bias
    return y
