"""From the command to its help, and to the first update of a run."""

import subprocess
import sys
import tempfile
import time

from benchmark.timing import Row, Spread

HELP = "from sac_runner.commands.train import main; main()"
TO_FIRST_UPDATE = (
    """
import os
from sac_runner.training.record import Record

Record.update = lambda *_: os._exit(0)  # what a trainer calls after each of its updates
"""
    + HELP
)


def measure(rounds: int) -> list[Row]:
    """Both, with the files in the cache of the operating system."""
    cases = [
        ("sac-train --help", HELP, "--help", "< 1.5 s"),
        ("sac-train env=lunarlander, to its first update", TO_FIRST_UPDATE, "env=lunarlander", "< 6 s"),
    ]
    rows = []
    for case, code, argument, goal in cases:
        seconds = [_seconds(code, argument) for _ in range(rounds + 1)][1:]
        rows.append(Row("start-up", case, Spread.of(seconds), None, "s", "", None, goal))
    return rows


def _seconds(code: str, argument: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        command = [sys.executable, "-c", code, argument]
        subprocess.run(command, check=True, cwd=folder, capture_output=True)
        return time.perf_counter() - begun
