"""A sweep of the real command, each of its jobs a real process: what ``test_launchers`` shows with forked ones."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sac_runner.storage.sweep_directory import SweepDirectory
from tests.processes import ROOT, soon
from tests.runs import TINY, policy
from tests.sweep.test_launchers import CAUSES, FAULTS, FAULTY

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")]
COMMAND = [sys.executable, "-m", "sac_runner.commands.train"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


def begin(*arguments):
    return subprocess.Popen([*COMMAND, *arguments], stderr=subprocess.PIPE, text=True)


def train(*arguments):
    process = begin(*arguments)
    said = process.communicate(timeout=600)[1]
    return process.returncode, said


def the_sweep(outputs):
    (found,) = Path(outputs, "sweeps").iterdir()
    return SweepDirectory(found)


def states(sweep):
    return {job.path: sweep.status(job).state for job in sweep.jobs()}


def test_of_twelve_jobs_five_have_faults_and_seven_finish(here):
    whats = [f"fine-{i}" for i in range(7)]
    planted = [w for pair in zip(whats, FAULTS, strict=False) for w in pair] + whats[5:]
    options = [f"env.kwargs.what={','.join(planted)}", "hydra.launcher.hang_minutes=0.5"]
    code, said = train("-m", *FAULTY, *options)
    assert code == 70 and "Traceback" not in said, said
    sweep = the_sweep("outputs")
    expected = {f"what-{what}/s0": "failed" if what in FAULTS else "finished" for what in planted}
    assert states(sweep) == expected and [*expected.values()].count("finished") == 7
    for what, cause in CAUSES.items():
        told = [line for line in said.splitlines() if line.startswith(f"failed   what-{what}/s0  ")]
        assert len(told) == 2 and all(cause.replace("0.05", "0.5") in line for line in told), said
    begun = {job.path: sweep.run(job).read_meta()["started"] for job in sweep.jobs()}
    Path("mended").touch()
    code, said = train("resume=last")
    assert code == 0 and "7 of 12 runs done, 5 to go" in said, said
    assert set(states(sweep).values()) == {"finished"}
    again = {job.path for job in sweep.jobs() if sweep.run(job).read_meta()["started"] != begun[job.path]}
    assert again == {path for path, state in expected.items() if state == "failed"}


@pytest.mark.parametrize("whole", [False, True])
def test_killed_in_mid_run_it_comes_to_the_end_of_an_undisturbed_one(here, whole):
    asked = ["-m", *TINY, "total_env_steps=600", "log.every_env_steps=50", "alpha=auto,fixed_0.05,fixed", "seeds=2"]
    assert train(*asked, "outputs=undisturbed")[0] == 0
    process = begin(*asked, "outputs=killed")
    assert soon(lambda: Path("killed/sweeps").is_dir() and the_sweep("killed").is_sweep, 60)
    sweep = the_sweep("killed")
    assert soon(lambda: [*states(sweep).values()].count("finished") >= 2 and "running" in states(sweep).values(), 120)
    running = [sweep.run(job).path for job in sweep.jobs() if sweep.status(job).state == "running"]
    owners = [int(re.findall(r"process (\d+)", (path / ".lock").read_text())[0]) for path in running]
    for pid in [process.pid, *(owners if whole else [])]:
        os.kill(pid, signal.SIGKILL)
    process.communicate()
    code, said = train("resume=last", "outputs=killed")
    assert code == 0, said
    expected = the_sweep("undisturbed")
    assert {job.path: policy(sweep.run(job)) for job in sweep.jobs()} == {
        job.path: policy(expected.run(job)) for job in expected.jobs()
    }
    starts = [len(re.findall(r"^done ", sweep.log_file(job).read_text(), re.M)) for job in sweep.jobs()]
    assert starts == [1] * 6  # every job was done once
