import os
import signal
import time
import tracemalloc

import pytest

from sac_runner.storage.sweep_directory import SweepDirectory, SweepJob
from sac_runner.sweep.job_process import JobProcess, last_line
from tests.storage.written import write_run

JOB = SweepJob(0, "default/s0", {}, 0, 1000)


def test_of_a_long_log_only_the_end_is_read(tmp_path):
    log = tmp_path / "0000.log"
    with log.open("wb") as file:
        file.truncate(100_000_000)  # of blocks that are not there
        begin = file.seek(0, os.SEEK_END)
        file.write(b"\nerror: no room\n  try: another\n")
    tracemalloc.start()
    said = last_line(log)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert said == last_line(log, begin) == "no room" and most < 1_000_000


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = time.monotonic()

    monkeypatch.setattr(time, "monotonic", lambda: Clock.now)
    return Clock


class Popen:
    """A process that only hears its signals."""

    def __init__(self):
        self.heard = []
        self.returncode = -signal.SIGKILL

    def send_signal(self, number):
        self.heard.append(number)

    def kill(self):
        self.send_signal(signal.SIGKILL)


def looked_at(process, clock, *pauses):
    for pause in pauses:
        clock.now += pause
        process.end_if_hung(60)
    return process.popen.heard


def test_a_job_that_gives_no_sign_of_life_is_asked_where_it_hangs_and_then_killed(tmp_path, clock):
    process = JobProcess(SweepDirectory(tmp_path), JOB, Popen(), 0)
    assert looked_at(process, clock, *[5] * 12) == []
    assert looked_at(process, clock, 5) == [signal.SIGABRT]
    assert looked_at(process, clock, 5, 1) == [signal.SIGABRT, signal.SIGKILL]


def test_a_job_has_its_time_anew_once_its_launcher_was_suspended_or_waited_for_a_disk(tmp_path, clock):
    process = JobProcess(SweepDirectory(tmp_path), JOB, Popen(), 0)
    assert looked_at(process, clock, 5, 3600, *[5] * 11) == []
    assert looked_at(process, clock, 5) == [signal.SIGABRT]


def test_a_job_is_ended_also_where_its_launcher_is_often_away(tmp_path, clock):
    process = JobProcess(SweepDirectory(tmp_path), JOB, Popen(), 0)
    assert looked_at(process, clock, *[12, 5, 5, 5] * 4) == []
    assert looked_at(process, clock, 5) == [signal.SIGABRT]


@pytest.mark.parametrize("trace", ["", "Fatal Python error: Aborted\n"])
def test_crash_log_is_named_where_it_shows_something(tmp_path, clock, trace):
    sweep = SweepDirectory(tmp_path)
    (tmp_path / "jobs").mkdir()
    run = write_run(sweep.run(JOB).path, "running")
    (run.path / "crash.log").write_text(trace)
    process = JobProcess(sweep, JOB, Popen(), 0)
    looked_at(process, clock, *[5] * 13)
    process.keep_end(60)
    assert sweep.read_end(JOB).cause.startswith("no sign of life for 1 minutes: ended")
    assert ("crash.log" in sweep.read_end(JOB).cause) == bool(trace)
