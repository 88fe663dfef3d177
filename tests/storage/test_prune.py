import errno
import multiprocessing
import resource
import shutil
import sys
from pathlib import Path

import pytest

from sac_runner.errors import Damaged, DiskFailed, RunInUse, WrongInput
from sac_runner.storage import prune
from sac_runner.storage.checkpoints import find
from sac_runner.storage.files import folder_size, write_durably
from sac_runner.storage.find import list_runs, list_sweeps
from sac_runner.storage.lock import RunLock
from sac_runner.storage.prune import clean_up_removed, prune_replay, prune_run, prune_sweep
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.storage.segments import Segment, verify_segments
from sac_runner.storage.status import is_owned
from sac_runner.storage.sweep_directory import Ended, SweepDirectory
from tests.fault_layer import CHANGES, Layer, kill, killed
from tests.storage.written import going_on, tree, write_checkpoints, write_run, write_sweep

forks = pytest.mark.skipif(sys.platform != "linux", reason="forks, and asks /proc which file a descriptor is")


@pytest.fixture
def outputs(tmp_path):
    return tmp_path / "outputs"


def make_run(folder):
    """A finished run of 1,000 env steps with the checkpoint before its last."""
    run = write_run(folder, started="2026-01-01T00:00:00+0000")
    going_on(run)
    write_checkpoints(run, 500, rows=3)
    write_checkpoints(run, 1000)
    return run


@pytest.fixture
def run(outputs):
    return make_run(outputs / "runs/ant/20260101-000000_s0")


@pytest.fixture
def sweep(outputs):
    """Of three jobs, one of which has not begun."""
    sweep, jobs = write_sweep(outputs / "sweeps/20260101-000000_alpha", "alpha=auto", "alpha=fixed", "alpha=x")
    for job in jobs[:2]:
        make_run(sweep.run(job).path)
    return sweep


def jobs_of(sweep):
    return [sweep.run(job) for job in sweep.jobs()]


def test_a_run_goes_with_the_folders_that_are_empty_then(outputs, run):
    other = make_run(outputs / "runs/pendulum/20260101-000000_s0")
    prune_run(run, outputs)
    assert tree(outputs / "runs") == ["pendulum", *(f"pendulum/{path}" for path in tree(other.path.parent))]
    prune_run(other, outputs)
    assert tree(outputs) == [] and outputs.is_dir()


def test_a_run_that_a_process_owns_stays(outputs, run):
    before = tree(outputs)
    with RunLock(run.path):
        for remove in (prune_run, prune_replay):
            with pytest.raises(RunInUse, match=str(run.path)):
                remove(run, outputs)
    assert tree(outputs) == sorted([*before, f"{run.path.relative_to(outputs)}/.lock"])


def test_a_job_of_a_sweep_that_runs_stays_though_it_has_ended(outputs, sweep):
    job = jobs_of(sweep)[0]
    with RunLock(sweep.path), pytest.raises(RunInUse):
        prune_run(job, outputs)
    assert job.is_run
    prune_run(job, outputs)
    assert not job.path.parent.exists() and sweep.is_sweep and jobs_of(sweep)[1].is_run


def test_what_has_finished_since_it_was_listed_stays(outputs, sweep):
    job = jobs_of(sweep)[0]
    assert job.read_summary()["status"] == "finished"
    for remove, folder in ((prune_run, job), (prune_sweep, sweep)):
        with pytest.raises(WrongInput, match=f"{job.path} stays: it has finished meanwhile"):
            remove(folder, outputs, unfinished=[job.path])
    (job.path / "summary.json").write_text("{")
    prune_run(job, outputs, unfinished=[job.path])
    assert not job.path.exists()


def test_a_run_that_can_not_say_whether_it_has_finished_stays(outputs, run, monkeypatch):
    def stale(path):
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(Path, "read_bytes", stale)
    with pytest.raises(DiskFailed, match="Stale file handle"):
        prune_run(run, outputs, unfinished=[run.path])
    assert run.is_run


def test_a_failed_job_that_goes_is_one_that_has_not_begun(outputs, sweep):
    jobs = sweep.jobs()
    for job in jobs[:2]:
        sweep.run(job).write_summary({"status": "failed"})
        sweep.write_end(job, Ended(1, "boom"))
    prune_run(sweep.run(jobs[0]), outputs)
    assert [sweep.status(job).state for job in jobs] == ["waiting", "failed", "waiting"]
    (sweep.path / "sweep.json").write_text("{")  # nothing says whose end it is
    prune_run(sweep.run(jobs[1]), outputs)
    assert sweep.read_end(jobs[1]) == (1, "boom") and not sweep.run(jobs[1]).path.exists()


