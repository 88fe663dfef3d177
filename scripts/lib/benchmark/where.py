"""Where a training step's time goes: the functions of its turn."""

import contextlib
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from benchmark.ours import ALIKE, WARMUP, trainer
from sac_runner.algorithm.agent import SAC
from sac_runner.algorithm.policy import Policy
from sac_runner.interaction.collector import Collector
from sac_runner.interaction.replay import ReplayBuffer
from sac_runner.training.compilation import Updater
from sac_runner.training.metrics import TrainMeans

PARTS = [
    ("acting", Policy, "act"),
    ("stepping the environment", Collector, "step"),
    ("storing", ReplayBuffer, "add"),
    ("drawing a batch", ReplayBuffer, "draw"),
    ("drawing a batch", ReplayBuffer, "batch"),
    ("the update", Updater, "__call__"),
    ("observing", SAC, "observe"),
    ("metrics", TrainMeans, "add"),
]
TURNS = 600


def report(env: str) -> str:
    """Milliseconds per env step by part."""
    spent = {name: 0.0 for name, *_ in PARTS}
    with contextlib.ExitStack() as at_the_end:
        for name, owner, method in PARTS:  # before there is a trainer, which keeps some of them
            function = getattr(owner, method)
            setattr(owner, method, _timed(function, spent, name))
            at_the_end.callback(setattr, owner, method, function)
        made = at_the_end.enter_context(trainer(f"env={env}", *ALIKE, "total_env_steps=1_000_000"))
        for _ in range(WARMUP + 50):
            made._collect()
            made._learn()
        spent.update(dict.fromkeys(spent, 0.0))
        begun = time.perf_counter()
        for _ in range(TURNS):
            made._collect()
            made._learn()
        whole = time.perf_counter() - begun
        spent["the rest"] = whole - sum(spent.values())
        lines = [f"{env}: {1e3 * whole / TURNS:.2f} ms per env step"]
        for name, seconds in sorted(spent.items(), key=lambda x: -x[1]):
            lines.append(f"  {1e3 * seconds / TURNS:7.3f} ms  {seconds / whole:5.1%}  {name}")
    return "\n".join(lines)


def _timed(function: Callable[..., Any], spent: dict[str, float], name: str) -> Callable[..., Any]:
    @wraps(function)
    def timed(*arguments: Any, **named: Any) -> Any:
        begun = time.perf_counter()
        try:
            return function(*arguments, **named)
        finally:
            spent[name] += time.perf_counter() - begun

    return timed
