"""A run that was stopped and continued is the run that was not, to the bit."""

import shutil
from contextlib import nullcontext
from itertools import count

import numpy as np
import pytest

from sac_runner.config.compose import CONF, to_yaml
from sac_runner.errors import DiskFailed, WrongInput
from sac_runner.storage import checkpoints
from sac_runner.storage.checkpoints import find
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.training import compilation
from sac_runner.training.console import Console
from sac_runner.training.record import Record
from sac_runner.training.resume import continued_config
from sac_runner.training.trainer import Trainer
from tests.runs import advance, curves, metrics_rows
from tests.support import ANNEALED, AUTO, CPU, FIXED, PER_ROUND, PER_STEP, config, pairwise

ENVS = {
    "pendulum": {"id": "Pendulum-v1", "max_episode_steps": 12},
    "lunarlander": {"id": "LunarLanderContinuous-v3", "max_episode_steps": 14},
    "bipedalwalker": {"id": "BipedalWalker-v3", "max_episode_steps": 13, "make_each_episode": True},
    "hopper": {"id": "Hopper-v5"},
    "bipedalwalker_hardcore": {"id": "BipedalWalkerHardcore-v3", "max_episode_steps": 11, "make_each_episode": True},
    "halfcheetah": {"id": "HalfCheetah-v5", "max_episode_steps": 15},
    "walker2d": {"id": "Walker2d-v5"},
    "ant": {"id": "Ant-v5", "max_episode_steps": 16},
    "swimmer": {"id": "Swimmer-v5", "max_episode_steps": 9},
    "humanoid": {"id": "Humanoid-v5"},
    "custom": {"id": "tests.scripted:Countdown-v0"},
}
ALPHAS = {"fixed": FIXED, "auto": AUTO, "annealed": ANNEALED | {"over_env_steps": 50}}
NORMALIZATIONS = {
    "none": {},
    "obs": {"obs": True},
    "reward": {"reward": True, "reward_clip": 5.0},
    "obs_and_reward": {"obs": True, "obs_clip": 3.0, "reward": True},
}
ROUNDS = PER_ROUND | {"rounds": 4, "updates_per_round": 8}
SCHEDULES = {ratio: PER_STEP | {"updates_per_env_step": ratio} for ratio in (0.25, 1.0, 2.0)} | {"per_round": ROUNDS}
AGENTS = {
    "sac": {},
    "other": {"lr_schedule": "linear", "lr_decay_env_steps": 60, "max_grad_norm": 1.0, "critic_layer_norm": True}
    | {"hidden_sizes": [64, 64]},  # wide enough for bfloat16
    "tutorial": {"bootstrap_at_time_limit": False, "log_prob_epsilon": 1e-6, "activation": "leaky_relu"},
}
OPTIONS = {
    "env": list(ENVS),
    "num_envs": [1, 4],
    "alpha": list(ALPHAS),
    "normalization": list(NORMALIZATIONS),
    "schedule": list(SCHEDULES),
    "agent": list(AGENTS),
}


def named(case):
    return "-".join(map(str, case))


def settings(
    env="pendulum", num_envs=1, alpha="auto", normalization="none", schedule=1.0, agent="sac", workers=False, **more
):
    rounds = schedule == "per_round"
    chosen = {
        "env": ENVS[env]
        | {"num_envs": num_envs, "episode_seed": "per_round" if rounds else "per_episode"}
        | {"vectorization": "async" if workers else "sync"},
        "agent": {"hidden_sizes": [8, 8], "lr": 1e-2, "actor_lr": 1e-2, "critic_lr": 1e-2} | AGENTS[agent],
        "alpha": ALPHAS[alpha],
        "normalization": NORMALIZATIONS[normalization],
        "schedule": SCHEDULES[schedule],
        "replay": {"capacity": 40, "batch_size": 8},  # so the ring goes around
        "eval": {"every_env_steps": 20, "every_rounds": 2 if rounds else None, "episodes": 1},
        "checkpoint": {"every_env_steps": 9, "keep_every_env_steps": 30},
        "log": {"every_env_steps": 7},
        "precision": "medium" if agent == "other" else "highest",
        "total_env_steps": None if rounds else 60,
    }
    for group, values in more.items():
        chosen[group] = {**chosen.get(group, {}), **values} if isinstance(values, dict) else values
    return config(**chosen)


