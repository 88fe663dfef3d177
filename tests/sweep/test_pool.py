"""How a sweep's processes are watched, with processes that only pretend."""

import errno
import math
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise

import pytest

from sac_runner.storage.lock import RunLock
from sac_runner.storage.sweep_directory import SweepDirectory, SweepJob
from sac_runner.sweep import job_process, pool
from sac_runner.sweep.job_process import LAUNCHER, end_with_launcher
from sac_runner.sweep.pool import Pool
from sac_runner.sweep.resources import Allotment


class Board:
    """Hears what is said."""

    def __init__(self):
        self.said = []

    def update(self):
        pass

    def say(self, text):
        self.said.append(text)


@pytest.fixture
def sweep(tmp_path):
    folder = tmp_path / "sweep"
    folder.mkdir()
    return SweepDirectory(folder)


@pytest.fixture
def run(sweep, monkeypatch):
    """Run a pool whose jobs are these Python programs."""

    def run(*programs, at_a_time=2, hang_s=math.inf, gpus=()):
        jobs = [SweepJob(i, f"default/s{i}", {}, i, 100) for i in range(len(programs))]
        sweep.write_plan({}, jobs, [{} for _ in jobs])
        monkeypatch.setattr(job_process, "job_command", lambda _, job: [sys.executable, "-c", programs[job.number]])
        board = Board()
        stopped = Pool(sweep, Allotment(at_a_time, 3, list(gpus)), hang_s, board).run(jobs)
        return stopped, board.said, [sweep.read_end(job) for job in jobs]

    return run


def log(sweep, number):
    return (sweep.path / "jobs" / f"{number:04}.log").read_text()


@pytest.mark.parametrize(
    ("program", "code", "cause"),
    [
        ("pass", 0, "exit code 0"),
        ("print('all is well'); raise SystemExit(3)", 3, "exit code 3"),
        ("print('first'); 1 / 0", 1, "ZeroDivisionError: division by zero"),
        ("import sys; sys.exit('error: no such thing\\n  try: another')", 1, "no such thing"),
        ("import os; os.kill(os.getpid(), 9)", 137, "killed by signal 9 (out of memory?)"),
        ("import os; os.kill(os.getpid(), 15)", 143, "killed by signal 15 (Terminated)"),
    ],
)
def test_how_a_process_ended_is_kept(run, program, code, cause):
    _, said, (ended,) = run(program)
    assert (ended.exit_code, ended.cause) == (code, cause)
    assert bool(said) == (code not in (0, 143)) and all(cause in line for line in said)


def test_only_what_this_start_printed_is_its_cause(run, sweep):
    (sweep.path / "jobs").mkdir()
    (sweep.path / "jobs" / "0000.log").write_text("error: of yesterday\n")
    _, _, (ended,) = run("print('today'); raise SystemExit(1)")
    assert ended.cause == "today" and log(sweep, 0) == "error: of yesterday\ntoday\n"


def test_as_many_run_at_a_time_as_are_allowed(run, sweep):
    marks = "import pathlib, time; p = pathlib.Path('running-' + str(time.time_ns())); p.touch(); "
    counts = "n = len(list(pathlib.Path().glob('running-*'))); time.sleep(0.15); p.unlink(); print(n)"
    here = os.getcwd()
    os.chdir(sweep.path)
    try:
        run(*[marks + counts] * 5, at_a_time=2)
    finally:
        os.chdir(here)
    assert max(int(log(sweep, i)) for i in range(5)) == 2


def test_each_gets_its_share(run, sweep):
    run("import os; print(os.environ['OMP_NUM_THREADS'], os.environ.get('CUDA_VISIBLE_DEVICES'))", gpus=["7"])
    assert log(sweep, 0).split() == ["3", "7"]


def test_one_that_hangs_is_asked_where_and_then_killed(run, monkeypatch, sweep):
    monkeypatch.setattr(pool, "LAST_WORDS_S", 0.2)
    monkeypatch.setattr(job_process, "LAST_WORDS_S", 0.2)
    deaf = "import signal, time; signal.signal(signal.SIGABRT, signal.SIG_IGN); time.sleep(60)"
    begun = time.monotonic()
    _, said, ended = run("import time; time.sleep(60)", deaf, "pass", hang_s=0.6)
    assert time.monotonic() - begun < 20
    assert [end.exit_code for end in ended] == [128 + signal.SIGABRT, 128 + signal.SIGKILL, 0]
    assert [end.cause for end in ended[:2]] == ["no sign of life for 0.01 minutes: ended"] * 2
    assert sum("no sign of life" in line for line in said) == 2


