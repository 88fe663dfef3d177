"""Environments: the only place that calls ``gymnasium.make``, and the door where actions meet their bounds."""

import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.vector.async_vector_env import AsyncState
from numpy.typing import NDArray

from sac_runner.config.schema import Config, EnvConfig
from sac_runner.errors import EnvironmentFailed, EnvironmentFault, WrongInput, train_command

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""Asked to stop by Ctrl-C or by a scheduler, a run saves first."""


class MadeEachEpisode(gym.Wrapper[Any, Any, Any, Any]):
    """Makes its environment anew at every reset, for worlds that outlive a reset (BipedalWalker-v3)."""

    def __init__(self, make: Callable[[], gym.Env[Any, Any]]) -> None:
        """``make`` builds a fresh environment."""
        super().__init__(make())
        self._make = make

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start the next episode in a new environment."""
        self.env.close()
        self.env = self._make()
        return self.env.reset(seed=seed, options=options)


class Watched(gym.Wrapper[Any, Any, Any, Any]):
    """Says which environment failed and when, and takes nothing from it that is not what it promised."""

    def __init__(self, env: gym.Env[Any, Any], index: int) -> None:
        """``env`` is the outermost of environment ``index``."""
        super().__init__(env)
        self._index, self._steps = index, 0
        self._seed: int | None = None
        self._shape = env.observation_space.shape

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode.

        Raises:
            EnvironmentFault: It failed.
        """
        self._seed, self._steps = seed, 0
        try:
            obs, info = self.env.reset(seed=seed, options=options)
        except Exception as e:
            raise self._raised(e) from e
        self._check(obs)
        return obs, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take a step.

        Raises:
            EnvironmentFault: It failed.
        """
        self._steps += 1
        try:
            obs, reward, terminated, truncated, info = self.env.step(action)
            reward, terminated, truncated = float(reward), bool(terminated), bool(truncated)
        except Exception as e:
            raise self._raised(e) from e
        self._check(obs)
        return obs, reward, terminated, truncated, info

    def _check(self, obs: Any) -> None:
        if np.shape(obs) != self._shape:
            raise EnvironmentFault(f"{self._named()} observed shape {np.shape(obs)}, its space has {self._shape}")

    def _raised(self, error: Exception) -> "EnvironmentFault":
        return EnvironmentFault(f"{self._named()} raised {type(error).__name__}: {_first_line(error)}")

    def _named(self) -> str:
        when = f"in step {self._steps}" if self._steps else "in the reset"
        return f"env {self._index}, {when} of its episode with seed {self._seed},"


class WorkerEnvs(AsyncVectorEnv):
    """Environments in processes of their own, none of which is waited for longer than ``timeout_s``."""

    def __init__(self, makers: list[Callable[[], gym.Env[Any, Any]]], timeout_s: float | None) -> None:
        """Start a process for each of ``makers``."""
        self._timeout_s, self._failed = timeout_s, False
        super().__init__(makers, autoreset_mode=AutoresetMode.DISABLED)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset all, or those of ``options["reset_mask"]``."""
        with self._answers():
            self.reset_async(seed=seed, options=options)
            return self.reset_wait(self._timeout_s)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step all."""
        with self._answers():
            self.step_async(actions)
            return self.step_wait(self._timeout_s)

    @contextmanager
    def _answers(self) -> Iterator[None]:
        """What keeps a worker from answering, by name.

        Raises:
            EnvironmentFault: One is dead or hangs.
        """
        try:
            yield
        except multiprocessing.TimeoutError as e:
            self._failed = True
            silent = ", ".join(str(i) for i, pipe in enumerate(self.parent_pipes) if not pipe.poll(0))
            raise EnvironmentFault(f"env {silent} did not answer within {self._timeout_s:g} s (env.timeout_s)") from e
        except (EOFError, ConnectionError) as e:
            self._failed = True
            for process in self.processes:
                process.join(0.2)
            ends = [_ending(i, process.exitcode) for i, process in enumerate(self.processes)]
            raise EnvironmentFault(", ".join(filter(None, ends)) or "the process of an env broke off") from e
        except BaseException:
            self._failed = True
            raise

    def _raise_if_errors(self, successes: Iterable[bool]) -> None:
        """As Gymnasium's, less the traceback that it prints as a warning: the error says where and why."""
        if not all(successes):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                super()._raise_if_errors(successes)

    def close_extras(self, timeout: float | None = None, terminate: bool = False) -> None:
        """End the processes: by asking, or at once where one has failed (they take no SIGTERM)."""
        if terminate or self._failed:
            terminate, self._state = True, AsyncState.DEFAULT
            for process in self.processes:
                process.kill()
        super().close_extras(timeout, terminate)


def _ending(index: int, exit_code: int | None) -> str:
    if exit_code is None:
        return ""
    how = f"was killed by signal {-exit_code}" if exit_code < 0 else f"exited with {exit_code}"
    return f"the process of env {index} {how}"


def evaluation_env(config: Config) -> EnvConfig:
    """The environment as it is evaluated, watched and recorded: with the time limit of ``eval``."""
    return replace(config.env, max_episode_steps=config.eval.max_episode_steps)


