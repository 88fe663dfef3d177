"""Environments that fail: each is named, with its episode, and soon."""

import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from sac_runner.errors import EnvironmentFailed
from sac_runner.interaction.collector import Collector
from sac_runner.interaction.envs import make_env, raw_spaces
from sac_runner.interaction.faults import close
from tests.processes import ROOT
from tests.runs import BUDGET, the_run, train
from tests.support import config, vector_env


def seed_of(env, episode, *_):
    return 100 * env + episode


@pytest.fixture
def failure():
    """What is said of a fault in the third reset or step of two environments, and how long that took."""
    made = []

    def failure(what, where, kind, **env):
        env = {"kwargs": {"what": what, "where": where}, "vectorization": kind, **env}
        made.append(vector_env("tests.scripted:Faulty-v0", 2, **env))
        begun = time.monotonic()
        with pytest.raises(EnvironmentFailed) as caught:
            collect = Collector(made[0], seed_of)
            for _ in range(50):
                collect.step(np.zeros((2, 1), np.float32))
        return caught.value.message, time.monotonic() - begun

    yield failure
    for envs in made:
        envs.close()  # must not hang either
        assert not any(process.is_alive() for process in getattr(envs, "processes", []))


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("where", ["step", "reset"])
@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("raises", r"raised ValueError: the rotor came off \(scripted\.py:\d+, in _fault\)$"),
        ("leaves", r"raised SystemExit: the window was closed \(scripted\.py:\d+, in _fault\)$"),
        ("shape", r"observed shape \(2,\), its space has \(3,\)$"),
    ],
)
def test_a_fault_is_named_with_its_episode(failure, what, said, where, kind):
    text, seconds = failure(what, where, kind)
    assert re.search(said, text) and seconds < 5
    # Episodes of env i with the seeds 100 i, 100 i + 1, ... last 1, 2, ... steps.
    when = (
        "in step 2 of its episode with seed {}1," if where == "step" else "in the reset of its episode with seed {}2,"
    )
    assert text.startswith((f"env 0, {when.format('')}", f"env 1, {when.format('10')}"))


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize(
    ("what", "reward"), [("reward", "'much'"), ("digits", "'1'"), ("no_reward", "None"), ("rewards", "array([0., 0.])")]
)
def test_a_reward_that_is_no_number_is_named(failure, what, reward, kind):
    text, _ = failure(what, "step", kind)
    assert re.match("env ., in step 2 of its episode with seed .*1, returned reward ", text)
    assert text.endswith(f" returned reward {reward}, which is not a number")


@pytest.mark.parametrize("limit", [None, 9])  # with one, a wrapper of Gymnasium's takes the answer apart
@pytest.mark.parametrize(
    ("what", "where", "said"),
    [
        ("none", "step", "returned None from step; obs, reward, terminated, truncated, info are 5"),
        ("old", "step", "returned 4 values from step; obs, reward, terminated, truncated, info are 5"),
        ("more", "step", "returned more than 5 values from step; obs, reward, terminated, truncated, info are 5"),
        ("no_info", "step", "returned what can't be used: 'NoneType' object is not iterable"),
        ("unsure", "step", "said is_success=nan, which is neither true nor false"),
        ("success_of_each", "step", "said is_success={'goal': True}, which is neither true nor false"),
        ("none", "reset", "did not return two values; reset must return (obs, info)"),
        ("alone", "reset", "did not return two values; reset must return (obs, info)"),
        ("two_numbers", "reset", "did not return two values; reset must return (obs, info)"),
    ],
)
def test_an_answer_of_other_values_than_there_must_be_is_named(failure, what, where, said, limit):
    text, _ = failure(what, where, "sync", max_episode_steps=limit)
    assert text.endswith(said) and text.startswith("env 0, in ")


@pytest.mark.parametrize(("what", "at", "success"), [("unsure", 2, None), ("one", 3, True), ("nobody", 3, None)])
def test_whether_an_episode_was_a_success_is_what_its_last_step_says(what, at, success):
    """The first step is the only one of its episode, the second and the third are those of the next."""
    collect = Collector(vector_env("tests.scripted:Faulty-v0", 1, kwargs={"what": what, "at": at}), seed_of)
    *_, last = (collect.step(np.zeros((1, 1), np.float32)) for _ in range(3))
    (episode,) = last.episodes
    assert episode.success is (True if what == "unsure" else success)


@pytest.mark.filterwarnings("ignore:.*WARN")  # Gymnasium's, of the first answers alone
@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("none", "returned what can't be used: Expects step result to be a tuple"),
        ("old", "returned 4 values from step; obs, reward, terminated, truncated, info are 5"),
    ],
)
def test_an_answer_that_gymnasium_looks_at_first_is_no_error_of_the_environments_own(failure, what, said):
    text, _ = failure(what, "step", "sync", kwargs={"what": what, "at": 1})
    assert f"env 0, in step 1 of its episode with seed 0, {said}" in text


@pytest.fixture
def nothing_warned_of(monkeypatch):
    monkeypatch.setattr("sac_runner.interaction.faults._warned", set())


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_environments_that_fail_as_they_are_closed_are_warned_of_once(kind, capfd, nothing_warned_of):
    envs = vector_env("tests.scripted:Unclosable-v0", 3, vectorization=kind)
    before = capfd.readouterr().err
    envs.close()
    warning = "warning: an environment failed while it was closed: TypeError: no window to close\n"
    # Those in processes of their own are tried by one that is made first.
    assert (before, capfd.readouterr().err) == (("", warning) if kind == "sync" else (warning, ""))


