"""What has become of a run, from its directory alone: nothing else knows, and nothing else can be out of date."""

import contextlib
import fcntl
import os
import time
from pathlib import Path
from typing import Any, Literal, NamedTuple

from sac_runner.storage.claim import is_claimed
from sac_runner.storage.crash import last_words
from sac_runner.storage.run_directory import RunDirectory

State = Literal["waiting", "running", "finished", "failed", "stopped", "killed"]
"""``waiting`` has not begun; ``stopped`` was told to and has saved; ``killed`` ended without a word."""

_TAIL = 4096  # bytes that hold the last row of metrics.csv


class Status(NamedTuple):
    """A run at one moment."""

    state: State
    cause: str | None
    """Why it failed, stopped, was killed, or was done before its budget was."""
    env_steps: int
    """Taken so far, as far as it is known."""
    wall_time_s: float
    """Seconds so far, as far as it is known."""
    scores: dict[str, dict[str, Any]]
    """``final`` and ``best``: what the newest and the best evaluation gave, each with its env steps and protocol."""


def status(run: RunDirectory) -> Status:
    """The state of ``run``, of which not even the directory need be there."""
    summary = run.read_summary() if run.is_run else {}
    state: State = summary.get("status", "running")
    cause = summary.get("cause")
    steps, seconds = summary.get("env_steps", 0), summary.get("wall_time_s", 0.0)
    if state not in ("finished", "failed", "stopped"):
        if is_owned(run.path):
            state, cause = "running", None
        elif run.is_run:
            state, cause = "killed", last_words(run)
        else:
            state = "waiting"
        row = last_row(run)
        steps = max(steps, int(row.get("env_steps", 0)))
        seconds = max(seconds, row.get("perf/wall_time_s", 0.0))
    return Status(state, cause, steps, seconds, summary.get("scores") or {})


def is_owned(run: Path) -> bool:
    """Whether a living process trains in ``run``; a look that takes nothing and writes nothing."""
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


def last_row(run: RunDirectory) -> dict[str, float]:
    """Tag -> value in the newest whole row of ``metrics.csv`` that has a speed, without reading the rows before."""
    with contextlib.suppress(OSError, ValueError), (run.path / "metrics.csv").open("rb") as file:
        header = file.readline().decode().rstrip("\n").split(",")
        file.seek(max(file.seek(0, os.SEEK_END) - _TAIL, 0))
        for line in reversed(file.read().decode(errors="replace").split("\n")[:-1]):
            cells = line.split(",")
            if len(cells) == len(header):
                row = {tag: float(cell) for tag, cell in zip(header, cells, strict=True) if cell}
                if "perf/wall_time_s" in row:
                    return row
    return {}


def silent_s(run: Path) -> float:
    """Seconds since the process in ``run`` last showed that it gets on; infinite where none ever did."""
    try:
        return max(time.time() - (run / ".lock").stat().st_mtime, 0.0)
    except OSError:
        return float("inf")