def test_one_that_shows_signs_of_life_does_not_hang(run, sweep):
    beats = f"import pathlib, time; f = pathlib.Path({str(sweep.path)!r}, 'default/s0/.lock')\n"
    beats += "f.parent.mkdir(parents=True)\nfor _ in range(20): f.touch(); time.sleep(0.1)"
    _, said, (ended,) = run(beats, hang_s=0.6)
    assert ended.exit_code == 0 and not any("no sign of life" in line for line in said)


def test_what_another_process_still_trains_is_waited_for_and_begun_once(run, sweep, monkeypatch):
    folder = sweep.path / "default" / "s0"
    folder.mkdir(parents=True)
    lock = RunLock(folder)
    looks = []

    def owned(path):
        if path != folder:
            return False
        looks.append(1)
        if len(looks) == 3:
            lock.__exit__(None, None, None)
        return len(looks) < 3

    monkeypatch.setattr(pool, "is_owned", owned)
    _, said, ended = run("pass", "pass", at_a_time=1)
    owner = f"process {os.getpid()} on {os.uname().nodename}"
    assert [line for line in said if "waiting" in line] == [
        f"waiting  default/s0  {owner} still trains it; if it hangs, kill it"
    ]
    assert [end.exit_code for end in ended] == [0, 0] and len(looks) >= 3