def make_env(config: EnvConfig, render_mode: str | None = None) -> gym.Env[Any, Any]:
    """One environment with a flat Box observation and a flat action space of [-1, 1].

    Args:
        config: The env group.
        render_mode: Gymnasium's, for watching and recording.

    Raises:
        WrongInput: Unknown id, missing package, or a space that SAC can't use.
    """
    if config.make_each_episode:
        env: gym.Env[Any, Any] = MadeEachEpisode(partial(_make, config, render_mode))
    else:
        env = _make(config, render_mode)
    return _with_unit_actions(_with_flat_obs(env, config))


def make_vector_env(config: EnvConfig, num_envs: int) -> VectorEnv[Any, Any, Any]:
    """``num_envs`` environments side by side, never reset by themselves: the collector resets them, seeded."""
    makers: list[Callable[[], gym.Env[Any, Any]]] = [partial(_make_watched, config, i) for i in range(num_envs)]
    if config.vectorization == "sync":
        return SyncVectorEnv(makers, autoreset_mode=AutoresetMode.DISABLED)
    make_env(config).close()  # faults in the config are named here, not in a worker
    with _interrupts_ignored():
        return WorkerEnvs(makers, config.timeout_s)


def _make_watched(config: EnvConfig, index: int) -> gym.Env[Any, Any]:
    return Watched(make_env(config), index)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Workers begun here inherit it: a signal reaches a whole group, and this process needs them until it has saved."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def raw_spaces(config: EnvConfig) -> tuple[spaces.Space[Any], spaces.Space[Any]]:
    """Observation and action space as the environment has them, before they are made flat and [-1, 1]."""
    env = _make(config, None)
    env.close()
    return env.observation_space, env.action_space


def _make(config: EnvConfig, render_mode: str | None) -> gym.Env[Any, Any]:
    if config.id is None:
        raise WrongInput("env=custom needs env.id", train_command("env=custom env.id=my_package:MyEnv-v0"))
    if os.getcwd() not in sys.path:  # an installed command has its own folder there instead
        sys.path.insert(0, os.getcwd())
    if render_mode is not None and sys.platform == "linux" and not os.environ.get("DISPLAY"):
        os.environ.setdefault("MUJOCO_GL", "egl")  # not otherwise: where libEGL is missing, MuJoCo's import would fail
    kwargs = config.kwargs if render_mode is None else config.kwargs | {"render_mode": render_mode}
    try:
        return gym.make(config.id, max_episode_steps=config.max_episode_steps, **kwargs)
    except gym.error.DependencyNotInstalled as e:
        raise WrongInput(f"env.id={config.id} needs a package that is not installed: {_first_line(e)}") from e
    except gym.error.UnregisteredEnv as e:
        raise WrongInput(f"env.id={config.id} is unknown to Gymnasium: {_first_line(e)}") from e
    except gym.error.Error as e:
        raise WrongInput(f"env.id={config.id} can't be made: {_first_line(e)}") from e
    except ImportError as e:
        raise WrongInput(f"env.id={config.id} can't be imported: {_first_line(e)}") from e
    except TypeError as e:
        raise WrongInput(f"env.id={config.id} does not take env.kwargs={config.kwargs}: {_first_line(e)}") from e
    except Exception as e:
        raise EnvironmentFailed(f"env.id={config.id} can't be made: {type(e).__name__}: {_first_line(e)}") from e


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0]


def _with_flat_obs(env: gym.Env[Any, Any], config: EnvConfig) -> gym.Env[Any, Any]:
    space = env.observation_space
    if isinstance(space, spaces.Dict) and config.flatten_dict:
        env = gym.wrappers.FlattenObservation(env)
        space = env.observation_space
    if isinstance(space, spaces.Dict):
        raise WrongInput(
            f"{config.id} observes a Dict; SAC here takes one vector",
            train_command(f"env=custom env.id={config.id} env.flatten_dict=true"),
        )
    if not isinstance(space, spaces.Box):
        raise WrongInput(f"{config.id} observes {space}; SAC here takes a Box")
    if space.dtype == np.uint8 and len(space.shape) >= 2:
        raise WrongInput(f"{config.id} observes images {space.shape}; SAC here takes vectors of numbers")
    return env if len(space.shape) == 1 else gym.wrappers.FlattenObservation(env)


def _with_unit_actions(env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    space, name = env.action_space, env.spec.id if env.spec else "this environment"
    if not isinstance(space, spaces.Box) or not np.issubdtype(space.dtype, np.floating):
        raise WrongInput(f"{name} takes actions of {space}; SAC needs a Box of continuous actions")
    if not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
        raise WrongInput(f"{name} has unbounded actions ({space}); SAC needs finite bounds to scale to")
    if space.shape == () or not (space.low < space.high).all():
        raise WrongInput(f"{name} has an empty action range ({space}); each low must be under its high")
    unit = spaces.Box(-1.0, 1.0, (int(np.prod(space.shape)),), np.float32)
    return gym.wrappers.TransformAction(env, from_unit(space), unit)


def from_unit(space: spaces.Box) -> Callable[[NDArray[np.float32]], NDArray[np.floating]]:
    """(..., action_dim) in [-1, 1] to actions of ``space``, computed in float64.

    Exact at the ends, where ``RescaleAction`` can leave the bounds by a rounding.
    """
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)
    centre, half = (low + high) / 2.0, (high - low) / 2.0

    def transform(action: NDArray[np.float32]) -> NDArray[np.floating]:
        return np.clip(centre + half * action.reshape(*action.shape[:-1], *space.shape), low, high).astype(space.dtype)

    return transform
