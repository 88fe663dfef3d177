"""The words around a run, from evaluations written by hand."""

from types import SimpleNamespace

import pytest

from sac_runner.storage.run_directory import RunDirectory
from sac_runner.training.record import Record
from sac_runner.training.report import _more, closing, header, stopped
from sac_runner.training.schedule import Counters
from tests.support import PER_ROUND, config


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SAC_OUTPUTS", raising=False)
    monkeypatch.delenv("SAC_SCRIPTS", raising=False)


def score(env_steps, mean, std):
    return {"env_steps": env_steps, "return_mean": mean, "return_std": std, "episodes": 10}


def last_lines(here, final, best, why="finished"):
    run = RunDirectory(here / "outputs/runs/pendulum/a_s4")
    run.replay.mkdir(parents=True)
    run.write_start("", {"started": "2026-01-01T00:00:00+0000"})
    run.write_bytes("metrics.csv", bytes(1_500_000))
    run.write_bytes("replay/rows-0.safetensors", bytes(500_000))
    record = Record(config(seed=4, total_env_steps=60_000), run, {})
    record.scores, record.pace = {"final": final, "best": best}, SimpleNamespace(wall_time=90.0)
    return closing(record, Counters(env_steps=final["env_steps"]), why).splitlines()


def test_the_last_lines_of_a_run_tell_the_last_policy_from_the_best(tmp_path):
    assert last_lines(tmp_path, score(60_000, -203.4, 12.3), score(40_000, -187.0, 9.0)) == [
        "done     60,000 env steps in 1:30 (667/s), seed 4",
        "return   final -203 +- 12.3    best -187 +- 9 at 40,000   "
        "(10 episodes; best was chosen by them: expect a little less)",
        "saved    outputs/runs/pendulum/a_s4   2.0 MB, 0.5 of it replay",
        "next     sac-watch last | sac-evaluate last | sac-tensorboard last | "
        "sac-train resume=last total_env_steps=120000",
    ]


def test_where_the_last_policy_is_the_best_nothing_is_to_be_expected_less(tmp_path):
    done, returned, *_ = last_lines(tmp_path, *[score(60_000, -187.0, 9.0)] * 2, why="reached stop.at_return")
    assert done.startswith("done (reached stop.at_return) 60,000 env steps in ")
    assert returned == "return   final -187 +- 9    best -187 +- 9 at 60,000   (10 episodes; the last was the best)"


@pytest.mark.parametrize(
    ("run", "counters", "more"),
    [
        ({}, Counters(env_steps=60), "resume=run total_env_steps=120"),
        ({"schedule": PER_ROUND}, Counters(env_steps=40, rounds=3), "resume=run schedule.rounds=6"),
        (
            {"schedule": PER_ROUND},
            Counters(env_steps=60, rounds=3),
            "resume=run schedule.rounds=6 total_env_steps=120",
        ),
        ({"stop": {"at_return": 9.0}}, Counters(env_steps=40), "resume=run stop.at_return=null"),
        ({"stop": {"at_return": 10.0}}, Counters(env_steps=40), "resume=run"),  # by max_minutes
        (
            {"stop": {"at_return": 9.0}},
            Counters(env_steps=60),
            "resume=run total_env_steps=120 stop.at_return=null",
        ),
        ({"checkpoint": {"keep_replay": "until_finished"}}, Counters(env_steps=40), "resume=run"),  # by max_minutes
        ({"agent": {"lr_schedule": "linear"}}, Counters(env_steps=60), None),
        (
            {"agent": {"lr_schedule": "linear", "lr_final_share": 0.1}},
            Counters(env_steps=60),
            "resume=run total_env_steps=120",
        ),
    ],
)
def test_more_of_a_run_asks_for_more_of_all_that_is_used_up(tmp_path, run, counters, more):
    directory = RunDirectory(tmp_path)
    anew, final = "init_from=. ...", {"return_mean": 9.0}
    assert _more(config(total_env_steps=60, **run), directory, "run", counters, final) == anew  # no replay
    directory.replay.mkdir()
    directory.write_bytes("replay/rows-0.safetensors", bytes(9))
    assert _more(config(total_env_steps=60, **run), directory, "run", counters, final) == (more or anew)


def test_of_one_there_is_no_plural(tmp_path):
    one = PER_ROUND | {"rounds": 1, "episodes_per_round": 1, "updates_per_round": 1}
    first, second = header(config(schedule=one, total_env_steps=None), [], None, 1).splitlines()
    assert " 1 round, as many env steps as it takes" in first and second.endswith("1 episode and 1 update per round")
    returned = last_lines(tmp_path, *[score(60_000, -187.0, 9.0) | {"episodes": 1}] * 2)[1]
    assert returned.endswith("(1 episode; the last was the best)")


def test_a_run_that_owes_nothing_but_its_end_goes_on_without_its_replay(tmp_path):
    record = Record(config(checkpoint={"keep_replay": "never"}, total_env_steps=60), RunDirectory(tmp_path / "run"), {})
    at, turn = Counters(env_steps=60, updates=40), Counters(env_steps=59, updates=39)
    assert "Continue: sac-train resume=run" in stopped(record, at, None)
    assert "without its replay" in stopped(record, at, turn)


@pytest.mark.parametrize("keep", ["always", "until_finished", "never"])
def test_a_run_that_was_stopped_says_what_goes_on_from_it(tmp_path, keep):
    record = Record(
        config(checkpoint={"keep_replay": keep}, total_env_steps=2000), RunDirectory(tmp_path / "my run"), {}
    )
    said = stopped(record, Counters(env_steps=1234), None)
    assert said == "stopped at 1,234 env steps" + (
        "; without its replay it can't continue. Its weights: sac-train init_from='my run' ..."
        if keep == "never"
        else ", saved. Continue: sac-train resume='my run'"
    )
