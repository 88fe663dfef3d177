"""Environments: the only place that calls ``gymnasium.make``, and the door where actions meet their bounds."""

import contextlib
import copy
import difflib
import inspect
import multiprocessing
import os
import re
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from numpy.typing import NDArray

from sac_runner.config.schema import Config, EnvConfig
from sac_runner.errors import (
    EnvironmentFailed,
    EnvironmentFault,
    RunnerError,
    WrongInput,
    first_line,
    train_command,
    warn,
)
from sac_runner.interaction.faults import Watched, WorkerEnvs, close, place_of, said
from sac_runner.signals import handling, stop_signals

_mujoco_warned: set[str] = set()


class MadeEachEpisode(gym.Wrapper[Any, Any, Any, Any]):
    """Makes its environment anew at every reset, for worlds that outlive a reset (BipedalWalker-v3)."""

    def __init__(self, make: Callable[[], gym.Env[Any, Any]]) -> None:
        """``make`` builds a fresh environment."""
        super().__init__(make())
        self._make = make

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start the next episode in a new environment."""
        close(self.env)
        self.env = self._make()
        return self.env.reset(seed=seed, options=options)


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
    close(make_env(config))  # faults in the config are named here, not in a worker
    with _signals_held():
        try:
            return WorkerEnvs(makers, config.timeout_s)
        except EnvironmentFault as e:
            raise EnvironmentFailed(f"{e}, as it started") from e


def _make_watched(config: EnvConfig, index: int) -> gym.Env[Any, Any]:
    return Watched(make_env(config), index)


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """A signal that comes while workers begin takes effect once they have: Python loses an exception raised in a fork.

    Workers that don't begin by a fork inherit no handler, but that a signal is ignored: one that comes then is lost.
    """
    came: list[int] = []
    forks = multiprocessing.get_start_method() == "fork"
    hold = (lambda number, frame: came.append(number)) if forks else signal.SIG_IGN
    try:
        with handling(stop_signals(), hold):
            yield
    finally:
        if came:
            signal.raise_signal(came[0])


def raw_spaces(config: EnvConfig) -> tuple[spaces.Space[Any], spaces.Space[Any]]:
    """Observation and action space as the environment has them, before they are made flat and [-1, 1]."""
    env = _make(config, None)
    close(env)
    return env.observation_space, env.action_space


def is_endless(config: EnvConfig) -> bool:
    """Whether an episode ends only where the environment, made before, says so: Gymnasium sets it no time limit."""
    registered = gym.registry.get((config.id or "").rpartition(":")[2])
    return config.max_episode_steps is None and registered is not None and registered.max_episode_steps is None


def _make(config: EnvConfig, render_mode: str | None) -> gym.Env[Any, Any]:
    if config.id is None:
        raise WrongInput("env=custom needs env.id", train_command("env=custom env.id=my_package:MyEnv-v0"))
    if ":" in config.id and os.getcwd() not in sys.path:  # it names a package; else nothing is imported from here
        sys.path.append(os.getcwd())  # an installed command has its own folder there; last: what is installed wins
    if render_mode is not None and sys.platform == "linux" and not os.environ.get("DISPLAY"):
        os.environ.setdefault("MUJOCO_GL", "egl")  # not otherwise: where libEGL is missing, MuJoCo's import would fail
    _hear_mujoco(config.id)
    kwargs = copy.deepcopy(config.kwargs)  # an environment may take from a list or mapping, or add to it
    if render_mode is not None:
        kwargs["render_mode"] = render_mode
    try:
        return gym.make(config.id, max_episode_steps=config.max_episode_steps, **kwargs)
    except Exception as e:
        raise _refusal(config.id, config.kwargs, e) from e


def _refusal(env_id: str, kwargs: dict[str, Any], error: Exception) -> RunnerError:
    """Why ``gym.make`` raised ``error``."""
    cause = error.__cause__  # Gymnasium raises some anew, with words of its own behind theirs
    raised = cause if type(cause) is type(error) and str(error).startswith(str(cause)) else error
    why = first_line(raised)
    if isinstance(error, gym.error.DependencyNotInstalled):
        return WrongInput(f"env.id={env_id} needs a package that is not installed: {why}")
    if isinstance(error, gym.error.UnregisteredEnv):
        return WrongInput(f"env.id={env_id} is unknown to Gymnasium: {why}", _in_a_package(env_id, error))
    if isinstance(error, gym.error.Error):
        return WrongInput(f"env.id={env_id} can't be made: {why}")
    if isinstance(raised, ImportError):
        package = re.split("[.:]", env_id)[0]
        is_absent = isinstance(raised, ModuleNotFoundError) and raised.name == package
        install = f"{shlex.quote(sys.executable)} -m pip install -e FOLDER_OF_{package}"
        remedy = f"{install}, or start in the folder that holds {package}" if is_absent else None
        return WrongInput(f"env.id={env_id} can't be imported: {why}{place_of(raised)}", remedy)
    if isinstance(error, TypeError) and re.search("unexpected keyword|required|multiple values", why):
        return WrongInput(f"env.id={env_id} does not take env.kwargs={kwargs}: {why}{_taken(env_id)}")
    return EnvironmentFailed(f"env.id={env_id} can't be made: {said(raised)}")


def _in_a_package(env_id: str, error: gym.error.UnregisteredEnv) -> str | None:
    """How to name an environment of one's own; nothing where that is done, or one of Gymnasium's has a letter wrong."""
    names = {spec.name.lower() for spec in gym.registry.values()}
    near = difflib.get_close_matches(re.sub(r"-v\d+$", "", env_id).lower(), names, 1, 0.9)
    if ":" in env_id or near or isinstance(error, gym.error.VersionNotFound):
        return None
    return train_command(f"env=custom env.id=my_package:{env_id}   # if it is of a package of your own")


def _taken(env_id: str) -> str:
    """The names of ``env.kwargs`` that the environment takes, where they are all known."""
    with contextlib.suppress(Exception):  # of what only adds to a message
        entry: Any = gym.registry[env_id.rpartition(":")[2]].entry_point
        creator = gym.envs.registration.load_env_creator(entry) if isinstance(entry, str) else entry
        parameters = inspect.signature(creator).parameters.values()
        names = [each.name for each in parameters if each.name != "render_mode"]
        if all(each.kind is not each.VAR_KEYWORD for each in parameters):
            return f"; it takes {', '.join(names) or 'none'}"
    return ""


def _hear_mujoco(env_id: str) -> None:
    """MuJoCo's warnings as ours, each kind once a process.

    By itself it prints them for every environment that is made, and leaves a MUJOCO_LOG.TXT in the user's folder.
    """
    registered = gym.registry.get(env_id)
    if "mujoco" in sys.modules or (registered is not None and "mujoco" in str(registered.entry_point)):
        with contextlib.suppress(Exception):  # an environment that needs it says better what is wrong
            import mujoco

            mujoco.set_mju_user_warning(_mujoco_warns)


def _mujoco_warns(text: str) -> None:
    kind = re.sub(r"[-\d.]+", "", text)  # without its time and place
    if "is deprecated" not in text and kind not in _mujoco_warned:  # that is for who wrote the model
        _mujoco_warned.add(kind)
        warn(f"MuJoCo: {text}")


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
    if space.shape == ():
        raise WrongInput(f"{name} takes a single number, not a vector ({space}); SAC needs actions of shape (1,)")
    if not (space.low < space.high).all():
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
        x = centre + half * action.reshape(*action.shape[:-1], *space.shape)
        return np.minimum(np.maximum(x, low), high).astype(space.dtype)  # np.clip takes four times as long for a few

    return transform
