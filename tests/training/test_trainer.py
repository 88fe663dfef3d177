"""What the trainer does between its parts."""

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from sac_runner.algorithm.agent import SAC
from sac_runner.errors import Interrupted
from sac_runner.interaction import device_replay
from sac_runner.interaction import replay as replay_module
from sac_runner.interaction.replay import ReplayBuffer
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.training.compilation import Updater
from sac_runner.training.console import Console
from sac_runner.training.evaluation import Evaluation, Protocol, evaluate
from sac_runner.training.learner import Learner
from sac_runner.training.preflight import _updates_seconds, least_seconds
from sac_runner.training.randomness import episode_seed
from sac_runner.training.record import Record
from sac_runner.training.schedule import Counters
from sac_runner.training.state import ReplayOnDisk
from sac_runner.training.trainer import Ending, Trainer
from tests.pretended_gpu import pretend_a_gpu_that_acts_in_numpy
from tests.runs import TINY, advance, knowledge, measured, metrics_rows, the_run, train, trained
from tests.scripted import countdown_length, countdown_reward, countdown_terminates
from tests.storage.written import write_run
from tests.support import ANNEALED, CPU, PER_ROUND, PER_STEP, config, vector_env, weights

TWO_COUNTDOWNS = {"id": "tests.scripted:Countdown-v0", "num_envs": 2}


def ran(folder, **overrides):
    """A trainer at the end of its run."""
    return ran_to(folder, overrides)[0]


def ended(folder, **overrides):
    """Why a run ended."""
    return ran_to(folder, overrides)[1]


def ran_to(folder, overrides):
    c = config(**{"eval": {"every_env_steps": None}} | overrides)
    folder.mkdir(exist_ok=True)
    with Trainer(c, CPU, Console(c)) as trainer:
        record = Record(c, RunDirectory(folder), {})
        record.open()
        ending = trainer.run(record, lambda: False)
        record.close(True)
    return trainer, ending


@pytest.mark.parametrize(("num_envs", "ratio"), [(1, 1.0), (1, 0.3), (2, 1.5)])
@pytest.mark.parametrize("more", [{"agent": {"lr_schedule": "linear", "lr_decay_env_steps": 100}}, {"alpha": ANNEALED}])
def test_updates_ahead_of_a_step_are_those_after_it(tmp_path, num_envs, ratio, more, monkeypatch):
    schedule = PER_STEP | {"updates_per_env_step": ratio}
    run = config(
        **more,
        env=TWO_COUNTDOWNS | {"num_envs": num_envs},
        schedule=schedule,
        replay={"capacity": 30, "batch_size": 8},
        total_env_steps=80,
    )
    (tmp_path / "after").mkdir()
    expected = advance(run, tmp_path / "after")
    pretend_a_gpu_that_acts_in_numpy(monkeypatch)
    made = []
    is_here = ReplayBuffer.is_here
    monkeypatch.setattr(ReplayBuffer, "is_here", lambda self, at: made.append(is_here(self, at)) or made[-1])
    (tmp_path / "ahead").mkdir()
    advance(run, tmp_path / "ahead", stop_at=40)
    assert advance(run, tmp_path / "ahead") == expected
    assert {True, False} == set(made)
    assert metrics_rows(tmp_path / "ahead") == metrics_rows(tmp_path / "after")


@pytest.mark.parametrize(
    "more", [{"normalization": {"obs": True}}, {"normalization": {"reward": True}}, {"schedule": PER_ROUND}]
)
def test_on_a_gpu_a_run_is_the_same(tmp_path, more, monkeypatch):
    run = config(**more, env=TWO_COUNTDOWNS, replay={"capacity": 30, "batch_size": 8}, total_env_steps=80)
    for name in ("cpu", "gpu"):
        (tmp_path / name).mkdir()
    expected = advance(run, tmp_path / "cpu")
    pretend_a_gpu_that_acts_in_numpy(monkeypatch)
    monkeypatch.setattr(replay_module, "_CHUNK", 2)  # so that its memory grows
    monkeypatch.setattr(device_replay, "_FINALS_AT_FIRST", 0)
    advance(run, tmp_path / "gpu", stop_at=50)
    assert advance(run, tmp_path / "gpu") == expected


def rows_of(trainer):
    """All that its replay buffer has taken in."""
    return trainer.replay.rows_between(0, trainer.replay.added)


