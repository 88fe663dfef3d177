"""The replay buffer: memory for a million Humanoid transitions, and what drawing a batch takes of an update."""

import subprocess
from pathlib import Path

import numpy as np
import torch

from benchmark.end_to_end import peer_python
from benchmark.ours import ALIKE, trainer
from benchmark.timing import Row, Spread, compared, in_turn
from benchmark.update import milliseconds
from sac_runner.training.preflight import replay_bytes
from sac_runner.types import UpdateNoise

CAPACITY = 1_000_000
EPISODE = 22
"""Env steps of an episode of Humanoid-v5 under a random policy."""


def measure(rounds: int) -> list[Row]:
    """A full buffer, of episodes as a random policy has them."""
    with trainer("env=humanoid", *ALIKE) as made:
        replay, agent = made.replay, made.agent
        action, reward, no = np.zeros((1, made.action_dim), np.float32), np.zeros(1), np.zeros(1, np.bool_)
        obs = np.random.default_rng(0).standard_normal((EPISODE, 1, replay.obs.shape[2]), np.float32)
        for t in range(CAPACITY):
            replay.add(action, reward, np.array([t % EPISODE == 0]), no, obs[t % EPISODE], obs[t % EPISODE])
        ours = (replay_bytes(replay, None) + replay.final_obs.nbytes) / 1e9
        noise = UpdateNoise(*torch.zeros(2, 256, made.action_dim))
        batch = replay.batch(replay.draw(256, made.streams.replay))
        draws, updates = in_turn(
            rounds,
            lambda: milliseconds(lambda: replay.batch(replay.draw(256, made.streams.replay))),
            lambda: milliseconds(lambda: agent.update(batch, noise)),
        )
    command = [peer_python(), str(Path(__file__).with_name("sb3.py")), "memory", "Humanoid-v5", str(CAPACITY)]
    theirs = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]) / 1e9
    case = f"{CAPACITY:,} Humanoid transitions"
    memory = Row(
        "replay", case, *(Spread(x, x, x) for x in (ours, theirs)), "GB", "Stable-Baselines3", None, "<= 1.6 GB"
    )
    return [memory, compared("replay", "drawing a batch of 256", draws, updates, "ms", "an update", "<= 0.03 of it")]
