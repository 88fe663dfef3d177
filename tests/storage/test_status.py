import fcntl
import math
import os
import time
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sac_runner.storage.lock import RunLock
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.storage.status import counted, is_owned, newest_values, silent_s, status
from tests.storage.written import going_on, write_metrics, write_run


@pytest.fixture(scope="module")
def a_run(tmp_path_factory):
    """One that was killed; its files are written over."""
    return write_run(tmp_path_factory.mktemp("any") / "run", None)


@pytest.fixture
def owned():
    """Take the lock of a run, as the process that trains in it does."""
    with ExitStack() as locks:
        yield lambda run: locks.enter_context(RunLock(run.path))


def test_a_run_that_is_not_there_waits(tmp_path):
    assert status(RunDirectory(tmp_path / "nowhere")) == ("waiting", None, 0, 0.0, {})
    (tmp_path / "empty").mkdir()
    assert status(RunDirectory(tmp_path / "empty")).state == "waiting"


@pytest.mark.parametrize(("state", "cause"), [("finished", None), ("failed", "env raised"), ("stopped", "Ctrl-C")])
def test_a_run_that_came_to_an_end_says_so_itself(tmp_path, state, cause):
    now = status(write_run(tmp_path / "run", state, cause, env_steps=700, wall_time_s=7.5, final=3.0, best=4.0))
    assert now[:4] == (state, cause, 700, 7.5)
    assert {which: score["return_mean"] for which, score in now.scores.items()} == {"final": 3.0, "best": 4.0}


@pytest.mark.parametrize("said", ["running", None])
def test_a_run_runs_as_long_as_its_process_lives(tmp_path, owned, said):
    run = write_run(tmp_path / "run", said)
    assert status(run).state == "killed"
    owned(run)
    assert status(run)[:2] == ("running", None)


def test_a_run_runs_from_the_moment_that_its_process_has_its_directory(tmp_path, owned):
    (tmp_path / "run").mkdir()
    owned(RunDirectory(tmp_path / "run"))
    assert status(RunDirectory(tmp_path / "run")).state == "running"


@pytest.mark.parametrize("said", ["failed", "stopped"])
def test_a_run_that_goes_on_runs_whatever_its_summary_says_of_the_start_before(tmp_path, owned, said):
    run = write_run(tmp_path / "run", said, "of then")
    owned(run)
    assert status(run)[:2] == ("running", None)


def test_a_finished_run_is_finished_though_its_last_words_are_not_yet_written(tmp_path, owned):
    run = write_run(tmp_path / "run")
    owned(run)
    assert status(run).state == "finished"


def test_a_crash_names_its_cause(tmp_path):
    run = write_run(tmp_path / "run", "running")
    (run.path / "crash.log").write_text("Fatal Python error: Segmentation fault\n\nThread 0x1\n")
    assert status(run)[:2] == ("killed", "Fatal Python error: Segmentation fault")


def test_steps_and_seconds_are_those_of_the_newest_row_where_the_summary_is_older(tmp_path):
    run = write_run(tmp_path / "run", "running", env_steps=400, wall_time_s=4.0)
    going_on(run, env_steps=420, seconds=4.5)
    assert status(run)[2:4] == (420, 4.5)
    going_on(run, env_steps=380, seconds=3.5)
    assert status(run)[2:4] == (400, 4.0)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[1]", '{"status": "finished"}', '{"status": "finished", "sha256": "of something else"}', "\x00" * 9],
)
def test_a_damaged_summary_is_the_news_and_nothing_is_printed(tmp_path, capfd, text):
    run = write_run(tmp_path / "run")
    (run.path / "summary.json").write_text(text)
    assert status(run)[:3] == ("killed", "summary.json is damaged or can't be read", 0)
    assert capfd.readouterr() == ("", "")


def test_states_are_counted_in_one_order():
    assert counted(["failed", "finished", "running", "finished"]) == "2 done, 1 running, 1 failed"
    assert counted([]) == ""


def test_the_newest_value_of_each_metric_counts_whatever_row_it_is_in(tmp_path):
    run = write_run(tmp_path / "run")
    rows = [(0, {"eval/return_mean": 1.0}), (10, {"rollout/episode_return": 2.0, "perf/wall_time_s": 1.0})]
    write_metrics(run, *rows, (10, {"eval/return_mean": 3.0}), (20, {"rollout/episode_return": 4.0}))
    assert newest_values(run) == {
        "env_steps": 20.0,
        "round": 0.0,
        "eval/return_mean": 3.0,
        "rollout/episode_return": 4.0,
        "perf/wall_time_s": 1.0,
    }


def test_a_run_without_metrics_has_no_values(tmp_path):
    assert newest_values(RunDirectory(tmp_path)) == {}


def test_a_row_that_is_being_written_is_left_out(tmp_path):
    (tmp_path / "metrics.csv").write_text("env_steps,round,a\n10,0,1.0\n20,0,2")
    assert newest_values(RunDirectory(tmp_path)) == {"env_steps": 10.0, "round": 0.0, "a": 1.0}


def test_only_the_end_of_a_long_file_is_read(tmp_path):
    """And the row in which the read begins is torn."""
    rows = "".join(f"{n},0,{n}.0\n" for n in range(1_000_000, 1_010_000))
    (tmp_path / "metrics.csv").write_text(f"env_steps,round,a,b\n0,0,1.0,7.0\n{rows.replace('.0', '.0,')}")
    values = newest_values(RunDirectory(tmp_path))
    assert values == {"env_steps": 1_009_999.0, "round": 0.0, "a": 1_009_999.0}


@given(st.lists(st.lists(st.sampled_from(["", "1", "-2.5", "nan", "inf", "x", '"', "\x00"]), max_size=4), max_size=6))
def test_damaged_rows_give_finite_numbers_or_none(a_run, rows):
    text = "\n".join(["env_steps,round,a", *(",".join(row) for row in rows)])
    (a_run.path / "metrics.csv").write_text(text)
    values = newest_values(a_run)
    assert set(values) <= {"env_steps", "round", "a"} and all(map(math.isfinite, values.values()))
    assert isinstance(status(a_run).env_steps, int)


def test_looking_for_an_owner_takes_nothing_and_leaves_nothing(tmp_path):
    assert not is_owned(tmp_path) and not list(tmp_path.iterdir())
    with RunLock(tmp_path):
        assert is_owned(tmp_path) and is_owned(tmp_path)
    assert not is_owned(tmp_path)
    with RunLock(tmp_path):
        pass


def test_where_there_are_no_locks_a_claim_tells_the_owner(tmp_path, monkeypatch, capfd):
    def flock(descriptor, operation):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", flock)
    with RunLock(tmp_path):
        assert is_owned(tmp_path)
    assert not is_owned(tmp_path)


def test_silence_is_counted_from_the_last_sign_of_life(tmp_path):
    assert silent_s(tmp_path) == math.inf
    with RunLock(tmp_path) as lock:
        assert silent_s(tmp_path) < 60
        os.utime(tmp_path / ".lock", (0, time.time() - 500))
        assert 500 <= silent_s(tmp_path) < 560
        lock.beat()
        assert silent_s(tmp_path) < 60
