"""The replay buffer: raw data in a ring of rows, one column for each environment, each observation kept once."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from sac_runner.types import Batch

_CHUNK = 1024
_COLUMNS = ("obs", "action", "reward", "terminated", "truncated")


class ReplayBuffer:
    """Up to ``capacity`` transitions of ``num_envs`` environments.

    A row is one step of all environments. The successor of an observation is the next row's, except where an episode
    ended: that final observation lies in a table of its own, so no observation is stored twice.
    """

    def __init__(
        self,
        capacity: int,
        num_envs: int,
        obs_dim: int,
        action_dim: int,
        bootstrap_at_time_limit: bool,
    ) -> None:
        """Empty.

        Args:
            capacity: Transitions of all environments together.
            num_envs: Columns.
            obs_dim: Of one observation.
            action_dim: Of one action.
            bootstrap_at_time_limit: False makes a time limit count as a termination when sampled.
        """
        self.rows = capacity // num_envs
        slots = self.rows + 1  # one more than the transitions: the newest successor is the next row's observation
        self.obs = np.zeros((slots, num_envs, obs_dim), np.float32)
        self.taken = np.zeros((slots, num_envs, action_dim + 2), np.float32)
        """Action, reward, and whether no value follows: side by side, as a batch takes them."""
        self.action, self.reward, self._no_value = self.taken[..., :-2], self.taken[..., -2], self.taken[..., -1]
        self.terminated = np.zeros((slots, num_envs), np.bool_)
        self.truncated = np.zeros((slots, num_envs), np.bool_)
        self.final_index = np.full((slots, num_envs), -1, np.int32)
        self.final_obs = np.zeros((0, obs_dim), np.float32)
        self._free: list[int] = []
        self.added = 0
        self._bootstrap_at_time_limit = bootstrap_at_time_limit
        self._drawn: _Drawn | None = None

    def __len__(self) -> int:
        """Transitions held."""
        return min(self.added, self.rows) * self.obs.shape[1]

    def start(self, obs: NDArray[np.float32]) -> None:
        """Put the first observations (num_envs, obs_dim) where the first row begins."""
        self.obs[self.added % len(self.obs)] = obs

    def add(
        self,
        action: NDArray[np.float32],
        reward: NDArray[np.float64],
        terminated: NDArray[np.bool_],
        truncated: NDArray[np.bool_],
        next_obs: NDArray[np.float32],
        following_obs: NDArray[np.float32],
    ) -> None:
        """Store one step of all environments, taken from the observations given last.

        Args:
            action: (num_envs, action_dim) in [-1, 1].
            reward: (num_envs,), raw.
            terminated: (num_envs,).
            truncated: (num_envs,).
            next_obs: (num_envs, obs_dim), what the step returned: final where an episode ended.
            following_obs: (num_envs, obs_dim), what the next step starts from: after resets.
        """
        slot = self.added % len(self.obs)
        self.action[slot] = action
        self.reward[slot] = reward
        self.terminated[slot] = terminated
        self.truncated[slot] = truncated
        self._note_ends(slot)
        for env in (terminated | truncated).nonzero()[0]:
            self.final_index[slot, env] = self._keep_final(next_obs[env])
        self.added += 1
        self._open(self.added % len(self.obs), following_obs)

    def rows_between(self, first: int, last: int) -> dict[str, NDArray[Any]]:
        """Rows ``first`` to ``last`` - 1, counted from the start of the run, as arrays for disk.

        Final observations come in the order of (row, environment) of the flags that ended an episode.
        """
        slots = np.arange(first, last) % len(self.obs)
        final = self.final_index[slots]
        columns = {name: getattr(self, name)[slots] for name in _COLUMNS}
        return columns | {"final_obs": self.final_obs[final[final >= 0]]}

    def restore(self, segments: Iterable[tuple[int, dict[str, NDArray[Any]]]], obs: NDArray[np.float32]) -> None:
        """Fill an empty buffer from (first row, ``rows_between``), oldest first; the next row begins at ``obs``."""
        for first, columns in segments:
            self.added = first + len(columns["reward"])
            slots = np.arange(first, self.added) % len(self.obs)
            self._release(slots)
            for name in _COLUMNS:
                getattr(self, name)[slots] = columns[name]
            self._note_ends(slots)
            ended = np.argwhere(columns["terminated"] | columns["truncated"])
            for (row, env), final in zip(ended, columns["final_obs"], strict=True):
                self.final_index[slots[row], env] = self._keep_final(final)
        self._open(self.added % len(self.obs), obs)

    def truncate_last(self, env: int) -> None:
        """Cut the episode that environment ``env`` was in: its newest transition becomes its last."""
        slot = (self.added - 1) % len(self.obs)
        if self.added and self.final_index[slot, env] < 0:
            self.truncated[slot, env] = True
            self._note_ends(slot)
            self.final_index[slot, env] = self._keep_final(self.obs[self.added % len(self.obs), env])

    def _open(self, slot: int, obs: NDArray[np.float32]) -> None:
        """Begin the row at ``slot``, which drops the oldest transition once the ring is full."""
        self._release(slot)
        self.obs[slot] = obs

    def _release(self, slots: NDArray[np.int64] | int) -> None:
        old = self.final_index[slots]
        self._free.extend(old[old >= 0].tolist())
        self.final_index[slots] = -1

    def _keep_final(self, obs: NDArray[np.float32]) -> int:
        if not self._free:
            used = len(self.final_obs)
            self.final_obs = np.concatenate([self.final_obs, np.zeros((_CHUNK, obs.shape[0]), np.float32)])
            self._free = list(range(used + _CHUNK - 1, used - 1, -1))
        index = self._free.pop()
        self.final_obs[index] = obs
        return index

    def draw(self, batch_size: int, generator: np.random.Generator, ahead: bool = False) -> NDArray[np.int64]:
        """Draw ``batch_size`` transitions uniformly, with replacement (pseudocode line 11).

        Args:
            batch_size: How many.
            generator: Draws.
            ahead: Draw as after the step that is being taken.

        Returns:
            (batch_size,), their places: slot * num_envs + environment.
        """
        added, num_envs = self.added + ahead, self.obs.shape[1]
        held = min(added, self.rows) * num_envs
        oldest = added * num_envs - held
        return (oldest + generator.integers(held, size=batch_size)) % self.reward.size

    def is_here(self, at: NDArray[np.int64]) -> bool:
        """Whether none of the transitions at ``at`` is of the step that is being taken."""
        return not (at // self.obs.shape[1] == self.added % len(self.obs)).any()

    def batch(self, at: NDArray[np.int64]) -> Batch:
        """The transitions at ``at``, in the computer's memory; the next batch is written into the same."""
        if self._drawn is None or len(self._drawn.taken) != len(at):
            self._drawn = self._make_drawn(len(at))
        places, final = self.reward.size, self.final_index.take(at)
        taken, (obs, action, reward, next_obs, no_value), batch = self._drawn
        # Places are there, so that nothing is ever clipped; to take them unasked saves a copy of each output.
        self.obs.reshape(places, -1).take(at, axis=0, out=obs, mode="clip")
        self.obs.reshape(places, -1).take(self.after(at), axis=0, out=next_obs, mode="clip")
        self.taken.reshape(places, -1).take(at, axis=0, out=taken, mode="clip")
        ended = np.flatnonzero(final >= 0)
        next_obs[ended] = self.final_obs[final[ended]]
        action[:], reward[:], no_value[:] = taken[:, :-2], taken[:, -2], taken[:, -1]
        return batch

    def _make_drawn(self, size: int) -> "_Drawn":
        obs, next_obs = np.empty((2, size, self.obs.shape[2]), np.float32)
        reward, no_value = np.empty((2, size), np.float32)
        arrays = obs, np.empty((size, self.action.shape[2]), np.float32), reward, next_obs, no_value
        batch = Batch(*(torch.from_numpy(x) for x in arrays))
        return _Drawn(np.empty((size, self.taken.shape[2]), np.float32), arrays, batch)

    def after(self, at: NDArray[np.int64]) -> NDArray[np.int64]:
        """Places of what follows: the next row's."""
        return (at + self.obs.shape[1]) % self.reward.size

    def _note_ends(self, slots: NDArray[np.int64] | int) -> None:
        ends = self.terminated[slots]
        self._no_value[slots] = ends if self._bootstrap_at_time_limit else ends | self.truncated[slots]


class _Drawn(NamedTuple):
    """Memory of a batch."""

    taken: NDArray[np.float32]
    """(B, action_dim + 2)."""
    arrays: tuple[NDArray[np.float32], ...]
    """Those of ``batch``."""
    batch: Batch