def left_behind(folder):
    """What a run leaves on disk, as far as it is a function of its config."""
    run = RunDirectory(folder)
    latest = find(run.checkpoints, "latest")[-1:]  # the one before may be where a signal came
    kept = [*find(run.checkpoints, "best"), *find(run.checkpoints, "kept"), *latest]
    policies = {c.path.name: (c.path / "policy.safetensors").read_bytes() for c in kept}
    summary = run.read_summary()
    return policies, summary["scores"], summary["env_steps"], summary["updates"], summary["episodes"]


@pytest.mark.parametrize("case", pairwise(*OPTIONS.values()), ids=named)
def test_a_run_stopped_and_killed_twice_and_continued_is_the_run_at_once(tmp_path, case):
    run = settings(*case)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    expected = advance(run, whole)
    advance(run, parts, stop_at=20)  # within an episode, saved there
    advance(run, parts, stop_at=43, killed=True)  # goes on from the checkpoint before
    advance(run, parts, stop_at=55, killed=True)
    assert advance(run, parts) == expected
    assert metrics_rows(parts) == metrics_rows(whole)
    assert left_behind(parts) == left_behind(whole)
    assert expected["counters"]["updates"] > 0


def test_a_run_that_could_not_be_compiled_goes_on_so_where_it_could(tmp_path, monkeypatch):
    run = settings(compile_after_updates=10)
    with monkeypatch.context() as patched:
        patched.setattr(compilation, "compiled", lambda *_: 1 / 0)
        advance(run, tmp_path / "parts", stop_at=43)
    monkeypatch.setattr(compilation, "compiled", lambda *_: pytest.fail("tried again"))
    assert advance(run, tmp_path / "parts")["compiles"] is False
    assert left_behind(tmp_path / "parts")[0] == as_written(tmp_path)[0]


def as_written(tmp_path, **options):
    advance(settings(**options), tmp_path / "as_written")
    return left_behind(tmp_path / "as_written")


def test_no_environment_is_left_out():
    assert ENVS.keys() == {path.stem for path in (CONF / "env").glob("*.yaml")}


def test_the_cases_stop_within_an_episode_after_updates_and_after_the_ring_went_around(tmp_path):
    for stop_at in (20, 43):
        state = advance(settings(), tmp_path / str(stop_at), stop_at)
        assert 0 < state["collector"]["episode_length"][0] < 12
        assert state["counters"]["updates"] == stop_at - 10
    assert state["replay.reward"][0] == (40, 1) and state["counters"]["env_steps"] == 43


def test_a_run_in_worker_processes_continues_too(tmp_path):
    run, workers = (settings(num_envs=2, workers=w) for w in (False, True))
    advance(workers, tmp_path / "parts", stop_at=20)
    assert advance(workers, tmp_path / "parts") == advance(run, tmp_path / "whole")


def test_being_stopped_at_any_step_changes_nothing(tmp_path):
    run = settings(total_env_steps=20, normalization="obs_and_reward")
    expected = advance(run, tmp_path / "whole")
    for stop_at in range(1, 20):
        advance(run, tmp_path / "parts", stop_at)
    assert advance(run, tmp_path / "parts") == expected
    assert metrics_rows(tmp_path / "parts") == metrics_rows(tmp_path / "whole")


def left_of(folder):
    return left_behind(folder), metrics_rows(folder), curves(folder)


