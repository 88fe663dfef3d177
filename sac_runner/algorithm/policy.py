"""The policy with its observation statistics: what acts, and what every checkpoint holds."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sac_runner.algorithm.acting import NumpyActor
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
        self._numpy_actor = NumpyActor(self.actor)

    @np.errstate(all="ignore")  # of weights that have diverged the collector speaks, by name
    def act(self, obs: NDArray[np.float32], noise: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Choose actions; moves no statistics.

        Args:
            obs: (B, obs_dim), raw.
            noise: (B, action_dim) standard normal for a sampled action; None for the deterministic one, tanh(mean).

        Returns:
            (B, action_dim) in [-1, 1].
        """
        if not self._numpy_actor.is_current():  # moved or copied since
            if not self.actor.mean.weight.is_cpu:
                return self.act_in_torch(obs, noise)
            self._numpy_actor = NumpyActor(self.actor)
        return self._numpy_actor.act(self.obs_normalizer.of_array(obs), noise)

    @torch.no_grad()
    def act_in_torch(self, obs: NDArray[np.float32], noise: NDArray[np.float32] | None) -> NDArray[np.float32]:
        """``act`` on the policy's device."""
        device = self.actor.mean.weight.device
        mean, log_std = self.actor(self.obs_normalizer(torch.from_numpy(obs).to(device)))
        if noise is not None:
            mean = mean + log_std.exp() * torch.from_numpy(noise).to(device)
        action: NDArray[np.float32] = mean.tanh().cpu().numpy()
        return action
