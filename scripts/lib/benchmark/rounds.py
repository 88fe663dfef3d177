"""The tutorial's round, ten episodes and 256 updates, against its own loop on as many transitions."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmark.ours import trainer
from benchmark.timing import Row, compared, in_turn
from sac_runner.training.trainer import Trainer

UPDATES = 256
CASES = {"lunarlander": ("LunarLanderContinuous-v3", 1000, 2.0), "humanoid": ("Humanoid-v5", 250, 2.5)}
"""Name here: Gymnasium's, transitions of ten episodes of an untrained policy, and the goal."""
FULL = 100_000
"""Transitions that the tutorial's buffer has room for. It is full from round 400 of 2,000 on at the latest."""


def measure(rounds: int) -> list[Row]:
    """Both systems of the tutorial, at the threads that each takes by itself."""
    rows = []
    for name, (env, steps, goal) in CASES.items():
        overrides = (f"experiment={name}_tutorial", "device=cpu", "compile_after_updates=0")
        with trainer(*overrides) as made, tutorials(env, name == "humanoid") as theirs:
            for held, buffer in ((5 * steps, "the first rounds"), (FULL, "a full buffer")):
                _round(made, held, 0, 1)  # the first compiles
                theirs(held, 0, 1)
                assert made.learner.updater.compiles, "the update could not be compiled"
                ours = partial(_round, made, held, steps, UPDATES)
                seconds, loops = in_turn(rounds, ours, partial(theirs, held, steps, UPDATES))
                case = f"{env}, {buffer}, {steps} transitions and {UPDATES} compiled updates"
                rows.append(compared("round", case, seconds, loops, "s", "the tutorial's loop", f">= {goal}", False))
    return rows


def _round(made: Trainer, held: int, steps: int, updates: int) -> float:
    while len(made.replay) < held:
        made._collect()
    begun = time.perf_counter()
    for _ in range(steps):
        made._collect()
    for _ in range(updates):
        made._update(made.learner.draw())
    return time.perf_counter() - begun


@contextmanager
def tutorials(env: str, full: bool) -> Iterator[Callable[[int, int, int], float]]:
    """Seconds of a round of the tutorial's own loop, in a process that knows none of our settings."""
    command = [sys.executable, str(Path(__file__).with_name("tutorial.py")), env, str(full)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        ask, answers = process.stdin, process.stdout

        def one_round(held: int, steps: int, updates: int) -> float:
            print(held, steps, updates, file=ask, flush=True)
            return float(answers.readline())

        yield one_round
