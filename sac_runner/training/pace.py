"""How fast a run is, and how long it has taken, over all of its starts."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from sac_runner.training.schedule import Counters


class Pace:
    """The clock of one run, looked at where a row falls due."""

    def __init__(self) -> None:
        """It goes from now on; ``begin`` sets it anew, should the run come to that."""
        self.at = Counters()
        """Where the last row was."""
        self._earlier_s = self._row_s = 0.0
        self._started = self._row_began = time.monotonic()

    def begin(self) -> None:
        """Start the clock; of what lies before, only the time of earlier starts counts."""
        self._started = time.monotonic()
        self._row_began = self._started - self._row_s

    @property
    def wall_time(self) -> float:
        """Seconds of the run, evaluation and earlier starts included."""
        return self._earlier_s + time.monotonic() - self._started

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """What is done within does not count for the speed of a row."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self._row_began += time.monotonic() - begun

    def take(self, counters: Counters, warmup_env_steps: int) -> dict[str, float]:
        """The metrics under ``perf/`` of a row at ``counters``."""
        now = time.monotonic()
        seconds = max(now - self._row_began, 1e-9)
        values = {
            "perf/env_steps_per_s": (counters.env_steps - self.at.env_steps) / seconds,
            "perf/updates_per_s": (counters.updates - self.at.updates) / seconds,
            "perf/updates_per_env_step": counters.updates / max(counters.env_steps - warmup_env_steps, 1),
            "perf/wall_time_s": self.wall_time,
        }
        self._row_began, self.at = now, replace(counters)
        return values

    def state_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        row_s = time.monotonic() - self._row_began
        return {"row": vars(self.at), "row_s": row_s, "wall_time_s": self.wall_time}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken, once it begins."""
        self.at, self._row_s, self._earlier_s = Counters(**state["row"]), state["row_s"], state["wall_time_s"]