@pytest.fixture
def terminal():
    """What closes with SIGHUP, also for tests below nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


HEARS = "import os, signal, sys, time\nheard = []\n"
HEARS += "for s in (1, 2, 10, 12, 15): signal.signal(s, lambda n, f: heard.append(n))\n"
HEARS += "print('up', flush=True)\n"
ENDS = "\nend = time.monotonic() + 20\n"
ENDS += "while len(heard) < {0} and time.monotonic() < end: time.sleep(0.01)\n"
ENDS += "time.sleep(0.2); print(*heard); sys.exit(143)"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2])
def test_a_signal_is_passed_on_as_it_is_and_nothing_more_is_begun(run, sweep, number, terminal):
    tells = HEARS + f"os.kill({os.getpid()}, {int(number)})" + ENDS.format(1)
    stopped, said, ended = run(tells, "pass", at_a_time=1)
    assert stopped == number and log(sweep, 0).split() == ["up", str(int(number))]
    assert ended[0].exit_code == 143 and ended[1] is None
    assert said == ["stopping and saving; Ctrl-C once more stops at once, unsaved"]


def test_of_two_signals_the_first_is_why_and_jobs_hear_both(run, sweep):
    kills = f"for n in (10, 15): os.kill({os.getpid()}, n); time.sleep(0.3)"
    stopped, said, _ = run(HEARS + kills + ENDS.format(2))
    assert stopped == signal.SIGUSR1 and log(sweep, 0).split() == ["up", "10", "15"] and len(said) == 1


def test_one_that_hears_nothing_is_killed_soon_after_the_second_ctrl_c(run, monkeypatch):
    monkeypatch.setattr(pool, "LAST_WORDS_S", 0.5)
    monkeypatch.setattr(job_process, "LAST_WORDS_S", 0.5)
    deaf = "import os, signal, time\nsignal.signal(2, signal.SIG_IGN)\n"
    deaf += f"for _ in 1, 2: os.kill({os.getpid()}, 2); time.sleep(0.3)\ntime.sleep(60)"
    begun = time.monotonic()
    stopped, _, (ended,) = run(deaf)
    assert stopped == signal.SIGINT and ended.exit_code == 128 + signal.SIGKILL and time.monotonic() - begun < 20
    assert ended.cause == "killed: it did not end within 0.5 s of the second Ctrl-C"


def test_a_signal_that_comes_while_a_job_is_begun_reaches_it(run, sweep, monkeypatch):
    start = pool.JobProcess.start.__func__

    def starts_late(cls, *arguments, **named):
        process = start(cls, *arguments, **named)
        wait_for(lambda: log(sweep, 0).startswith("up"))
        signal.raise_signal(signal.SIGTERM)
        return process

    monkeypatch.setattr(pool.JobProcess, "start", classmethod(starts_late))
    stopped, _, ended = run(HEARS + ENDS.format(1), "pass", at_a_time=1)
    assert stopped == signal.SIGTERM and log(sweep, 0).split() == ["up", "15"] and ended[1] is None


def wait_for(condition):
    end = time.monotonic() + 20
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)


def no_log(sweep):
    (sweep.path / "jobs" / "0001.log").mkdir(parents=True)


def no_end_file(sweep):
    (sweep.path / "jobs" / "0001.end.json").mkdir(parents=True)


def no_process(sweep):
    true, calls = subprocess.Popen, []

    def fails_once(*arguments, **named):
        calls.append(1)
        if len(calls) in (2, 4, 5):  # of three jobs, each time the second
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        return true(*arguments, **named)

    return fails_once


@pytest.mark.parametrize(
    ("fault", "where", "cause"),
    [
        (no_log, None, "Is a directory"),
        (no_end_file, None, "0001.end.json"),
        (no_process, "subprocess.Popen", "Resource temporarily unavailable"),
    ],
)
def test_one_that_can_not_start_fails_alone(run, sweep, monkeypatch, fault, where, cause):
    replacement = fault(sweep)
    if where is not None:
        monkeypatch.setattr(f"sac_runner.sweep.pool.{where}", replacement)
    monkeypatch.setattr(pool, "_RETRY_S", 0.01)
    files = len(os.listdir("/proc/self/fd"))
    _, said, ended = run("import time; time.sleep(0.5)", "pass", "pass")
    assert [end.exit_code for end in (ended[0], ended[2])] == [0, 0]
    assert len(said) == 1 and said[0].startswith("failed   default/s1  can't start: ") and cause in said[0]
    if fault is no_end_file:  # nor can it be kept
        assert ended[1] is None
    else:
        assert ended[1].exit_code == 1 and cause in ended[1].cause
    assert len(os.listdir("/proc/self/fd")) == files


def test_what_can_not_start_for_a_moment_is_tried_again_after_a_pause(run, monkeypatch):
    true, calls = subprocess.Popen, []

    def fails_at_first(*arguments, **named):
        calls.append(time.monotonic())
        if len(calls) <= 4:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        return true(*arguments, **named)

    monkeypatch.setattr("sac_runner.sweep.pool.subprocess.Popen", fails_at_first)
    monkeypatch.setattr(pool, "_RETRY_S", 0.3)
    _, said, ended = run("pass", "pass", "pass")
    assert not said and [end.exit_code for end in ended] == [0, 0, 0]
    assert min(later - before for before, later in pairwise(calls[:5])) >= 0.3


def test_after_an_error_of_ours_every_job_is_ended_and_its_end_kept(run, sweep, monkeypatch):
    monkeypatch.setattr(pool, "_SAVING_S", 0.5)

    def fails(board):
        wait_for(lambda: all("up" in log(sweep, i) for i in range(2)))
        raise ZeroDivisionError

    monkeypatch.setattr(Board, "update", fails)
    deaf = (
        "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', os.getpid(), flush=True)"
    )
    with pytest.raises(ZeroDivisionError):
        run(HEARS + ENDS.format(1), f"{deaf}; time.sleep(60)", "pass")
    ended = [sweep.read_end(job) for job in sweep.jobs()]
    assert log(sweep, 0).split() == ["up", "15"] and ended[0].exit_code == 143
    assert ended[1] == (137, "killed: it did not stop within 0.5 s of an error of its launcher") and ended[2] is None
    with pytest.raises(ProcessLookupError):
        os.kill(int(log(sweep, 1).split()[1]), 0)


def test_a_clock_that_is_set_ends_no_job(run, sweep, monkeypatch):
    life = f"import os, pathlib, time; f = pathlib.Path({str(sweep.path)!r}, 'default/s0/.lock')\n"
    life += "f.parent.mkdir(parents=True); f.touch()\n"
    life += "for i in range(10): os.utime(f, (i, i)); time.sleep(0.1)"  # by a clock of long ago
    _, said, (ended,) = run(life, hang_s=0.6)
    assert ended.exit_code == 0 and not any("no sign of life" in line for line in said)


def test_a_job_is_told_when_its_launcher_is_gone(monkeypatch):
    monkeypatch.setenv(LAUNCHER, str(os.getpid()))  # not this process's parent
    with pytest.raises(SystemExit) as left:
        end_with_launcher()
    assert left.value.code == 143 and LAUNCHER not in os.environ
    end_with_launcher()  # by hand: nothing to end with
