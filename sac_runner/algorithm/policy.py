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
        self._gpu_actor: GpuActor | None = None
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
                return self._act_on_gpu(obs, noise)
            self._numpy_actor = NumpyActor(self.actor)
        return self._numpy_actor.act(self.obs_normalizer.of_array(obs), noise)

    def _act_on_gpu(self, obs: NDArray[np.float32], noise: NDArray[np.float32] | None) -> NDArray[np.float32]:
        if self._gpu_actor is None or not self._gpu_actor.is_current():
            self._gpu_actor = GpuActor(self.choose, self.actor.mean.weight)
        return self._gpu_actor.act(obs, noise)

    @torch.no_grad()
    def choose(self, obs: Tensor, noise: Tensor | None) -> Tensor:
        """What ``act`` does, with tensors on the policy's device."""
        mean, log_std = self.actor(self.obs_normalizer(obs))
        return torch.tanh(mean if noise is None else mean + log_std.exp() * noise)