def test_the_replay_buffer_holds_what_the_environments_did(tmp_path):
    trainer = ran(tmp_path, env=TWO_COUNTDOWNS, total_env_steps=80)
    rows = rows_of(trainer)
    assert rows["reward"].size == trainer.counters.env_steps == 80
    finals = iter(rows["final_obs"].tolist())
    for row, env in product(range(39), range(2)):
        (seed, t, _), (action,) = rows["obs"][row, env].tolist(), rows["action"][row, env].tolist()
        ended, terminates = t + 1 == countdown_length(seed), countdown_terminates(seed)
        assert rows["reward"][row, env] == pytest.approx(countdown_reward(seed, t + 1) + action, rel=1e-6)
        assert rows["terminated"][row, env] == (ended and terminates)
        assert rows["truncated"][row, env] == (ended and not terminates)
        assert (next(finals) if ended else rows["obs"][row + 1, env].tolist()) == [seed, t + 1, action]
    assert rows["terminated"].any() and rows["truncated"].any()


@pytest.mark.parametrize("bootstraps", [True, False])
def test_a_time_limit_bootstraps_unless_told_otherwise(tmp_path, bootstraps):
    env, agent = {"max_episode_steps": 2}, {"bootstrap_at_time_limit": bootstraps}
    replay = ran(tmp_path, env=env, agent=agent, total_env_steps=12).replay
    batch = replay.batch(replay.draw(50, np.random.default_rng(0)))
    assert bool(batch.terminated.any()) != bootstraps


def test_statistics_are_of_every_frame_and_of_every_return_once(tmp_path):
    normalization = {"obs": True, "reward": True}
    trainer = ran(tmp_path, env=TWO_COUNTDOWNS, normalization=normalization, total_env_steps=80)
    rows, returns, running = rows_of(trainer), [], np.zeros(2)
    for reward, ended in zip(rows["reward"], rows["terminated"] | rows["truncated"], strict=True):
        returns.append(running := 0.99 * running + reward)
        running = np.where(ended, 0.0, running)
    frames = np.concatenate([*rows["obs"], trainer.collector.obs, rows["final_obs"]])
    for normalizer, seen in (
        (trainer.agent.policy.obs_normalizer, frames),
        (trainer.agent.reward_normalizer, np.concatenate(returns)),
    ):
        assert normalizer.moments.count.item() == pytest.approx(len(seen), abs=1e-3)
        np.testing.assert_allclose(normalizer.moments.mean, seen.mean(axis=0), rtol=1e-4, atol=1e-4)


def test_everything_random_in_a_run_follows_its_seed(tmp_path):
    ours, theirs = (
        rows_of(ran(tmp_path / str(seed), env=TWO_COUNTDOWNS, seed=seed, total_env_steps=30)) for seed in (1, 2)
    )
    assert (ours["action"] != theirs["action"]).all()
    assert (ours["obs"][0, :, 0] != theirs["obs"][0, :, 0]).all()  # the seeds of their first episodes


def test_the_first_weights_of_a_run_follow_its_seed():
    def first(seed):
        c = config(seed=seed)
        with Trainer(c, CPU, Console(c)) as trainer:
            return weights(trainer.agent.policy.actor) | weights(trainer.agent.critic)

    ours, again, theirs = map(first, (1, 1, 2))
    for name, x in ours.items():
        assert (x == again[name]).all() and not (x.any() and (x == theirs[name]).any()), name


def test_actions_are_uniform_in_the_warm_up_and_then_drawn_from_the_policy(tmp_path):
    schedule = PER_STEP | {"warmup_env_steps": 500, "updates_per_env_step": 1e-6}  # none is made
    trainer = ran(tmp_path, schedule=schedule, total_env_steps=1000, log={"every_env_steps": 1000})
    rows = rows_of(trainer)
    with torch.no_grad():
        mean, log_std = trainer.agent.policy.actor(torch.from_numpy(rows["obs"][500:, 0]))
    uniform, action = np.split(rows["action"][:, 0], 2)
    noise = (np.arctanh(action) - mean.numpy()) / log_std.exp().numpy()
    for drawn, spread in ((uniform, 3**-0.5), (noise, 1.0)):
        assert abs(drawn.mean()) < 0.1 and drawn.std() == pytest.approx(spread, rel=0.1)
    assert uniform.min() == pytest.approx(-1.0, abs=0.02) and uniform.max() == pytest.approx(1.0, abs=0.02)


def test_every_update_draws_noise_of_its_own_for_both_of_its_actions(tmp_path, monkeypatch):
    drawn, update = [], SAC.update

    def update_and_note(agent, batch, noise):
        drawn.extend(tuple(x.flatten().tolist()) for x in noise)
        return update(agent, batch, noise)

    monkeypatch.setattr(SAC, "update", update_and_note)
    ran(tmp_path, total_env_steps=15)
    assert len(drawn) == len(set(drawn)) == 2 * 5