ENDS = {  # at how many places: after each turn, between the updates of one, before each step of an evaluation
    "updates_of_a_step": (
        {"num_envs": 4, "schedule": 2.0, "normalization": "obs_and_reward", "total_env_steps": 23},
        6 + 24 + 3 * 3,
    ),
    "updates_of_a_round": (
        {"schedule": "per_round", "num_envs": 3},  # three episodes end at once, a round has two
        36 + 4 * 7 + 8 * 3,
    ),
    "episodes_of_an_evaluation": (
        {"eval": {"every_env_steps": 8, "episodes": 3, "num_envs": 2}, "total_env_steps": 21},
        21 + 0 + 4 * 6,
    ),
}


@pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "killed"])
@pytest.mark.parametrize(("options", "places"), ENDS.values(), ids=ENDS)
def test_a_run_may_end_wherever_it_heeds_a_signal(tmp_path, options, places, killed, every):
    run = settings(**options | {"eval": {"max_episode_steps": 3} | options.get("eval", {})})
    asks = count(1)
    expected = advance(run, tmp_path / "whole", asks=asks), left_of(tmp_path / "whole")
    total = next(asks) - 1
    assert total == places
    for asked in {*range(1, total, every), *range(total - 2, total + 1)}:
        parts = tmp_path / str(asked)
        advance(run, parts, asked=asked, killed=killed)
        assert (advance(run, parts), left_of(parts)) == expected


def test_an_extended_run_is_the_longer_run(tmp_path):
    best_at_its_first_end = []
    for seed in (27, 1):
        short, long = (settings(num_envs=3, total_env_steps=n, alpha="annealed", seed=seed) for n in (30, 60))
        extended, whole = (tmp_path / f"{name}{seed}" for name in ("extended", "whole"))
        advance(short, extended)
        best = RunDirectory(extended).checkpoint("best")
        best_at_its_first_end.append(best.env_steps == 30)
        before = best.arrays("policy"), best.manifest()["score"]
        assert advance(long, extended) == advance(long, whole)
        if best_at_its_first_end[-1]:  # there if it is wanted
            kept = find(RunDirectory(extended).checkpoints, "kept")[0]
            assert kept.env_steps == 30 and kept.manifest()["score"] == before[1]
            np.testing.assert_equal(kept.arrays("policy"), before[0])
            shutil.rmtree(kept.path)
            shutil.rmtree(find(RunDirectory(whole).checkpoints, "kept")[0].path)  # which falls due at 30
        assert left_of(extended) == left_of(whole)
        assert RunDirectory(whole).checkpoint("best").env_steps == (21 if seed == 27 else 60)
    assert best_at_its_first_end == [True, False]  # the first goes back to the one before it


def test_the_best_policy_of_an_end_is_kept_once_the_disk_takes_it(tmp_path, monkeypatch):
    run, save, full = RunDirectory(tmp_path / "run"), checkpoints.save, ["full"]
    for _ in range(2):  # a run that is over and started again has no other end
        advance(settings(total_env_steps=17), run.path)
        assert run.checkpoint("best").env_steps == 17 and find(run.checkpoints, "kept") == []

    def saved(folder, kind, *more):
        if kind == "kept" and full:
            raise DiskFailed(full.pop())
        save(folder, kind, *more)

    monkeypatch.setattr(checkpoints, "save", saved)
    advance(settings(total_env_steps=57), run.path)
    assert full == [] and find(run.checkpoints, "kept")[0].env_steps == 17


