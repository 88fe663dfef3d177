"""Running normalization of observations and rewards. It belongs to the weights, so it is saved with them.

Replay keeps raw data; statistics are applied when acting and when a batch is used, so no stored number goes stale.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sac_runner.config.schema import NormalizationConfig


@contextmanager
def _in_numpy(*buffers: Tensor) -> Iterator[list[NDArray[np.float64]]]:
    """The numbers of ``buffers``, to be changed in place; of those on a GPU copies, which go back at the end.

    A copy is kept for as long as nothing else writes to its buffer. Should a GPU take it so late that the next numbers
    are in it, nobody has read the first: between the two, whoever acts by it waits, and updates come after that.
    """
    arrays: list[NDArray[np.float64]] = []
    for buffer in buffers:
        kept: tuple[tuple[int, int], Any] = getattr(buffer, "kept", ((0, 0), None))
        arrays.append(kept[1] if kept[0] == _version(buffer) else buffer.cpu().numpy())
    yield arrays
    for buffer, array in zip(buffers, arrays, strict=True):
        if not buffer.is_cpu:
            buffer.copy_(torch.from_numpy(array), non_blocking=True)
            buffer.kept = _version(buffer), array  # type: ignore[attr-defined]


def _version(buffer: Tensor) -> tuple[int, int]:
    """Where it is, as a copied one has what was kept of the other, and how often it was written to."""
    return buffer.data_ptr(), buffer._version


class RunningMoments(nn.Module):
    """Mean and variance of a stream in float64, merged batch by batch.

    What the parallel rule of Chan, Golub and LeVeque (1979) gives, as the tutorial's appendix B has it, its starting
    weight of 1e-4 on mean 0 and variance 1 included; computed from sums of the distances to the mean so far.
    """

    mean: Tensor
    var: Tensor
    count: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape, dtype=torch.float64))
        self.register_buffer("var", torch.ones(shape, dtype=torch.float64))
        self.register_buffer("count", torch.tensor(1e-4, dtype=torch.float64))

    def update(self, x: NDArray[np.floating]) -> None:
        """Merge the rows of ``x`` (M, *shape), M >= 1: in NumPy, which takes a third of PyTorch's time for so few."""
        with _in_numpy(self.mean, self.var, self.count) as (mean, var, count):
            distance = x - mean
            sums, squares = distance.sum(axis=0), np.square(distance).sum(axis=0)
            var *= count
            var += squares
            count += len(x)
            shift = sums / count
            mean += shift
            var -= sums * shift
            var /= count


class ObsNormalizer(nn.Module):
    """(obs - mean) / (std + 1e-8), then clipped to +-clip if asked: the tutorial's formula."""

    def __init__(self, obs_dim: int, clip: float | None) -> None:
        super().__init__()
        self.moments = RunningMoments((obs_dim,))
        self.clip = clip

    def observe(self, frames: NDArray[np.float32]) -> None:
        """Take in new observations (M, obs_dim), each exactly once."""
        self.moments.update(frames)

    def in_numpy(self) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
        """``forward`` on the memory of the moments as they are at each call; they are in the computer's memory."""
        mean, var, clip = self.moments.mean.numpy(), self.moments.var.numpy(), self.clip

        def normalize(obs: NDArray[np.float32]) -> NDArray[np.float32]:
            """(B, obs_dim) raw -> (B, obs_dim) normalized."""
            std = np.sqrt(var)
            std += 1e-8
            distance = obs - mean
            distance /= std
            x: NDArray[np.float32] = distance.astype(np.float32)
            if clip is not None:
                np.minimum(np.maximum(x, -clip, out=x), clip, out=x)
            return x

        return normalize

    def forward(self, obs: Tensor) -> Tensor:
        """(B, obs_dim) raw -> (B, obs_dim) normalized, in the dtype of ``obs``."""
        x = ((obs - self.moments.mean) / (self.moments.var.sqrt() + 1e-8)).to(obs.dtype)
        return x if self.clip is None else x.clamp(-self.clip, self.clip)


class RewardNormalizer(nn.Module):
    """reward / sqrt(Var[G] + 1e-8), then clipped to +-clip if asked.

    G is each environment's discounted return so far, G <- gamma G + r, set to zero when an episode ends, and Var[G]
    its running variance. Source: ``VecNormalize`` of OpenAI Baselines, as Stable-Baselines3 keeps it. (Gymnasium 1.4's
    ``NormalizeReward`` takes in the last reward of a terminated episode without the return before it.) The mean is
    not subtracted: that would change which policy is best.
    """

    discounted_return: Tensor

    def __init__(self, num_envs: int, gamma: float, clip: float | None) -> None:
        super().__init__()
        self.moments = RunningMoments(())
        self.register_buffer("discounted_return", torch.zeros(num_envs, dtype=torch.float64))
        self.gamma = gamma
        self.clip = clip

    def observe(self, reward: NDArray[np.float64], done: NDArray[np.bool_]) -> None:
        """Take in one step of every environment: reward (N,) raw, done (N,)."""
        with _in_numpy(self.discounted_return) as (discounted_return,):
            discounted_return *= self.gamma
            discounted_return += reward
            self.moments.update(discounted_return)
            discounted_return[done] = 0.0

    def begin(self, envs: list[int]) -> None:
        """Start the discounted return of ``envs`` anew."""
        self.discounted_return[envs] = 0.0

    @property
    def scale(self) -> Tensor:
        """What a scaled reward is multiplied by to get the raw one, ()."""
        return (self.moments.var + 1e-8).sqrt()

    def forward(self, reward: Tensor) -> Tensor:
        """(B,) raw -> (B,) scaled, in the dtype of ``reward``."""
        x = reward / self.scale
        return x if self.clip is None else x.clamp(-self.clip, self.clip)


class Unchanged(nn.Module):
    """Where the normalization group asks for none."""

    scale = 1.0

    def begin(self, envs: list[int]) -> None:
        """Nothing to start."""

    def observe(self, *_: NDArray[np.generic]) -> None:
        """Nothing to keep."""

    def in_numpy(self) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
        """What gives observations back as they are."""
        return lambda obs: obs

    def forward(self, x: Tensor) -> Tensor:
        """``x`` itself."""
        return x


def make_obs_normalizer(config: NormalizationConfig, obs_dim: int) -> ObsNormalizer | Unchanged:
    """The observation normalizer that the normalization group chose."""
    return ObsNormalizer(obs_dim, config.obs_clip) if config.obs else Unchanged()


def make_reward_normalizer(config: NormalizationConfig, num_envs: int, gamma: float) -> RewardNormalizer | Unchanged:
    """The reward normalizer that the normalization group chose."""
    return RewardNormalizer(num_envs, gamma, config.reward_clip) if config.reward else Unchanged()