def test_what_changes_with_time_follows_the_env_steps(tmp_path):
    linear = {"lr_schedule": "linear", "lr_final_share": 0.5, "lr_decay_env_steps": 40}
    agent = ran(tmp_path, alpha=ANNEALED | {"over_env_steps": 40}, agent=linear, total_env_steps=30).agent
    assert agent.alpha.value.item() == pytest.approx(0.5 + 0.75 * (0.1 - 0.5))
    assert agent.actor_optimizer.lr.item() == pytest.approx(3e-4 * (1.0 - 0.75 * 0.5))


def test_an_evaluation_in_training_is_that_of_its_protocol(tmp_path):
    protocol = Protocol(episodes=3, deterministic=False, seed=7, num_envs=2)
    evaluation = {"every_env_steps": None, "max_episode_steps": 5, **protocol._asdict()}
    trainer = ran(tmp_path, eval=evaluation, agent={"gamma": 0.5}, seed=3, total_env_steps=20)
    envs = vector_env("Pendulum-v1", 2, max_episode_steps=5)
    again = evaluate(trainer.agent.policy, envs, protocol, q_value=trainer.agent.q_value, gamma=0.5)
    assert again.scores().items() <= trainer.record.scores["final"].items()


@pytest.mark.parametrize(("num_envs", "per_round"), [(1, 3), (3, 3), (3, 2)])
@pytest.mark.parametrize("env_id", ["Pendulum-v1", "tests.scripted:Countdown-v0"])  # the latter's length is by its seed
def test_every_episode_of_a_round_has_the_seed_of_its_round(tmp_path, env_id, num_envs, per_round):
    rounds = PER_ROUND | {"rounds": 3, "episodes_per_round": per_round, "updates_per_round": 1}
    env = {"id": env_id, "max_episode_steps": 4, "episode_seed": "per_round", "num_envs": num_envs}
    c = config(env=env, schedule=rounds, total_env_steps=None, seed=42)
    with Trainer(c, CPU, Console(c)) as trainer:
        seeds = list(trainer.collector.seeds)
        ask = trainer.collector.episode_seed
        trainer.collector.episode_seed = lambda *which: seeds.append(ask(*which)) or seeds[-1]
        record = Record(c, RunDirectory(tmp_path), {})
        record.open()
        trainer.run(record, lambda: False)
        record.close(True)
    assert len(seeds) >= 3 * per_round and seeds == [42 + i // per_round for i in range(len(seeds))]


def test_seeds_of_episodes_follow_the_episode_or_the_round():
    for kind, seed in (("per_episode", episode_seed(42, 2, 5)), ("per_round", 42 + 9 // 2)):
        c = config(env={"episode_seed": kind}, schedule=PER_ROUND, total_env_steps=None, seed=42)
        with Trainer(c, CPU, Console(c)) as trainer:
            assert trainer.collector.episode_seed(2, 5, 9) == seed


def test_a_run_whose_budget_and_minutes_are_used_up_in_one_turn_is_finished(tmp_path):
    minutes = {"max_minutes": 1e-9, "at_return": None}
    assert ended(tmp_path / "a", stop=minutes, total_env_steps=1) is Ending.FINISHED
    assert ended(tmp_path / "b", stop=minutes, total_env_steps=2) is Ending.MAX_MINUTES
    both, at_once = {"max_minutes": 1e-9, "at_return": -1e9}, PER_STEP | {"warmup_env_steps": 0}
    more = {"total_env_steps": 2, "eval": {"every_env_steps": 1}}
    assert ended(tmp_path / "c", stop=both, schedule=at_once, **more) is Ending.AT_RETURN


@pytest.mark.parametrize(("minutes", "kept"), [(1e-9, True), (None, False)])
def test_a_run_that_its_minutes_end_keeps_the_buffer_that_it_goes_on_with(tmp_path, minutes, kept):
    short = {"eval": {"every_env_steps": None, "max_episode_steps": 3}, "total_env_steps": 4}
    more = {"stop": {"max_minutes": minutes, "at_return": None}, "checkpoint": {"keep_replay": "until_finished"}}
    ran(tmp_path, **short, **more)
    assert bool(list(tmp_path.glob("replay/*"))) == kept


@pytest.mark.parametrize(("warmup", "end"), [(0, 7), (6, 7), (7, 14), (20, 20)])
def test_an_evaluation_before_the_first_update_ends_no_run(tmp_path, warmup, end):
    stop, schedule = {"max_minutes": None, "at_return": -1e9}, PER_STEP | {"warmup_env_steps": warmup}
    more = {"stop": stop, "schedule": schedule, "total_env_steps": 20, "eval": {"every_env_steps": 7}}
    assert ran(tmp_path, **more).counters.env_steps == end


def test_a_run_past_the_end_of_its_learning_rate_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = trained(*TINY, "agent.lr_schedule=linear")
    answer = train(f"resume={run.path.name}", "total_env_steps=90")
    assert answer.code == 2 and "learning rate" in answer.err and "init_from=" in answer.err


def test_a_run_killed_before_its_first_checkpoint_begins_anew(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = [*TINY, "run.dir=outputs/runs/pendulum/job"]
    assert train(*command).code == 0
    run = the_run()
    whole = measured(run.path)["eval/return_mean"]
    (run.checkpoints / "latest-000000000060").rename(tmp_path / "lost")
    (run.path / "summary.json").write_text(json.dumps({"status": "running"}))
    assert train(*command).code == 0
    assert measured(run.path)["eval/return_mean"] == whole
    assert run.read_summary()["status"] == "finished"


def test_hints_of_a_finished_run_go_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trained(*TINY, "stop.at_return=-1e9", "eval.every_env_steps=30")
    said = train("resume=last").err
    assert "stop.at_return=null" in said
    assert train("resume=last", "stop.at_return=null").code == 0
    assert the_run().read_summary()["env_steps"] == 60


@pytest.mark.parametrize("every", [60, 1000])
def test_a_run_that_was_good_enough_at_its_end_goes_on_by_what_is_offered(tmp_path, monkeypatch, every):
    """Whose evaluation was due there, or came because it ended."""
    monkeypatch.chdir(tmp_path)
    closing = train(*TINY, "stop.at_return=-1e9", f"eval.every_env_steps={every}").err
    assert closing.endswith("resume=last total_env_steps=120 stop.at_return=null\n")
    said = train("resume=last", "total_env_steps=90").err
    if every == 60:
        assert said.endswith(f"resume={the_run().path} total_env_steps=90 stop.at_return=null\n")
        assert train(*said.split()[-3:]).code == 0
    assert the_run().read_summary()["env_steps"] == 90


def test_a_run_that_is_not_the_newest_says_its_own_name_at_its_end(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "outputs/runs/pendulum/20990101-000000_s0", started="2099-01-01T00:00:00+0000")
    said = train(*TINY, "run.name=mine").err
    (mine,) = Path("outputs/runs/pendulum").glob("*mine*")
    assert f"sac-watch {mine} | sac-evaluate {mine} |" in said and "last" not in said.splitlines()[-1]


def test_the_speed_of_a_row_leaves_evaluation_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
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
    assert [speed for _, speed in measured(run.path)["perf/env_steps_per_s"]] == pytest.approx([2.0] * 3)


def test_the_speed_of_a_row_leaves_compiling_out(tmp_path, monkeypatch):
    clock, update = [0.0], Learner.update
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    monkeypatch.setattr(Updater, "is_due", lambda self, made: made == 5)
    monkeypatch.setattr(Updater, "_compile", lambda *_: None)

    def slow(learner, at, made):
        clock[0] += 100.0 if made == 5 else 0.5
        return update(learner, at, made)

    monkeypatch.setattr(Learner, "update", slow)
    done = ran(tmp_path, total_env_steps=20, log={"every_env_steps": 20})
    assert done.record.latest["perf/updates_per_s"] == 2.0 * done.counters.updates / (done.counters.updates - 1)


def test_an_evaluation_that_a_signal_cuts_off_does_not_slow_a_row_down(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    record = Record(config(), RunDirectory(tmp_path), {})
    record.open()
    with pytest.raises(Interrupted), record.pace.paused():
        clock[0] += 100.0
        raise Interrupted
    clock[0] += 5.0
    record.row(Counters(env_steps=20))
    record.close(True)
    assert record.latest["perf/env_steps_per_s"] == 4.0 and record.latest["perf/wall_time_s"] == 105.0


def test_weights_for_a_new_run_bring_the_scale_of_their_rewards():
    c = config(normalization={"obs": True, "reward": True})
    source, new = (SAC(c, 3, 1, torch.Generator().manual_seed(i), CPU) for i in (0, 1))
    for reward in (100.0, -300.0, 500.0):
        source.observe(np.ones((1, 3), np.float32), np.array([reward]), np.array([False]))
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
    with Trainer(c, CPU, Console(c)) as trainer:
        before = knowledge(trainer)
        assert least_seconds(trainer) > 0
        assert knowledge(trainer) == before


def test_compiled_updates_are_expected_to_take_less_time():
    agent = {"compile_after_updates": 1000, "schedule": PER_STEP | {"warmup_env_steps": 0, "updates_per_env_step": 2.0}}
    assert _updates_seconds(config(total_env_steps=2000, **agent), 0.01) == pytest.approx(10.0 + 3000 * 0.006)
    assert _updates_seconds(config(total_env_steps=400, **agent), 0.01) == pytest.approx(8.0)
    assert _updates_seconds(config(total_env_steps=2000, **agent | {"compile_after_updates": None}), 0.01) == 40.0
