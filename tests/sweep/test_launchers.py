"""Sweeps, through the train command; their jobs are processes of their own."""

import contextlib
import csv
import json
import math
import os
import re
import signal
import sys

import pytest
import yaml

from sac_runner.storage.run_directory import RunDirectory
from sac_runner.storage.signed import read_signed
from sac_runner.storage.sweep_directory import SweepDirectory, SweepJob
from sac_runner.training.resume import from_its_weights
from tests.processes import Server, alive, soon
from tests.runs import BUDGET, TINY, policy

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, and looks for processes in /proc")
FAULTY = ["env=custom", "env.id=tests.scripted:Faulty-v0", "env.kwargs.at=40", *BUDGET]
FAULTS = ["raises", "leaves", "segfault", "killed", "hangs"]
CAUSES = {
    "raises": "the rotor came off",
    "leaves": "the window was closed",
    "segfault": "killed by signal 11 (Segmentation fault), Fatal Python error: Segmentation fault",
    "killed": "killed by signal 9 (out of memory?)",
    "hangs": "no sign of life for 0.05 minutes: ended; crash.log shows where it hung",
}


class Sweeps:
    """``sac-train`` where every test has its own folder of outputs."""

    def __init__(self, server, name):
        self.server, self.outputs = server, server.folder / name
        self._word = f"outputs={name}"

    def train(self, *arguments, signals=()):
        ending = self.server.run([*arguments, self._word], *signals)
        return ending, self.server.said()

    def refused(self, *arguments):
        ending, said = self.train(*arguments)
        assert ending.code == 2 and len(said.splitlines()) <= 3 and said.startswith("error: "), said
        assert not self.outputs.exists()
        return said

    @property
    def sweep(self):
        (found,) = (self.outputs / "sweeps").iterdir()
        return SweepDirectory(found)

    def runs(self):
        return {job.path: self.sweep.run(job) for job in self.sweep.jobs()}

    def states(self):
        return {job.path: self.sweep.status(job).state for job in self.sweep.jobs()}

    def policies(self):
        return {path: policy(run) for path, run in self.runs().items()}


def config_of(run):
    return yaml.safe_load(run.config_text())


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("sweeps") / "here") as server:
        yield server


@pytest.fixture
def sweeps(server, request):
    return Sweeps(server, re.sub(r"\W+", "-", request.node.name)[:80])


@pytest.fixture(scope="module")
def ragged(server):
    """Three settings, one of them without the keys of the others, and two seeds."""
    sweeps = Sweeps(server, "ragged")
    ending, said = sweeps.train("-m", *TINY, "alpha=auto,fixed_0.05,fixed", "seeds=2")
    assert ending.code == 0, said
    return sweeps, said


def test_a_sweep_makes_a_run_for_each_setting_and_seed(ragged):
    sweeps, said = ragged
    settings = ["  alpha=auto", "  alpha=fixed_0.05", "  alpha=fixed"]
    assert said.splitlines()[:4] == ["6 runs: 3 settings x 2 seeds", *settings]
    assert re.fullmatch(r"\d{8}-\d{6}_alpha", sweeps.sweep.path.name)
    runs = sweeps.runs()
    assert [*runs] == [f"alpha-{alpha}/s{seed}" for alpha in ("auto", "fixed_0.05", "fixed") for seed in (0, 1)]
    for path, run in runs.items():
        config, alpha = config_of(run), path.split("/")[0]
        assert f"s{config['seed']}" == path.split("/")[1] and run.read_summary()["status"] == "finished"
        assert config["alpha"].get("value") == {"alpha-fixed": 0.2, "alpha-fixed_0.05": 0.05}.get(alpha)
    assert len(set(sweeps.policies().values())) == 6
    names = {path.name for path in sweeps.sweep.path.iterdir()}
    of_the_sweep = {".lock", "jobs", "sweep.json", "sweep_summary.csv", "sweep_summary.json"}
    assert names == of_the_sweep | {path.split("/")[0] for path in runs}


