"""Environments that fail: each is named, with its episode, and soon."""

import re
import time

import numpy as np
import pytest

from sac_runner.errors import EnvironmentFailed
from sac_runner.interaction.collector import Collector
from tests.runs import BUDGET, the_run, train
from tests.support import vector_env


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
        ("none", "raised TypeError: cannot unpack non-iterable NoneType object$"),
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
def test_a_reward_that_is_no_number_is_named(failure, kind):
    text, _ = failure("reward", "step", kind)
    assert "env " in text and "could not convert string to float" in text


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
