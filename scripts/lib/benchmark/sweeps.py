"""Two runs of one thread each side by side, against the same two one after the other at ``threads=auto``."""

import os
import subprocess
import sys
import tempfile
import time

from benchmark.ours import ALIKE
from benchmark.timing import Row, compared, in_turn

STEPS = 2500


def measure(rounds: int) -> list[Row]:
    """Whole processes, from start to end."""
    apart, together = in_turn(rounds, lambda: _seconds(False), lambda: _seconds(True))
    case = f"two runs of {STEPS:,} env steps, one thread each, at once"
    return [compared("sweep", case, together, apart, "s", "one after the other, threads=auto", ">= 1.3", False)]


def _seconds(together: bool) -> float:
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        running = []
        for seed in range(2):
            running.append(_start(folder, seed, "1" if together else "auto"))
            if not together:
                running[-1].wait()
        codes = [process.wait() for process in running]
    assert codes == [0, 0], codes
    return time.perf_counter() - begun


def _start(folder: str, seed: int, threads: str) -> "subprocess.Popen[bytes]":
    code = "from sac_runner.commands.train import main; main()"
    overrides = [
        *ALIKE,
        "compile_after_updates=null",
        "env=lunarlander",
        f"total_env_steps={STEPS}",
        f"threads={threads}",
        f"run.dir=run{seed}",
    ]
    overrides = [x for x in overrides if x not in ("seed=0", "compile_after_updates=0")] + [f"seed={seed}"]
    environment = {name: x for name, x in os.environ.items() if name != "OMP_NUM_THREADS"}
    command = [sys.executable, "-c", code, *overrides]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=quiet, stderr=quiet)
