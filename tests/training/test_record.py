import csv
from math import fsum, inf, nan

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

from sac_runner.analysis.curves import Curve
from sac_runner.errors import DiskFailed
from sac_runner.storage.checkpoints import find
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.training.console import Console
from sac_runner.training.evaluation import Evaluation
from sac_runner.training.metrics import SCORES
from sac_runner.training.record import Record
from sac_runner.training.schedule import Counters
from sac_runner.training.trainer import Trainer
from tests.runs import advance, curves, measured
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
    agent.begin([0], np.array([[env_steps, 5.0, -3.0]], np.float32))
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
    curves = measured(tmp_path / "run")
    for tag, expected in {
        "env_steps_per_s": [2, 2, 2],
        "updates_per_s": [1, 2, 2],
        "wall_time_s": [10, 20, 30],
    }.items():
        assert curves[f"perf/{tag}"] == [(20 * i, pytest.approx(x)) for i, x in enumerate(expected, 1)]


def test_the_time_of_an_end_counts_where_the_run_goes_on(tmp_path, monkeypatch):
    clock, collect, evaluate = [0.0], Trainer._collect, Trainer._evaluate
    monkeypatch.setattr("time.monotonic", lambda: clock[0])

    def slow(trainer):
        clock[0] += 0.5
        collect(trainer)

    def slower(trainer):
        clock[0] += 100.0
        evaluate(trainer)

    monkeypatch.setattr(Trainer, "_collect", slow)
    monkeypatch.setattr(Trainer, "_evaluate", slower)
    short = {"every_env_steps": None, "episodes": 1, "max_episode_steps": 5}
    for total in (30, 60):
        advance(config(total_env_steps=total, log={"every_env_steps": 20}, eval=short), tmp_path / "run")
    times = dict(measured(tmp_path / "run")["perf/wall_time_s"])
    assert times == {20: 110.0, 40: 220.0, 60: 230.0}  # the first policy 100 s, the end at 30 another 100


def test_no_checkpoint_is_on_the_disk_before_its_rows(record, monkeypatch):
    room = short_of_room(monkeypatch, record._csv._file, 3)
    with Trainer(record.config, CPU, Console(record.config)) as trainer:
        record.row(trainer.counters)
        with pytest.raises(DiskFailed, match="metrics.csv"):
            record.checkpoint(trainer.state)
        assert find(record.run.checkpoints) == []
        room[0] = 1000
        record.checkpoint(trainer.state)
    assert len(find(record.run.checkpoints)) == len(measured(record.run.path)["perf/wall_time_s"]) == 1


def end(record, env_steps, mean=None):
    """The end of a run at ``env_steps``; without ``mean`` a stop comes in its evaluation."""
    with Trainer(record.config, CPU, Console(record.config)) as trainer:
        trainer.counters.env_steps = env_steps
        record.begin_end(trainer.counters)
        if mean is not None:
            evaluate(record, env_steps, mean)
        record.checkpoint(trainer.state, finished=mean is not None)


def scores(run):
    """Tag -> (env steps, value) of the scores that TensorBoard shows of ``run``."""
    return {tag: curve for tag, curve in curves(run).items() if tag in SCORES and curve}


def test_at_its_end_a_run_is_scored_by_its_last_and_best_evaluation_and_the_area_under_all(record):
    for env_steps, mean in [(0, -50.0), (10, -10.0), (40, -20.0)]:
        evaluate(record, env_steps, mean)
    end(record, 60, -30.0)
    area = (10 * (-50 - 10) / 2 + 30 * (-10 - 20) / 2 + 20 * (-20 - 30) / 2) / 60
    assert scores(record.run.path) == {
        "score/final": [(60, -30.0)],
        "score/best": [(60, -10.0)],
        "score/area": [(60, pytest.approx(area))],
    }
    with (record.run.path / "metrics.csv").open() as file:
        assert not set(SCORES) & set(next(csv.reader(file)))


def test_no_score_comes_from_a_row_that_no_evaluation_wrote(record):
    evaluate(record, 0, -50.0)
    for env_steps, mean in [(-5, -1.0), (20, nan), (30, inf)]:
        record._csv.write(env_steps, 0, {"eval/return_mean": mean})
    end(record, 60, -30.0)
    assert scores(record.run.path)["score/area"] == [(60, -40.0)]


def test_a_run_that_ends_where_it_begins_is_scored_by_its_only_evaluation(record):
    end(record, 0, -7.0)
    assert scores(record.run.path) == dict.fromkeys(SCORES, [(0, -7.0)])


def test_a_stop_within_the_last_evaluation_is_no_end(record):
    evaluate(record, 0, -50.0)
    end(record, 60)
    assert not scores(record.run.path)


def test_only_the_newest_end_of_a_run_is_scored(tmp_path):
    def budget(total):
        return config(total_env_steps=total, eval={"every_env_steps": 8, "episodes": 1, "max_episode_steps": 5})

    seen = {}
    for name, total, stop_at in [("end", 20, None), ("stopped", 44, 33), ("longer", 44, None), ("longest", 48, None)]:
        advance(budget(total), tmp_path / "run", stop_at)
        seen[name] = scores(tmp_path / "run")
    assert [len(score) for name in seen for score in seen[name].values()] == [1] * 9
    assert seen["stopped"] == {}
    for name, total in [("end", 20), ("longer", 44), ("longest", 48)]:
        assert {env_steps for ((env_steps, _),) in seen[name].values()} == {total}
    returns = measured(tmp_path / "run")["eval/return_mean"]
    assert [env_steps for env_steps, _ in returns] == [0, 8, 16, 24, 32, 40, 48]
    ((_, area),) = seen["longest"]["score/area"]
    heights = [mean * (0.5 if env_steps in (0, 48) else 1.0) for env_steps, mean in returns]
    assert area == pytest.approx(fsum(heights) / 6, rel=1e-6)
    steps, means = np.array(returns).T
    assert area == pytest.approx(Curve(steps, steps, means).area(0, 48), rel=1e-6)  # as compare has it
    assert seen["longest"]["score/final"] == [(48, pytest.approx(returns[-1][1], rel=1e-6))]
    assert seen["longest"]["score/best"] == [(48, pytest.approx(max(mean for _, mean in returns), rel=1e-6))]


def test_a_run_without_its_metrics_ends_all_the_same(record):
    evaluate(record, 0, -50.0)
    (record.run.path / "metrics.csv").unlink()
    end(record, 60, -30.0)
    assert {tag: value for tag, ((_, value),) in scores(record.run.path).items()} == {
        **{"score/final": -30.0, "score/best": -30.0, "score/area": -30.0}
    }


@pytest.mark.parametrize("ended", [False, True])
def test_only_a_run_that_came_to_its_end_closes_its_session(tmp_path, ended):
    record = Record(config(), RunDirectory(tmp_path), {})
    record.open()
    record.close(ended)
    contents = EventAccumulator(str(tmp_path)).Reload().PluginTagToContent("hparams")
    assert (metadata.SESSION_END_INFO_TAG in contents) == ended
