"""What a session decides before any job starts, with what the probe would answer."""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest

from sac_runner.errors import Damaged, DiskFailed, WrongInput
from sac_runner.storage.lock import RunLock
from sac_runner.storage.signed import read_signed
from sac_runner.storage.sweep_directory import Ended, SweepDirectory
from sac_runner.sweep import session as module
from sac_runner.sweep.launchers import refuse_own_directories
from sac_runner.sweep.resources import Needs
from sac_runner.sweep.session import Limits, Proposed, Session, frozen_config
from tests.support import config

GB = 10**9


@pytest.fixture
def machine(monkeypatch):
    """A machine to share out, and what each job needs of it."""
    has = SimpleNamespace(cores=8, memory=64 * GB, needs=Needs(60.0, GB, GB, 0), visible=None, measured=[])

    def measure(configs):
        has.measured += configs
        return [has.needs] * len(configs)

    monkeypatch.setattr(module, "available_cores", lambda: has.cores)
    monkeypatch.setattr(module, "available_memory", lambda: has.memory)
    monkeypatch.setattr(module, "visible_gpus", lambda: has.visible)
    monkeypatch.setattr(module, "measure", measure)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return has


def _of_seed(config, seed):
    return replace(config, seed=seed)


@pytest.fixture
def run(machine, tmp_path, monkeypatch):
    """Run a sweep of these configs whose jobs do nothing; returns its directory and what it was allotted."""
    monkeypatch.chdir(tmp_path)

    def run(*configs, seeds=None, at_a_time=None, stop=None):
        given = []

        def execute(sweep, jobs, allotment):
            given.append(allotment)
            return stop

        taus = [f"{i}" for i, _ in enumerate(configs)]
        proposed = [
            Proposed([f"agent.tau={tau}", "seed=9"], {"agent.tau": tau}, c, "a recipe", partial(_of_seed, c))
            for tau, c in zip(taus, configs, strict=True)
        ]
        with Session(["sac-train", "-m"]) as session:
            session.run(proposed, ["agent.tau"], Limits(seeds, at_a_time, None, {"seeds": seeds}), execute)
        return session.sweep, given[0]

    return run


def several(n=4, **overrides):
    return [config(threads="auto", outputs="here", **overrides) for _ in range(n)]


def test_memory_and_gpus_count(run, machine):
    machine.needs = Needs(60.0, GB, 30 * GB, 0)
    assert run(*several())[1].at_a_time == 2
    machine.needs, machine.visible = Needs(60.0, GB, GB, 2), "4,7"
    allotment = run(*several())[1]
    assert (allotment.at_a_time, allotment.gpus) == (2, ["4", "7"])


def test_the_job_that_needs_most_says_how_many_run_at_a_time(run, machine, monkeypatch):
    def needs(memory, gpus):
        each = [Needs(60.0, GB, x * GB, n) for x, n in zip(memory, gpus, strict=True)]
        monkeypatch.setattr(module, "measure", lambda configs: each)

    needs((1, 30, 2, 3), (0, 0, 0, 0))
    assert run(*several())[1].at_a_time == 2
    machine.visible = "4,7"
    needs((1, 1, 1, 1), (0, 0, 2, 0))  # device=cpu, cuda:0, auto
    assert run(*several())[1].gpus == ["4", "7"]


def test_what_a_job_gets_is_frozen_with_it(run):
    sweep, allotment = run(*several(2), seeds=2, at_a_time=2)
    frozen = [frozen_config(sweep, job) for job in sweep.jobs()]
    assert allotment.threads == 4 and [c.threads for c in frozen] == [4] * 4
    assert [c.seed for c in frozen] == [0, 1, 0, 1]
    assert sweep.read_plan()["command"] == ["sac-train", "-m"]
    job = read_signed(sweep.job_file(sweep.jobs()[3]))
    assert job["overrides"] == ["agent.tau=1", "seed=1"] and job["recipe"] == "a recipe"


