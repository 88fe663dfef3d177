"""A training run from its config to its last words: directory, lock, signals, trainer."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from sac_runner.config.compose import to_yaml
from sac_runner.config.convert import flat
from sac_runner.config.schema import Config
from sac_runner.errors import RunnerError
from sac_runner.storage.lock import RunLock
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.training.console import Console
from sac_runner.training.device import configure_torch, resolve_device
from sac_runner.training.provenance import provenance
from sac_runner.training.record import Record
from sac_runner.training.report import closing, header, shown, stopped
from sac_runner.training.trainer import Ending, Trainer


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    run: RunDirectory
    ending: Ending
    final_return: float
    """Mean return of the last evaluation."""
    stop_signal: int | None
    """The signal that stopped it."""


def train(
    config: Config, seed: int, overrides: list[str], tuned: str | None, make_directory: Callable[[], Path]
) -> Outcome:
    """Train from the start, in a directory of its own.

    Args:
        config: Validated.
        seed: The root seed.
        overrides: As typed.
        tuned: Name of the tuned values that apply, for the header.
        make_directory: Makes the run directory; called once everything else is known to be right.

    Raises:
        RunnerError: With the run's ``summary.json`` saying why.
    """
    device = resolve_device(config.device)
    threads = configure_torch(config)
    console = Console(config)
    with Trainer(config, seed, device, console) as trainer:
        run = RunDirectory(make_directory())
        with RunLock(run.path), stop_on_signals() as stop:
            run.write_start(to_yaml(config), provenance(overrides, seed, device, threads, config.precision))
            print(header(config, seed, overrides, tuned, trainer.action_dim), file=sys.stderr)
            print(f"{device}, {threads} threads -> {shown(run.path)}", file=sys.stderr)
            record = Record(config, run, hyperparameters(config, seed))
            ending = _run(trainer, record, console, stop)
    words = stopped(run, trainer.counters) if ending is Ending.STOPPED else None
    console.clear()
    print(words or closing(record, trainer.counters, seed, ending.value), file=sys.stderr)
    return Outcome(run, ending, record.last_return, stop.signal)


def _run(trainer: Trainer, record: Record, console: Console, stop: "StopRequest") -> Ending:
    try:
        ending = trainer.run(record, stop)
    except BaseException as e:
        console.clear()
        status = "failed" if isinstance(e, Exception) else "stopped"
        record.summarize(status, e.message if isinstance(e, RunnerError) else repr(e), trainer.counters)
        record.close(succeeded=False)
        raise
    status = "stopped" if ending is Ending.STOPPED else "finished"
    record.summarize(status, ending.value, trainer.counters)
    record.close(succeeded=ending is not Ending.STOPPED)
    return ending


def hyperparameters(config: Config, seed: int) -> dict[str, bool | float | str]:
    """What a user may sweep, for the HParams tab: scalars, lists as texts, nulls left out."""
    groups = ("agent.", "alpha.", "normalization.", "schedule.", "replay.", "env.id", "env.num_envs", "total_env_steps")
    chosen = {key: x for key, x in flat(config).items() if key.startswith(groups) and x is not None}
    return {"seed": seed, **{key: str(x) if isinstance(x, list) else x for key, x in chosen.items()}}


class StopRequest:
    """Set by the first signal; the second ends the process at once."""

    def __init__(self) -> None:
        """Not requested."""
        self.signal: int | None = None

    def __call__(self) -> bool:
        """Whether to stop."""
        return self.signal is not None

    def handle(self, number: int, frame: FrameType | None) -> None:
        """A signal handler."""
        if self.signal is not None:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.signal = number


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Ctrl-C and SIGTERM ask to stop, save and leave; where signals can't be taken (a thread), nothing does."""
    stop = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop.handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
