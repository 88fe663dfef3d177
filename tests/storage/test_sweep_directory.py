import errno
import fcntl
import os
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sac_runner.errors import Damaged, DiskFailed, WrongInput
from sac_runner.storage import sweep_directory
from sac_runner.storage.files import write_atomically
from sac_runner.storage.lock import RunLock
from sac_runner.storage.signed import read_signed, signed
from sac_runner.storage.sweep_directory import Ended, SweepDirectory, SweepJob
from tests.storage.written import ANY_JSON, tree, write_run

JOBS = [
    SweepJob(0, "alpha-auto/s0", {"alpha": "auto"}, 0, 1000),
    SweepJob(1, "alpha-auto/s1", {"alpha": "auto"}, 1, 1000),
    SweepJob(2, "default/s0", {}, 0, None),
]
FROZEN = [{"config": {"seed": job.seed}} for job in JOBS]


@pytest.fixture
def sweep(tmp_path):
    return SweepDirectory(tmp_path)


@pytest.fixture
def planned(sweep):
    sweep.write_plan({"name": "alpha", "at_a_time": 2}, JOBS, FROZEN)
    return sweep


def test_a_plan_is_read_back_as_it_was_written(planned):
    assert planned.is_sweep
    assert planned.jobs() == JOBS
    assert planned.read_plan()["name"] == "alpha" and planned.read_plan()["at_a_time"] == 2
    assert [read_signed(planned.job_file(job)) for job in JOBS] == FROZEN
    assert tree(planned.path) == ["jobs", "jobs/0000.json", "jobs/0001.json", "jobs/0002.json", "sweep.json"]


def test_jobs_are_named_by_what_is_swept():
    assert [job.label for job in JOBS] == ["alpha=auto", "alpha=auto", "default"]
    assert SweepJob(0, "x/s0", {"alpha": "auto", "agent.lr": "1e-3"}, 0, 1).label == "alpha=auto agent.lr=1e-3"


def test_a_sweeper_adds_jobs_without_touching_the_earlier_ones(sweep):
    sweep.write_plan({"name": "a"}, JOBS[:1], FROZEN[:1])
    before = sweep.job_file(JOBS[0]).stat()
    sweep.write_plan({"name": "a"}, JOBS, FROZEN[1:])
    assert sweep.jobs() == JOBS and sweep.job_file(JOBS[0]).stat() == before
    assert [read_signed(sweep.job_file(job)) for job in JOBS] == FROZEN


def test_no_job_is_named_before_it_is_frozen(sweep, monkeypatch):
    """What is killed within names only jobs that can be run."""
    sweep.write_plan({"name": "a"}, JOBS[:1], FROZEN[:1])

    def write(path, data):
        if path.name == "0002.json":
            raise DiskFailed("full")
        write_atomically(path, data)

    monkeypatch.setattr(sweep_directory, "write_atomically", write)
    with pytest.raises(DiskFailed):
        sweep.write_plan({"name": "a"}, JOBS, FROZEN[1:])
    assert sweep.jobs() == JOBS[:1]


def test_a_folder_without_a_plan_is_no_sweep(sweep):
    assert not sweep.is_sweep
    with pytest.raises(WrongInput, match="is not a sweep: it has no sweep.json"):
        sweep.jobs()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "damaged, or was changed"),
        (b'{"version": 1, "jobs": []}', "damaged, or was changed"),
        (b"[" * 100_000, "damaged, or was changed"),
        (signed({"version": 2, "jobs": []}), "is of version 2, this is 1"),
        (signed({"version": 1}), "damaged"),
        (signed({"version": 1, "jobs": [{"number": 0}]}), "damaged"),
        (signed({"version": 1, "jobs": [JOBS[0]._asdict() | {"later": 1}]}), "damaged"),
    ],
)
def test_a_plan_that_is_not_what_was_written_is_named(sweep, text, words):
    (sweep.path / "sweep.json").write_bytes(text)
    with pytest.raises(Damaged, match=words) as refused:
        sweep.jobs()
    assert str(sweep.path / "sweep.json") in refused.value.message


