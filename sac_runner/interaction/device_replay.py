"""What the batches of a replay buffer are made of, a second time in a GPU's memory, so that little has to go there."""

from itertools import accumulate
from math import prod
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sac_runner.interaction.replay import ReplayBuffer
from sac_runner.types import Batch

_PARCEL = 8
"""Rows that a parcel has room for: of four steps, the one that begins, the one before, in case it has changed, and two
final ones."""

_AT_ONCE = 4096
"""Transitions that go there together where more are new."""

_FINALS_AT_FIRST = 1024
"""Final observations that there is room for, beside a twentieth of all places: random policies make episodes of 22
steps on Humanoid. To make more room, all is copied."""


class DeviceReplay:
    """Makes the batches of ``replay`` on a GPU.

    That takes two calls: ``stage`` sends which transitions it is of, together with the rows that are new, and
    ``gather``, which can be recorded, makes the batch. To tell a GPU something takes as long as ten kernels of an
    update, so it is told little.
    """

    def __init__(self, replay: ReplayBuffer, device: torch.device) -> None:
        """``replay`` is new."""
        self._replay = replay
        _, self._num_envs, obs_dim = replay.obs.shape
        places, columns = replay.reward.size, replay.taken.shape[2]
        # Behind the ring's rows one that nobody reads, and in the first table the final observations.
        self._nowhere, self._finals, self._room = places, places + 1, _FINALS_AT_FIRST + places // 20
        self._obs = torch.zeros((places + 1 + self._room, obs_dim), device=device)
        self._taken = torch.zeros((places + 1, columns), device=device)
        self._sent = 0
        """Rows that are there and will not change."""
        self._staged: _Staged | None = None

    def stage(self, at: NDArray[np.int64]) -> Batch:
        """Memory that ``gather`` makes the batch of ``at`` in: the same each time, but where more of it was needed."""
        self._make_room()
        if self._staged is None or self._staged.size != len(at):
            self._staged = self._make_staged(len(at))
        replay, here = self._replay, self._staged.parcel.open()
        final = replay.final_index.take(at)
        here["at"][0] = at
        here["at"][1] = np.where(final < 0, replay.after(at), self._finals + final)
        new = np.arange(max(self._sent, replay.added - replay.rows), replay.added + 1) % len(replay.obs)
        places = (new[:, None] * self._num_envs + np.arange(self._num_envs)).ravel()
        if len(places) + len(self._finals_at(places)) > _PARCEL * self._num_envs:
            for first in range(0, len(places), _AT_ONCE):
                self._send(places[first : first + _AT_ONCE])
            places = places[:0]
        self._pack(here, places)
        self._sent = max(replay.added - 1, 0)
        self._staged.parcel.send()
        return self._staged.batch

    def gather(self) -> None:
        """Make the batch that was staged last."""
        assert self._staged is not None
        there, obs, taken = self._staged.parcel.there, self._staged.obs, self._staged.taken
        self._obs.index_copy_(0, there["obs_at"], there["obs"])
        self._taken.index_copy_(0, there["taken_at"], there["taken"])
        torch.index_select(self._obs, 0, there["at"].flatten(), out=obs)
        torch.index_select(self._taken, 0, there["at"][0], out=taken)

    def _make_room(self) -> None:
        """For final observations: twice as much, as whoever recorded ``gather`` has to do it again."""
        needed = len(self._replay.final_obs)
        if needed > self._room:
            more = max(needed, 2 * self._room) - self._room
            self._obs = torch.cat([self._obs, self._obs.new_zeros(more, self._obs.shape[1])])
            self._room += more
            self._staged = None

    def _make_staged(self, size: int) -> "_Staged":
        rows, obs_dim, columns = _PARCEL * self._num_envs, self._obs.shape[1], self._taken.shape[1]
        parcel = {
            "at": (torch.int64, (2, size)),
            "obs_at": (torch.int64, (rows,)),  # final ones too
            "taken_at": (torch.int64, (rows,)),
            "obs": (torch.float32, (rows, obs_dim)),
            "taken": (torch.float32, (rows, columns)),
        }
        both, taken = self._obs.new_empty(2 * size, obs_dim), self._taken.new_empty(size, columns)
        batch = Batch(both[:size], taken[:, :-2], taken[:, -2], both[size:], taken[:, -1])
        return _Staged(size, _Parcel(parcel, both.device), both, taken, batch)

    def _pack(self, here: dict[str, NDArray[Any]], places: NDArray[np.int64]) -> None:
        """Add what is new; the rest of the parcel goes nowhere."""
        rows, finals = len(places), self._finals_at(places)
        here["obs_at"][:] = here["taken_at"][:] = self._nowhere
        here["obs_at"][:rows] = here["taken_at"][:rows] = places
        here["obs"][:rows], here["taken"][:rows] = _rows(self._replay.obs, places), _rows(self._replay.taken, places)
        if len(finals):
            here["obs_at"][rows : rows + len(finals)] = self._finals + finals
            here["obs"][rows : rows + len(finals)] = self._replay.final_obs[finals]

    def _send(self, places: NDArray[np.int64]) -> None:
        """What is new, where it is more than a parcel holds."""
        finals = self._finals_at(places)
        for table, at, rows in (
            (self._obs, places, _rows(self._replay.obs, places)),
            (self._taken, places, _rows(self._replay.taken, places)),
            (self._obs, self._finals + finals, self._replay.final_obs[finals]),
        ):
            table[torch.from_numpy(at).to(table.device)] = torch.from_numpy(rows).to(table.device)

    def _finals_at(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        final = self._replay.final_index.take(places)
        return final[final >= 0].astype(np.int64)


def _rows(table: NDArray[np.float32], places: NDArray[np.int64]) -> NDArray[np.float32]:
    return table.reshape(-1, table.shape[2]).take(places, axis=0)


class _Parcel:
    """Arrays that go to a GPU in one copy."""

    def __init__(self, arrays: dict[str, tuple[torch.dtype, tuple[int, ...]]], device: torch.device) -> None:
        """``arrays``: type and shape by name, those of the widest type first."""
        ends = list(accumulate(dtype.itemsize * prod(shape) for dtype, shape in arrays.values()))
        self._outbox = Outbox(torch.zeros(ends[-1], dtype=torch.uint8), device)

        def parts(memory: Tensor) -> dict[str, Tensor]:
            """The arrays within ``memory``."""
            named = zip(arrays.items(), [0, *ends], ends, strict=False)
            return {name: memory[i:j].view(dtype).view(shape) for (name, (dtype, shape)), i, j in named}

        self.there = parts(self._outbox.there)
        self._here = [{name: x.numpy() for name, x in parts(memory).items()} for memory in self._outbox.here]

    def open(self) -> dict[str, NDArray[Any]]:
        """Arrays to write to, as ``Outbox.open``."""
        return self._here[self._outbox.open()]

    def send(self) -> None:
        """What was written is ``there`` for what the GPU is told next."""
        self._outbox.send()


class Outbox:
    """Memory of which a GPU takes copies: two pieces in turn, so that one can be written while the other is copied.

    Page-locked: what a driver does with other memory, to take it at once or later, is not promised.
    """

    def __init__(self, first: Tensor, device: torch.device) -> None:
        """``first``: what is in all of it."""
        self.there = first.to(device, copy=True)
        self.here = [first.pin_memory(), first.clone().pin_memory()]
        self._copied = [torch.cuda.Event(), torch.cuda.Event()]
        self._turn = 0

    def open(self) -> int:
        """Which piece of ``here`` may be written now: its last copy is made, for which this waits."""
        self._turn = 1 - self._turn
        self._copied[self._turn].synchronize()
        return self._turn

    def send(self) -> None:
        """Have it copied, for what the GPU is told next."""
        self.there.copy_(self.here[self._turn], non_blocking=True)
        self._copied[self._turn].record(torch.cuda.current_stream(self.there.device))


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