def test_a_job_is_the_run_that_it_would_be_alone(ragged, server):
    sweeps, _ = ragged
    alone = server.folder / "alone"
    assert server.run([*TINY, "alpha=fixed_0.05", "seed=1", f"run.dir={alone}"]).code == 0
    assert policy(RunDirectory(alone)) == sweeps.policies()["alpha-fixed_0.05/s1"]


def test_at_its_end_there_is_a_table_best_first(ragged):
    sweeps, said = ragged
    lines = said[said.index(f"{sweeps.sweep.path.name}: 6 runs, 6 done") :].splitlines()
    assert lines[1].split() == ["setting", "seeds", "final", "return", "IQM", "[95%]", "best", "min/run"]
    assert {line.split()[0] for line in lines[2:5]} == {"alpha=auto", "alpha=fixed_0.05", "alpha=fixed"}
    assert all(line.split()[1] == "2/2" and "2 seeds: " in line for line in lines[2:5])
    finals = {path: run.read_summary()["scores"]["final"]["return_mean"] for path, run in sweeps.runs().items()}
    means = [math.fsum(finals[f"{line.split()[0].replace('=', '-')}/s{s}"] for s in (0, 1)) / 2 for line in lines[2:5]]
    assert means == sorted(means, reverse=True)
    assert lines[5].startswith(f"next     sac-compare {sweeps.sweep.path.relative_to(sweeps.server.folder)} | ")

    with (sweeps.sweep.path / "sweep_summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["run"]: float(row["final_return_mean"]) for row in rows} == finals
    assert [row["alpha"] for row in rows[::2]] == ["auto", "fixed_0.05", "fixed"] and rows[1]["seed"] == "1"
    summary = json.loads((sweeps.sweep.path / "sweep_summary.json").read_text())
    assert [setting["final_mean"] for setting in summary["settings"]] == pytest.approx(means)
    assert [run["state"] for run in summary["runs"]] == ["finished"] * 6


def test_a_sweep_that_is_done_has_nothing_left_to_do(ragged):
    sweeps, _ = ragged
    before = sweeps.policies()
    ending, said = sweeps.train(f"resume={sweeps.sweep.path}")
    assert ending.code == 0 and "6 of 6 runs done, 0 to go" in said and "6 runs, 6 done" in said
    assert sweeps.policies() == before


def test_a_sweep_goes_on_as_it_was_planned(ragged):
    sweeps, _ = ragged
    ending, said = sweeps.train(f"resume={sweeps.sweep.path.name}", "total_env_steps=100")
    assert ending.code == 2 and "can't change what its jobs are" in said and "resume=" in said.splitlines()[1]


def test_a_sweep_goes_on_with_the_launcher_that_it_had(ragged, server):
    sweeps, _ = ragged
    launcher = {"seeds": 2, "at_a_time": "auto", "hang_minutes": 10}
    assert sweeps.sweep.read_plan()["launcher"] == launcher
    other = SweepDirectory(server.folder / "another_sweep")
    other.path.mkdir()
    for change, said_of in [({"cluster": "moon"}, "hydra.launcher.cluster=moon must be"), ({}, "0 of 1 run done")]:
        other.write_plan({"launcher": launcher | change}, [SweepJob(0, "default/s0", {}, 0, 60)], [{}])
        assert said_of in sweeps.train(f"resume={other.path}", "dry_run=true")[1]
    ending, said = sweeps.train(f"resume={other.path}", "hydra.launcher.at_a_time=0", "dry_run=true")
    assert ending.code == 2 and "at_a_time=0 must be" in said
    other.write_plan({}, [], [])
    assert "does not say how its jobs were run" in sweeps.train(f"resume={other.path}")[1]


def test_a_launcher_that_is_not_there_and_an_option_that_it_has_not_are_answered(sweeps):
    said = sweeps.refused("-m", *TINY, "seed=0,1", "hydra/launcher=slrum")
    assert "hydra/launcher can be local, slurm" in said and "seed=0,1 hydra/launcher=slurm " in said
    assert "--cfg hydra --package hydra.launcher" in sweeps.refused("-m", *TINY, "seed=0,1", "hydra.launcher.at_time=3")


def test_seeds_is_a_sweep_by_itself_from_the_first_seed_on(sweeps):
    ending, said = sweeps.train(*TINY, "seeds=2", "seed=7", "run.name=twice", "eval.seed=${seed}")
    assert ending.code == 0 and said.splitlines()[0] == "2 runs: 1 setting x 2 seeds"
    assert sweeps.sweep.path.name.endswith("_twice")
    assert [*sweeps.runs()] == ["default/s7", "default/s8"]
    assert [config_of(run)["eval"]["seed"] for run in sweeps.runs().values()] == [7, 8]  # which follows it


def test_seeds_may_be_drawn_and_are_recorded(sweeps):
    assert sweeps.train(*TINY, "seed=null", "seeds=2", "env.kwargs.g=${seed}")[0].code == 0
    seeds = [config_of(run)["seed"] for run in sweeps.runs().values()]
    assert len(set(seeds)) == 2 and [f"default/s{seed}" for seed in seeds] == [*sweeps.runs()]


def test_tuned_values_follow_each_environment_of_a_sweep(sweeps):
    size = [x for x in BUDGET if not x.startswith("schedule.")]
    size += ["schedule.warmup_env_steps=20", "env.num_envs=1"]
    ending, said = sweeps.train("-m", "env=pendulum,lunarlander", *size)
    assert ending.code == 0, said
    norms = {path: config_of(run)["agent"]["critic_layer_norm"] for path, run in sweeps.runs().items()}
    assert norms == {"pendulum/s0": False, "lunarlander/s0": True}


@pytest.mark.parametrize(
    "fault",
    [
        ["seed=0,1", "seeds=2"],
        ["seed=0,1", "run.dir=mine"],
        ["seed=0,1", "hydra.launcher.hang_minutes=-1"],
        ["device=cpu,cuda:9"],
        ["init_from=nobody", "seeds=2"],
        ["alpha.target_entropy=0.5,1"],
        ["alpha=auto,fixed", "hydra.sweeper.max_batch_size=1"],
        ["sweep=alpha,learning_rate"],
        ["hydra.sweeper.params={alpha: auto}"],
        ["++hydra.sweeper.params.alpha=auto"],
        ["agent.tau=0.1,0.2", "++agent.tau=0.3"],
        ["env=glob(penduluu*)"],
        ["seed=range(5,5)"],
        ["dry_run=false,true"],
    ],
    ids=" ".join,
)
def test_a_fault_in_one_job_stops_the_sweep_before_anything_is_made(sweeps, fault):
    sweeps.refused("-m", *TINY, *fault)


@pytest.mark.parametrize("ids", ["NoSuchEnv-v0,Pendulum-v1", "CartPole-v1,Pendulum-v1"])
def test_an_environment_that_is_not_there_stops_the_sweep_before_anything_is_made(sweeps, ids):
    sweeps.refused("-m", "env=custom", "env.id=Pendulum-v1", *BUDGET, f"env.id={ids}")


def test_a_dry_run_of_a_sweep_makes_nothing(sweeps):
    ending, said = sweeps.train("-m", *TINY, "seed=0,1", "agent.tau=0.1,0.2", "dry_run=true")
    assert ending.code == 0 and "4 runs: 2 settings x 2 seeds" in said and "a dry run: nothing is written" in said
    assert not sweeps.outputs.exists()


def test_a_value_that_is_typed_twice_is_swept(sweeps):
    _, said = sweeps.train("-m", *TINY, "agent.tau=0.1", "agent.tau=0.1,0.2", "dry_run=true")
    assert said.splitlines()[:3] == ["2 runs: 2 settings x 1 seed", "  agent.tau=0.1", "  agent.tau=0.2"]


def test_a_sweep_by_hydras_mode_leaves_no_file(sweeps, server):
    before = {path.name for path in server.folder.iterdir()}
    ending, said = sweeps.train("hydra.mode=MULTIRUN", *TINY, "agent.tau=0.1,0.2", "dry_run=true")
    assert ending.code == 0 and said.startswith("2 runs: 2 settings x 1 seed")
    assert not {name for name in {path.name for path in server.folder.iterdir()} - before if "multirun" in name}


def test_a_ready_sweep_needs_no_m(sweeps):
    ending, said = sweeps.train("sweep=alpha", "seeds=1", *TINY, "dry_run=true")
    assert ending.code == 0 and "3 runs: 3 settings x 1 seed" in said


def test_each_fault_costs_its_own_job_alone_and_a_resume_runs_those_again(sweeps):
    whats = [*FAULTS, "nothing", "also-nothing"]
    limits = ["hydra.launcher.hang_minutes=0.05", "hydra.launcher.at_a_time=3"]
    sweep_of = ["-m", *FAULTY, f"env.kwargs.what={','.join(whats)}", *limits]
    ending, said = sweeps.train(*sweep_of)
    assert ending.code == 70 and "Traceback" not in said, said
    expected = {f"what-{what}/s0": "failed" if what in FAULTS else "finished" for what in whats}
    assert sweeps.states() == expected
    for what, cause in CAUSES.items():
        at_once, in_the_end = (line for line in said.splitlines() if line.startswith(f"failed   what-{what}/s0  "))
        assert cause in at_once and cause in in_the_end and " -> " in at_once
    assert "in _fault" in (sweeps.runs()["what-hangs/s0"].path / "crash.log").read_text()

    begun = {path: run.read_meta()["started"] for path, run in sweeps.runs().items()}
    logs = {job.path: sweeps.sweep.log_file(job).stat().st_size for job in sweeps.sweep.jobs()}
    mended = sweeps.server.folder / "mended"
    mended.touch()
    try:
        ending, said = sweeps.train("resume=last", *limits[1:])
    finally:
        mended.unlink()
    assert ending.code == 0 and "2 of 7 runs done, 5 to go" in said, said
    assert set(sweeps.states().values()) == {"finished"}
    healthy = {path for path, state in expected.items() if state == "finished"}
    assert all(sweeps.runs()[path].read_meta()["started"] == begun[path] for path in healthy)
    again = {job.path for job in sweeps.sweep.jobs() if sweeps.sweep.log_file(job).stat().st_size > logs[job.path]}
    assert again == {path for path, state in expected.items() if state == "failed"}
    assert len(set(sweeps.policies().values())) == 1  # all are the same run, however often it began


def test_a_job_that_can_not_begin_is_named_with_its_cause(sweeps):
    ids = "env.id=tests.scripted:Breaks-v0,tests.scripted:Countdown-v0"
    ending, said = sweeps.train("-m", "env=custom", ids, *BUDGET)
    assert ending.code == 70 and "can't be made" in said and "Traceback" not in said
    assert sorted(sweeps.states().values()) == ["failed", "finished"]


def test_ctrl_c_stops_and_saves_every_job_and_begins_no_other(sweeps, server):
    server.begin([*TINY, "total_env_steps=100_000", "seeds=4", "hydra.launcher.at_a_time=2", sweeps._word])
    assert soon(lambda: started(sweeps) and [*sweeps.states().values()].count("running") == 2), server.said()
    (launcher,) = re.findall(r"process (\d+)", (sweeps.sweep.path / ".lock").read_text())
    os.kill(int(launcher), signal.SIGINT)
    (ending,) = server.endings()
    assert ending.code == 130, server.said()
    assert [*sweeps.states().values()] == ["stopped", "stopped", "waiting", "waiting"]
    said = server.said()
    assert "4 runs, 0 done, 2 stopped, 2 waiting" in said and "(only these 4)" in said
    assert not any(alive(int(pid)) for pid in re.findall(r"process (\d+)", locks(sweeps)))


def locks(sweeps):
    return "".join((run.path / ".lock").read_text() for run in sweeps.runs().values() if run.path.exists())


def test_a_job_stops_and_saves_when_its_launcher_is_killed(sweeps, server):
    server.begin([*TINY, "total_env_steps=100_000", "seeds=1", sweeps._word])
    assert soon(lambda: started(sweeps) and [*sweeps.states().values()] == ["running"]), server.said()
    (launcher,) = re.findall(r"process (\d+)", (sweeps.sweep.path / ".lock").read_text())
    (job,) = re.findall(r"process (\d+)", locks(sweeps))
    os.kill(int(launcher), signal.SIGKILL)
    assert server.endings()[0].code == -signal.SIGKILL
    try:
        assert soon(lambda: [*sweeps.states().values()] == ["stopped"])
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(job), signal.SIGKILL)


