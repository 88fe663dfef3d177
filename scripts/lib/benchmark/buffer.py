"""The replay buffer: memory for a million Humanoid transitions, and what drawing a batch takes of an update."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmark.end_to_end import peer_python, printed
from benchmark.ours import ALIKE, trainer
from benchmark.timing import Row, Spread, compared, milliseconds
from sac_runner.training.preflight import replay_bytes
from sac_runner.types import Batch, UpdateNoise

CAPACITY = 1_000_000
EPISODE = 22
"""Env steps of an episode of Humanoid-v5 under a random policy."""


def measure(rounds: int) -> list[Row]:
    """A full buffer, of episodes as a random policy has them."""
    with trainer("env=humanoid", *ALIKE) as made:
        replay, updater = made.replay, made.learner.updater
        action, reward, no = np.zeros((1, made.action_dim), np.float32), np.zeros(1), np.zeros(1, np.bool_)
        obs = np.random.default_rng(0).standard_normal((EPISODE, 1, replay.obs.shape[2]), np.float32)
        for t in range(CAPACITY):
            replay.add(action, reward, np.array([t % EPISODE == 0]), no, obs[t % EPISODE], obs[t % EPISODE])
        ours = (replay_bytes(replay, None) + replay.final_obs.nbytes) / 1e9
        noise = UpdateNoise(*torch.zeros(2, 256, made.action_dim))

        def draw() -> Batch:
            return replay.batch(replay.draw(256, made.streams.replay))

        def update(batch: Batch) -> None:
            updater(batch, noise, 0)

        update(draw())  # the first compiles
        assert updater.compiles, "the update could not be compiled"
        measured = [(milliseconds(draw), *_alternating(draw, update)) for _ in range(rounds)]
        alone, draws, updates = zip(*measured, strict=True)
    script = str(Path(__file__).with_name("sb3.py"))
    theirs = printed(peer_python(), script, "memory", "Humanoid-v5", str(CAPACITY)) / 1e9
    case = f"{CAPACITY:,} Humanoid transitions"
    memory = Row(
        "replay", case, *(Spread(x, x, x) for x in (ours, theirs)), "GB", "Stable-Baselines3", None, "<= 1.6 GB"
    )
    case, of = "drawing a batch of 256", ("ms", "an update")
    return [
        memory,
        compared("replay", f"{case}, one after the other", alone, updates, *of),
        compared("replay", f"{case}, between updates", draws, updates, *of, "<= 0.03 of it"),
    ]


def _alternating(
    draw: Callable[[], Batch], update: Callable[[Batch], None], seconds: float = 2.0
) -> tuple[float, float]:
    """Milliseconds of a draw and of an update, which leaves little of the buffer in the processor's caches."""
    calls, drawing, begun = 0, 0.0, time.perf_counter()
    while (spent := time.perf_counter() - begun) < seconds:
        before = time.perf_counter()
        batch = draw()
        drawing += time.perf_counter() - before
        update(batch)
        calls += 1
    return 1e3 * drawing / calls, 1e3 * (spent - drawing) / calls
