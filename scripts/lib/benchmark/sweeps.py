"""Two runs of one thread each side by side, against the same two one after the other at ``threads=auto``."""

import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from benchmark.children import run
from benchmark.ours import ALIKE
from benchmark.timing import Row, compared, in_turn

STEPS = 2500


def measure(rounds: int) -> list[Row]:
    """Whole processes, from start to end."""
    apart, together = in_turn(rounds, partial(_seconds, 1, "auto"), partial(_seconds, 2, "1"))
    case = f"two runs of {STEPS:,} env steps, one thread each, at once"
    return [compared("sweep", case, together, apart, "s", "one after the other, threads=auto", ">= 1.3", False)]


def _seconds(at_once: int, threads: str) -> float:
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(at_once) as pool:
        list(pool.map(partial(_train, folder, threads), range(2)))
    return time.perf_counter() - begun


def _train(folder: str, threads: str, seed: int) -> None:
    own = [f"total_env_steps={STEPS}", f"threads={threads}", f"seed={seed}", f"run.dir=run{seed}"]
    overrides = [*ALIKE, "env=lunarlander", "compile_after_updates=null", *own]
    run(sys.executable, "-m", "sac_runner.commands.train", *overrides, cwd=folder)
