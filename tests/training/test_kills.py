"""What is left of a run that was killed, stopped or started twice: the same run, to the bit, with no hand lent."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from uuid import uuid4

import numpy as np
import pytest

from sac_runner.storage.run_directory import RunDirectory
from tests.processes import AT_ONCE, Server, Starts, soon
from tests.runs import BUDGET, SIZE
from tests.training.left import left

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, and looks for processes in /proc")
RUN = [
    *SIZE,
    *("env=pendulum", "env.max_episode_steps=13", "env.num_envs=2", "alpha=auto", "normalization=obs_and_reward"),
    *("agent.lr=3e-2", "total_env_steps=80", "schedule.warmup_env_steps=20", "replay.capacity=40"),
    *("eval.every_env_steps=20", "eval.max_episode_steps=8", "eval.seed=1004", "log.every_env_steps=10"),
    *("checkpoint.every_env_steps=10", "checkpoint.keep_every_env_steps=30"),
]
"""Nine checkpoints, five evaluations, three of them the best so far, and a ring that goes around twice."""
WORKERS = "env.vectorization=async"
WAITING = [*RUN, "env=custom", "env.id=tests.scripted:Waits-v0"]
"""A run whose steps take as long as there is a file named wait."""
TRAINING = {"stepping", "evaluating", "saving", "dropping"}
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
CLI = [sys.executable, "-c", "from sac_runner.commands.train import main; main()"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("kills") / "here") as server:
        yield server


@pytest.fixture(scope="module")
def whole(server):
    """How long a run takes that nothing happens to, and what it leaves."""
    return at_its_end(server, RUN, "whole"), left(server.folder / "whole")


@pytest.fixture(scope="module")
def waited(server):
    """As ``whole``, of a run that did not have to wait."""
    return at_its_end(server, WAITING, "waited"), left(server.folder / "waited")


def at_its_end(server, command, name):
    ending = server.run([*command, f"run.dir={name}"])
    assert ending.code == 0, server.said()
    return ending


def moment(draw, ending, number):
    """When a signal comes: half of them at any time, half soon after it changes what it is at, the first ones more."""
    if draw.random() < 0.5:
        return (AT_ONCE, draw.uniform(0, ending.seconds), number)
    return (int(draw.integers(1, draw.choice([8, ending.marks]))), draw.uniform(0, 0.003), number)


def kill_runs(server, whole, kills, seed):
    """Kill runs until there were so many kills; every one of the runs must come to the end of ``whole``."""
    (ending, expected), draw, killed, runs = whole, np.random.default_rng(seed), [], 0
    while len(killed) < kills:
        starts = Starts(server, f"killed-{seed}-{runs}", [*RUN, *[WORKERS][: runs % 4 == 3]])
        while starts.once(moment(draw, ending, signal.SIGKILL)).code == -signal.SIGKILL:
            assert len(starts.endings) < 60, "it does not get on"
        assert starts.endings[-1].code == 0, server.said()
        assert left(starts.folder) == expected
        killed += starts.endings[:-1]
        runs += 1
    return killed, runs


def test_a_run_that_is_killed_anywhere_and_started_again_is_the_run_at_once(server, whole):
    killed, _ = kill_runs(server, whole, 20, seed=0)
    assert sum(kill.phase in TRAINING for kill in killed) >= 5
    assert not list(server.folder.glob("sac-train-*"))  # nothing is left where temporary files are


@pytest.mark.slow
def test_so_it_is_after_600_kills(server, whole, capsys):
    begun = time.monotonic()
    killed, runs = kill_runs(server, whole, 600, seed=1)
    tell(capsys, killed, f"kills of {runs} runs", begun)
    phases = Counter(kill.phase for kill in killed)
    assert set(phases) >= {"starting", "building", "beginning", "restoring", "ending", *TRAINING}
    assert sum(phases[phase] for phase in TRAINING) >= 200
    assert phases["saving"] + phases["dropping"] >= 50


def tell(capsys, endings, what, begun):
    with capsys.disabled():
        phases = Counter(ending.phase for ending in endings)
        print(f"\n{len(endings)} {what} in {time.monotonic() - begun:.0f} s: {dict(phases)}")


@pytest.mark.slow
def test_so_it_is_after_10_kills_of_the_real_command(server, whole):
    draw, killed, runs = np.random.default_rng(2), 0, 0
    while killed < 10:
        command = [*CLI, *RUN, f"run.dir=command-{runs}"]
        while kill_command(command, server.folder, draw, whole[0].seconds):
            killed += 1
        assert left(server.folder / f"command-{runs}") == whole[1]
        runs += 1


def kill_command(command, folder, draw, seconds):
    """Whether it was killed before its end."""
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as process:
        if draw.random() < 0.7:
            process.stderr.readline()  # it is about to train
        time.sleep(draw.uniform(0, seconds))
        process.kill()
        said = process.stderr.read()
    assert process.returncode in (0, -signal.SIGKILL), said
    return process.returncode


def stop_runs(server, whole, stops, seed):
    """Signal runs until there were so many signals; every one of the runs must come to the end of ``whole``."""
    (ending, expected), draw, stopped, runs = whole, np.random.default_rng(seed), [], 0
    while len(stopped) < stops:
        starts = Starts(server, f"stopped-{seed}-{runs}", [*RUN, *[WORKERS][: runs % 2]])
        runs += 1
        while True:
            number = SIGNALS[len(stopped) % len(SIGNALS)]
            end = starts.once(moment(draw, ending, number))
            if end.code == 0:
                over = "is finished" in server.said()  # the signal before came when all was saved
                assert end.phase == "ending" or over, f"signal {number} was lost: {end} {server.said()}"
                break
            stopped.append(end)
            stopped_rightly(starts, end, number)
            assert len(starts.endings) < 60, "it does not get on"
        assert left(starts.folder) == expected
    return stopped, runs


def stopped_rightly(starts, end, number):
    """Saved at the step; or, before there was anything to save and after it was, gone at once."""
    run, said = RunDirectory(starts.folder), starts.server.said()
    assert "Traceback" not in said, said
    if "stopping and saving" not in said:
        assert end.phase not in TRAINING and end.code in (-number, 130)
        return
    assert end.code == (130 if number == signal.SIGINT else 143)
    if "stopped before it went on" in said:
        return
    summary = run.read_summary()
    ended = summary["status"] == "finished" and summary["env_steps"] == 80  # it came after the last step
    assert ended or (summary["status"] == "stopped" and "saved. Continue: sac-train resume=" in said)
    assert summary["env_steps"] == run.checkpoint("latest").env_steps
    # That of the turn before, where it was heard in the middle of one; 0: this start had no step left to take.
    assert end.env_steps in (summary["env_steps"], summary["env_steps"] - 2, 0)


def test_a_run_that_is_stopped_anywhere_and_started_again_is_the_run_at_once(server, whole):
    stop_runs(server, whole, 8, seed=0)


@pytest.mark.slow
def test_so_it_is_after_100_signals(server, whole, capsys):
    begun = time.monotonic()
    stopped, runs = stop_runs(server, whole, 100, seed=1)
    tell(capsys, stopped, f"signals to {runs} runs", begun)
    assert sum(stop.phase in TRAINING for stop in stopped) >= 30


@pytest.mark.parametrize(
    ("number", "workers"), [(signal.SIGINT, []), (signal.SIGINT, [WORKERS]), (signal.SIGKILL, [WORKERS])]
)
def test_a_second_ctrl_c_leaves_at_once_and_so_does_a_kill_though_an_environment_hangs(server, waited, number, workers):
    name = f"hung-{number}-{len(workers)}"
    starts, wait = Starts(server, name, [*WAITING, *workers]), server.folder / "wait"
    starts.once((60, 0, signal.SIGTERM))
    wait.touch()
    try:
        end = starts.once(("restoring stepping", 0.1, signal.SIGINT), ("asked", 0.1, number))
    finally:
        wait.unlink()
    assert end.code == -number and "once more stops at once, unsaved" in server.said()
    assert starts.once().code == 0, server.said()
    assert left(starts.folder) == waited[1]


def race(server, name, killed):
    """Four starts of one run at once, begun before or not: one trains, and the others say so."""
    starts, wait = Starts(server, name, WAITING), server.folder / "wait"
    if killed:
        assert starts.once((killed, 0, signal.SIGKILL)).code == -signal.SIGKILL
    wait.touch()
    try:
        server.begin(*[starts.command] * 4)
        refused = soon(lambda: sum("in use" in server.said(i) for i in range(4)) == 3, 60)
    finally:
        wait.unlink()
        endings = server.endings()
    assert refused and sorted(ending.code for ending in endings) == [0, 73, 73, 73], [server.said(i) for i in range(4)]
    (winner,) = (ending.process for ending in endings if ending.code == 0)
    for i, ending in enumerate(endings):
        words = f"error: {name} is in use by process {winner} on {os.uname().nodename}\n"
        assert ending.code == 0 or server.said(i).startswith(words), server.said(i)
    assert not list(server.folder.glob(f"{name}-*"))
    return [ending.seconds for ending in endings if ending.code]


@pytest.mark.parametrize("killed", [0, 0, 5, 60, 200])
def test_of_starts_at_the_same_moment_one_has_the_run(server, waited, killed):
    name = f"race-{uuid4().hex}"
    race(server, name, killed)
    assert left(server.folder / name) == waited[1]


@pytest.mark.slow
def test_so_it_is_in_100_races(server, waited, capsys):
    draw, seconds = np.random.default_rng(3), []
    for i in range(100):
        seconds += race(server, f"race-{i}", int(draw.integers(1, waited[0].marks)) if i % 2 else 0)
        assert left(server.folder / f"race-{i}") == waited[1]
    with capsys.disabled():
        print(f"\nrefused within {np.median(seconds):.2f} s, {max(seconds):.2f} s at most")
    assert np.median(seconds) < 2


@pytest.mark.slow
def test_starts_at_the_same_moment_of_which_one_is_killed_damage_nothing(server, whole):
    (ending, expected), draw = whole, np.random.default_rng(4)
    for i in range(30):
        starts = Starts(server, f"killed-race-{i}", RUN)
        for _ in range(2):
            server.begin(*[starts.command] * 3, signals=[moment(draw, ending, signal.SIGKILL)])
            codes = {end.code for end in server.endings()}
            assert codes <= {0, 73, -signal.SIGKILL}, [server.said(i) for i in range(3)]
        assert starts.once().code == 0, server.said()
        assert left(starts.folder) == expected


def test_a_directory_whose_start_was_killed_before_its_config_was_written_is_begun_anew(server, whole):
    folder = server.folder / "hardly begun"
    folder.mkdir()
    for name in (".lock", ".owner-1", "meta.json", ".meta.json.tmp", ".config.yaml.tmp"):
        (folder / name).write_text("null")
    at_its_end(server, RUN, f"'{folder.name}'")
    assert left(folder) == whole[1]


def test_a_segmentation_fault_leaves_its_trace_and_the_next_start_says_so(server):
    fault = ["env=custom", "env.id=tests.scripted:Faulty-v0", "env.kwargs={what: segfault, at: 31}"]
    command = [*fault, *BUDGET, "checkpoint.every_env_steps=10", "run.dir=crashed"]
    assert server.run(command).code == -signal.SIGSEGV
    assert "in step" in (server.folder / "crashed" / "crash.log").read_text()
    server.run(command)
    assert "continuing at 30 env steps" in server.said()
    died = "ended without saving: Fatal Python error: Segmentation fault (crash_reported.log has its trace)"
    assert died in server.said()
