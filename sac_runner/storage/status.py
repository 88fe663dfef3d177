"""The state of a run, read from its directory alone, so that no second record of it can be out of date."""

import contextlib
import fcntl
import math
import os
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from sac_runner.storage.claim import is_claimed
from sac_runner.storage.crash import last_words
from sac_runner.storage.run_directory import RunDirectory

State = Literal["finished", "running", "failed", "stopped", "killed", "waiting"]
"""``waiting`` has not begun; ``stopped`` was told to stop and has saved; ``killed`` ended without saying why."""
STATES: tuple[State, ...] = get_args(State)

_TAIL = 16_384  # bytes of metrics.csv: some 40 rows, among which is an evaluation as a rule


class Status(NamedTuple):
    """A run at one moment."""

    state: State
    cause: str | None
    """Why it failed, stopped, was killed, or finished before its budget was used up."""
    env_steps: int
    """Taken so far, as far as is known."""
    wall_time_s: float
    """Seconds so far, as far as is known."""
    scores: dict[str, dict[str, Any]]
    """``final`` and ``best``: results of the newest and of the best evaluation, with their env steps and protocol."""


def status(run: RunDirectory) -> Status:
    """The status of ``run``, whose directory need not exist."""
    summary = run.intact("summary.json") if run.is_run else {}
    said = summary or {}
    state: State = said.get("status", "killed")
    cause, scores = said.get("cause"), said.get("scores", {})
    steps, seconds = said.get("env_steps", 0), said.get("wall_time_s", 0.0)
    if state == "finished":
        return Status(state, cause, steps, seconds, scores)
    if is_owned(run.path):
        state, cause = "running", None
    elif not run.is_run:
        state, cause = "waiting", None
    elif state not in ("failed", "stopped"):
        state, cause = "killed", last_words(run) if summary is not None else "summary.json is damaged or can't be read"
    if state in ("running", "killed"):  # its summary is as old as its checkpoint
        values = newest_values(run)
        steps = max(steps, int(values.get("env_steps", 0)))
        seconds = max(seconds, values.get("perf/wall_time_s", 0.0))
    return Status(state, cause, steps, seconds, scores)


def counted(states: Iterable[State]) -> str:
    """``12 done, 1 running, 2 failed``."""
    counts = Counter(states)
    words = {"finished": "done"}
    return ", ".join(f"{counts[state]} {words.get(state, state)}" for state in STATES if counts[state])


def is_owned(run: Path) -> bool:
    """Whether a living process trains in ``run``, or runs it if it is a sweep; nothing is written."""
    try:
        descriptor = os.open(run / ".lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no locks on this file system
        return is_claimed(run)
    finally:
        os.close(descriptor)
    return False


def newest_values(run: RunDirectory) -> dict[str, float]:
    """Tag -> its newest value in the last rows of ``metrics.csv``, ``env_steps`` and ``round`` too.

    Damaged rows and cells count as missing; rows further up are not read.
    """
    values: dict[str, float] = {}
    with contextlib.suppress(OSError), (run.path / "metrics.csv").open("rb") as file:
        header = file.readline().decode(errors="replace").rstrip("\n").split(",")
        begin = file.tell()
        file.seek(max(file.seek(0, os.SEEK_END) - _TAIL, begin))
        # The read may begin within a row, whose torn cell is then env_steps, which later rows have too.
        rows = file.read().decode(errors="replace").split("\n")[:-1]
        for cells in (row.split(",") for row in reversed(rows)):
            if len(cells) == len(header) and _is_number(cells[0]):
                news = {tag: cell for tag, cell in zip(header, cells, strict=True) if tag not in values}
                values |= {tag: float(cell) for tag, cell in news.items() if _is_number(cell)}
    return values


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell or "nan"))
    except ValueError:
        return False


def sign_of_life(run: Path) -> float:
    """Time of the newest sign of life of a process in ``run``, by the file system's clock; 0 where there was none."""
    return modified(run / ".lock")


def modified(path: Path) -> float:
    """When ``path`` was last written, in seconds since 1970; 0 where it is not there."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def silent_s(run: Path) -> float:
    """Seconds since the newest sign of life of a process in ``run``; infinite where there was none."""
    sign = sign_of_life(run)
    return max(time.time() - sign, 0.0) if sign else float("inf")
