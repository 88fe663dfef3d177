"""What runs a job on a node, with a small script in the place of ``sac-train``."""

import os
import pickle
import signal
import sys
import time
from threading import Timer

import pytest

from sac_runner.storage.lock import RunLock
from sac_runner.storage.sweep_directory import SweepDirectory, SweepJob
from sac_runner.sweep import job_process, slurm_job
from sac_runner.sweep.slurm_job import ClusterJob
from tests.processes import soon

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sends signals to itself")
TERM, USR1, USR2 = signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2
SAVES = """
import signal, sys, time
came = []
for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
    signal.signal(number, lambda number, frame: came.append(signal.Signals(number).name))
print("ready", flush=True)
while not came:
    time.sleep(0.01)
time.sleep(0.3)
print(*came, flush=True)
sys.exit(143)
"""
IS_DONE = """
import signal, time
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(0.5)
"""
STARTS = "print('ready', flush=True); import time; time.sleep(600)"
FAILS = "print('error: no more'); raise SystemExit(70)"


class Requeued(Exception):
    """What submitit's handler does."""


def requeue(number, frame):
    raise Requeued


class Node:
    """Where one job of a sweep is run."""

    def __init__(self, folder, patch):
        self.sweep, self.job, self.patch = SweepDirectory(folder), SweepJob(0, "default/s0", {}, 0, 60), patch
        (folder / "jobs").mkdir()

    def does(self, script):
        self.patch.setattr(job_process, "job_command", lambda sweep, job: [sys.executable, "-c", script])

    def log(self):
        file = self.sweep.log_file(self.job)
        return file.read_text() if file.exists() else ""

    def run(self, *numbers):
        """Run the job, which gets signals with ``numbers`` as soon as it can take them."""

        def send():
            assert soon(lambda: "ready" in self.log())
            for number in numbers:
                os.kill(os.getpid(), number)
                time.sleep(0.05)

        timer = Timer(0.01, send if numbers else lambda: None)
        timer.start()
        try:
            pickle.loads(pickle.dumps(ClusterJob(self.sweep, self.job, {"OMP_NUM_THREADS": "1"}, 60.0)))()
        finally:
            timer.join()

    def end(self):
        return self.sweep.read_end(self.job)


@pytest.fixture
def node(tmp_path, monkeypatch):
    for name, value in {"EXECUTOR": "local", "LOCAL_JOB_ID": "1", "FOLDER": str(tmp_path)}.items():
        monkeypatch.setenv(f"SUBMITIT_{name}", value)
    before = signal.signal(USR2, requeue)
    yield Node(tmp_path, monkeypatch)
    signal.signal(USR2, before)


@pytest.fixture
def on_slurm(node, monkeypatch):
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "slurm")
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    monkeypatch.setattr(slurm_job, "_GRACE_S", 1.0)
    return node


def test_how_a_job_ends_is_kept(node):
    node.does(FAILS)
    node.run()
    assert node.end() == (70, "no more")


@pytest.mark.parametrize(
    ("numbers", "heard"), [([USR2], "SIGUSR1"), ([USR1], "SIGTERM"), ([USR2, TERM, USR2], "SIGUSR1")]
)
def test_a_job_hears_of_its_stop_once_by_a_signal_that_slurm_did_not_send_it_too(node, numbers, heard):
    node.does(SAVES)
    with pytest.raises(Requeued if USR2 in numbers else SystemExit):
        node.run(*numbers)
    assert node.log().split() == ["ready", heard] and node.end().exit_code == 143


def test_a_job_that_is_stopped_for_good_is_not_queued_again(node):
    node.does(SAVES)
    with pytest.raises(SystemExit) as end:
        node.run(TERM)
    assert end.value.code == 143


def test_a_job_that_was_stopped_before_it_could_hear_is_stopped_and_not_failed(node):
    node.does(STARTS)
    with pytest.raises(Requeued):
        node.run(USR2)
    assert node.end().exit_code == 143


def test_a_job_that_is_done_when_it_is_stopped_is_done(node):
    node.does(IS_DONE)
    node.run(USR2)
    assert node.end().exit_code == 0


def test_a_job_that_slurm_is_about_to_end_stays_until_then_as_only_that_is_queued_again(on_slurm):
    on_slurm.does(SAVES)
    begun = time.monotonic()
    with pytest.raises(SystemExit):
        on_slurm.run(TERM)
    assert time.monotonic() - begun > 1.3


@pytest.mark.parametrize("numbers", [[TERM, USR2], [TERM, USR1]])
def test_it_does_not_stay_where_more_was_said(on_slurm, monkeypatch, numbers):
    monkeypatch.setattr(slurm_job, "_GRACE_S", 20.0)
    on_slurm.does(SAVES)
    begun = time.monotonic()
    with pytest.raises(Requeued if USR2 in numbers else SystemExit):
        on_slurm.run(*numbers)
    assert time.monotonic() - begun < 15


def test_what_a_kill_left_of_submitits_pickles_does_not_fail_later_ones(node, tmp_path):
    torn = [tmp_path / "1_submitted.pkl.save_tmp", tmp_path / "1_0_result.pkl.save_tmp"]
    for file in torn:
        file.touch()
    node.does(FAILS)
    node.run()
    assert not any(file.exists() for file in torn)


def test_a_job_waits_for_an_earlier_process_of_its_own(node):
    path = node.sweep.run(node.job).path
    path.mkdir(parents=True)
    node.does(FAILS)
    with RunLock(path) as lock:
        Timer(0.5, lock.__exit__, (None, None, None)).start()
        begun = time.monotonic()
        node.run()
    assert time.monotonic() - begun > 0.4 and node.end().exit_code == 70