def test_a_sweep_whose_jobs_die_without_a_word_does_not_end_with_0(sweeps):
    ending, said = sweeps.train("-m", *FAULTY, "env.kwargs.what=killed", "seeds=1")
    assert ending.code == 1 and "1 run, 0 done, 1 failed" in said


def started(sweeps):
    return (sweeps.outputs / "sweeps").is_dir() and sweeps.sweep.is_sweep


@pytest.mark.parametrize("done", [0, 3])
def test_a_sweep_that_was_killed_goes_on_to_the_same_end(sweeps, server, ragged, done):
    undisturbed, _ = ragged
    server.begin(["-m", *TINY, "alpha=auto,fixed_0.05,fixed", "seeds=2", sweeps._word])
    assert soon(lambda: started(sweeps) and has_come_to(sweeps, done)), server.said()
    (launcher,) = re.findall(r"process (\d+)", (sweeps.sweep.path / ".lock").read_text())
    os.kill(int(launcher), signal.SIGKILL)
    assert server.endings()[0].code == -signal.SIGKILL
    left = [path for path, state in sweeps.states().items() if state != "finished"]
    assert left
    ending, said = sweeps.train(f"resume={sweeps.sweep.path}")
    assert ending.code == 0, said
    assert sweeps.policies() == undisturbed.policies()
    assert set(sweeps.states().values()) == {"finished"}
    again = [job.path for job in sweeps.sweep.jobs() if "is finished" in sweeps.sweep.log_file(job).read_text()]
    assert again == []


