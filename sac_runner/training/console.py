"""What the terminal shows while a run trains: a live line, or a plain one now and then where there is no terminal."""

import shutil
import sys
import time
from typing import TextIO

from sac_runner.config.schema import Config, PerRoundConfig
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
        self._next = 0.0
        self._began: tuple[float, int] | None = None

    def progress(self, counters: Counters, record: Record) -> None:
        """Show how far the run is, a few times a second at most."""
        now = time.monotonic()
        if self._began is None:
            self._began = now, counters.env_steps
            self._next = now + (0.0 if self.live else _PLAIN_S)
        if now < self._next:
            return
        self._next = now + (_REFRESH_S if self.live else _PLAIN_S)
        self._show(" | ".join(self._parts(counters, record, now)))

    def _parts(self, counters: Counters, record: Record, now: float) -> list[str]:
        assert self._began is not None
        done, total, unit = self._share(counters)
        speed = (counters.env_steps - self._began[1]) / max(now - self._began[0], 1e-9)
        if acts_randomly(self.config.schedule, counters):
            unit = "warm-up "
        parts = [f"{done / total:4.0%}  {unit}{done:,}/{total:,}", f"{speed:,.0f} steps/s"]
        if done and unit != "warm-up ":
            left = (now - self._began[0]) * (total - done) / done
            parts.append(f"{duration(left)} left")
        latest = record.latest
        if "rollout/episode_return" in latest:
            parts.append(f"return {latest['rollout/episode_return']:.0f}")
        if record.scores:
            final, best = record.scores["final"], record.scores["best"]
            parts.append(
                f"eval {final['return_mean']:.0f} @{short(final['env_steps'])}, best {best['return_mean']:.0f}"
            )
        if "train/alpha" in latest:
            parts.append(f"alpha {latest['train/alpha']:.3g}")
        return parts

    def _share(self, counters: Counters) -> tuple[int, int, str]:
        if self.config.total_env_steps is None and isinstance(self.config.schedule, PerRoundConfig):
            return counters.rounds, self.config.schedule.rounds, "round "
        assert self.config.total_env_steps is not None
        return counters.env_steps, self.config.total_env_steps, ""

    def evaluating(self, finished: int) -> None:
        """Show how many evaluation episodes are finished."""
        if self.live:
            self._show(f"evaluating {finished}/{self.config.eval.episodes}")

    def _show(self, text: str) -> None:
        if self.live:
            width = shutil.get_terminal_size().columns - 1
            while len(text) > width and " | " in text:
                text = text.rsplit(" | ", 1)[0]
            self.stream.write(f"\r\033[K{text[:width]}")
        else:
            self.stream.write(text + "\n")
        self.stream.flush()

    def clear(self) -> None:
        """Take the live line away, so that something else can be printed."""
        if self.live:
            self.stream.write("\r\033[K")
            self.stream.flush()


def duration(seconds: float) -> str:
    """``5:45`` or ``1:14:10``."""
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02}:{s:02}" if hours else f"{m}:{s:02}"


def short(steps: int) -> str:
    """``40k`` for 40,000."""
    return f"{steps / 1e6:g}M" if steps >= 1_000_000 else f"{steps / 1e3:g}k" if steps >= 1000 else str(steps)
