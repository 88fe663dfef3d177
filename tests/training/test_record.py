import numpy as np
import pytest
import torch

from sac_runner.errors import DiskFailed
from sac_runner.storage.checkpoints import find
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.training.console import Console
from sac_runner.training.evaluation import Evaluation
from sac_runner.training.record import Record
from sac_runner.training.schedule import Counters
from sac_runner.training.trainer import Trainer
from tests.runs import advance
from tests.support import CPU, config, sac, short_of_room


@pytest.fixture
def record(tmp_path):
    record = Record(config(), RunDirectory(tmp_path), {})
    record.open()
    yield record
    record.close(True)


def evaluate(record, env_steps, mean, spread=1.0):
    """An evaluation of two episodes, of an agent whose weights tell the step."""
    agent = sac(normalization={"obs": True})
    agent.begin([0], torch.tensor([[env_steps, 5.0, -3.0]]))
    with torch.no_grad():
        agent.policy.actor.mean.bias.fill_(env_steps)
    returns = np.array([mean - spread, mean + spread])
    record.evaluation(Counters(env_steps=env_steps), Evaluation(returns, np.array([3, 3]), [], None), agent)
    record.save_policies()
    return agent


def best(record):
    checkpoint = record.run.checkpoint("best")  # those of before stay until a checkpoint names this one
    assert checkpoint.env_steps == record.scores["best"]["env_steps"] == checkpoint.manifest()["score"]["env_steps"]
    assert (checkpoint.arrays("policy")["actor.mean.bias"] == checkpoint.env_steps).all()
    return checkpoint.env_steps


def test_the_best_policy_is_that_of_the_highest_mean_and_the_first_of_equal_ones(record):
    kept = []
    scores = [(0, -50.0, 1.0), (10, -20.0, 9.0), (20, -30.0, 200.0), (30, -20.0, 1.0), (40, 3.0, 90.0), (50, 2.0, 1.0)]
    for env_steps, mean, spread in scores:  # the best or the least bad episode is not always of the best mean
        evaluate(record, env_steps, mean, spread)
        kept.append(best(record))
        assert record.scores["final"]["env_steps"] == record.last_evaluation_at == env_steps
        assert record.last_return == mean
    assert kept == [0, 10, 10, 10, 40, 40]


def test_a_policy_is_saved_with_its_statistics(record):
    saved = evaluate(record, 10, 1.0).policy.state_dict()
    (checkpoint,) = find(record.run.checkpoints, "best")
    arrays = checkpoint.arrays("policy")
    assert arrays.keys() == saved.keys() and all((x == saved[name].numpy()).all() for name, x in arrays.items())
    statistics = {name: x for name, x in arrays.items() if name.startswith("obs_normalizer.")}
    assert {name.rpartition(".")[2] for name in statistics} == {"mean", "var", "count"}
    np.testing.assert_allclose(statistics["obs_normalizer.moments.mean"], [10.0, 5.0, -3.0], rtol=1e-3)


def test_a_score_says_how_it_was_made(record):
    evaluate(record, 10, 1.0)
    assert record.scores["final"] == {
        **{"env_steps": 10, "return_mean": 1.0, "return_std": 1.0, "return_min": 0.0, "return_max": 2.0},
        **{"length_mean": 3.0, "episodes": 2, "deterministic": True, "seed": 1000, "num_envs": 1},
    }


def test_speeds_and_wall_time_go_on_where_an_earlier_start_stopped(tmp_path, monkeypatch):
    clock, collect = [0.0], Trainer._collect
    monkeypatch.setattr("time.monotonic", lambda: clock[0])

    def slow(trainer):
        clock[0] += 0.5
        collect(trainer)

    monkeypatch.setattr(Trainer, "_collect", slow)
    short = {"every_env_steps": None, "episodes": 1, "max_episode_steps": 5}
    c = config(total_env_steps=60, log={"every_env_steps": 20}, eval=short)
    for stop_at in (33, 47, None):
        clock[0] += 1000.0  # in which nothing runs
        advance(c, tmp_path / "run", stop_at)
    curves = RunDirectory(tmp_path / "run").read_metrics()
    for tag, expected in {
        "env_steps_per_s": [2, 2, 2],
        "updates_per_s": [1, 2, 2],
        "wall_time_s": [10, 20, 30],
    }.items():
        assert curves[f"perf/{tag}"] == [(20 * i, pytest.approx(x)) for i, x in enumerate(expected, 1)]


def test_no_checkpoint_is_on_the_disk_before_its_rows(record, monkeypatch):
    room = short_of_room(monkeypatch, record._csv._file, 3)
    with Trainer(record.config, 0, CPU, Console(record.config)) as trainer:
        record.row(trainer.counters)
        with pytest.raises(DiskFailed, match="metrics.csv"):
            record.checkpoint(trainer.state)
        assert find(record.run.checkpoints) == []
        room[0] = 1000
        record.checkpoint(trainer.state)
    assert len(find(record.run.checkpoints)) == len(record.run.read_metrics()["perf/wall_time_s"]) == 1
