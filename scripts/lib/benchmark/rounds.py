"""The tutorial's round, ten episodes and 256 updates, against its own loop on as many transitions."""

import time

import torch

from benchmark.ours import trainer
from benchmark.timing import Row, compared, in_turn
from benchmark.tutorial import Tutorial
from sac_runner.training.trainer import Trainer
from sac_runner.types import UpdateNoise

UPDATES = 256
CASES = {"lunarlander": ("LunarLanderContinuous-v3", 1000, 2.0), "humanoid": ("Humanoid-v5", 250, 2.5)}
"""Name here: Gymnasium's, transitions of ten episodes of an untrained policy, and the goal."""
HELD = 5
"""Rounds of transitions that both buffers hold before the first that is timed."""


def measure(rounds: int) -> list[Row]:
    """Both systems of the tutorial, at the threads that training takes."""
    rows = []
    for name, (env, steps, goal) in CASES.items():
        with trainer(f"experiment={name}_tutorial", "device=cpu") as made:
            theirs = Tutorial(env, full=name == "humanoid")
            for _ in range(HELD * steps):
                made._collect()
            theirs.collect(HELD * steps)
            seconds, loops = in_turn(
                rounds, lambda m=made, n=steps: _ours(m, n), lambda t=theirs, n=steps: _theirs(t, n)
            )
        case = f"{env}, {steps} transitions and {UPDATES} updates"
        rows.append(compared("round", case, seconds, loops, "s", "the tutorial's loop", f">= {goal}", False))
    return rows


def _ours(made: Trainer, steps: int) -> float:
    begun = time.perf_counter()
    for _ in range(steps):
        made._collect()
    for _ in range(UPDATES):
        batch = made.replay.sample(made.config.replay.batch_size, made.streams.replay, made.device)
        drawn = made.streams.update.standard_normal((2, len(batch.reward), made.action_dim), "float32")
        made.agent.update(batch, UpdateNoise(*torch.from_numpy(drawn)))
    return time.perf_counter() - begun


def _theirs(tutorial: Tutorial, steps: int) -> float:
    begun = time.perf_counter()
    tutorial.collect(steps)
    for _ in range(UPDATES):
        tutorial.update()
    return time.perf_counter() - begun
