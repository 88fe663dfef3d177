"""Episodes for the eye: one environment that draws, one policy, one episode at a time."""

import warnings
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from sac_runner.algorithm.policy import Policy
from sac_runner.config.schema import Config, EnvConfig
from sac_runner.errors import EnvironmentFailed, RunnerError, WrongInput, first_line
from sac_runner.interaction.collector import Episode
from sac_runner.interaction.envs import make_env
from sac_runner.playback.stored import require_trust
from sac_runner.playback.window import WindowClosed
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.training.device import one_thread_for_numpy
from sac_runner.training.randomness import evaluation_noise
from sac_runner.training.resume import stored_config

CPU = torch.device("cpu")


def trusted_config(run: RunDirectory, trusted: bool) -> Config:
    """The config of ``run``; from here on NumPy acts with one thread, as in evaluations.

    Raises:
        WrongInput: It is not a run, or names a package that the user has not said to trust.
    """
    config = stored_config(run)
    require_trust(config.env, trusted)
    one_thread_for_numpy()
    return config


def make_drawing_env(config: EnvConfig, render_mode: str) -> gym.Env[Any, Any]:
    """One environment that draws, in a window (``human``) or into arrays (``rgb_array``).

    Raises:
        WrongInput: It can't be made, or can't draw so.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Gymnasium's, of what is said below
            env = make_env(config, render_mode)
    except WrongInput as e:
        if "'render_mode'" not in e.message:
            raise
        raise WrongInput(f"{config.id} can't be drawn: it has no render mode") from e
    modes = env.metadata.get("render_modes", [])
    if env.render_mode != render_mode or render_mode not in modes:
        env.close()
        raise WrongInput(f"{config.id} can't be drawn as {render_mode}; it has {', '.join(modes) or 'no render mode'}")
    return env


def play_episode(
    policy: Policy, env: gym.Env[Any, Any], seed: int, sampled: bool, on_frame: Callable[[], None]
) -> Episode:
    """Play the episode of ``seed``, with the reset and the noise that ``evaluate`` gives it.

    Args:
        policy: On the CPU.
        env: From ``make_drawing_env``.
        seed: Of the reset and of the noise.
        sampled: Draw actions instead of taking the deterministic ones.
        on_frame: Called after the reset and after every step.

    Raises:
        EnvironmentFailed: It raised, while it moved or while it drew.
        WindowClosed: From ``on_frame``.
    """
    try:
        return _play(policy, env, seed, sampled, on_frame)
    except (RunnerError, WindowClosed):
        raise
    except Exception as e:
        raise EnvironmentFailed(
            f"the environment failed in the episode of seed {seed}: {type(e).__name__}: {first_line(e)}"
        ) from e


def _play(policy: Policy, env: gym.Env[Any, Any], seed: int, sampled: bool, on_frame: Callable[[], None]) -> Episode:
    noises = evaluation_noise(seed)
    assert env.action_space.shape is not None
    obs, info = env.reset(seed=seed)
    on_frame()
    total, length, ended = 0.0, 0, False
    while not ended:
        noise = noises.standard_normal((1, *env.action_space.shape), np.float32) if sampled else None
        action = policy.act(np.asarray(obs, np.float32)[None], noise)[0]
        obs, reward, terminated, truncated, info = env.step(action)
        on_frame()
        total, length, ended = total + float(reward), length + 1, bool(terminated or truncated)
    return Episode(0, total, length, bool(info["is_success"]) if "is_success" in info else None)
