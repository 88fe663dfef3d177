"""The transcript of current episodes: actions to play them again, and a digest of the answers that must come back."""

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

LONGEST_REPLAY = 100_000
"""Env steps of an episode that can be played again; to come back into a longer one would take too long."""

_MOST, _MOST_BYTES = 500, 2**24
"""Steps whose answers are kept unhashed, and what these may take of memory."""


class Transcript:
    """What was done and answered in each environment's current episode.

    Kept by step, of all environments together, and hashed only where a checkpoint asks: of most episodes nobody wants
    the digest, and to make one takes 3 us for each answer. Each step is an ``act`` and then an ``answer``.
    """

    def __init__(self, num_envs: int, obs_shape: tuple[int, ...], action_shape: tuple[int, ...]) -> None:
        """Nothing has happened yet."""
        self._action_shape = action_shape
        self._answer = np.dtype([("obs", "f4", obs_shape), ("reward", "f8"), ("terminated", "?"), ("truncated", "?")])
        self._most = max(1, min(_MOST, _MOST_BYTES // (num_envs * self._answer.itemsize)))
        self._steps = 0
        self._begun_at = [0] * num_envs
        self._actions: list[NDArray[np.float32]] = []
        """Of the newest steps, back to where the oldest episode began that can be played again."""
        self._answers: list[tuple[NDArray[Any], ...]] = []
        """Of the newest steps, those that no digest holds yet."""
        self._digests = [b""] * num_envs

    def begin(self, env: int) -> None:
        """An episode of ``env`` begins."""
        self._begun_at[env] = self._steps

    def begun(self, env: int, obs: NDArray[np.float32]) -> None:
        """The reset returned ``obs``, (obs_dim,)."""
        self._digests[env] = _digest(obs.tobytes())

    def act(self, action: NDArray[np.float32]) -> None:
        """A step of all N environments begins: (N, action_dim), which nobody may write to from now on."""
        if self._steps % self._most == 0:
            self.digests()
            del self._actions[: len(self._actions) - max(map(self._playable, range(len(self._begun_at))))]
        self._actions.append(action)
        self._steps += 1

    def answer(
        self,
        obs: NDArray[np.float32],
        reward: NDArray[np.float64],
        terminated: NDArray[np.bool_],
        truncated: NDArray[np.bool_],
    ) -> None:
        """What it came to: (N, obs_dim), (N,), (N,), (N,), which nobody may write to from now on."""
        self._answers.append((obs, reward, terminated, truncated))

    def length(self, env: int) -> int:
        """Actions taken in its episode."""
        return self._steps - self._begun_at[env]

    def actions(self, env: int) -> NDArray[np.float32]:
        """Those of its episode, (length, action_dim); none if it is longer than ``LONGEST_REPLAY``."""
        taken = self._actions[len(self._actions) - self._playable(env) :]
        return np.array([action[env] for action in taken], np.float32).reshape(-1, *self._action_shape)

    def _playable(self, env: int) -> int:
        return self.length(env) if self.length(env) <= LONGEST_REPLAY else 0

    def digests(self) -> list[bytes]:
        """Of each environment's episode: SHA-256 of the digest before and of the answer, from step to step."""
        answers = np.empty((len(self._answers), len(self._digests)), self._answer)
        for name, steps in zip(self._answer.names or (), zip(*self._answers, strict=True), strict=False):
            answers[name] = steps
        for env in range(len(self._digests)):
            for answer in answers[max(len(answers) - self.length(env), 0) :, env]:
                self._digests[env] = _digest(self._digests[env] + answer.tobytes())
        self._answers.clear()
        return list(self._digests)


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
