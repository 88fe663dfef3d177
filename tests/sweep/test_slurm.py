"""Sweeps on a cluster: on submitit's executor for this machine, on a SLURM of scripts, on a true one where there is."""

import errno
import math
import os
import re
import shlex
import shutil
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from sac_runner.commands.runs import main as runs
from sac_runner.config.compose import CONF, compose_config
from sac_runner.errors import WrongInput
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.storage.status import is_owned
from sac_runner.storage.sweep_directory import Ended, SweepDirectory
from sac_runner.sweep import session, submission
from sac_runner.sweep.launchers import executor, limits
from sac_runner.sweep.resources import Allotment, Needs
from sac_runner.sweep.session import Limits, Session
from sac_runner.sweep.slurm import check
from sac_runner.sweep.slurm_job import STOPPED
from tests.processes import ROOT, soon
from tests.runs import BUDGET, TINY, policy, train
from tests.storage.written import write_sweep

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
SLURM = "hydra/launcher=slurm"
HERE = [SLURM, "hydra.launcher.cluster=local"]
OPTIONS = yaml.safe_load((CONF / "hydra/launcher/slurm.yaml").read_text()) | {"cluster": "local"}
WAITS = ["env=custom", "env.id=tests.scripted:Waits-v0", *BUDGET]


class Folder:
    """Where sweeps are launched; their outputs are in ``outputs``."""

    def __init__(self, path):
        self.path = path

    @property
    def sweep(self):
        (found,) = (self.path / "outputs/sweeps").iterdir()
        return SweepDirectory(found)

    def run(self, number):
        return self.sweep.run(self.sweep.jobs()[number])

    def states(self):
        return [self.sweep.status(job).state for job in self.sweep.jobs()]

    def log(self, number):
        file = self.sweep.log_file(self.sweep.jobs()[number])
        return file.read_text() if file.exists() else ""


def entered(patch, path):
    """``path`` as the working directory of this process and of those that it starts; nothing is measured."""
    path.mkdir(exist_ok=True)
    patch.chdir(path)
    patch.setenv("PYTHONPATH", str(ROOT))
    patch.setattr(session, "measure", lambda configs: [Needs(0.0, 0, 0, 0)] * len(configs))
    return Folder(path)


@pytest.fixture
def here(monkeypatch, tmp_path):
    return entered(monkeypatch, tmp_path / "here")


def while_it_runs(meanwhile, *arguments):
    """``sac-train``, and ``meanwhile`` in a thread; where that fails, Ctrl-C."""

    def watched():
        try:
            meanwhile()
        except BaseException:
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(1)
            raise

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(watched)
        answer = train(*arguments)
        done.result()
    return answer


def owner(run):
    """The process that trains in ``run``."""
    found = re.search(r"process (\d+)", (run.path / ".lock").read_text())
    return int(found[1])


def parent(process):
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def first_step(here):
    """Whether the first run has begun, and waits in its first step."""
    return bool([*Path("outputs/sweeps").glob("*/sweep.json")]) and "first observations" in here.log(0)


@contextmanager
def waiting_runs(here):
    """Once the first run waits in its first step; runs go on after it, at the latest when it has heard of a stop."""
    try:
        assert soon(lambda: first_step(here) and is_owned(here.run(0).path), 120)
        yield
        assert soon(lambda: "stopping and saving" in here.log(0))
    finally:
        Path("wait").unlink()


@pytest.fixture(scope="module")
def preempted(tmp_path_factory):
    """A run that is pre-empted in its first step, and one that fails."""
    with pytest.MonkeyPatch.context() as patch:
        here = entered(patch, tmp_path_factory.mktemp("slurm") / "here")
        Path("wait").touch()

        def preempt():
            with waiting_runs(here):
                os.kill(parent(owner(here.run(0))), signal.SIGUSR2)  # as SLURM does

        ids = "env.id=tests.scripted:Waits-v0,tests.scripted:Fails-v0"
        answer = while_it_runs(preempt, "-m", "env=custom", ids, *BUDGET, "hydra.launcher.at_a_time=2", *HERE)
        yield here, answer


