"""What the trainer does between its parts."""

import json

import numpy as np
import pytest
import torch

from sac_runner.algorithm.agent import SAC
from sac_runner.interaction.replay import ReplayBuffer
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.training.console import Console
from sac_runner.training.evaluation import Evaluation
from sac_runner.training.preflight import least_seconds
from sac_runner.training.record import Record
from sac_runner.training.state import ReplayOnDisk
from sac_runner.training.trainer import Trainer
from tests.runs import TINY, knowledge, the_run, train, trained
from tests.support import CPU, PER_ROUND, config


def test_every_episode_of_a_round_has_the_seed_of_its_round(tmp_path):
    rounds = PER_ROUND | {"rounds": 3, "episodes_per_round": 3, "updates_per_round": 1}
    env = {"id": "Pendulum-v1", "max_episode_steps": 4, "episode_seed": "per_round"}
    c = config(env=env, schedule=rounds, total_env_steps=None, seed=42)
    with Trainer(c, 42, CPU, Console(c)) as trainer:
        seeds = list(trainer.collector.seeds)
        ask = trainer.collector.episode_seed
        trainer.collector.episode_seed = lambda *which: seeds.append(ask(*which)) or seeds[-1]
        record = Record(c, RunDirectory(tmp_path), {})
        record.open(-1)
        trainer.run(record, lambda: False)
        record.close(True)
    assert seeds[:9] == [42, 42, 42, 43, 43, 43, 44, 44, 44]


def test_a_run_past_the_end_of_its_learning_rate_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = trained(*TINY, "agent.lr_schedule=linear")
    answer = train(f"resume={run.name}", "total_env_steps=90")
    assert answer.code == 2 and "learning rate" in answer.err and "init_from=" in answer.err


def test_a_run_killed_before_its_first_checkpoint_begins_anew(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = [*TINY, "run.dir=outputs/runs/pendulum/job"]
    assert train(*command).code == 0
    run = the_run()
    whole = run.read_metrics()["eval/return_mean"]
    (run.checkpoints / "latest-000000000060").rename(tmp_path / "lost")
    (run.path / "summary.json").write_text(json.dumps({"status": "running"}))
    assert train(*command).code == 0
    assert run.read_metrics()["eval/return_mean"] == whole
    assert run.read_summary()["status"] == "finished"


def test_hints_of_a_finished_run_go_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trained(*TINY, "stop.at_return=-1e9")
    said = train("resume=last").err
    assert "stop.at_return=null" in said
    assert train("resume=last", "stop.at_return=null").code == 0
    assert the_run().read_summary()["env_steps"] == 60


def test_the_speed_of_a_row_leaves_evaluation_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clock = [0.0]
    monkeypatch.setattr("sac_runner.training.record.time.monotonic", lambda: clock[0])
    step, evaluate = Trainer._collect, Trainer._evaluate

    def slow_step(trainer):
        clock[0] += 0.5
        step(trainer)

    def slow_evaluation(trainer):
        before = clock[0]
        monkeypatch.setattr("sac_runner.training.trainer.time.monotonic", lambda: clock[0])
        clock[0] = before
        evaluate(trainer)

    def played(*_, **__):
        clock[0] += 100.0
        return result

    result = Evaluation(np.array([1.0]), np.array([5]), [], None)
    monkeypatch.setattr(Trainer, "_collect", slow_step)
    monkeypatch.setattr(Trainer, "_evaluate", slow_evaluation)
    monkeypatch.setattr("sac_runner.training.trainer.evaluate", played)
    run = trained(*TINY, "log.every_env_steps=20", "eval.every_env_steps=15")
    assert [speed for _, speed in run.read_metrics()["perf/env_steps_per_s"]] == pytest.approx([2.0] * 3)


def test_weights_for_a_new_run_bring_the_scale_of_their_rewards():
    c = config(normalization={"obs": True, "reward": True})
    source, new = (SAC(c, 3, 1, torch.Generator().manual_seed(i), CPU) for i in (0, 1))
    for reward in (100.0, -300.0, 500.0):
        source.observe(torch.randn(1, 3), torch.tensor([reward]), torch.tensor([False]))
    new.load_weights(source.state_dict())
    assert new.reward_normalizer.scale == source.reward_normalizer.scale > 10.0
    raw = SAC(config(), 3, 1, torch.Generator(), CPU)
    with pytest.raises(RuntimeError):
        raw.load_weights(source.state_dict())


def test_an_episode_cut_on_resume_stays_cut(tmp_path):
    replay = ReplayBuffer(10, 1, 1, 1, True)
    replay.start(np.zeros((1, 1), np.float32))
    no = np.zeros(1, np.bool_)
    for t in range(1, 6):
        replay.add(np.zeros((1, 1), np.float32), np.zeros(1), no, no, *[np.full((1, 1), t, np.float32)] * 2)
    run = RunDirectory(tmp_path)
    on_disk = ReplayOnDisk(run)
    on_disk.save(replay)
    replay.truncate_last(0)
    replay.start(np.full((1, 1), 1000, np.float32))
    on_disk.forget_newest()
    listed = on_disk.save(replay)
    again = ReplayBuffer(10, 1, 1, 1, True)
    ReplayOnDisk(run).load(listed, np.full((1, 1), 1000, np.float32), again)
    assert again.truncated[4, 0] and again.final_obs[again.final_index[4, 0]] == 5.0


def test_telling_how_long_a_run_takes_changes_no_bit_of_it():
    c = config(total_env_steps=5000)
    with Trainer(c, 0, CPU, Console(c)) as trainer:
        before = knowledge(trainer)
        assert least_seconds(trainer) > 0
        assert knowledge(trainer) == before
