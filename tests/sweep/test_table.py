"""What is said of a sweep's results, from directories written by hand."""

import csv
import json
import shutil
import statistics

import numpy as np
import pytest

from sac_runner.analysis.statistics import iqm, iqm_interval
from sac_runner.storage.metrics_file import MetricsFile, Written
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.storage.sweep_directory import Ended, SweepDirectory, SweepJob
from sac_runner.sweep.table import WORST_RETURN, job_returns, summarize


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    monkeypatch.delenv("SAC_SCRIPTS", raising=False)
    folder = tmp_path / "20260101-120000_alpha"
    folder.mkdir()
    return SweepDirectory(folder)


def plan(sweep, *settings):
    """Jobs named ``<alpha>/s<seed>`` for (alpha, number of seeds)."""
    jobs = [(alpha, seed) for alpha, seeds in settings for seed in range(seeds)]
    planned = [SweepJob(i, f"{a}/s{seed}", {"alpha": a}, seed, 1000) for i, (a, seed) in enumerate(jobs)]
    sweep.write_plan({"name": "alpha"}, planned, [{} for _ in planned])
    return planned


def ran(sweep, job, final=None, best=None, status="finished", cause=None, env_steps=1000, evals=(), at=1000):
    run = sweep.run(job)
    run.path.mkdir(parents=True)
    run.write_start("seed: 0\n", {})
    scores = {} if final is None else {"final": score(final, at), "best": score(best or final, 500)}
    said = {"status": status, "cause": cause, "env_steps": env_steps, "wall_time_s": 120.0, "scores": scores}
    run.write_summary(said)
    if evals:
        file = MetricsFile(run, ["eval/return_mean"], Written(-1, 0))
        for i, value in enumerate(evals):
            file.write(i, 0, {"eval/return_mean": value})
        file.close()


def test_returns_of_unequal_length_are_said_to_be_that(sweep):
    jobs = plan(sweep, ("a", 2), ("b", 1))
    for job in jobs[:2]:
        ran(sweep, job, 1.0)
    assert "caution" not in summarize(sweep)
    ran(sweep, jobs[2], 1.0, at=1003)  # the last step of several environments
    assert "caution" not in summarize(sweep)
    shutil.rmtree(sweep.run(jobs[2]).path)
    ran(sweep, jobs[2], 1.0, at=3000)
    said = "caution: final returns are of 1,000 to 3,000 env steps; compare scores all where the shortest ends"
    assert said in summarize(sweep).splitlines()


def test_environments_are_not_ranked_against_each_other_nor_called_unequal(sweep):
    planned = [
        SweepJob(i, f"{i}/s0", {"env": env, "alpha": a}, 0, 9) for i, (env, a) in enumerate(["pa", "lb", "pc", "ld"])
    ]
    sweep.write_plan({"name": "alpha"}, planned, [{} for _ in planned])
    for job, final in zip(planned, (-300.0, 200.0, -200.0, 250.0), strict=True):
        ran(sweep, job, final, at=1000 if job.setting["env"] == "p" else 3000)
    assert "caution" not in summarize(sweep)
    labels = [line.split()[0] + line.split()[1] for line in summarize(sweep).splitlines()[2:6]]
    assert labels == ["env=palpha=c", "env=palpha=a", "env=lalpha=d", "env=lalpha=b"]


def score(mean, at):
    return {"return_mean": mean, "return_std": 3.0, "env_steps": at}


def rows(text):
    return [line.split() for line in text.splitlines()]


def test_settings_stand_best_first_and_few_seeds_stand_by_themselves(sweep):
    jobs = plan(sweep, ("low", 2), ("high", 5), ("none", 1))
    finals = [10.0, 30.0, 200.0, 210.0, 220.0, 250.0, 120.0]
    for job, final in zip(jobs, finals, strict=False):
        ran(sweep, job, final, best=final + 5)
    ran(sweep, jobs[-1], status="failed", cause="the rotor came off", env_steps=40)
    lines = summarize(sweep).splitlines()
    assert lines[0] == "20260101-120000_alpha: 8 runs, 7 done, 1 failed, 16:00 of training"
    assert [line.split()[0] for line in lines[1:5]] == ["setting", "alpha=high", "alpha=low", "alpha=none"]
    high = np.array(finals[2:])
    low, up = iqm_interval(high)
    assert lines[2].split() == [
        *("alpha=high", "5/5", "200", "+-", f"{statistics.stdev(high):.3g}", f"{iqm(high):.0f}"),
        *(f"[{low:.0f},", f"{up:.0f}]", "205", "2.0"),
    ]
    assert lines[3].split() == ["alpha=low", "2/2", "20", "+-", "14.1", "2", "seeds:", "10", "30", "25", "2.0"]
    assert lines[4].split() == ["alpha=none", "0/1", "-", "-", "-"]


