import errno
import fcntl
import os
import signal
import subprocess
import sys
import time

import pytest

from sac_runner.errors import DiskFailed, RunInUse, WrongInput
from sac_runner.storage.lock import RunLock
from sac_runner.storage.status import is_owned

HOLD = (
    "import sys; from pathlib import Path; from sac_runner.storage.lock import RunLock\n"
    "with RunLock(Path(sys.argv[1])):\n"
    "    print('held', flush=True); sys.stdin.read()"
)

FORK = (
    "import os, sys, time; from pathlib import Path; from sac_runner.storage.lock import RunLock\n"
    "with RunLock(Path(sys.argv[1])):\n"
    "    if os.fork() == 0:\n"
    "        print(os.getpid(), flush=True)\n"
    "    time.sleep(600)"
)


@pytest.fixture
def owner(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_owner_is_refused_and_told_who_is_the_first(tmp_path, owner):
    with pytest.raises(RunInUse) as caught:
        RunLock(tmp_path)
    assert caught.value.exit_code == 73
    assert f"{tmp_path} is in use by process {owner.pid} on {os.uname().nodename}" in str(caught.value)
    with pytest.raises(RunInUse, match=f"process {owner.pid} "):  # being refused changed nothing
        RunLock(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_lock_dies_with_its_owner(tmp_path, owner, number):
    owner.send_signal(number)
    owner.wait(timeout=10)
    with RunLock(tmp_path):
        assert (tmp_path / ".lock").read_text() == f"process {os.getpid()} on {os.uname().nodename}\n"


def test_what_its_owner_has_forked_does_not_keep_it(tmp_path):
    """As an environment may do that has a simulator of its own."""
    with subprocess.Popen([sys.executable, "-c", FORK, tmp_path], stdout=subprocess.PIPE, text=True) as owner:
        child = int(owner.stdout.readline())
        owner.kill()
        owner.wait()
        with RunLock(tmp_path):
            os.kill(child, signal.SIGKILL)


def test_it_is_free_again_after_the_run(tmp_path):
    for _ in range(2):
        with RunLock(tmp_path), pytest.raises(RunInUse, match=f"process {os.getpid()} "):
            RunLock(tmp_path)


def test_it_is_free_again_after_a_run_that_raised(tmp_path):
    with pytest.raises(ZeroDivisionError), RunLock(tmp_path):
        raise ZeroDivisionError
    RunLock(tmp_path).__exit__(None, None, None)


def test_a_run_that_may_not_be_written_is_wrong_input(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(WrongInput, match="Permission denied") as refused:
        RunLock(tmp_path)
    assert refused.value.remedy == f"a copy of it: cp -r {tmp_path} COPY && chmod -R u+w COPY"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_disk_that_is_full_or_broken_is_no_wrong_input(tmp_path, monkeypatch, number):
    def fails(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", fails)
    with pytest.raises(DiskFailed, match=os.strerror(number)) as failed:
        RunLock(tmp_path)
    assert "cp -r" not in failed.value.remedy


def test_one_that_only_looks_whether_it_is_free_keeps_no_start_out(tmp_path, monkeypatch):
    (tmp_path / ".lock").touch()
    look = os.open(tmp_path / ".lock", os.O_RDONLY)
    fcntl.flock(look, fcntl.LOCK_SH)
    monkeypatch.setattr(time, "sleep", lambda seconds: os.close(look))
    with RunLock(tmp_path):
        assert is_owned(tmp_path)


def test_a_lock_that_leads_elsewhere_is_refused_and_nothing_is_written_there(tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run/.lock").symlink_to(tmp_path / "mine")
    with pytest.raises(WrongInput, match=r"run/\.lock is refused: it leads out of the run"):
        RunLock(tmp_path / "run")
    assert (tmp_path / "mine").read_text() == "mine"


def test_runs_do_not_lock_each_other(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
    with RunLock(tmp_path / "a"), RunLock(tmp_path / "b"):
        pass


def test_the_owner_shows_that_it_gets_on(tmp_path, monkeypatch):
    now = [100.0]
    with RunLock(tmp_path) as lock:
        monkeypatch.setattr("sac_runner.storage.lock.time.monotonic", lambda: now[0])
        for seconds, beats in [(0.0, True), (0.5, False), (1.1, True)]:
            os.utime(tmp_path / ".lock", (0, 0))
            now[0] = 100.0 + seconds
            lock.beat()
            assert ((tmp_path / ".lock").stat().st_mtime > 0) == beats
