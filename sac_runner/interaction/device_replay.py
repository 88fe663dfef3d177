"""The replay buffer of a GPU: what batches are made of lies there a second time, so that little has to go there."""

from itertools import accumulate
from math import prod
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sac_runner.interaction.replay import ReplayBuffer
from sac_runner.types import Batch

_AT_ONCE = 1024
"""Rows that go to the GPU together when many have changed."""


class DeviceReplay(ReplayBuffer):
    """A ``ReplayBuffer`` that makes its batches on ``device``.

    A batch takes two calls: ``stage`` sends which transitions it is of, together with the rows that are new, and
    ``gather``, which can be recorded, makes it of them. Each call of the GPU costs as much as a kernel of an update.
    """

    def __init__(
        self,
        capacity: int,
        num_envs: int,
        obs_dim: int,
        action_dim: int,
        bootstrap_at_time_limit: bool,
        device: torch.device,
    ) -> None:
        """Empty."""
        super().__init__(capacity, num_envs, obs_dim, action_dim, bootstrap_at_time_limit)
        places = self.reward.size
        # Behind the ring's rows one that nobody reads, and in the first table the final observations.
        self._nowhere, self._finals, self._room = places, places + 1, 0
        self._obs_there = torch.zeros((places + 1, obs_dim), device=device)
        self._taken_there = torch.zeros((places + 1, action_dim + 2), device=device)
        """Action, reward, and whether no value follows."""
        self._changed: set[int] = set()
        """Slots that are not there yet as they are here."""
        self._changed_finals: set[int] = set()
        self._staged: _Staged | None = None

    def stage(self, at: NDArray[np.int64]) -> Batch:
        """Memory that ``gather`` makes the batch of ``at`` in: the same each time, but where more of it was needed."""
        self._make_room()
        if self._staged is None or self._staged.size != len(at):
            self._staged = self._make_staged(len(at))
        if len(self._changed) > 2 or len(self._changed_finals) > self.reward.shape[1]:
            self._send_all()
        here, final = self._staged.parcel.here, self.final_index.take(at)
        here["at"][0] = at
        here["at"][1] = np.where(final < 0, self._after(at), self._finals + final)
        self._pack_changes(here)
        self._staged.parcel.send()
        return self._staged.batch

    def gather(self) -> None:
        """Make the batch that was staged last."""
        assert self._staged is not None
        there, obs, taken = self._staged.parcel.there, self._staged.obs, self._staged.taken
        self._obs_there.index_copy_(0, there["obs_at"], there["obs"])
        self._taken_there.index_copy_(0, there["taken_at"], there["taken"])
        torch.index_select(self._obs_there, 0, there["at"].flatten(), out=obs)
        torch.index_select(self._taken_there, 0, there["at"][0], out=taken)

    def _change(self, slots: NDArray[np.int64] | int) -> None:
        self._changed.update([slots] if isinstance(slots, int) else slots.tolist())

    def _change_final(self, index: int) -> None:
        self._changed_finals.add(index)

    def _make_room(self) -> None:
        """For final observations: twice as much, as whoever recorded ``gather`` has to do it again."""
        if len(self.final_obs) > self._room:
            more = max(len(self.final_obs), 2 * self._room) - self._room
            self._room += more
            self._obs_there = torch.cat([self._obs_there, self._obs_there.new_zeros(more, self.obs.shape[2])])
            self._staged = None

    def _make_staged(self, size: int) -> "_Staged":
        num_envs, obs_dim, columns = *self.obs.shape[1:], self._taken_there.shape[1]
        parcel = {
            "at": (torch.int64, (2, size)),
            "obs_at": (torch.int64, (3 * num_envs,)),
            "taken_at": (torch.int64, (2 * num_envs,)),
            "obs": (torch.float32, (3 * num_envs, obs_dim)),
            "taken": (torch.float32, (2 * num_envs, columns)),
        }
        both = self._obs_there.new_empty(2 * size, obs_dim)
        taken = self._taken_there.new_empty(size, columns)
        batch = Batch(both[:size], taken[:, :-2], taken[:, -2], both[size:], taken[:, -1])
        return _Staged(size, _Parcel(parcel, both.device), both, taken, batch)

    def _pack_changes(self, here: dict[str, NDArray[Any]]) -> None:
        num_envs = self.reward.shape[1]
        here["obs_at"][:] = here["taken_at"][:] = self._nowhere
        for i, slot in enumerate(self._changed):
            rows = slice(i * num_envs, (i + 1) * num_envs)
            here["obs_at"][rows] = here["taken_at"][rows] = np.arange(slot * num_envs, (slot + 1) * num_envs)
            here["obs"][rows] = self.obs[slot]
            here["taken"][rows] = self._taken(slot)
        for i, index in enumerate(self._changed_finals, 2 * num_envs):
            here["obs_at"][i] = self._finals + index
            here["obs"][i] = self.final_obs[index]
        self._changed.clear()
        self._changed_finals.clear()

    def _send_all(self) -> None:
        slots, finals = (np.array(sorted(changed)) for changed in (self._changed, self._changed_finals))
        num_envs = self.reward.shape[1]
        for first in range(0, len(slots), _AT_ONCE):
            some = slots[first : first + _AT_ONCE]
            at = self._sent((some[:, None] * num_envs + np.arange(num_envs)).ravel())
            self._obs_there[at] = self._sent(self.obs[some]).flatten(0, 1)
            self._taken_there[at] = self._sent(self._taken(some)).flatten(0, 1)
        for first in range(0, len(finals), _AT_ONCE):
            some = finals[first : first + _AT_ONCE]
            self._obs_there[self._sent(self._finals + some)] = self._sent(self.final_obs[some])
        self._changed.clear()
        self._changed_finals.clear()

    def _taken(self, slots: NDArray[np.int64] | int) -> NDArray[np.float32]:
        """Of rows: (..., num_envs, action_dim + 2)."""
        no_value = self._no_value(self.terminated[slots], self.truncated[slots])
        columns = [self.action[slots], self.reward[slots][..., None], no_value[..., None]]
        return np.concatenate(columns, axis=-1, dtype=np.float32)

    def _sent(self, x: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(x).to(self._obs_there.device)


class _Parcel:
    """Arrays that go to a GPU in one copy: ``here`` by name, and ``there``."""

    def __init__(self, arrays: dict[str, tuple[torch.dtype, tuple[int, ...]]], device: torch.device) -> None:
        """``arrays``: type and shape by name, those of the widest type first."""
        ends = list(accumulate(dtype.itemsize * prod(shape) for dtype, shape in arrays.values()))
        self._here = torch.zeros(ends[-1], dtype=torch.uint8)
        self._there = self._here.to(device, copy=True)
        self.here: dict[str, NDArray[Any]] = {}
        self.there: dict[str, Tensor] = {}
        for (name, (dtype, shape)), begin, end in zip(arrays.items(), [0, *ends], ends, strict=False):
            here, self.there[name] = (x[begin:end].view(dtype).view(shape) for x in (self._here, self._there))
            self.here[name] = here.numpy()

    def send(self) -> None:
        """What is ``here`` is ``there`` for what the GPU is told next, and may be written over."""
        self._there.copy_(self._here, non_blocking=True)


class _Staged(NamedTuple):
    """Memory of a batch of B = ``size``."""

    size: int
    parcel: _Parcel
    obs: Tensor
    """(2 B, obs_dim), those after an action behind those before it."""
    taken: Tensor
    """(B, action_dim + 2)."""
    batch: Batch
    """In that memory."""
