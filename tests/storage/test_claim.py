"""The owner of a run on a file system without locks."""

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from sac_runner.errors import DiskFailed, RunInUse, WrongInput
from sac_runner.storage import claim
from sac_runner.storage.lock import RunLock

HOLD = """
import errno, fcntl, sys
from pathlib import Path
def refuse(*_):
    raise OSError(errno.ENOLCK, "No locks available")
fcntl.flock = refuse
from sac_runner.errors import RunInUse
from sac_runner.storage.lock import RunLock
print("ready", flush=True)
sys.stdin.readline()
try:
    with RunLock(Path(sys.argv[1])):
        print("held", flush=True)
        sys.stdin.read()
except RunInUse as e:
    print(e.message, flush=True)
"""
HOST = os.uname().nodename


def refuse_locks(monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.fixture(autouse=True)
def no_locks(monkeypatch):
    refuse_locks(monkeypatch, errno.ENOLCK)


@pytest.fixture
def begin(tmp_path):
    """Starts a process that will own ``tmp_path`` when it is told to go on."""
    begun = []

    def begin():
        command = [sys.executable, "-c", HOLD, tmp_path]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert process.stdout.readline() == "ready\n"
        begun.append(process)
        return process

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


def go(process):
    process.stdin.write("go\n")
    process.stdin.flush()


def held(process):
    go(process)
    assert process.stdout.readline() == "held\n"
    return process


def put(run, number, owner, age=0.0):
    """A claim as another process has left it, touched ``age`` seconds ago."""
    path = run / f".owner-{number}"
    path.write_text(owner if isinstance(owner, str) else json.dumps(owner))
    os.utime(path, (time.time() - age, time.time() - age))
    return path


def claims(run):
    return sorted(path.name for path in run.glob(".owner*"))


def is_free(run):
    try:
        with RunLock(run):
            return True
    except RunInUse:
        return False


def test_a_second_owner_is_refused_and_told_who_is_the_first(tmp_path, begin, capsys):
    owner = held(begin())
    for _ in range(2):
        with pytest.raises(RunInUse, match=f"is in use by process {owner.pid} on {HOST}"):
            RunLock(tmp_path)
    assert "warning: " in capsys.readouterr().err and claims(tmp_path) == [".owner-1"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_is_free_as_soon_as_its_owner_is_dead(tmp_path, begin, number):
    owner = held(begin())
    owner.send_signal(number)
    os.waitid(os.P_PID, owner.pid, os.WEXITED | os.WNOWAIT)  # a zombie still has its number
    assert is_free(tmp_path)
    owner.wait()
    assert is_free(tmp_path)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_it_is_free_after_the_run(tmp_path, monkeypatch, number):
    refuse_locks(monkeypatch, number)
    for n in range(3):
        with RunLock(tmp_path):
            assert not is_free(tmp_path)
            assert claims(tmp_path) == [f".owner-{n + 1}"]


def test_another_process_with_the_number_of_a_dead_owner_owns_nothing(tmp_path):
    put(tmp_path, 7, {"process": os.getpid(), "began": "1", "host": HOST})
    with RunLock(tmp_path):
        assert claims(tmp_path) == [".owner-8"]


@pytest.mark.parametrize(("age", "free"), [(0, False), (50, False), (70, True)])
@pytest.mark.parametrize("owner", [{"process": 1, "began": "1", "host": "elsewhere"}, "", "[]", '{"process": 3}'])
def test_an_owner_whose_process_cannot_be_seen_lives_while_its_claim_is_young(tmp_path, owner, age, free):
    put(tmp_path, 1, owner, age)
    assert is_free(tmp_path) == free


def test_the_owner_shows_that_it_lives(tmp_path, monkeypatch):
    monkeypatch.setattr(claim, "_BEAT_S", 0.01)
    with RunLock(tmp_path):
        path = tmp_path / ".owner-1"
        os.utime(path, (0, 0))
        end = time.monotonic() + 20
        while path.stat().st_mtime == 0 and time.monotonic() < end:
            time.sleep(0.01)
        assert time.time() - path.stat().st_mtime < 60


def test_who_is_refused_leaves_no_sign_of_life(tmp_path):
    (tmp_path / ".lock").touch()
    os.utime(tmp_path / ".lock", (1000, 1000))
    put(tmp_path, 1, {"process": 1, "began": "1", "host": "elsewhere"})
    with pytest.raises(RunInUse):
        RunLock(tmp_path)
    assert (tmp_path / ".lock").stat().st_mtime == 1000


def meanwhile(monkeypatch, happens):
    """Have ``happens`` come to pass once an owner was found dead, before its place is taken."""
    ask, asked = claim._living_owner, []

    def late(*arguments):
        answer = ask(*arguments)
        asked.append(answer)
        if len(asked) == 1:
            happens()
        return answer

    monkeypatch.setattr(claim, "_living_owner", late)


def test_of_two_that_found_the_owner_dead_the_later_is_refused(tmp_path, monkeypatch, begin):
    put(tmp_path, 1, "null")
    other = begin()
    meanwhile(monkeypatch, lambda: held(other))
    with pytest.raises(RunInUse, match=f"process {other.pid} "):
        RunLock(tmp_path)
    assert claims(tmp_path) == [".owner-2"]


def test_one_that_is_two_owners_late_is_refused(tmp_path, monkeypatch, begin):
    put(tmp_path, 1, "null")
    first, second = begin(), begin()

    def happens():
        held(first).kill()
        first.wait()
        held(second)

    meanwhile(monkeypatch, happens)
    with pytest.raises(RunInUse, match=f"process {second.pid} "):
        RunLock(tmp_path)
    assert claims(tmp_path) == [".owner-3"]


def test_of_starts_at_the_same_moment_one_has_the_run(tmp_path, begin):
    for _ in range(3):
        processes = [begin() for _ in range(4)]
        for process in processes:
            go(process)
        said = [process.stdout.readline() for process in processes]
        owner = processes[said.index("held\n")]
        named = f"{tmp_path} is in use by process {owner.pid} on {HOST}\n"
        assert sorted(said) == sorted([named] * 3 + ["held\n"])
        owner.kill()
        owner.wait()


@pytest.mark.parametrize(("number", "fault"), [(errno.ENOSPC, DiskFailed), (errno.EROFS, WrongInput)])
def test_a_directory_that_takes_no_claim_is_refused(tmp_path, monkeypatch, number, fault):
    def refuses(path, *arguments):
        if ".owner" in str(path):
            raise OSError(number, os.strerror(number))
        return opens(path, *arguments)

    opens = os.open
    monkeypatch.setattr(os, "open", refuses)
    with pytest.raises(fault, match=os.strerror(number)):
        RunLock(tmp_path)


def test_a_system_without_proc_is_asked_whether_a_process_lives(tmp_path, monkeypatch):
    monkeypatch.setattr(claim, "Path", lambda path: tmp_path / "no" / path.strip("/"))
    assert claim._began(1) == claim._began(os.getpid()) == "unknown"
    assert claim._began(2**22 + 1) is None


def test_a_claim_that_can_not_be_read_counts_as_nobodys_to_who_looks_and_is_taken_by_none(tmp_path):
    (tmp_path / ".owner-3").mkdir()
    assert not claim.is_claimed(tmp_path)
    with pytest.raises(WrongInput, match="Is a directory"):
        RunLock(tmp_path)
