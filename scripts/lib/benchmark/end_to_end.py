"""Training, end to end, at one update per env step, against Stable-Baselines3 on the same machine."""

import os
import subprocess
import sys
import venv
from functools import partial
from pathlib import Path

from benchmark.ours import ALIKE, SETTLING, WARMUP
from benchmark.timing import Row, Spread, compared, in_turn

ROOT = Path(__file__).resolve().parents[3]
PEER = ROOT / ".venv-sb3"
PEER_VERSION = "stable-baselines3==2.9.2"
ENVS = {"lunarlander": ("LunarLanderContinuous-v3", 1000, 2.1), "humanoid": ("Humanoid-v5", 600, 1.8)}
"""Name here: Gymnasium's, env steps that are timed, and how many times as fast as the peer it must be."""


GPU_AIMS = {"halfcheetah": "2,000", "humanoid": "1,000"}
"""Env steps per second with one environment and one update per step."""


def peer_python() -> str:
    """The interpreter of the peer's environment, which is made at its first use."""
    python, done = PEER / "bin" / "python", PEER / PEER_VERSION
    if not done.exists():
        print(f"installing {PEER_VERSION} into {PEER.name} ...", file=sys.stderr)
        venv.create(PEER, with_pip=True)
        pins = ["-c", str(ROOT / "constraints.txt"), "gymnasium[box2d,mujoco]"]
        subprocess.run([python, "-m", "pip", "install", "-q", PEER_VERSION, *pins], check=True)
        done.touch()
    return str(python)


def printed(*command: str) -> float:
    """The number that ``command`` prints last, without any limit of threads from outside."""
    environment = {name: x for name, x in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def ours(steps: int, *overrides: str) -> float:
    """This project's training rate, in a process of its own."""
    return printed(sys.executable, "-m", "benchmark.ours", str(steps), *ALIKE, *overrides)


def measure(rounds: int) -> list[Row]:
    """Both libraries in turn, the peer with one thread and with two, of which the faster counts."""
    peer, rows = peer_python(), []
    script = str(Path(__file__).with_name("sb3.py"))
    for name, (env, steps, goal) in ENVS.items():

        def theirs(threads: int, env: str = env, steps: int = steps) -> float:
            return printed(peer, script, "rate", env, *map(str, (threads, WARMUP, SETTLING, steps)))

        def here(name: str = name, steps: int = steps) -> float:
            return ours(steps, f"env={name}")

        rates, *others = in_turn(rounds, here, lambda: theirs(1), lambda: theirs(2))
        threads, best = max(enumerate(others, 1), key=lambda other: Spread.of(other[1]).median)
        against = f"{PEER_VERSION.replace('==', ' ')}, {threads} thread{'s'[: threads > 1]}"
        rows.append(compared("end to end", f"{env}, compiled", rates, best, "env steps/s", against, f">= {goal}"))
    return rows


def measure_gpu(rounds: int) -> list[Row]:
    """The same runs on a GPU."""

    def on_gpu(name: str) -> float:
        return ours(4000, f"env={name}", "device=cuda")

    measured = in_turn(rounds, *(partial(on_gpu, name) for name in GPU_AIMS))
    return [
        Row("gpu", f"{name}, compiled", Spread.of(rates), None, "env steps/s", "", None, f"aim: {aim}")
        for (name, aim), rates in zip(GPU_AIMS.items(), measured, strict=True)
    ]


def measure_precision(rounds: int) -> list[Row]:
    """The same runs with ``precision=medium`` and ``highest``."""
    rows = []
    for name, (env, steps, _) in ENVS.items():

        def at(precision: str, name: str = name, steps: int = steps) -> float:
            return ours(steps, f"env={name}", f"precision={precision}")

        medium, highest = in_turn(rounds, lambda: at("medium"), lambda: at("highest"))
        row = compared("precision", f"{env}, medium", medium, highest, "env steps/s", "highest", ">= 1.25 with AMX")
        rows.append(row)
    return rows
