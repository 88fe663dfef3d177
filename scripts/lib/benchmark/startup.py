"""From the command to its help, and to the first update of a run."""

import sys
import tempfile
import time

from benchmark.children import run
from benchmark.timing import Row, Spread

TO_FIRST_UPDATE = """
import os
from sac_runner.commands.train import main
from sac_runner.training.record import Record

Record.update = lambda *_: os._exit(0)  # what a trainer calls after each of its updates
main()
"""


def measure(rounds: int) -> list[Row]:
    """Both, with the files in the cache of the operating system."""
    cases = [
        ("sac-train --help", ["-m", "sac_runner.commands.train", "--help"], "< 1.5 s"),
        ("sac-train env=lunarlander, to its first update", ["-c", TO_FIRST_UPDATE, "env=lunarlander"], "< 6 s"),
    ]
    rows = []
    for case, arguments, goal in cases:
        seconds = [_seconds(*arguments) for _ in range(rounds + 1)][1:]
        rows.append(Row("start-up", case, Spread.of(seconds), None, "s", "", None, goal))
    return rows


def _seconds(*arguments: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        run(sys.executable, *arguments, cwd=folder)
        return time.perf_counter() - begun