def test_what_is_not_done_is_named_with_its_cause_and_what_goes_on_with_it(sweep):
    jobs = plan(sweep, ("a", 5))
    ran(sweep, jobs[0], 1.0)
    ran(sweep, jobs[1], status="failed", cause="the rotor came off", env_steps=1234)
    ran(sweep, jobs[2], status="running")
    sweep.write_end(jobs[2], Ended(137, "killed by signal 9 (out of memory?)"))
    ran(sweep, jobs[3], status="stopped", cause="Ctrl-C", env_steps=50)
    sweep.log_file(jobs[1]).write_text("error: the rotor came off")
    text = summarize(sweep)
    assert f"failed   a/s1  the rotor came off at 1,234 -> {sweep.log_file(jobs[1])}" in text
    assert f"failed   a/s2  killed by signal 9 (out of memory?) at 1,000 -> {sweep.path}/jobs\n" in text
    assert "stopped  a/s3  Ctrl-C at 50, saved" in text
    assert text.splitlines()[0].startswith("20260101-120000_alpha: 5 runs, 1 done, 2 failed, 1 stopped, 1 waiting, ")
    assert text.splitlines()[-1].startswith(f"next     sac-train resume={sweep.path} (only these 4) | sac-compare ")


def test_a_job_that_was_killed_with_its_launcher_is_to_go_on(sweep):
    (job,) = plan(sweep, ("a", 1))
    ran(sweep, job, status="running", env_steps=10)
    assert "killed   a/s0  ended without a word at 10 -> " in summarize(sweep)
    assert summarize(sweep).endswith(f"\nnext     sac-train resume={sweep.path} (only this 1)")  # none has a score yet


def test_a_job_that_was_interrupted_unsaved_is_not_said_to_be_saved(sweep):
    (job,) = plan(sweep, ("a", 1))
    ran(sweep, job, status="stopped", cause="KeyboardInterrupt, not saved", env_steps=10)
    assert "stopped  a/s0  KeyboardInterrupt, not saved at 10\n" in summarize(sweep)


def test_files_hold_every_run_and_every_setting(sweep):
    jobs = plan(sweep, ("a", 2), ("b", 1))
    ran(sweep, jobs[0], 1.5, best=2.5)
    ran(sweep, jobs[1], status="failed", cause='it said "no", twice\nand left')
    summarize(sweep)
    with (sweep.path / "sweep_summary.csv").open() as file:
        found = list(csv.DictReader(file))
    assert [(row["run"], row["seed"]) for row in found] == [("a/s0", "0"), ("a/s1", "1"), ("b/s0", "0")]
    assert [row["state"] for row in found] == ["finished", "failed", "waiting"]
    assert found[0] | {"final_return_mean": "1.5", "best_return_mean": "2.5", "best_env_steps": "500"} == found[0]
    assert found[1]["cause"] == 'it said "no", twice\nand left' and found[1]["final_return_mean"] == ""
    data = json.loads((sweep.path / "sweep_summary.json").read_text())
    assert [setting["setting"] for setting in data["settings"]] == ["alpha=a", "alpha=b"]
    assert data["settings"][0]["final_returns"] == [1.5] and data["settings"][1]["final_mean"] is None


def test_a_sweeper_gets_the_final_mean(sweep):
    jobs = plan(sweep, ("a", 1))
    ran(sweep, jobs[0], 12.5, best=99.0)
    assert job_returns(sweep, jobs, jobs) == [12.5]


def test_a_sweeper_gets_a_finite_number_that_no_failure_makes_tempting(sweep):
    jobs = plan(sweep, ("a", 4))
    assert job_returns(sweep, jobs, jobs) == [WORST_RETURN] * 4 and -np.inf < WORST_RETURN
    ran(sweep, jobs[0], 200.0, evals=[-150.0, 200.0])
    ran(sweep, jobs[1], 300.0, status="failed", evals=[-90.0, 300.0])
    ran(sweep, jobs[2], status="failed")
    assert job_returns(sweep, jobs, jobs) == [200.0, -150.0, -150.0, -150.0]
    assert job_returns(sweep, jobs[1:2], jobs[1:]) == [-90.0]  # of a batch, among those so far


def test_a_sweeper_gets_none_of_the_numbers_that_no_evaluation_gave(sweep):
    jobs = plan(sweep, ("a", 1))
    ran(sweep, jobs[0], status="failed", evals=[-90.0, float("nan"), float("-inf"), float("inf"), 300.0])
    with (sweep.run(jobs[0]).path / "metrics.csv").open("a") as file:
        file.write("-5,0,-200.0\n")
    assert job_returns(sweep, jobs, jobs) == [-90.0]


def test_a_disk_that_takes_no_summary_does_not_keep_the_table_back(sweep, monkeypatch, capsys):
    jobs = plan(sweep, ("a", 1))
    ran(sweep, jobs[0], 5.0)
    (sweep.path / ".sweep_summary.csv.tmp").mkdir()
    assert "alpha=a" in summarize(sweep) and "no sweep_summary" in capsys.readouterr().err
    assert RunDirectory(sweep.path / "a/s0").is_run
