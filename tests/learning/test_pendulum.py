"""Longer proofs that learning works: every alpha mode, every normalization and eight environments learn Pendulum.

A random policy gets about -1200. Bounds leave room for the worst seen of seeds 0 to 2 (README, Results).
"""

import json

import pytest

from sac_runner.commands.train import main

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "choice",
    [
        "alpha=auto",
        "alpha=fixed",
        "alpha=fixed_0.05",
        "alpha=annealed",
        "normalization=obs",
        "normalization=reward",
        "normalization=obs_and_reward",
        "env.num_envs=8",
    ],
)
def test_learns_pendulum(choice, tmp_path, monkeypatch):
    run = tmp_path / "run"
    arguments = ["experiment=pendulum_quick", choice, "threads=1", "eval.episodes=20", f"run.dir={run}"]
    monkeypatch.setattr("sys.argv", ["sac-train", *arguments])
    main()
    final = json.loads((run / "summary.json").read_text())["scores"]["final"]
    assert final["env_steps"] >= 10_000
    assert final["return_mean"] > -250