@pytest.mark.parametrize(("num_envs", "schedule"), [(3, 1.0), (1, "per_round")])
def test_watching_a_run_more_or_less_often_changes_no_bit_of_it(tmp_path, num_envs, schedule):
    options = {"env": "lunarlander", "num_envs": num_envs, "normalization": "obs_and_reward", "schedule": schedule}
    expected = advance(settings(**options), tmp_path / "a")
    rounds = {"every_rounds": 1} if schedule == "per_round" else {}
    others = [
        {"eval": {"every_env_steps": None, "every_rounds": None}, "log": {"every_env_steps": 1000}},
        {"eval": {"every_env_steps": 11, "episodes": 3, "num_envs": 2, "deterministic": False, "seed": 7} | rounds},
        {"checkpoint": {"every_env_steps": 1, "keep_every_env_steps": 2}, "log": {"every_env_steps": 1}},
        {"checkpoint": {"every_env_steps": 1000, "keep_every_env_steps": None, "keep_replay": "never"}},
    ]
    for i, other in enumerate(others):
        assert advance(settings(**options, **other), tmp_path / str(i)) == expected


@pytest.mark.parametrize("keep", ["always", "until_finished"])
@pytest.mark.parametrize("end", [{"stop": {"at_return": -1e9}}, {"total_env_steps": 20}])
def test_a_run_killed_when_its_last_state_was_saved_has_nothing_more_to_do(tmp_path, keep, end):
    run = settings(checkpoint={"keep_replay": keep}, **end)
    counters = advance(run, tmp_path / "run")["counters"]  # its summary does not say that it is finished
    assert advance(run, tmp_path / "run")["counters"] == counters
    assert counters["env_steps"] == 20


def test_the_seed_is_what_makes_runs_differ(tmp_path):
    first, again, other = (advance(settings(seed=seed), tmp_path / str(i)) for i, seed in enumerate([5, 5, 6]))
    assert first == again
    assert not {name for name in first if name.startswith("agent.policy.actor") and first[name] == other[name]}


def test_an_episode_that_can_not_be_played_again_is_cut_short_and_said_so(tmp_path):
    run = config(
        env={"id": "tests.scripted:Unseeded-v0", "num_envs": 2},
        agent={"hidden_sizes": [8]},
        replay={"capacity": 200, "batch_size": 4},
        eval={"every_env_steps": None},
        total_env_steps=60,
    )
    state = advance(run, tmp_path / "run", stop_at=20)
    within = [env for env in range(2) if state["collector"]["episode_length"][env] > 0]
    directory = RunDirectory(tmp_path / "run")
    with Trainer(run, CPU, Console(run)) as trainer:
        record = Record(run, directory, {})
        cut = record.restore(directory.checkpoint("latest"), trainer.state)
        assert cut == [0, 1] and within
        assert trainer.replay.truncated[9, within].all()
        assert trainer.collector.episode_length.tolist() == [0, 0]
        np.testing.assert_array_equal(trainer.replay.obs[10], trainer.collector.obs)
        record.open()
        trainer.run(record, lambda: trainer.counters.env_steps >= 30)
        record.close(True)
    with Trainer(run, CPU, Console(run)) as trainer:  # what was cut stays cut
        Record(run, directory, {}).restore(directory.checkpoint("latest"), trainer.state)
        assert trainer.replay.truncated[9, within].all()


@pytest.mark.parametrize(
    ("schedule", "share", "total", "refused"),
    [
        ("linear", 0.0, 101, True),
        ("linear", 0.0, 100, False),
        ("linear", 0.1, 200, False),
        ("constant", 0.0, 200, False),
    ],
)
def test_past_the_end_of_a_learning_rate_a_run_goes_on_unless_it_is_zero(tmp_path, schedule, share, total, refused):
    agent, longer = (
        {"lr_schedule": schedule, "lr_final_share": share, "lr_decay_env_steps": 100},
        config(total_env_steps=total),
    )
    run = RunDirectory(tmp_path)
    run.write_start(to_yaml(config(agent=agent, total_env_steps=100)), {})
    with pytest.raises(WrongInput, match="falls to 0 at 100 env steps") if refused else nullcontext():
        assert continued_config(run, [f"total_env_steps={total}"], longer).total_env_steps == total
    run.write_start(to_yaml(config(agent=agent | {"lr_decay_env_steps": 50}, total_env_steps=100)), {})
    assert continued_config(run, [], longer).total_env_steps == 100  # as it was accepted at its start


