"""The collector steps the environments and starts every episode from a seed of its own."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

EpisodeSeed = Callable[[int, int], int]
"""(environment, how many episodes it began before) -> seed of the episode's reset."""


class Episode(NamedTuple):
    """A finished episode."""

    env: int
    ret: float
    """Undiscounted sum of raw rewards."""
    length: int
    """Env steps."""
    success: bool | None
    """``info["is_success"]`` of its last step, where the environment says so."""


class Step(NamedTuple):
    """One step of all N environments."""

    action: NDArray[np.float32]
    """(N, action_dim) in [-1, 1]."""
    reward: NDArray[np.float64]
    """(N,), raw."""
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    next_obs: NDArray[np.float32]
    """(N, obs_dim), what the step returned: final where an episode ended."""
    following_obs: NDArray[np.float32]
    """(N, obs_dim), what the next step starts from: after resets."""
    episodes: list[Episode]
    """Those that ended, by environment."""

    @property
    def done(self) -> NDArray[np.bool_]:
        """(N,), where an episode ended."""
        return self.terminated | self.truncated

    @property
    def frames(self) -> NDArray[np.float32]:
        """(M, obs_dim): every new observation once, those of resets after those of the step."""
        return np.concatenate([self.next_obs, self.following_obs[self.done]])


class Collector:
    """Steps a vector environment whose episodes are each a function of their seed and actions."""

    def __init__(self, envs: VectorEnv[Any, Any, Any], episode_seed: EpisodeSeed) -> None:
        """``envs`` must not reset themselves (``AutoresetMode.DISABLED``)."""
        self.envs = envs
        self.episode_seed = episode_seed
        self.begun = np.zeros(envs.num_envs, np.int64)
        self.episode_return = np.zeros(envs.num_envs, np.float64)
        self.episode_length = np.zeros(envs.num_envs, np.int64)
        self.obs = self._reset(np.ones(envs.num_envs, np.bool_))

    def step(self, action: NDArray[np.float32]) -> Step:
        """Take ``action`` (N, action_dim) in [-1, 1] everywhere, then reset what ended."""
        raw_obs, reward, terminated, truncated, info = self.envs.step(action)
        next_obs = np.asarray(raw_obs, np.float32)
        done = terminated | truncated
        self.episode_return += reward
        self.episode_length += 1
        episodes = [self._finish(env, info) for env in np.flatnonzero(done).tolist()]
        self.obs = self._reset(done) if episodes else next_obs
        return Step(action, reward, terminated, truncated, next_obs, self.obs, episodes)

    def _finish(self, env: int, info: dict[str, Any]) -> Episode:
        success = bool(info["is_success"][env]) if "is_success" in info else None
        episode = Episode(env, float(self.episode_return[env]), int(self.episode_length[env]), success)
        self.episode_return[env] = 0.0
        self.episode_length[env] = 0
        return episode

    def _reset(self, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Start new episodes where ``mask``; the others' observations come back unchanged."""
        seeds = [self.episode_seed(env, int(self.begun[env])) if mask[env] else None for env in range(len(mask))]
        obs, _ = self.envs.reset(seed=seeds, options={"reset_mask": mask.copy()})
        self.begun[mask] += 1
        return np.asarray(obs, np.float32)
