import numpy as np
import pytest
import torch

from sac_runner.storage.checkpoints import find
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.training.evaluation import Evaluation
from sac_runner.training.record import Record
from sac_runner.training.schedule import Counters
from tests.support import config, sac


@pytest.fixture
def record(tmp_path):
    record = Record(config(), RunDirectory(tmp_path), {})
    record.open(0)
    yield record
    record.close(True)


def evaluate(record, env_steps, mean):
    """An evaluation of two episodes with this mean, of an agent whose weights tell the step."""
    agent = sac(normalization={"obs": True})
    with torch.no_grad():
        agent.policy.actor.mean.bias.fill_(env_steps)
    returns = np.array([mean - 1.0, mean + 1.0])
    record.evaluation(Counters(env_steps=env_steps), Evaluation(returns, np.array([3, 3]), [], None), agent, 0.0)
    record.save_policies()


def best(record):
    (checkpoint,) = find(record.run.checkpoints, "best")
    assert checkpoint.env_steps == record.scores["best"]["env_steps"] == checkpoint.manifest()["score"]["env_steps"]
    assert (checkpoint.arrays("policy")["actor.mean.bias"] == checkpoint.env_steps).all()
    return checkpoint.env_steps


def test_the_best_policy_is_that_of_the_highest_mean_and_the_first_of_equal_ones(record):
    kept = []
    for env_steps, mean in [(0, -50.0), (10, -20.0), (20, -30.0), (30, -20.0), (40, 3.0), (50, 2.0)]:
        evaluate(record, env_steps, mean)
        kept.append(best(record))
        assert record.scores["final"]["env_steps"] == record.last_evaluation_at == env_steps
        assert record.last_return == mean
    assert kept == [0, 10, 10, 10, 40, 40]


def test_a_policy_is_saved_with_its_statistics(record):
    evaluate(record, 10, 1.0)
    (checkpoint,) = find(record.run.checkpoints, "best")
    statistics = {name for name in checkpoint.arrays("policy") if name.startswith("obs_normalizer.")}
    assert {name.rpartition(".")[2] for name in statistics} == {"mean", "var", "count"}


def test_a_score_says_how_it_was_made(record):
    evaluate(record, 10, 1.0)
    assert record.scores["final"] == {
        **{"env_steps": 10, "return_mean": 1.0, "return_std": 1.0, "return_min": 0.0, "return_max": 2.0},
        **{"length_mean": 3.0, "episodes": 2, "deterministic": True, "seed": 1000, "num_envs": 1},
    }
