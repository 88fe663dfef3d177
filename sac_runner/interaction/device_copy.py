"""What batches are made of, a second time in a GPU's memory, so that drawing one moves nothing but indices."""

from typing import NamedTuple

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
        self._drawn = _Drawn(self.obs.new_empty(0, obs_dim), self.taken.new_empty(0, action_dim + 2))

    def write_obs(self, slots: NDArray[np.int64] | int, obs: NDArray[np.float32]) -> None:
        """Observations (..., num_envs, obs_dim) of rows."""
        self._write(self.obs, slots, obs)

    def write_taken(
        self,
        slots: NDArray[np.int64] | int,
        action: NDArray[np.float32],
        reward: NDArray[np.float32],
        no_value: NDArray[np.bool_],
    ) -> None:
        """Actions (..., num_envs, action_dim), rewards and ends (..., num_envs) of rows."""
        columns = [action, reward[..., None], no_value[..., None]]
        self._write(self.taken, slots, np.concatenate(columns, axis=-1, dtype=np.float32))

    def write_final(self, index: int, obs: NDArray[np.float32], room: int) -> None:
        """The final observation (obs_dim,) at ``index`` of a table that has ``room`` by now."""
        more = room - len(self.final_obs)
        if more > 0:
            self.final_obs = torch.cat([self.final_obs, self.final_obs.new_zeros(more, self.final_obs.shape[1])])
        self._write(self.final_obs, index, obs)

    def batch(self, at: NDArray[np.int64], after: NDArray[np.int64], final: NDArray[np.int32]) -> Batch:
        """The transitions at B places, which count row by row; the next one is written into the same memory.

        Args:
            at: Places.
            after: Those of their successors.
            final: Places of their final observations in a table of their own, -1 where an episode goes on.
        """
        both, taken = self._drawn
        if len(taken) != len(at):
            both, taken = both.new_empty(2 * len(at), both.shape[1]), taken.new_empty(len(at), taken.shape[1])
            self._drawn = _Drawn(both, taken)
        places = self._sent(np.concatenate([at, after]))
        torch.index_select(self.obs.flatten(0, 1), 0, places, out=both)
        torch.index_select(self.taken.flatten(0, 1), 0, places[: len(at)], out=taken)
        obs, next_obs = both.chunk(2)
        ended = np.flatnonzero(final >= 0)
        if len(ended):
            where, which = self._sent(np.stack([ended, final[ended]]))
            next_obs.index_copy_(0, where, self.final_obs.index_select(0, which))
        return Batch(obs, taken[:, :-2], taken[:, -2], next_obs, taken[:, -1])

    def _write(self, table: Tensor, at: NDArray[np.int64] | int, rows: NDArray[np.float32]) -> None:
        if isinstance(at, int):
            table[at].copy_(torch.from_numpy(rows), non_blocking=True)
        else:
            table[self._sent(at)] = self._sent(rows)

    def _sent(self, x: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(x).to(self.obs.device, non_blocking=True)


class _Drawn(NamedTuple):
    """Memory of a batch of B."""

    obs: Tensor
    """(2 B, obs_dim), those after an action behind those before it."""
    taken: Tensor
