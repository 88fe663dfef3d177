"""Acting, stepping and storing, against stepping the same vector environment with random actions."""

from collections.abc import Callable

import numpy as np

from benchmark.ours import ALIKE, trainer
from benchmark.timing import Row, compared, in_turn, milliseconds
from sac_runner.training.trainer import Trainer

CASES = [("sync", 1), ("sync", 8), ("sync", 16), ("async", 8), ("async", 16)]
SECONDS = 1.5


def measure(rounds: int) -> list[Row]:
    """LunarLander, in this process and in workers."""
    rows = []
    for kind, count in CASES:
        overrides = [*ALIKE, f"env.num_envs={count}", f"env.vectorization={kind}", "schedule.warmup_env_steps=0"]
        with trainer("env=lunarlander", *overrides) as collects, trainer("env=lunarlander", *overrides) as steps:
            ours, random = in_turn(rounds, lambda made=collects: _collect(made), lambda made=steps: _step(made))
        goal = ">= 0.7" if (kind, count) == ("sync", 8) else ""
        against = "random actions, nothing stored"
        rows.append(compared("collection", f"{count} {kind}", ours, random, "env steps/s", against, goal))
    return rows


def _collect(made: Trainer) -> float:
    return _rate(made, made._collect)


def _step(made: Trainer) -> float:
    envs, generator = made.envs, np.random.default_rng(0)
    shape = envs.action_space.shape
    assert shape is not None

    def step() -> None:
        _, _, terminated, truncated, _ = envs.step(generator.uniform(-1.0, 1.0, shape).astype(np.float32))
        done = terminated | truncated
        if done.any():
            envs.reset(options={"reset_mask": done})

    return _rate(made, step)


def _rate(made: Trainer, step: Callable[[], object]) -> float:
    return 1e3 * made.envs.num_envs / milliseconds(step, SECONDS)