@pytest.mark.parametrize(("asked", "threads"), [("1", 1), ("2", 2), ("6", 6), ("99", 8), ("0", 4), ("", 4), ("2,1", 4)])
def test_a_job_has_no_more_threads_than_it_would_have_alone(run, monkeypatch, asked, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert run(*several(1))[1].threads == threads
    assert run(*several(8))[1].threads == 1
    assert run(config(threads=3, outputs="here"))[1].threads == 3


def test_which_run_is_the_last_one_is_settled_before_any_job_makes_another(run, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "find_run", lambda text, outputs: tmp_path / f"found-{text}")
    sweep, _ = run(*several(2, init_from="last"))
    assert {frozen_config(sweep, job).init_from for job in sweep.jobs()} == {str(tmp_path / "found-last")}


def test_the_plan_says_what_all_jobs_need(run, capsys):
    run(*several(4), at_a_time=2)
    said = capsys.readouterr().err
    assert "4 runs: 4 settings x 1 seed" in said and "2 at a time, 4 threads each" in said
    assert "about 2:00 in all" in said and "4.0 GB of disk" in said


def test_what_was_not_measured_is_not_made_up(run, machine, capsys):
    machine.needs = Needs(0.0, 0, 0, 0)
    run(*several(2))
    assert "time not measured; disk not measured" in capsys.readouterr().err


@pytest.mark.parametrize(("number", "code"), [(2, 130), (15, 143), (10, 143), (12, 143)])
def test_a_sweep_that_was_stopped_ends_as_a_run_does(run, number, code):
    with pytest.raises(SystemExit) as left:
        run(*several(1), stop=number)
    assert left.value.code == code


def test_a_job_that_was_stopped_does_not_hide_how_another_failed(run):
    session = Session([])
    session.sweep, _ = run(*several(2))
    for job, code in zip(session.sweep.jobs(), (143, 70), strict=True):
        session.sweep.write_end(job, Ended(code, "it ended"))
    assert session.exit_code() == 70


@pytest.mark.parametrize("code", [70, 73, 74, 76, 1, 137])
def test_its_exit_code_is_that_of_a_job_which_failed(run, code):
    sweep, _ = run(*several(1))
    session = Session([])
    session.sweep = sweep
    sweep.write_end(sweep.jobs()[0], Ended(code, "it broke"))
    assert session.exit_code() == (code if code in (70, 73, 74, 76) else 1)


def test_a_disk_that_takes_no_plan_is_what_is_told(run, monkeypatch):
    def fails(self, *arguments):
        raise DiskFailed("no room")

    monkeypatch.setattr(SweepDirectory, "write_plan", fails)
    with pytest.raises(DiskFailed, match="no room"):
        run(*several(1))


def test_a_sweep_that_goes_on_with_fewer_at_a_time_says_so_in_its_plan(run):
    sweep, _ = run(*several(4), at_a_time=4)
    plan, jobs = sweep.read_plan(), sweep.jobs()
    with Session([]) as session:
        session.resume(sweep, Limits(None, 1, None, {"at_a_time": 1}), lambda *_: None, dry_run=False)
    assert sweep.read_plan() == plan | {"at_a_time": 1, "launcher": {"at_a_time": 1}} and sweep.jobs() == jobs


def test_a_job_that_can_not_be_read_keeps_no_other_from_going_on(run):
    sweep, _ = run(*several(2))
    first, second = sweep.jobs()
    executed = []

    def resume():
        with Session([]) as session:
            limits = Limits(None, None, None, {})
            session.resume(sweep, limits, lambda _, jobs, __: executed.extend(jobs), dry_run=False)

    sweep.job_file(first).write_text("{")
    resume()
    assert executed == [first, second]  # the first says by itself what it has
    sweep.job_file(second).write_text("{")
    with pytest.raises(Damaged, match=f"{sweep.job_file(first).name} is damaged"):
        resume()


def test_jobs_that_come_into_the_plan_until_the_sweep_is_ours_stay_in_it(run, monkeypatch):
    sweep, _ = run(*several(1))
    (first,) = sweep.jobs()
    both = [first, first._replace(number=1, path="default/s9", seed=9)]

    def lock(path):
        sweep.write_plan(sweep.read_plan(), both, [read_signed(sweep.job_file(first))])
        return RunLock(path)

    monkeypatch.setattr(module, "RunLock", lock)
    executed = []
    with Session([]) as session:
        session.resume(sweep, Limits(None, None, None, {}), lambda _, jobs, __: executed.extend(jobs), dry_run=False)
    assert executed == sweep.jobs() == both


@pytest.mark.parametrize("place", [".lock", "jobs", "jobs/0000.log", "default", "default/s0", "default/s0/.lock"])
def test_a_sweep_that_leads_elsewhere_is_not_run(run, tmp_path, place):
    sweep, _ = run(*several(1))
    away = tmp_path / "away"
    away.mkdir()
    link = sweep.path / place
    if link.is_dir():
        link.rename(tmp_path / "moved")
    link.unlink(missing_ok=True)
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(away)
    with pytest.raises(WrongInput, match="is a link"), Session([]) as session:
        session.resume(sweep, Limits(None, None, None, {}), lambda *_: None, dry_run=False)
    assert list(away.iterdir()) == []


@pytest.mark.parametrize(
    ("asked", "remedy"),
    [
        ({"run": {"dir": "x"}}, "sac-train run.dir=null"),
        ({"resume": "my run"}, "sac-train resume='my run'"),
        ({"resume": "last", "run": {"dir": "x"}}, "sac-train resume=last"),
    ],
)
def test_a_sweep_makes_its_own_runs_and_says_what_can_be_typed_instead(asked, remedy):
    with pytest.raises(WrongInput, match="a sweep makes its own runs") as refused:
        refuse_own_directories([config(), config(**asked)])
    assert refused.value.remedy == remedy
    refuse_own_directories([config()])
