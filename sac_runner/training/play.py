"""Episodes for the eye: one environment that draws, one policy, one episode at a time."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from sac_runner.algorithm.policy import Policy
from sac_runner.config.schema import EnvConfig
from sac_runner.errors import WrongInput
from sac_runner.interaction.collector import Episode
from sac_runner.interaction.envs import make_env
from sac_runner.training.randomness import evaluation_noise


def make_drawing_env(config: EnvConfig, render_mode: str) -> gym.Env[Any, Any]:
    """One environment that draws, in a window (``human``) or into arrays (``rgb_array``).

    Raises:
        WrongInput: It can't be made, or can't draw.
    """
    env = make_env(config, render_mode)
    if env.render_mode != render_mode:
        env.close()
        raise WrongInput(f"{config.id} can't draw itself: its render modes are {env.metadata.get('render_modes', [])}")
    return env


def play_episode(
    policy: Policy,
    device: torch.device,
    env: gym.Env[Any, Any],
    seed: int,
    sampled: bool,
    on_frame: Callable[[], None] = lambda: None,
) -> Episode:
    """Play the episode of ``seed``, with the reset and the noise that ``evaluate`` gives it.

    Args:
        policy: In float32 on ``device``.
        device: Where the policy is.
        env: From ``make_env``.
        seed: Of the reset and of the noise.
        sampled: Draw actions instead of taking the deterministic ones.
        on_frame: Called after the reset and after every step; what it raises ends the episode.
    """
    noises = evaluation_noise(seed)
    assert env.action_space.shape is not None
    obs, info = env.reset(seed=seed)
    on_frame()
    total, length, ended = 0.0, 0, False
    while not ended:
        noise = noises.standard_normal((1, *env.action_space.shape), np.float32) if sampled else None
        action = _act(policy, device, obs, noise)
        obs, reward, terminated, truncated, info = env.step(action)
        on_frame()
        total, length, ended = total + float(reward), length + 1, bool(terminated or truncated)
    return Episode(0, total, length, bool(info["is_success"]) if "is_success" in info else None)


def _act(policy: Policy, device: torch.device, obs: Any, noise: Any) -> Any:
    rows = torch.from_numpy(np.asarray(obs, np.float32)[None]).to(device)
    drawn = None if noise is None else torch.from_numpy(noise).to(device)
    return policy.act(rows, drawn).cpu().numpy()[0]
