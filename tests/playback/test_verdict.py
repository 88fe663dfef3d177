"""The words of ``evaluate``, from episodes written by hand."""

from pathlib import Path

import numpy as np

from sac_runner.playback.assess import Assessment
from sac_runner.playback.stored import StoredPolicy
from sac_runner.playback.verdict import verdict
from sac_runner.storage.checkpoints import Checkpoint
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.training.evaluation import Evaluation, Protocol
from tests.support import CPU, config


def test_episodes_are_summed_up_by_mean_spread_and_range():
    run, score = RunDirectory(Path("runs/a")), {"episodes": 5, "seed": 1000, "deterministic": True, "num_envs": 1}
    score |= {"return_mean": 9.0, "return_std": 2.0}
    stored = StoredPolicy(None, Checkpoint(run.path / "checkpoints/best-000000000040", "best", 40), score, 3, 1)
    evaluation = Evaluation(np.array([3.0, 1.0, 8.0]), np.array([2, 2, 5]), [True, False, False], None)
    protocol = Protocol(episodes=3, deterministic=True, seed=1_000_000, num_envs=1)
    said = verdict(Assessment(run, config(), stored, "latest", protocol, evaluation, False, CPU))
    assert said.splitlines() == [
        "Pendulum-v1  best checkpoint, 40 env steps  runs/a",
        "chosen   as asked for: latest; evaluated in training by 5 episodes on seeds 1000..1004, there 9 +- 2",
        "here     3 episodes on fresh seeds 1000000..1000002, deterministic",
        "return   4 +- 2.94   min 1   max 8",
        "length   3 +- 1.41",
        "success  33%",
    ]
