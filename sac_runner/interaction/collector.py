"""The collector steps the environments and starts every episode from a seed of its own."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from sac_runner.errors import EnvironmentFailed, EnvironmentFault, Interrupted, NotFinite, diverged
from sac_runner.interaction import transcript

EpisodeSeed = Callable[[int, int, int], int]
"""(environment, how many episodes it began before, how many all of them did) -> seed of the episode's reset."""


_MAX_FLOAT32 = float(np.finfo(np.float32).max)
"""Rewards are stored in float32; a NaN is not below it either."""


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
        if not self.episodes:
            return self.next_obs
        return np.concatenate([self.next_obs, self.following_obs[self.done]])


class Collector:
    """Steps a vector environment whose episodes are each a function of their seed and actions."""

    def __init__(self, envs: VectorEnv[Any, Any, Any], episode_seed: EpisodeSeed) -> None:
        """``envs`` must not reset themselves (``AutoresetMode.DISABLED``)."""
        self.envs = envs
        assert envs.single_action_space.shape is not None and envs.single_observation_space.shape is not None
        self.action_shape = envs.single_action_space.shape
        self.episode_seed = episode_seed
        self.begun = np.zeros(envs.num_envs, np.int64)
        self.seeds: list[int | None] = [None] * envs.num_envs
        self.transcript = transcript.Transcript(envs.num_envs, envs.single_observation_space.shape, self.action_shape)
        self.episode_return = np.zeros(envs.num_envs, np.float64)
        self._all = np.ones(envs.num_envs, np.bool_)
        self.obs = self._reset(self._all)

    def step(self, action: NDArray[np.float32]) -> Step:
        """Take ``action`` (N, action_dim) in [-1, 1] everywhere, then reset what ended."""
        if not _is_plainly_below(math.inf, action):  # in [-1, 1] their squares overflow nowhere
            raise diverged("the policy chose a NaN or infinite action: its weights have diverged")
        self.transcript.act(action)
        raw_obs, reward, terminated, truncated, info = self._asked(self.envs.step, action)
        next_obs = np.asarray(raw_obs, np.float32)
        self._check_finite(next_obs, reward, self._all)
        done = terminated | truncated
        self.transcript.answer(next_obs, reward, terminated, truncated)
        self.episode_return += reward
        episodes = [self._finish(env, info) for env in done.nonzero()[0].tolist()]
        self.obs = self._reset(done) if episodes else next_obs
        return Step(action, reward, terminated, truncated, next_obs, self.obs, episodes)

    def _finish(self, env: int, info: dict[str, Any]) -> Episode:
        said = "is_success" in info and info["_is_success"][env]  # the second is Gymnasium's mask of who said it
        success = bool(info["is_success"][env]) if said else None
        episode = Episode(env, float(self.episode_return[env]), self.transcript.length(env), success)
        self.episode_return[env] = 0.0
        return episode

    @property
    def episode_length(self) -> NDArray[np.int64]:
        """(N,), env steps of each current episode."""
        return np.array([self.transcript.length(env) for env in range(self.envs.num_envs)], np.int64)

    def _reset(self, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Start new episodes where ``mask``; the others' observations come back unchanged."""
        for env in np.flatnonzero(mask).tolist():
            self.seeds[env] = self.episode_seed(env, int(self.begun[env]), int(self.begun.sum()))
            self.begun[env] += 1
        return self._reset_envs(mask)

    def _reset_envs(self, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
        seeds: Any = [seed if reset else None for seed, reset in zip(self.seeds, mask, strict=True)]
        which = np.flatnonzero(mask).tolist()
        for env in which:
            self.transcript.begin(env)
        obs, _ = self._asked(self.envs.reset, seed=seeds, options={"reset_mask": mask.copy()})
        obs = np.asarray(obs, np.float32)
        self._check_finite(obs, np.zeros(1), mask)
        for env in which:
            self.transcript.begun(env, obs[env])
        return obs

    def _check_finite(self, obs: NDArray[np.float32], reward: NDArray[np.float64], answered: NDArray[np.bool_]) -> None:
        if _is_plainly_below(math.inf, obs) and _is_plainly_below(_MAX_FLOAT32, reward):
            return
        fine = np.isfinite(obs).all(axis=1) & (np.abs(reward) <= _MAX_FLOAT32) | ~answered
        if not fine.all():
            where = self._where(np.flatnonzero(~fine).tolist())
            raise NotFinite(f"an environment returned a NaN or infinite observation or reward ({where})")

    def _asked(self, question: Callable[..., Any], *what: Any, **more: Any) -> Any:
        """Call the environments; a failure is reported with its environment, step and seed."""
        try:
            return question(*what, **more)
        except EnvironmentFault as e:
            raise EnvironmentFailed(str(e) + (f" ({self._where(list(e.envs))})" if e.envs else "")) from e
        except Exception as e:
            raise EnvironmentFailed(f"an environment failed: {type(e).__name__}: {e}") from e

    def _where(self, envs: list[int]) -> str:
        begun = [f"env {i} at step {self.transcript.length(i)} of seed {self.seeds[i]}" for i in envs]
        return ", ".join(begun[:4]) + (", ..." if len(begun) > 4 else "")

    def state_dict(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Arrays, and plain data for JSON. The environments' own state is their episodes' seeds and actions."""
        arrays = {f"actions.{i}": self.transcript.actions(i) for i in range(self.envs.num_envs)}
        plain = {
            "begun": self.begun.tolist(),
            "seeds": self.seeds,
            "heard": [digest.hex() for digest in self.transcript.digests()],
            "episode_return": self.episode_return.tolist(),
            "episode_length": self.episode_length.tolist(),
        }
        return {"obs": self.obs, **arrays}, plain

    def load_state_dict(
        self,
        arrays: dict[str, NDArray[Any]],
        plain: dict[str, Any],
        stop_requested: Callable[[], bool] = lambda: False,
    ) -> list[int]:
        """Continue where ``state_dict`` was taken, by playing each current episode again.

        Returns:
            The environments that did not answer as they did before, or whose episode is longer than
            ``transcript.LONGEST_REPLAY``; their episodes were cut short and new ones begun.

        Raises:
            Interrupted: A stop was requested meanwhile.
        """
        self.begun = np.array(plain["begun"], np.int64)
        self.seeds = list(plain["seeds"])
        self.episode_return = np.array(plain["episode_return"])
        taken = [arrays[f"actions.{i}"] for i in range(self.envs.num_envs)]
        self.obs = self._replay_episodes(taken, stop_requested)
        heard = [digest.hex() for digest in self.transcript.digests()]
        differs = np.array([now != before for now, before in zip(heard, plain["heard"], strict=True)])
        if differs.any():
            self.episode_return[differs] = 0.0
            self.obs = self._reset_envs(differs)  # from the seeds of those that are cut
        return np.flatnonzero(differs).tolist()

    def _replay_episodes(
        self, actions: list[NDArray[np.float32]], stop_requested: Callable[[], bool]
    ) -> NDArray[np.float32]:
        """Step all environments together so that their episodes end now: shorter ones begin later, after idle steps."""
        longest = max(map(len, actions))
        begins = np.array([longest - len(taken) for taken in actions])
        obs = self._reset_envs(self._all)
        for t in range(longest):
            if stop_requested():
                raise Interrupted
            if ((begins == t) & (t > 0)).any():
                self._reset_envs(begins == t)
            idle = np.zeros(self.action_shape, np.float32)
            action = np.stack([taken[t - b] if t >= b else idle for taken, b in zip(actions, begins, strict=True)])
            self.transcript.act(action)
            raw_obs, reward, terminated, truncated, _ = self._asked(self.envs.step, action)
            obs = np.asarray(raw_obs, np.float32)
            self.transcript.answer(obs, reward, terminated, truncated)
            if (terminated | truncated).any():  # of an idle one, or of a real one, whose digest then differs
                obs = self._reset_envs(terminated | truncated)
        return self._reset_envs(begins == longest) if longest and (begins == longest).any() else obs


def _is_plainly_below(most: float, x: NDArray[np.floating]) -> bool:
    """Whether |x| < ``most`` everywhere, which NaN is not. By the sum of squares: True is certain, False a maybe."""
    return bool(np.vdot(x, x) < most * most)