def test_an_environment_that_fails_as_it_is_closed_has_spaces(capfd, nothing_warned_of):
    env = config(env={"id": "tests.scripted:Unclosable-v0"}).env
    close(make_env(env))
    assert raw_spaces(env)[0].shape == (3,)
    assert capfd.readouterr().err.count("warning: an environment failed while it was closed: TypeError") == 1


def test_an_environment_that_is_made_anew_each_episode_may_fail_as_it_is_closed(nothing_warned_of, capfd):
    envs = vector_env("tests.scripted:Unclosable-v0", 2, make_each_episode=True)
    for seed in (0, 1):
        envs.reset(seed=[seed, seed])
    assert capfd.readouterr().err.count("warning: an environment failed while it was closed: TypeError") == 1


@pytest.mark.parametrize("where", ["step", "reset"])
@pytest.mark.parametrize(("what", "number"), [("killed", 9), ("segfault", 11)])
def test_a_process_that_dies_is_named_with_its_signal(failure, what, number, where):
    text, seconds = failure(what, where, "async")
    assert f"was killed by signal {number}" in text and "the process of env " in text
    assert (" at step 2 of seed " if where == "step" else " at step 0 of seed ") in text
    assert seconds < 5


def test_a_process_that_dies_as_it_starts_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    faulty = ["env=custom", "env.id=tests.scripted:Faulty-v0", "env.kwargs={what: killed, where: start}"]
    answer = train(*faulty, *BUDGET, "env.vectorization=async", "env.num_envs=2")
    assert answer.code == 70 and "was killed by signal 9" in answer.err and "as it started" in answer.err
    assert "Traceback" not in answer.err and not any(tmp_path.iterdir())


@pytest.mark.parametrize("where", ["step", "reset"])
def test_a_process_that_hangs_is_named_in_time(failure, where):
    text, seconds = failure("hangs", where, "async", timeout_s=0.5)
    assert "env 0, 1 did not answer within 0.5 s (env.timeout_s) (env 0 at step " in text
    assert seconds < 5


def test_a_process_that_hangs_as_it_starts_is_named_in_time():
    begun = time.monotonic()
    with pytest.raises(EnvironmentFailed, match=r"env 0, 1 did not answer within 0.5 s .*, as it started"):
        vector_env(
            "tests.scripted:Faulty-v0",
            2,
            kwargs={"what": "hangs", "where": "start"},
            vectorization="async",
            timeout_s=0.5,
        )
    assert time.monotonic() - begun < 5


WAITS = """
import contextlib
import numpy as np
from tests.support import vector_env
with contextlib.closing(vector_env("tests.scripted:Waits-v0", 2, vectorization="async", timeout_s=2.0)) as envs:
    envs.reset(seed=0)
    print("up", flush=True)
    envs.step(np.zeros((2, 1), np.float32))
"""


def test_time_in_which_all_of_it_was_suspended_is_no_waiting(tmp_path):
    (tmp_path / "wait").touch()
    command, env = [sys.executable, "-c", WAITS], os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout.readline() == b"up\n"
        time.sleep(0.3)  # it waits for them by now
        os.killpg(process.pid, signal.SIGSTOP)
        time.sleep(2.2)
        os.killpg(process.pid, signal.SIGCONT)
        (tmp_path / "wait").unlink()
        assert process.wait(30) == 0


def test_processes_that_hang_when_they_are_closed_are_waited_for_together(monkeypatch):
    monkeypatch.setattr("sac_runner.interaction.faults._CLOSING_S", 0.5)
    kwargs = {"what": "hangs", "where": "close"}
    envs = vector_env("tests.scripted:Faulty-v0", 4, kwargs=kwargs, vectorization="async")
    begun = time.monotonic()
    envs.close()
    assert 0.5 <= time.monotonic() - begun < 1.9
    assert not any(process.is_alive() for process in envs.processes)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_options_of_a_reset_are_none_as_they_are_by_themselves(kind):
    envs = vector_env("tests.scripted:Hears-v0", 2, vectorization=kind)
    collector = Collector(envs, seed_of)
    for _ in range(30):
        collector.step(np.zeros((2, 1), np.float32))
    assert envs.get_attr("options") == (None, None)
    envs.close()


def test_a_process_whose_run_is_gone_ends_without_a_word(capfd):
    envs = vector_env("tests.scripted:Countdown-v0", 1, vectorization="async")
    envs.parent_pipes[0].close()
    envs.processes[0].join(5)
    assert envs.processes[0].exitcode == 0 and capfd.readouterr().err == ""
    envs.close()


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_run_ends_with_its_cause_and_a_good_checkpoint(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    faulty = ["env=custom", "env.id=tests.scripted:Faulty-v0", "env.kwargs={what: raises, at: 31}"]
    answer = train(*faulty, *BUDGET, f"env.vectorization={kind}", "checkpoint.every_env_steps=10")
    assert answer.code == 70 and "error: env 0, in step " in answer.err
    assert the_run().checkpoint("latest").env_steps == 30
    assert the_run().read_summary()["status"] == "failed"
    log = (the_run().path / "train.log").read_text()
    assert ('scripted.py", line' in log) == (kind == "sync") and "ValueError: the rotor came off" in log
    assert "Traceback" not in answer.err
