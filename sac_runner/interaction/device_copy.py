"""What batches are made of, a second time in a GPU's memory, so that drawing one moves nothing but indices."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sac_runner.types import Batch


class DeviceCopy:
    """The columns of a replay buffer on ``device``; the buffer tells it of every row that it writes."""

    def __init__(self, slots: int, num_envs: int, obs_dim: int, action_dim: int, device: torch.device) -> None:
        """Empty."""
        self.obs = torch.zeros((slots, num_envs, obs_dim), device=device)
        self.taken = torch.zeros((slots, num_envs, action_dim + 2), device=device)
        """Action, reward, and whether no value follows."""
        self.final_obs = torch.zeros((0, obs_dim), device=device)

    def write_obs(self, slots: NDArray[np.int64] | int, obs: NDArray[np.float32]) -> None:
        """Observations (..., num_envs, obs_dim) of rows."""
        self.obs[slots] = self._sent(obs)

    def write_taken(
        self,
        slots: NDArray[np.int64] | int,
        action: NDArray[np.float32],
        reward: NDArray[np.float32],
        no_value: NDArray[np.bool_],
    ) -> None:
        """Actions (..., num_envs, action_dim), rewards and ends (..., num_envs) of rows."""
        scalars = np.stack([reward, no_value.astype(np.float32)], axis=-1)
        self.taken[slots] = self._sent(np.concatenate([action, scalars], axis=-1))

    def write_final(self, index: int, obs: NDArray[np.float32], room: int) -> None:
        """The final observation (obs_dim,) at ``index`` of a table that has ``room`` by now."""
        more = room - len(self.final_obs)
        if more > 0:
            self.final_obs = torch.cat([self.final_obs, self.final_obs.new_zeros(more, self.final_obs.shape[1])])
        self.final_obs[index] = self._sent(obs)

    def batch(self, at: NDArray[np.int64], after: NDArray[np.int64], final: NDArray[np.int32]) -> Batch:
        """The transitions at B places, which count row by row.

        Args:
            at: Places.
            after: Those of their successors.
            final: Places of their final observations in a table of their own, -1 where an episode goes on.
        """
        here, then, end = self._sent(np.stack([at, after, final.astype(np.int64)]))
        obs, taken = self.obs.flatten(0, 1), self.taken.flatten(0, 1)[here]
        next_obs = obs[then]
        if len(self.final_obs):
            next_obs = torch.where(end[:, None] < 0, next_obs, self.final_obs[end.clamp(min=0)])
        return Batch(obs[here], taken[:, :-2], taken[:, -2], next_obs, taken[:, -1])

    def _sent(self, x: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(x).to(self.obs.device, non_blocking=True)