def test_a_job_that_was_preempted_goes_on_in_its_own_run(preempted):
    here, answer = preempted
    assert here.run(0).read_summary()["status"] == "finished", answer.err
    assert re.findall("^(stopped at|continuing at) ", here.log(0), re.M) == ["stopped at", "continuing at"]
    assert [path for path in here.sweep.path.glob("*/s*") if "Waits" in path.parent.name] == [here.run(0).path]


def test_it_ends_as_if_nothing_had_happened(preempted):
    here, _ = preempted
    answer = train(*WAITS, "run.dir=alone")
    assert answer.code == 0 and policy(RunDirectory(Path("alone"))) == policy(here.run(0))


def test_a_job_that_fails_on_a_cluster_costs_itself_alone(preempted):
    here, answer = preempted
    assert here.states() == ["finished", "failed"]
    assert answer.code == 70 and "Traceback" not in answer.err
    named = [line for line in answer.err.splitlines() if line.startswith("failed ")]
    assert len(named) == 2 and all("the rotor came off" in line for line in named), answer.err


@pytest.mark.slow
def test_ctrl_c_has_jobs_of_a_cluster_save_and_begins_no_other(here):
    Path("wait").touch()

    def interrupt():
        with waiting_runs(here):
            os.kill(os.getpid(), signal.SIGINT)

    answer = while_it_runs(interrupt, *WAITS, "seeds=2", "hydra.launcher.at_a_time=1", *HERE)
    assert answer.code == 130 and here.states() == ["stopped", "waiting"], answer.err


SBATCH = """
printf '7_0\\n7_1\\n' > {folder}/queue
echo 'slurmstepd-n1: error: *** JOB 7 ON n1 CANCELLED DUE TO TIME LIMIT ***' > "$(dirname "$1")/7_0_0_log.err"
echo 'srun: error: n1: task 0: Killed' >> "$(dirname "$1")/7_0_0_log.err"
cp "$1" {folder}/new
mv {folder}/new {folder}/submitted
echo Submitted batch job 7
"""