def has_come_to(sweeps, done):
    states = [*sweeps.states().values()]
    return "running" in states and states.count("finished") >= done


def test_yaml_that_is_edited_in_mid_sweep_changes_nothing(sweeps, server):
    folder = server.folder / "my_conf" / "agent"
    folder.mkdir(parents=True)
    mine = "defaults: [sac]\ntau: {}\nhidden_sizes: [8, 8]\n"
    (folder / "mine.yaml").write_text(mine.format(0.25))
    tiny = [x for x in TINY if not x.startswith("agent.")]
    options = ["--config-dir", "my_conf", "-m", "seed=0,1,2,3", "hydra.launcher.at_a_time=1"]
    server.begin([*tiny, "agent=mine", *options, sweeps._word])
    assert soon(lambda: started(sweeps)), server.said()
    (folder / "mine.yaml").write_text(mine.format(0.75))
    assert server.endings()[0].code == 0, server.said()
    assert [config_of(run)["agent"]["tau"] for run in sweeps.runs().values()] == [0.25] * 4
    anew = [from_its_weights(run) for run in sweeps.runs().values()]
    assert [line.partition(" init_from=")[0] for line in anew] == ["--config-dir my_conf"] * 4


def test_an_optimizing_sweeper_grows_one_sweep_and_never_tunes_a_seed(sweeps, server):
    """``tests.climber`` proposes one setting after the other from what the ones before returned."""
    options = ["hydra/sweeper=climber", "hydra.searchpath=[pkg://tests.conf]", "hydra.launcher.at_a_time=2"]
    fails = ["env=custom", "env.id=tests.scripted:Fails-v0", *BUDGET]
    ending, said = sweeps.train(*fails, "-m", "env.kwargs.at=1000", "seeds=2", *options)
    assert ending.code == 70, said
    jobs = sweeps.sweep.jobs()
    assert [(job.setting, job.seed) for job in jobs] == [
        (setting, seed)
        for setting in ({"agent.tau": "0.1"}, {"agent.tau": "0.2"}, {"agent.tau": "0.3", "env.kwargs.at": "3"})
        for seed in (0, 1)
    ]
    assert [*sweeps.states().values()] == ["finished"] * 4 + ["failed"] * 2
    returned = json.loads((sweeps.sweep.path / "climbed.json").read_text())
    finals = [sweeps.sweep.status(job).scores["final"]["return_mean"] for job in jobs[:4]]
    assert returned[:2] == pytest.approx([sum(finals[:2]) / 2, sum(finals[2:]) / 2])
    assert math.isfinite(returned[2]) and returned[2] <= min(finals)
    assert said.count("6 runs, 4 done, 2 failed") == 1 and not (sweeps.sweep.path / "multirun.yaml").exists()


