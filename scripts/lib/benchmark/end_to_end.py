"""Training, end to end, at one update per env step, against Stable-Baselines3 on the same machine."""

import subprocess
import sys
import venv
from functools import partial
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

from benchmark.children import run
from benchmark.ours import ALIKE, SETTLING, WARMUP
from benchmark.timing import Row, Spread, compared, in_turn
from sac_runner.training.device import own_threads

ROOT = Path(__file__).resolve().parents[3]
PEER = ROOT / ".venv-sb3"
PEER_VERSION = "stable-baselines3==2.9.2"
ENVS = {"lunarlander": ("LunarLanderContinuous-v3", 1000, 2.1), "humanoid": ("Humanoid-v5", 600, 1.8)}
"""Name here: Gymnasium's, env steps that are timed, and how many times as fast as the peer it must be."""


GPU_AIMS = {"halfcheetah": "2,000", "humanoid": "1,000"}
"""Env steps per second with one environment and one update per step."""


def peer_python() -> str:
    """The interpreter of the peer's environment, which is made at its first use."""
    constraints, torch = ROOT / "constraints.txt", version("torch")
    key = sha256(torch.encode() + constraints.read_bytes()).hexdigest()
    python, done = PEER / "bin" / "python", PEER / f"{PEER_VERSION}-{key[:12]}"
    if not done.exists():
        print(f"installing {PEER_VERSION} into {PEER.name} ...", file=sys.stderr)
        venv.create(PEER, clear=True, symlinks=True, with_pip=True)
        _, _, build = torch.partition("+")
        index = ["--extra-index-url", f"https://download.pytorch.org/whl/{build}"] if build else []
        install = [python, "-m", "pip", "install", "-q", f"torch=={torch}"]
        subprocess.run([*install, "--no-deps", "--retries", "1", "--timeout", "15", *index], check=True)
        subprocess.run([*install, PEER_VERSION, "-c", constraints, "gymnasium[box2d,mujoco]"], check=True)
        done.touch()
    return str(python)


def printed(*command: str) -> float:
    """The number that ``command`` prints last."""
    return float(run(*command).split()[-1])


def ours(steps: int, *overrides: str) -> float:
    """This project's training rate, in a process of its own."""
    return printed(sys.executable, "-m", "benchmark.ours", str(steps), *ALIKE, *overrides)


def theirs(python: str, env: str, steps: int, count: int) -> float:
    """The peer's, with ``count`` threads."""
    script = str(Path(__file__).with_name("sb3.py"))
    return printed(python, script, "rate", env, *map(str, (count, WARMUP, SETTLING, steps)))


def measure(rounds: int) -> list[Row]:
    """Both libraries in turn, the peer with one thread, two and as many as ours, of which the fastest counts."""
    peer, counts, rows = peer_python(), sorted({1, 2, own_threads()}), []
    for name, (env, steps, goal) in ENVS.items():
        candidates = [partial(theirs, peer, env, steps, count) for count in counts]
        rates, *others = in_turn(rounds, partial(ours, steps, f"env={name}"), *candidates)
        count, best = max(zip(counts, others, strict=True), key=lambda other: Spread.of(other[1]).median)
        against = f"{PEER_VERSION.replace('==', ' ')}, {count} thread{'s'[: count > 1]}"
        rows.append(compared("end to end", f"{env}, compiled", rates, best, "env steps/s", against, f">= {goal}"))
    return rows


def measure_gpu(rounds: int) -> list[Row]:
    """The same runs on a GPU."""
    measured = in_turn(rounds, *(partial(ours, 4000, f"env={name}", "device=cuda") for name in GPU_AIMS))
    return [
        Row("gpu", f"{name}, compiled", Spread.of(rates), None, "env steps/s", "", None, f"aim: {aim}")
        for (name, aim), rates in zip(GPU_AIMS.items(), measured, strict=True)
    ]


def measure_precision(rounds: int) -> list[Row]:
    """The same runs with ``precision=medium`` and ``highest``."""
    rows = []
    for name, (env, steps, _) in ENVS.items():
        candidates = [partial(ours, steps, f"env={name}", f"precision={x}") for x in ("medium", "highest")]
        medium, highest = in_turn(rounds, *candidates)
        row = compared("precision", f"{env}, medium", medium, highest, "env steps/s", "highest", ">= 1.25 with AMX")
        rows.append(row)
    return rows
