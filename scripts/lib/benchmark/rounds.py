"""The tutorial's round, ten episodes and 256 updates, against its own loop on as many transitions."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from benchmark.ours import trainer
from benchmark.timing import Row, compared, in_turn
from sac_runner.training.trainer import Trainer
from sac_runner.types import UpdateNoise

UPDATES = 256
CASES = {"lunarlander": ("LunarLanderContinuous-v3", 1000, 2.0), "humanoid": ("Humanoid-v5", 250, 2.5)}
"""Name here: Gymnasium's, transitions of ten episodes of an untrained policy, and the goal."""
HELD = 5
"""Rounds of transitions that both buffers hold before the first that is timed."""


def measure(rounds: int) -> list[Row]:
    """Both systems of the tutorial, at the threads that each takes by itself."""
    rows = []
    for name, (env, steps, goal) in CASES.items():
        overrides = (f"experiment={name}_tutorial", "device=cpu", "compile_after_updates=0")
        with trainer(*overrides) as made, tutorials(env, name == "humanoid", steps) as theirs:
            for _ in range(HELD * steps):
                made._collect()
            _update(made)  # compiles
            assert made.updater.compiles, "the update could not be compiled"
            seconds, loops = in_turn(rounds, lambda m=made, n=steps: _ours(m, n), theirs)
        case = f"{env}, {steps} transitions and {UPDATES} compiled updates"
        rows.append(compared("round", case, seconds, loops, "s", "the tutorial's loop", f">= {goal}", False))
    return rows


def _ours(made: Trainer, steps: int) -> float:
    begun = time.perf_counter()
    for _ in range(steps):
        made._collect()
    for _ in range(UPDATES):
        _update(made)
    return time.perf_counter() - begun


def _update(made: Trainer) -> None:
    batch = made.replay.sample(made.config.replay.batch_size, made.streams.replay, made.device)
    drawn = made.streams.update.standard_normal((2, len(batch.reward), made.action_dim), "float32")
    made.record.update(made._update(batch, UpdateNoise(*torch.from_numpy(drawn))))


@contextmanager
def tutorials(env: str, full: bool, steps: int) -> Iterator[Callable[[], float]]:
    """Seconds of a round of the tutorial's own loop, in a process that knows none of our settings."""
    script = str(Path(__file__).with_name("tutorial.py"))
    command = [sys.executable, script, env, str(full), str(steps), str(UPDATES), str(HELD * steps)]
    environment = {name: x for name, x in os.environ.items() if name != "OMP_NUM_THREADS"}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        ask, answers = process.stdin, process.stdout

        def one_round() -> float:
            ask.write("\n")
            ask.flush()
            return float(answers.readline())

        yield one_round
        ask.close()