class Scripts:
    """A SLURM of shell scripts: it takes jobs and runs none."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        self.queue("")
        scripts = {
            "srun": "exit 1",
            "sbatch": SBATCH.format(folder=folder),
            "squeue": f'echo "$@" > {folder}/asked; cat {folder}/queue',
            "scancel": f'echo "$@" >> {folder}/cancelled; : > {folder}/queue',
        }
        for name, text in scripts.items():
            self.script(name, text)

    def script(self, name, text):
        (self.folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (self.folder / name).chmod(0o755)

    def queue(self, jobs):
        (self.folder / "queue").write_text(jobs)

    def __getattr__(self, name):
        return (self.folder / name).read_text()


@pytest.fixture
def scripts(here, monkeypatch, tmp_path):
    scripts = Scripts(tmp_path / "slurm")
    monkeypatch.setenv("PATH", f"{scripts.folder}:{os.environ['PATH']}")
    monkeypatch.setattr(submission, "_LOOK_S", 0.1)
    monkeypatch.setattr(submission, "_LOOK_WHILE_STOPPING_S", 0.1)
    return scripts


def test_a_sweep_is_one_array_with_what_was_asked_for(here, scripts):
    asked = ["hydra.launcher.timeout_min=90", "hydra.launcher.at_a_time=1", "hydra.launcher.account=me"]
    asked += ["hydra.launcher.cpus_per_task=3", "+hydra.launcher.exclude=node7"]

    def take_back():
        assert soon(lambda: (scripts.folder / "submitted").exists())
        scripts.queue("")

    answer = while_it_runs(take_back, "-m", *TINY, "threads=auto", "seeds=2", SLURM, *asked)
    flags = dict(re.findall(r"^#SBATCH --([\w-]+)=(.*)$", scripts.submitted, re.M))
    expected = {"array": "0-1%1", "time": "90", "cpus-per-task": "3", "mem": "8GB", "account": "me", "exclude": "node7"}
    assert expected.items() <= flags.items() and "partition" not in flags
    assert flags["job-name"] == f"sac-{here.sweep.path.name}"
    assert "--cpus-per-task=3" in scripts.submitted.splitlines()[-1]
    assert f"--name {flags['job-name']} " in scripts.asked
    assert answer.code == 1 and here.states() == ["failed"] * 2
    causes = [here.sweep.status(job).cause for job in here.sweep.jobs()]
    assert "DUE TO TIME LIMIT" in causes[0] and causes[1] == "left the queue before it began"
    assert all(answer.err.count(cause) == 2 for cause in causes), answer.err


def test_ctrl_c_takes_back_what_waits_and_signals_what_runs(here, scripts):
    def interrupt():
        assert soon(lambda: (scripts.folder / "submitted").exists())
        os.kill(os.getpid(), signal.SIGINT)

    answer = while_it_runs(interrupt, *TINY, "seeds=2", SLURM)
    assert answer.code == 130 and here.states() == ["waiting"] * 2
    waits, runs = scripts.cancelled.splitlines()
    assert waits.endswith("--state=PENDING") and runs.endswith("--state=RUNNING --signal=SIGUSR1")


def test_a_cluster_that_takes_no_order_to_stop_is_named(here, scripts):
    scripts.script(
        "scancel", f"echo scancel: error: Unable to contact slurm controller >&2; : > {scripts.folder}/queue"
    )

    def interrupt():
        assert soon(lambda: (scripts.folder / "submitted").exists())
        os.kill(os.getpid(), signal.SIGINT)

    answer = while_it_runs(interrupt, *TINY, "seeds=2", SLURM)
    assert answer.code == 130 and answer.err.count("Unable to contact slurm controller") == 2
    assert f"not all jobs were told to stop; later: scancel --name sac-{here.sweep.path.name}" in answer.err


def test_a_disk_that_takes_no_submission_is_named(here, scripts, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("submitit.AutoExecutor.submit_array", full)
    answer = train(*TINY, "seeds=2", SLURM)
    assert answer.code == 74 and "No space left on device" in answer.err and "Traceback" not in answer.err


def test_what_a_cluster_refuses_is_named(here, scripts):
    scripts.script("sbatch", "echo sbatch: error: invalid partition specified: gpu >&2; exit 1")
    answer = train(*TINY, "seeds=2", SLURM, "hydra.launcher.partition=gpu")
    assert answer.code == 2 and "invalid partition specified: gpu" in answer.err and "Traceback" not in answer.err


def test_a_sweep_that_was_refused_goes_on_with_another_option_and_all_others_as_they_were(here, scripts):
    refuses, accepts = "echo sbatch: error: invalid partition >&2; exit 1", SBATCH.format(folder=scripts.folder)
    scripts.script("sbatch", refuses)
    asked = ["hydra.launcher.partition=gpu", "hydra.launcher.mem_gb=32", "hydra.launcher.timeout_min=600"]
    assert train(*TINY, "seeds=2", SLURM, *asked).code == 2

    def take_back():
        assert soon(lambda: (scripts.folder / "submitted").exists())
        scripts.queue("")

    for change in (["hydra.launcher.partition=cpu"], [SLURM, "hydra.launcher.timeout_min=90"], []):
        scripts.script("sbatch", accepts)
        while_it_runs(take_back, "resume=last", *change)
        flags = dict(re.findall(r"^#SBATCH --([\w-]+)=(.*)$", scripts.submitted, re.M))
        minutes = "600" if "partition" in "".join(change) else "90"
        assert {"partition": "cpu", "mem": "32GB", "time": minutes}.items() <= flags.items()
        (scripts.folder / "submitted").unlink()
    assert here.sweep.read_plan()["launcher"]["partition"] == "cpu"
    for more in ({"nice": 7}, {"nodelist": "b"}):  # one within the other
        scripts.script("sbatch", accepts)
        ((name, value),) = more.items()
        while_it_runs(take_back, "resume=last", f"hydra.launcher.additional_parameters.{name}={value}")
        (scripts.folder / "submitted").unlink()
    assert here.sweep.read_plan()["launcher"]["additional_parameters"] == {"nice": 7, "nodelist": "b"}


def test_a_job_that_a_cluster_has_is_followed_and_not_run_a_second_time_or_removed(here, scripts, monkeypatch, capsys):
    def empty_the_queue():
        assert soon(lambda: (scripts.folder / "submitted").exists())
        (scripts.folder / "submitted").unlink()
        scripts.queue("")

    while_it_runs(empty_the_queue, *TINY, "seeds=2", SLURM)
    scripts.queue("7_1\n")  # as if its launcher had been killed before
    for launcher in (SLURM, "hydra/launcher=local"):
        answer = train("resume=last", launcher)
        assert answer.code == 73 and "SLURM still has 1 job of" in answer.err and "scancel --name sac-" in answer.err
    assert train(*TINY, "run.name=single").code == 0
    runs(["--prune", "runs", "--yes"])
    said = capsys.readouterr()
    assert (
        f"{here.sweep.path.name} stays: SLURM still has 1 job of" in said.out and "removed 1 run" in said.out + said.err
    )
    runs(["--prune", "runs", "--yes"])
    assert "stays: SLURM" in (nothing := capsys.readouterr().err) and "nothing to remove" in nothing
    assert here.sweep.is_sweep
    pauses = []

    def sleep(seconds):
        pauses.append(seconds)
        scripts.queue("")

    monkeypatch.setattr(
        "sac_runner.commands.runs.time", SimpleNamespace(sleep=sleep, time=time.time, monotonic=time.monotonic)
    )
    with pytest.raises(SystemExit, match="1"):
        runs(["--follow", "last"])
    assert len(pauses) == 1 and pauses[0] >= 5 and "nobody runs it" in capsys.readouterr().out
    answer = while_it_runs(empty_the_queue, "resume=last", SLURM)
    assert answer.code == 1 and "2 to go" in answer.err
    scripts.script("squeue", "exit 1")
    answer = train("resume=last", SLURM)
    assert answer.code == 73 and "squeue can't say" in answer.err and "rm -r" in answer.err


def refused(*arguments):
    answer = train("-m", *TINY, "seed=0,1", *arguments)
    assert answer.code == 2 and answer.err.startswith("error: ") and len(answer.err.splitlines()) <= 3, answer.err
    assert not Path("outputs").exists()
    return answer.err


def test_without_the_extra_it_is_named(here, monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    said = refused(SLURM)
    install = f"  try: {shlex.quote(sys.executable)} -m pip install 'submitit>=1.5'\n"
    assert "needs submitit, which comes with the extra slurm" in said and said.endswith(install)


def test_without_slurm_it_says_so(here, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert "no srun on this machine" in refused(SLURM)


def test_an_option_that_can_not_be_is_named_before_anything_is_made(here):
    assert 'hydra.launcher: Parameter "mem_gb" expected' in refused(*HERE, "hydra.launcher.mem_gb=much")


def test_an_option_of_slurm_is_none_of_this_machine(here):
    said = refused("+hydra.launcher.partition=gpu")
    assert "hydra.launcher.partition: hydra/launcher=local has no such option" in said


@pytest.mark.parametrize("cluster", ["slurm", "local"])
def test_a_cluster_under_the_launcher_of_this_machine_is_answered(cluster):
    parameters = {"seeds": 2, "at_a_time": "auto", "hang_minutes": 10, "cluster": cluster}
    assert limits(parameters).cores is None
    with pytest.raises(WrongInput, match="cpus_per_task is missing: cluster belongs to hydra/launcher=slurm") as said:
        executor(parameters)
    assert f"{SLURM} hydra.launcher.cluster={cluster}" in said.value.remedy


def test_jobs_on_this_machine_take_its_gpus_in_turn(tmp_path, monkeypatch):
    sweep, jobs = write_sweep(tmp_path / "sweep", "alpha=auto", seeds=3)
    given, looks = [], iter([{"0"}, {"0"}])  # the second job ends before the first

    class Cluster:
        queues = False

        def submit(self, jobs):
            given.extend(job.environment["CUDA_VISIBLE_DEVICES"] for job in jobs)
            return [str(job.job.number) for job in jobs]

        def queued(self, each_s):
            return next(looks, set())

    submit(sweep, jobs, Cluster(), monkeypatch, Allotment(2, 1, ["4", "7"]))
    assert given == ["4", "7", "7"]


def submit(sweep, jobs, cluster, monkeypatch, allotment):
    """Run ``jobs`` on ``cluster``, which only pretends."""
    monkeypatch.setattr(submission, "executor_for", lambda *_, **__: None)
    for kind in ("Here", "Slurm"):
        monkeypatch.setattr(submission, kind, lambda *_: cluster)
    monkeypatch.setattr(submission, "_POLL_S", 0.0)
    board = SimpleNamespace(update=lambda: None, say=lambda words: None)
    options = {"cluster": "slurm" if cluster.queues else "local"}
    submission.Submission(sweep, allotment, math.inf, board, options).run(jobs)


def test_a_job_that_slurm_has_pre_empted_is_watched_until_it_is_done(tmp_path, monkeypatch):
    sweep, jobs = write_sweep(tmp_path / "sweep", "alpha=auto", seeds=2)
    looks = []

    class Cluster:
        queues = True

        def submit(self, jobs):
            return [str(job.job.number) for job in jobs]

        def queued(self, each_s):
            looks.append(1)
            if len(looks) == 2:
                sweep.write_end(jobs[0], Ended(STOPPED, "stopped by the cluster"))
                sweep.write_end(jobs[1], Ended(70, "the rotor came off"))
            return {"0", "1"} if len(looks) < 9 else set()

    submit(sweep, jobs, Cluster(), monkeypatch, Allotment(2, 1, []))
    assert len(looks) == 9  # the queue has the first for so long
    assert [sweep.read_end(job).exit_code for job in jobs] == [STOPPED, 70]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("cluster", "mars"),
        ("timeout_min", "4h"),
        ("timeout_min", None),
        ("max_requeues", -1),
        ("cpus_per_task", 0),
        ("gpus_per_node", "all"),
        ("no_such", 1),
    ],
)
def test_each_option_is_checked(key, value):
    check(OPTIONS)
    with pytest.raises(WrongInput, match=key):
        check(OPTIONS | {key: value})


def test_the_cores_of_a_cluster_are_not_those_of_this_machine(monkeypatch):
    measured = []
    monkeypatch.setattr(session, "measure", lambda configs: measured.extend(configs) or [Needs(0.0, 0, 0, 1)])
    config = replace(compose_config(TINY), threads="auto", device="cuda:7")
    allotment, _ = Session([])._allot([config] * 300, Limits(None, None, 64, {}))
    assert allotment == Allotment(300, 64, [])
    assert {config.device for config in measured} == {"auto"}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("sinfo") is None, reason="no SLURM here")
def test_on_a_true_cluster_runs_are_those_that_they_would_be_alone(here):
    options = ["hydra.launcher.mem_gb=null", "hydra.launcher.cpus_per_task=1", "hydra.launcher.timeout_min=20"]
    answer = train(*TINY, "seeds=2", SLURM, *options)
    assert answer.code == 0, answer.err
    assert train(*TINY, "seed=1", "run.dir=alone").code == 0
    assert policy(RunDirectory(Path("alone"))) == policy(here.run(1))