def test_an_optimizing_sweeper_that_looks_for_the_lowest_return_is_refused(sweeps):
    options = ["hydra/sweeper=climber", "hydra.searchpath=[pkg://tests.conf]", "hydra.sweeper.direction=minimize"]
    said = sweeps.refused("-m", *TINY, *options)
    assert "hydra.sweeper.direction=minimize looks for the lowest return" in said
    assert " hydra.sweeper.direction=maximize outputs=" in said  # the whole command, mended


def test_a_job_that_was_continued_by_hand_is_finished_by_its_sweep(sweeps):
    fails = ["env=custom", "env.id=tests.scripted:Faulty-v0", "env.kwargs.at=5", "env.kwargs.what=raises", *BUDGET]
    assert sweeps.train(*fails, "seeds=1")[0].code == 70
    job = sweeps.sweep.path / "default" / "s0"
    files = {file: file.read_bytes() for file in sweeps.sweep.path.rglob("*") if file.is_file()}
    ending, said = sweeps.train(f"resume={job}", "dry_run=true")
    assert ending.code == 70 and "a dry run: nothing is written" in said and "continuing at 0 env steps" in said
    assert {file: file.read_bytes() for file in sweeps.sweep.path.rglob("*") if file.is_file()} == files
    assert sweeps.train(f"resume={job}", "log.every_env_steps=7")[0].code == 70
    assert sweeps.sweep.read_end(sweeps.sweep.jobs()[0]) is None  # which was an earlier process's
    mended = sweeps.server.folder / "mended"
    mended.touch()
    try:
        ending, said = sweeps.train(f"resume={sweeps.sweep.path}")
    finally:
        mended.unlink()
    assert ending.code == 0 and [*sweeps.states().values()] == ["finished"], said


def test_a_job_file_that_leads_elsewhere_is_refused(ragged, server):
    sweeps, _ = ragged
    file = sweeps.sweep.job_file(sweeps.sweep.jobs()[0])
    other = SweepDirectory(server.folder / "sent")
    other.path.mkdir()
    for path in ("../../escaped/s0", str(server.folder / "escaped"), "a/b/c"):
        job = SweepJob(0, "default/s0", {}, 0, 60)
        other.write_plan({}, [job], [{**read_signed(file), "path": path}])
        ending = server.run(["--job", other.job_file(job)])
        assert ending.code == 2 and "is not a job of a sweep" in server.said()
    assert not (server.folder / "escaped").exists()


def test_two_launchers_never_run_one_sweep(ragged, server):
    sweeps, _ = ragged
    from sac_runner.storage.lock import RunLock

    with RunLock(sweeps.sweep.path):
        ending, said = sweeps.train(f"resume={sweeps.sweep.path}")
    assert ending.code == 73 and "is in use by process" in said
