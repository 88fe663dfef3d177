"""What the terminal shows while a run trains: a live line, or a plain one now and then where there is no terminal."""

import contextlib
import shutil
import sys
import time
from dataclasses import replace
from typing import TextIO

from sac_runner.config.schema import Config, PerRoundConfig, PerStepConfig
from sac_runner.errors import DiskFailed
from sac_runner.storage.files import Appended
from sac_runner.text import duration, number, short
from sac_runner.training.record import Record
from sac_runner.training.schedule import Counters, acts_randomly

_REFRESH_S = 0.2
_PLAIN_S = 30.0


class Console:
    """The live line of one run."""

    def __init__(self, config: Config, stream: TextIO | None = None) -> None:
        """Write to ``stream``, standard error by default."""
        self.config = config
        self.stream = sys.stderr if stream is None else stream
        self.live = self.stream.isatty()
        self._log: Appended | None = None
        self._next = self._next_noted = 0.0
        self._warming_up = False
        self._began: tuple[float, Counters] | None = None

    def progress(self, counters: Counters, record: Record) -> None:
        """Show how far the run is, a few times a second at most."""
        now = time.monotonic()
        warming_up = acts_randomly(self.config.schedule, counters)
        if self._began is None or (self._warming_up and not warming_up):  # warm-up steps say nothing of later ones
            self._began = now, replace(counters)
            self._next = now + (0.0 if self.live else _PLAIN_S)
        self._warming_up = warming_up
        if now >= self._next:
            self._next = now + (_REFRESH_S if self.live else _PLAIN_S)
            text = " | ".join(self._parts(counters, record, now - self._began[0], self._began[1]))
            self._show(text)
            if now >= self._next_noted:
                self._next_noted = now + _PLAIN_S
                self.note(text)

    def _parts(self, counters: Counters, record: Record, seconds: float, began: Counters) -> list[str]:
        counter, total, unit = self._budget(counters)
        done = getattr(counters, counter)
        parts = [f"{done / total:4.0%}  {unit}{done:,}/{total:,}"]
        if self._warming_up and isinstance(self.config.schedule, PerStepConfig):
            parts[0] += f", warm-up to {self.config.schedule.warmup_env_steps:,}"
        parts.append(f"{(counters.env_steps - began.env_steps) / max(seconds, 1e-9):,.0f} steps/s")
        since = done - getattr(began, counter)
        if since and not self._warming_up:
            parts.append(f"{duration(seconds * (total - done) / since)} left")
        latest = record.latest
        if "rollout/episode_return" in latest:
            parts.append(f"return {number(latest['rollout/episode_return'])}")
        if record.scores:
            final, best = record.scores["final"], record.scores["best"]
            at = short(final["env_steps"])
            parts.append(f"eval {number(final['return_mean'])} @{at}, best {number(best['return_mean'])}")
        if "train/alpha" in latest:
            parts.append(f"alpha {latest['train/alpha']:.3g}")
        return parts

    def _budget(self, counters: Counters) -> tuple[str, int, str]:
        """Which of the counters has come nearest to its end, that end, and its unit."""
        budgets = []
        if self.config.total_env_steps is not None:
            budgets.append(("env_steps", self.config.total_env_steps, ""))
        if isinstance(self.config.schedule, PerRoundConfig):
            budgets.append(("rounds", self.config.schedule.rounds, "round "))
        return max(budgets, key=lambda budget: getattr(counters, budget[0]) / budget[1])

    def evaluating(self, finished: int) -> None:
        """Show how many evaluation episodes are finished."""
        if self.live:
            self._show(f"evaluating {finished}/{self.config.eval.episodes}")

    def _show(self, text: str) -> None:
        if self.live:
            width = shutil.get_terminal_size().columns - 1
            while len(text) > width and " | " in text:
                text = text.rsplit(" | ", 1)[0]
            self._write(f"\r\033[K{text[:width]}")
        else:
            self._write(text + "\n")

    def keep_in(self, log: Appended) -> None:
        """Write all that is said from here on to ``log`` too, and now and then how far the run is."""
        self._log = log

    def say(self, text: str) -> None:
        """Print whole lines."""
        self.clear()
        self._write(text + "\n")
        self.note(text)

    def note(self, text: str) -> None:
        """Write to the log alone."""
        if self._log is not None:
            self._log.write(f"{text}\n".encode())
            with contextlib.suppress(DiskFailed):  # a log never stops a training
                self._log.flush()

    def clear(self) -> None:
        """Take the live line away, so that something else can be printed."""
        if self.live:
            self._write("\r\033[K")

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):  # a terminal that is gone must not end a run
            self.stream.write(text)
            self.stream.flush()
