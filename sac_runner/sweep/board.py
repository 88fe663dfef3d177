"""The live board of a sweep: how many jobs are done, how far the running ones are, about how long it takes."""

import contextlib
import heapq
import os
import shutil
import sys
import time
from typing import Any, NamedTuple, TextIO

from sac_runner.errors import RunnerError
from sac_runner.storage.status import Status, counted, is_owned, modified, newest_values, sign_of_life, silent_s
from sac_runner.storage.sweep_directory import SweepDirectory, SweepJob
from sac_runner.text import cut, duration, number, rough

_REFRESH_S = 0.5
_PLAIN_S = 60.0
_SHARE = 0.05  # of the time at most goes into looking, however many jobs there are
_SILENT_S = 60.0
_ANY_WIDTH = 1000


class _Row(NamedTuple):
    """A job as it was found."""

    job: SweepJob
    status: Status
    values: dict[str, float]
    """Newest value of each metric, of a running job."""


class Board:
    """The live board of one sweep, read from its directories alone."""

    def __init__(self, sweep: SweepDirectory, stream: TextIO | None = None) -> None:
        """Write to ``stream``, standard error by default."""
        self.sweep = sweep
        self.stream = sys.stderr if stream is None else stream
        self.live = self.stream.isatty()
        self._next = time.monotonic() + (0.0 if self.live else _PLAIN_S)
        self._plan: dict[str, Any] = {}
        self._jobs: list[SweepJob] = []
        self._plan_is_of: tuple[int, int] | None = None
        self._begun: float | None = None
        """When the process that runs the sweep has taken it; None where none does."""
        self._finished: dict[int, Status] = {}
        self._drawn: list[str] = []

    def update(self) -> None:
        """Look and draw; does nothing where it did so just now."""
        begun = time.monotonic()
        if begun < self._next:
            return
        rows = self._look()
        if self.live:
            self._draw(self._fitting(rows))
        elif rows:
            self._write(self._headline(rows, _ANY_WIDTH) + "\n")
        now = time.monotonic()
        self._next = now + max(_REFRESH_S, (now - begun) / _SHARE) if self.live else begun + _PLAIN_S

    def say(self, text: str) -> None:
        """Print whole lines above the board."""
        drawn = self._drawn
        self.close()
        self._write(text + "\n")
        if drawn:
            self._draw(drawn)

    def close(self) -> None:
        """Take the board away."""
        if self._drawn:
            self._write(self._to_top() + "\033[J")
            self._drawn = []

    def headline(self) -> str:
        """How the sweep stands now, on one line."""
        return self._headline(self._look(), self._size().columns if self.live else _ANY_WIDTH)

    def _look(self) -> list[_Row]:
        self._read_plan()
        self._begun = sign_of_life(self.sweep.path) if is_owned(self.sweep.path) else None
        return [self._row(job) for job in self._jobs]

    def _read_plan(self) -> None:
        """Again where it has changed: a sweeper adds jobs as it goes. One that can't be read changes nothing."""
        with contextlib.suppress(RunnerError, OSError):
            stat = (self.sweep.path / "sweep.json").stat()
            if (stat.st_mtime_ns, stat.st_ino) != self._plan_is_of:
                self._plan, self._jobs = self.sweep.read_plan(), self.sweep.jobs()
                self._plan_is_of, self._finished = (stat.st_mtime_ns, stat.st_ino), {}

    def _row(self, job: SweepJob) -> _Row:
        now = self._finished.get(job.number) or self.sweep.status(job)
        if now.state == "finished":
            self._finished[job.number] = now
        elif now.state == "running":
            return _Row(job, now, newest_values(self.sweep.run(job)))
        elif self._begun is not None and self._last_sign(job) < self._begun:  # it will be run again
            now = now._replace(state="waiting")
        return _Row(job, now, {})

    def _last_sign(self, job: SweepJob) -> float:
        return max(sign_of_life(self.sweep.run(job).path), modified(self.sweep.log_file(job)))

    def _headline(self, rows: list[_Row], width: int) -> str:
        """How the sweep stands, in ``width`` columns: what is needed least is dropped first."""
        done = f"{sum(row.status.state == 'finished' for row in rows)}/{len(rows)} done"
        states = [row.status.state for row in rows if row.status.state != "finished"]
        so_far, left = self._so_far(), self._left(rows)
        times = [f"{duration(so_far)} so far"] if so_far is not None else []
        ends = [f"about {rough(left)} left"] if left is not None else []
        begun = [state for state in states if state != "waiting"]
        name = self.sweep.path.name
        forms = [
            (f"sweep {name}", [counted(states), *times, *ends]),
            (f"sweep {name.partition('_')[2] or name}", [counted(states), *times, *ends]),
            ("sweep", [counted(states), *ends]),
            ("sweep", [counted(begun), *ends]),
            ("sweep", ends),
        ]
        lines = [f"{head}  {', '.join(filter(None, [done, *parts]))}" for head, parts in forms]
        return next((line for line in lines if len(line) <= width), lines[-1])

    def _so_far(self) -> float | None:
        """Seconds since the process that runs the sweep began; where none does, nothing is going on."""
        return None if self._begun is None else max(time.time() - self._begun, 0.0)

    def _left(self, rows: list[_Row]) -> float | None:
        """Seconds until the last job is done, if what is known of others says; jobs start in the order planned."""
        running = [row for row in rows if row.status.state == "running"]
        waiting = [row for row in rows if row.status.state == "waiting"]
        paces = [pace for row in rows if (pace := _pace(row)) is not None]
        whole = [row.status.wall_time_s for row in rows if row.status.state == "finished"]
        if not running:
            return None
        usual_pace = sum(paces) / len(paces) if paces else None
        usual_whole = sum(whole) / len(whole) if whole else None
        ends: list[float] = []
        for row in [*running, *waiting]:
            left = _seconds_left(row, usual_pace, usual_whole)
            if left is None:
                return None
            free = heapq.heappop(ends) if len(ends) >= self._at_a_time(len(running)) else 0.0
            heapq.heappush(ends, free + left)
        return max(ends)

    def _at_a_time(self, running: int) -> int:
        planned: int = self._plan.get("at_a_time", 1)
        return max(planned, running)

    def _fitting(self, rows: list[_Row]) -> list[str]:
        """What the terminal has room for, the line with its cursor aside."""
        running = [row for row in rows if row.status.state == "running"]
        room = self._size().lines - 2
        shown = running if len(running) <= room else running[: max(room - 1, 0)]
        names = [f"{row.job.label} s{row.job.seed}" for row in running]
        width = max(map(len, names), default=0)
        columns = self._size().columns - 1
        lines = [self._headline(rows, columns)] if rows else []
        lines += [f"  {name:<{width}}  {self._progress(row)}" for name, row in zip(names, shown, strict=False)]
        if len(shown) < len(running) and room > 0:
            lines.append(f"  and {len(running) - len(shown)} more that run")
        return [cut(line, columns) for line in lines]

    def _progress(self, row: _Row) -> str:
        (job, now, values), total = row, row.job.total_env_steps
        parts = [f"{now.env_steps / total:4.0%}  {now.env_steps:,}/{total:,}" if total else f"{now.env_steps:,}"]
        if "perf/env_steps_per_s" in values:
            parts.append(f"{values['perf/env_steps_per_s']:,.0f} steps/s")
        if "rollout/episode_return" in values:
            parts.append(f"return {number(values['rollout/episode_return'])}")
        if "eval/return_mean" in values:
            parts.append(f"eval {number(values['eval/return_mean'])}")
        silent = silent_s(self.sweep.run(job).path)
        if silent > _SILENT_S:
            parts.append(f"silent for {rough(silent)}")
        return "  ".join(parts)

    def _draw(self, lines: list[str]) -> None:
        """Over what is there, line by line, so that nothing flickers."""
        text = self._to_top() + "".join(f"{line}\033[K\n" for line in lines) + "\033[J"
        self._drawn = lines
        self._write(text)

    def _to_top(self) -> str:
        """A terminal that was made narrower shows a line as several."""
        columns = self._size().columns
        up = sum(max(-(-len(line) // columns), 1) for line in self._drawn)
        return f"\r\033[{up}A" if up else ""

    def _size(self) -> os.terminal_size:
        with contextlib.suppress(OSError, ValueError):  # no true terminal, or one that is gone
            size = os.get_terminal_size(self.stream.fileno())
            if size.columns and size.lines:
                return size
        return shutil.get_terminal_size()

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # a terminal that is gone must not end a sweep
            self.stream.write(text)
            self.stream.flush()


def _pace(row: _Row) -> float | None:
    """Seconds per env step, of a job that has begun to learn: warm-up steps say nothing of later ones."""
    now, speed = row.status, row.values.get("perf/env_steps_per_s", 0.0)
    if now.env_steps <= 0 or now.wall_time_s <= 0:
        return None
    if now.state == "finished":
        return now.wall_time_s / now.env_steps
    if row.values.get("perf/updates_per_s", 0.0) > 0 and speed > 0:
        return max(now.wall_time_s / now.env_steps, 1 / speed)
    return None


def _seconds_left(row: _Row, usual_pace: float | None, usual_whole: float | None) -> float | None:
    """Of a job that runs or waits.

    Args:
        row: Of the job.
        usual_pace: Seconds per env step of other jobs.
        usual_whole: Seconds that other jobs took.
    """
    now, total = row.status, row.job.total_env_steps
    pace = _pace(row) or usual_pace
    if total is not None and pace is not None:
        return max(total - now.env_steps, 0) * pace
    return None if usual_whole is None or total is not None else max(usual_whole - now.wall_time_s, 0.0)