@pytest.mark.parametrize("owned", ["sweep", "job", "start"])
def test_a_sweep_stays_as_long_as_any_process_owns_a_part_of_it(outputs, sweep, owned):
    """``start``: a job has its directory, and has written nothing yet."""
    first, _, third = jobs_of(sweep)
    folder = {"sweep": sweep.path, "job": first.path, "start": third.path}[owned]
    folder.mkdir(parents=True, exist_ok=True)
    with RunLock(folder), pytest.raises(RunInUse):
        prune_sweep(sweep, outputs)
    assert sweep.is_sweep and first.is_run
    prune_sweep(sweep, outputs)
    assert tree(outputs) == []


@pytest.mark.parametrize("where", ["mine", "a/b/c"])
def test_a_sweep_stays_where_somebody_trains_in_it_at_another_depth(outputs, sweep, where):
    mine = make_run(sweep.path / where)
    with RunLock(mine.path), pytest.raises(RunInUse):
        prune_sweep(sweep, outputs)
    assert mine.is_run and sweep.is_sweep


@forks
def test_a_sweep_of_more_runs_than_files_may_be_open_goes(outputs, sweep):
    for i in range(60):
        make_run(sweep.path / f"alpha-{i}" / "s0")

    def prune():
        resource.setrlimit(resource.RLIMIT_NOFILE, (50, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        prune_sweep(sweep, outputs)

    process = multiprocessing.get_context("fork").Process(target=prune)
    process.start()
    process.join(60)
    assert process.exitcode == 0 and not sweep.path.exists()


def test_what_is_no_run_stays(outputs, run):
    (run.path / "meta.json").unlink()
    for remove in (prune_run, prune_replay):
        with pytest.raises(WrongInput, match="is not a run"):
            remove(run, outputs)
    (outputs / "sweeps/notes").mkdir(parents=True)
    with pytest.raises(WrongInput, match="is not a sweep"):
        prune_sweep(SweepDirectory(outputs / "sweeps/notes"), outputs)
    assert (outputs / "sweeps/notes").is_dir() and (run.path / "config.yaml").is_file()


def test_nothing_outside_of_outputs_goes(tmp_path, outputs, run):
    (outputs / "runs/other").mkdir()
    elsewhere = make_run(tmp_path / "elsewhere")
    for path in (elsewhere.path, outputs / ".." / "elsewhere", outputs / "runs/../../elsewhere"):
        for remove in (prune_run, prune_replay):
            with pytest.raises(WrongInput, match="left alone"):
                remove(RunDirectory(path), outputs)
    with pytest.raises(WrongInput, match="left alone"):
        prune_sweep(SweepDirectory(outputs), outputs)
    assert elsewhere.is_run and find(elsewhere.checkpoints, "latest") and run.is_run


def test_no_link_is_followed(tmp_path, outputs, run):
    elsewhere = make_run(tmp_path / "elsewhere/20260101-000000_s1")
    before = tree(elsewhere.path)
    (outputs / "runs/ant/linked").symlink_to(elsewhere.path)
    (outputs / "runs/walker").symlink_to(elsewhere.path.parent)
    for path in (outputs / "runs/ant/linked", outputs / "runs/walker" / elsewhere.path.name):
        for remove in (prune_run, prune_replay):
            with pytest.raises(WrongInput, match="left alone"):
                remove(RunDirectory(path), outputs)
    (run.path / "linked").symlink_to(elsewhere.path)
    prune_run(run, outputs)
    assert tree(elsewhere.path) == before and not run.path.exists()


@pytest.mark.parametrize("part", ["checkpoints", "replay"])
def test_no_link_within_a_run_leads_to_the_replay_of_another(outputs, run, part):
    other = make_run(outputs / "runs/ant/20260101-000000_s1")
    before = tree(other.path)
    shutil.rmtree(run.path / part)
    (run.path / part).symlink_to(other.path / part)
    with pytest.raises(WrongInput, match="left alone"):
        prune_replay(run, outputs)
    assert tree(other.path) == before


def test_a_linked_job_saves_its_sweep(tmp_path, outputs, sweep):
    elsewhere = make_run(tmp_path / "elsewhere/s0")
    (sweep.path / "alpha-x").symlink_to(elsewhere.path.parent)
    with pytest.raises(WrongInput, match="left alone"):
        prune_sweep(sweep, outputs)
    assert sweep.is_sweep and elsewhere.is_run


@pytest.mark.parametrize("part", ["alpha-auto", "alpha-auto/s0"])
def test_a_part_that_may_not_be_read_saves_its_sweep(outputs, sweep, monkeypatch, part):
    folder = sweep.path / part
    monkeypatch.setattr(RunDirectory, "why_closed", property(lambda run: "no" if run.path == folder else None))
    with pytest.raises(WrongInput, match=f"can't read .*{part}"):
        prune_sweep(sweep, outputs)
    assert list_sweeps(outputs) == [sweep.path]


def test_outputs_itself_may_be_a_link(tmp_path, outputs, run):
    (tmp_path / "linked").symlink_to(outputs)
    prune_run(RunDirectory(tmp_path / "linked" / run.path.relative_to(outputs)), tmp_path / "linked")
    assert tree(outputs) == [] and (tmp_path / "linked").is_symlink()


def test_a_pruned_replay_leaves_one_checkpoint_that_says_so(outputs, run):
    best = {path.name: path.read_bytes() for path in find(run.checkpoints, "best")[-1].path.iterdir()}
    old = find(run.checkpoints, "latest")[-1]
    policy, train, note = old.arrays("policy"), old.arrays("train"), old.manifest() | {"files": None}
    prune_replay(run, outputs)
    (latest,) = find(run.checkpoints, "latest")
    latest.verify()
    assert latest.plain("state") == {"replay": None, "record": {}, "counters": {"env_steps": 1000}}
    assert latest.arrays("policy").keys() == policy.keys() and latest.arrays("train").keys() == train.keys()
    assert latest.manifest() | {"files": None} == note and latest.env_steps == 1000
    assert best == {path.name: path.read_bytes() for path in find(run.checkpoints, "best")[-1].path.iterdir()}
    assert tree(run.replay) == [] and folder_size(run.replay) == 0
    before = tree(run.path)
    prune_replay(run, outputs)
    assert tree(run.path) == before


def test_an_older_checkpoint_makes_room_for_the_one_that_says_so(outputs, run, monkeypatch):
    write_checkpoints(run, 2000, rows=60)
    there = []

    def watched(path, data):
        there.append([checkpoint.env_steps for checkpoint in find(run.checkpoints, "latest")])
        write_durably(path, data)

    monkeypatch.setattr("sac_runner.storage.checkpoints.write_durably", watched)
    prune_replay(run, outputs)
    assert there[0] == [2000] and [path.name for path in run.checkpoints.glob("latest-*")] == ["latest-000000002000"]
    assert not [*run.checkpoints.glob(".*")]


@pytest.mark.parametrize("state", ["running", "stopped", "failed"])
def test_a_run_that_is_not_finished_keeps_its_replay(outputs, run, state):
    run.write_summary({"status": state})
    before = tree(run.replay)
    with pytest.raises(WrongInput, match="is not finished"):
        prune_replay(run, outputs)
    assert tree(run.replay) == before


def test_a_replay_whose_checkpoint_is_damaged_stays(outputs, run):
    state = find(run.checkpoints, "latest")[-1].path / "state.json"
    state.write_text(state.read_text().replace("1000", "1001"))
    before = tree(run.path)
    with pytest.raises(Damaged):
        prune_replay(run, outputs)
    assert tree(run.path) == sorted([*before, ".lock"])


def test_a_run_without_a_checkpoint_has_no_use_for_its_replay(outputs, run):
    shutil.rmtree(run.checkpoints)
    prune_replay(run, outputs)
    assert tree(run.replay) == []


def test_a_disk_that_refuses_leaves_the_run_or_what_is_plainly_gone(outputs, run, monkeypatch):
    def refuse(path, **options):
        if "ignore_errors" not in options:
            raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(prune.shutil, "rmtree", refuse)
    with pytest.raises(DiskFailed, match="Permission denied"):
        prune_run(run, outputs)
    assert list_runs(outputs) == []
    monkeypatch.undo()
    clean_up_removed(outputs)
    assert tree(outputs) == []


@pytest.mark.parametrize("what", ["run", "sweep"])
def test_nothing_of_it_is_open_when_it_is_deleted(outputs, request, monkeypatch, what):
    """NFS keeps an open file under another name, and its folder can't go."""
    removed, locks, rmtree = request.getfixturevalue(what), [], shutil.rmtree

    def watched(path, **options):
        locks.extend(is_owned(lock.parent) for lock in path.rglob(".lock"))
        rmtree(path, **options)

    monkeypatch.setattr(prune.shutil, "rmtree", watched)
    (prune_run if what == "run" else prune_sweep)(removed, outputs)
    assert locks and not any(locks) and not removed.path.exists()


@pytest.mark.parametrize("other", ["20260101-000000_s0", "deeper/s0"])
def test_a_run_that_holds_another_stays(outputs, other):
    above, within = make_run(outputs / "runs/ant"), make_run(outputs / "runs/ant" / other)
    before = tree(outputs)
    with pytest.raises(WrongInput, match=f"ant stays: it holds another run, .*{other}"):
        prune_run(above, outputs)
    (above.path / ".lock").unlink()
    assert tree(outputs) == before
    prune_run(within, outputs)
    prune_run(above, outputs)
    assert list_runs(outputs) == []


def test_a_leftover_right_below_runs_goes_too(outputs):
    for place in ("runs/.mine", "runs/ant/.mine", "sweeps/.mine", "sweeps/mine/alpha-auto/.s0"):
        make_run(outputs / f"{place}.removed")
    clean_up_removed(outputs)
    assert tree(outputs) == []


def test_what_only_looks_like_a_leftover_stays(tmp_path, outputs, run):
    elsewhere = make_run(tmp_path / "elsewhere/.x.removed")
    (outputs / "runs/ant/.linked.removed").symlink_to(elsewhere.path)
    (outputs / "runs/walker").symlink_to(elsewhere.path.parent)
    (run.path / ".notes.removed").mkdir()
    (outputs / "sweeps").symlink_to(elsewhere.path.parent)
    before, there = tree(outputs), tree(elsewhere.path)
    clean_up_removed(outputs)
    assert tree(outputs) == before and tree(elsewhere.path) == there


def changes(work, folder):
    """The numbers of the operations of ``work`` that change the disk."""
    with Layer(folder) as layer:
        work()
    return [n for n, operation in enumerate(layer.operations) if operation.name in CHANGES]


def files(folder):
    return [path for path in tree(folder) if not path.endswith(".lock") and (folder / path).is_file()]


class Kills:
    """Copies of ``outputs``, in each of which ``remove`` is killed at another moment."""

    def __init__(self, outputs, folder, remove):
        self._outputs, self._folder, self._remove = outputs, folder, remove
        self.moments = changes(lambda: remove(self.path), self._copy("undisturbed"))
        self.gone = files(self.path)

    def _copy(self, name):
        self.path = shutil.copytree(self._outputs, self._folder / str(name))
        return self.path

    def at(self, moments):
        for n in moments:
            self._copy(n)
            assert killed(lambda: self._remove(self.path), self.path, kill(n))
            yield self.path
            shutil.rmtree(self.path)


@forks
@pytest.mark.parametrize("what", ["run", "sweep"])
def test_a_kill_at_any_moment_leaves_all_of_it_or_nothing_that_is_listed(tmp_path, outputs, request, what):
    removed = request.getfixturevalue(what).path
    whole, relative = files(removed), removed.relative_to(outputs)

    def remove(copy):
        prune, kind = (prune_run, RunDirectory) if what == "run" else (prune_sweep, SweepDirectory)
        prune(kind(copy / relative), copy)

    kills = Kills(outputs, tmp_path, remove)
    assert len(kills.moments) > 20
    for copy in kills.at(kills.moments[:8] + kills.moments[8:-4:9] + kills.moments[-4:]):
        if copy / relative in [*list_runs(copy), *list_sweeps(copy)]:
            assert files(copy / relative) == whole
            remove(copy)
        clean_up_removed(copy)
        assert files(copy) == kills.gone


@forks
def test_a_kill_at_any_moment_leaves_a_checkpoint_that_has_all_the_replay_it_lists(tmp_path, run, outputs):
    def pruned(copy):
        return RunDirectory(copy / run.path.relative_to(outputs))

    kills = Kills(outputs, tmp_path, lambda copy: prune_replay(pruned(copy), copy))
    for copy in kills.at(kills.moments):
        left = pruned(copy)
        newest = find(left.checkpoints, "latest")[-1]
        newest.verify()
        assert newest.env_steps == 1000
        verify_segments(left.replay, [Segment(*row) for row in newest.plain("state")["replay"] or []])
        prune_replay(left, copy)
        assert files(copy) == kills.gone
