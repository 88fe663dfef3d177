"""The sweep that is looked at: a small one where none is given, and what its TensorBoard must show."""

import math
import subprocess
from pathlib import Path
from typing import NamedTuple

from sac_runner.storage.metrics_file import read_points
from sac_runner.storage.status import status
from sac_runner.storage.sweep_directory import SweepDirectory, SweepJob

TRAIN = Path(__file__).parents[2] / "train"
SMALL = (
    *("env=pendulum", "alpha=auto,fixed_0.05", "seed=0,1", "total_env_steps=1500", "schedule.warmup_env_steps=250"),
    *(
        "schedule.updates_per_env_step=0.5",
        "agent.hidden_sizes=[64,64]",
        "eval.every_env_steps=250",
        "eval.episodes=5",
        "log.every_env_steps=100",
    ),
)


class Row(NamedTuple):
    """A run, as the HParams tab must show it."""

    hyperparameters: dict[str, str]
    """Swept key, or ``seed``, -> as typed."""
    scores: dict[str, float]
    """Tag -> value; of a run that has not come to its end only the newest evaluation."""


def train_small(outputs: Path) -> SweepDirectory:
    """A sweep of two settings and two seeds, in about a minute.

    Raises:
        SubprocessError: It failed, and has said why.
    """
    subprocess.run([str(TRAIN), "-m", *SMALL, f"outputs={outputs}"], check=True)
    (plan,) = outputs.glob("sweeps/*/sweep.json")
    return SweepDirectory(plan.parent)


def rows(sweep: SweepDirectory) -> dict[str, Row]:
    """Name in TensorBoard -> what is shown of a job that has been evaluated."""
    shown = {job.path: _row(sweep, job) for job in sweep.jobs()}
    return {name: row for name, row in shown.items() if row is not None}


def _row(sweep: SweepDirectory, job: SweepJob) -> Row | None:
    run = sweep.run(job)
    curve = list(read_points(run, "eval/return_mean")[0].items())
    if not curve:
        return None
    scores = {"eval/return_mean": curve[-1][1]}
    if status(run).state == "finished":
        best = max(mean for _, mean in curve)
        scores |= {"score/final": curve[-1][1], "score/best": best, "score/area": _height(curve)}
    return Row(job.setting | {"seed": str(job.seed)}, scores)


def _height(curve: list[tuple[int, float]]) -> float:
    """The mean of ``curve`` from its first step to its last, by hand."""
    pieces = [(x - w) * (y + z) / 2 for (w, y), (x, z) in zip(curve, curve[1:], strict=False)]
    return math.fsum(pieces) / (curve[-1][0] - curve[0][0]) if pieces else curve[-1][1]