def test_a_signal_in_an_end_that_is_made_up_for_brings_no_buffer_back(tmp_path):
    run = settings(checkpoint={"keep_replay": "until_finished"}, total_env_steps=58)
    advance(run, tmp_path / "run")  # killed before its summary said so
    advance(run, tmp_path / "run", asked=3)
    with pytest.raises(WrongInput, match="did not keep its replay buffer"):
        advance(settings(checkpoint={"keep_replay": "until_finished"}, total_env_steps=80), tmp_path / "run")


@pytest.mark.parametrize(
    ("keep", "finished", "continues"),
    [
        ("always", True, True),
        ("always", False, True),
        ("until_finished", False, True),
        ("until_finished", True, False),
        ("never", False, False),
        ("never", True, False),
    ],
)
def test_the_replay_buffer_stays_on_disk_as_long_as_asked(tmp_path, keep, finished, continues):
    run = settings(checkpoint={"keep_replay": keep})
    advance(run, tmp_path / "run", None if finished else 43)
    assert bool(list((tmp_path / "run").glob("replay/*"))) == continues
    longer = settings(checkpoint={"keep_replay": keep}, total_env_steps=80)
    if continues:
        advance(longer, tmp_path / "run")
    else:
        with pytest.raises(WrongInput, match="did not keep its replay buffer"):
            advance(longer, tmp_path / "run")


@pytest.mark.parametrize(("num_envs", "owes"), [(1, False), (3, True)])
def test_without_its_replay_buffer_a_run_goes_on_if_only_its_end_is_left(tmp_path, num_envs, owes):
    """A stop in the last turn: after its only update, or between the three of three environments."""
    run = settings(checkpoint={"keep_replay": "never"}, num_envs=num_envs, total_env_steps=60, schedule=1.0)
    advance(run, tmp_path / "run", stop_at=60)
    if owes:
        with pytest.raises(WrongInput, match="did not keep its replay buffer"):
            advance(run, tmp_path / "run")
    else:
        ended, at_once = (advance(run, tmp_path / name) for name in ("run", "at once"))
        assert all(ended[name] == at_once[name] for name in ended if not name.startswith("replay."))


def test_each_row_of_the_replay_buffer_is_written_once_and_dropped_when_it_is_overwritten(tmp_path):
    run = settings(total_env_steps=90, checkpoint={"every_env_steps": 10})
    written = {}
    for stop_at in range(10, 91, 10):
        advance(run, tmp_path / "run", stop_at)
        now = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "run" / "replay").iterdir()}
        assert all(written[name] == time for name, time in now.items() if name in written)
        written |= now
    spans = sorted(tuple(map(int, name.split("-")[1:3])) for name in now)
    # The ring holds 40, and what the checkpoint before the last one needs stays too.
    assert spans == [(40, 50), (50, 60), (60, 70), (70, 80), (80, 90)]
    assert len(written) == 9


def test_a_checkpoint_is_taken_after_the_evaluation_of_its_step(tmp_path):
    run = settings(checkpoint={"every_env_steps": 20}, log={"every_env_steps": 20})
    advance(run, tmp_path / "parts", stop_at=45, killed=True)
    latest = RunDirectory(tmp_path / "parts").checkpoint("latest")
    assert latest.env_steps == latest.manifest()["score"]["env_steps"] == 40
    advance(run, tmp_path / "parts")
    advance(run, tmp_path / "whole")
    rows = metrics_rows(tmp_path / "whole")
    assert metrics_rows(tmp_path / "parts") == rows
    assert [(row["env_steps"], bool(row["eval/return_mean"])) for row in rows] == [
        ("0", True),
        *((n, evaluated) for n in ("20", "40", "60") for evaluated in (False, True)),
    ]
