"""This project's side: a trainer from overrides, in this process, and its training rate as a program.

``python -m benchmark.ours STEPS OVERRIDE...`` prints env steps per second after the warm-up.
"""

import contextlib
import io
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from sac_runner.config.compose import compose_config
from sac_runner.interaction.collector import Episode
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.training.console import Console
from sac_runner.training.device import configure_torch, resolve_device
from sac_runner.training.metrics import TrainMeans
from sac_runner.training.pace import Pace
from sac_runner.training.record import Record
from sac_runner.training.trainer import Trainer
from sac_runner.types import Scalars

WARMUP = 1000
SETTLING = 100
"""Env steps after the warm-up that are not counted."""
ALIKE = [
    *("agent=sac", "agent.hidden_sizes=[256,256]", "agent.critic_layer_norm=false", "agent.n_critics=2"),
    *("agent.lr=3e-4", "agent.lr_schedule=constant", "agent.max_grad_norm=null", "alpha=auto", "normalization=none"),
    *("schedule=per_step", f"schedule.warmup_env_steps={WARMUP}", "schedule.updates_per_env_step=1"),
    *("env.num_envs=1", "env.vectorization=sync", "replay.capacity=1_000_000", "replay.batch_size=256", "seed=0"),
    *("eval.episodes=1", "eval.num_envs=1", "eval.every_env_steps=null", "eval.max_episode_steps=10", "device=cpu"),
    "compile_after_updates=0",  # the steady state of a run of any length
]
"""What every library can do alike: one env, one update per step, two critics, 256x256, batches of 256."""


@contextlib.contextmanager
def trainer(*overrides: str) -> Iterator[Trainer]:
    """Made from ``overrides``, with a record that writes nothing; its environments are closed at the end."""
    config = compose_config(list(overrides))
    device = resolve_device(config.device)
    configure_torch(config, device)
    with Trainer(config, device, Console(config, io.StringIO())) as made:
        made.record = _NoRecord()  # type: ignore[assignment]
        yield made


class _NoRecord:
    """Takes in what a record does between two rows."""

    def __init__(self) -> None:
        self._train, self.pace = TrainMeans(), Pace()

    def episode(self, episode: Episode) -> None:
        pass

    def update(self, scalars: Scalars) -> None:
        self._train.add(scalars)


def training_rate(steps: int, *overrides: str) -> float:
    """Env steps per second of a run that logs as any other, between two of its evaluations and saves."""
    begins, ends = WARMUP + SETTLING, WARMUP + SETTLING + steps
    times: dict[int, float] = {}
    with trainer(*overrides, f"total_env_steps={ends + 1}") as made, tempfile.TemporaryDirectory() as folder:
        record = Record(made.config, RunDirectory(Path(folder)), {})
        record.open()

        def note() -> bool:
            times.setdefault(made.counters.env_steps, time.perf_counter())
            return False

        made.run(record, note)
        record.close(True)
        assert made.learner.updater.compiles, "the update could not be compiled"
    return steps / (times[ends] - times[begins])


if __name__ == "__main__":
    print(training_rate(int(sys.argv[1]), *sys.argv[2:]))