@pytest.mark.parametrize(
    "path", ["../../other/s0", "/tmp/s0", "a/../..", "..", "s0", "", ".", "a/b/c", "a/.s0", "a/s\0", "a b/s0"]
)
def test_no_job_leads_out_of_its_sweep(sweep, path):
    """Somebody may have sent it, and what is pruned is found by it."""
    sweep.write_plan({}, [JOBS[0]._replace(path=path)], FROZEN[:1])
    with pytest.raises(Damaged, match="not a place for a run"):
        sweep.jobs()


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(SweepJob._fields, ANY_JSON)))
@settings(max_examples=60)
def test_a_plan_of_any_types_gives_jobs_that_can_be_used_or_is_damaged(a_sweep, row):
    (a_sweep.path / "sweep.json").write_bytes(signed({"version": 1, "jobs": [JOBS[0]._asdict() | row]}))
    try:
        (job,) = a_sweep.jobs()
    except Damaged:
        return
    assert a_sweep.status(job).state == "waiting" and job.label and a_sweep.log_file(job).suffix == ".log"


@pytest.fixture(scope="module")
def a_sweep(tmp_path_factory):
    return SweepDirectory(tmp_path_factory.mktemp("any"))


def test_a_flipped_bit_is_noticed(planned):
    path = planned.path / "sweep.json"
    path.write_text(path.read_text().replace("alpha-auto/s1", "alpha-auto/s2"))
    with pytest.raises(Damaged):
        planned.jobs()


def test_how_a_process_ended_is_kept_until_the_next_one_begins(planned):
    assert planned.read_end(JOBS[0]) is None
    planned.write_end(JOBS[0], Ended(139, "killed by signal 11"))
    assert planned.read_end(JOBS[0]) == (139, "killed by signal 11") and planned.read_end(JOBS[1]) is None
    planned.forget_end(JOBS[0])
    planned.forget_end(JOBS[0])
    assert planned.read_end(JOBS[0]) is None


@pytest.mark.parametrize("end", ["damaged", "a folder", "of other keys"])
def test_an_end_that_can_not_be_read_is_none(planned, end):
    planned.write_end(JOBS[0], Ended(1, "x"))
    file = planned.path / "jobs" / "0000.end.json"
    file.unlink()
    if end == "a folder":
        file.mkdir()
    else:
        file.write_bytes(b"{" if end == "damaged" else signed({"exit_code": "no number", "cause": 1}))
    assert planned.read_end(JOBS[0]) is None and planned.status(JOBS[0]).state == "waiting"


@pytest.mark.parametrize(
    ("run", "code", "state", "cause"),
    [
        ("none", None, "waiting", None),
        ("none", 0, "waiting", None),
        ("none", 70, "failed", "as its process ended"),
        *[("none", code, "waiting", None) for code in (129, 130, 138, 140, 143)],
        ("running", None, "killed", None),
        ("running", 137, "failed", "as its process ended"),
        ("running", 0, "failed", "as its process ended"),
        ("stopped", 143, "stopped", "said so"),
        ("failed", 1, "failed", "said so"),
        ("finished", 0, "finished", "said so"),
        ("finished", 1, "finished", "said so"),
    ],
)
def test_a_run_speaks_for_its_job_and_where_it_can_not_its_process_does(planned, run, code, state, cause):
    if run != "none":
        write_run(planned.run(JOBS[0]).path, run, None if run == "running" else "said so")
    if code is not None:
        planned.write_end(JOBS[0], Ended(code, "as its process ended"))
    assert planned.status(JOBS[0])[:2] == (state, cause)


def test_how_a_process_ended_goes_before_what_it_said_in_dying(planned):
    run = write_run(planned.run(JOBS[0]).path, "running")
    (run.path / "crash.log").write_text("Fatal Python error: Segmentation fault\n")
    planned.write_end(JOBS[0], Ended(139, "killed by signal 11"))
    assert planned.status(JOBS[0]).cause == "killed by signal 11, Fatal Python error: Segmentation fault"


def test_of_a_disk_that_does_not_answer_a_status_is_what_can_be_known(planned, monkeypatch):
    write_run(planned.run(JOBS[0]).path, "finished")
    planned.write_end(JOBS[0], Ended(1, "as its process ended"))

    def stale(*_, **__):
        raise OSError(errno.ESTALE, "Stale file handle")

    (planned.run(JOBS[0]).path / ".lock").touch()
    reads = [(Path, name) for name in ("open", "read_bytes", "read_text", "stat")]
    for owner, name in [(fcntl, "flock"), *reads, (os, "open"), (os, "stat")]:  # more and more
        monkeypatch.setattr(owner, name, stale)
        assert planned.status(JOBS[0]).state in ("finished", "killed", "failed", "waiting")


def test_a_job_that_runs_again_has_forgotten_how_it_ended(planned):
    run = write_run(planned.run(JOBS[0]).path, "failed", "of then")
    planned.write_end(JOBS[0], Ended(1, "of then"))
    with ExitStack() as locks:
        locks.enter_context(RunLock(run.path))
        assert planned.status(JOBS[0])[:2] == ("running", None)
