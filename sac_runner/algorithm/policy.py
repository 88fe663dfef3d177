"""The policy with its observation statistics: what acts, and what every checkpoint holds."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sac_runner.algorithm.acting import GpuActor, NumpyActor
from sac_runner.algorithm.networks import SquashedGaussianActor
from sac_runner.algorithm.normalization import make_obs_normalizer
from sac_runner.config.schema import AgentConfig, NormalizationConfig


class Policy(nn.Module):
    """Raw observation in, action in [-1, 1] out."""

    def __init__(
        self,
        config: AgentConfig,
        normalization: NormalizationConfig,
        obs_dim: int,
        action_dim: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.obs_normalizer = make_obs_normalizer(normalization, obs_dim)
        self.actor = SquashedGaussianActor(
            obs_dim,
            action_dim,
            config.hidden_sizes,
            config.activation,
            (config.log_std_min, config.log_std_max),
            config.log_prob_epsilon,
            generator,
        )
        self._acting: NumpyActor | GpuActor | None = None
        self._acting_with = 0
        """Where the weights of the one that acts lie."""

    def act(self, obs: NDArray[np.float32], noise: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Choose actions; moves no statistics.

        Args:
            obs: (B, obs_dim), raw.
            noise: (B, action_dim) standard normal for a sampled action; None for the deterministic one, tanh(mean).

        Returns:
            (B, action_dim) in [-1, 1].
        """
        weight = self.actor.mean.weight
        if self._acting is None or self._acting_with != weight.data_ptr():  # or moved, or copied, since
            if weight.is_cpu:
                self._acting = NumpyActor(self.actor, self.obs_normalizer.in_numpy())
            else:
                self._acting = GpuActor(self.choose, weight.device, records=self.training)
            self._acting_with = weight.data_ptr()
        return self._acting.act(obs, noise)

    @torch.no_grad()
    def choose(self, obs: Tensor, noise: Tensor | None) -> Tensor:
        """What ``act`` does, with tensors on the policy's device."""
        mean, log_std = self.actor(self.obs_normalizer(obs))
        return torch.tanh(mean if noise is None else mean + log_std.exp() * noise)
