"""Sweeps, through the train command."""

import os
import re
import signal
from pathlib import Path

import pytest
import yaml

from sac_runner.storage.run_directory import RunDirectory
from sac_runner.training.console import Console
from tests.runs import BUDGET, TINY, train

FAILS = ["env=custom", "env.id=tests.scripted:Fails-v0", *BUDGET]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sac_runner.analysis.figures.learning_curve", lambda run: None)  # half of a run's time
    return tmp_path


def the_sweep():
    (sweep,) = Path("outputs/sweeps").iterdir()
    return sweep


def runs_of(sweep):
    return {str(path.parent.relative_to(sweep)): RunDirectory(path.parent) for path in sweep.glob("*/*/config.yaml")}


def policy(run):
    return (run.checkpoint("latest").path / "policy.safetensors").read_bytes()


def test_a_sweep_makes_a_run_for_each_setting_and_seed_and_nothing_else(elsewhere):
    answer = train("-m", *TINY, "alpha=auto,fixed_0.05", "seed=0,1")
    assert answer.code == 0, answer.err
    assert answer.err.splitlines()[0] == "4 runs: 2 settings x 2 seeds"
    sweep = the_sweep()
    assert re.fullmatch(r"\d{8}-\d{6}_alpha", sweep.name)
    assert sorted(path.name for path in sweep.iterdir()) == ["alpha-auto", "alpha-fixed_0.05", "multirun.yaml"]
    runs = runs_of(sweep)
    assert sorted(runs) == ["alpha-auto/s0", "alpha-auto/s1", "alpha-fixed_0.05/s0", "alpha-fixed_0.05/s1"]
    for name, run in runs.items():
        config = yaml.safe_load(run.config_text())
        assert run.read_summary()["status"] == "finished"
        assert name == f"alpha-{'auto' if config['alpha']['mode'] == 'auto' else 'fixed_0.05'}/s{config['seed']}"
    assert len({policy(run) for run in runs.values()}) == 4
    assert [path.name for path in elsewhere.iterdir()] == ["outputs"]
    assert [path.name for path in (elsewhere / "outputs").iterdir()] == ["sweeps"]

    assert train(*TINY, "alpha=fixed_0.05", "seed=1", "run.dir=alone").code == 0
    assert policy(RunDirectory(Path("alone"))) == policy(runs["alpha-fixed_0.05/s1"])


def test_seeds_is_a_sweep_by_itself():
    answer = train(*TINY, "seeds=2", "run.name=twice")
    assert answer.code == 0 and answer.err.splitlines()[0] == "2 runs: 1 setting x 2 seeds"
    assert the_sweep().name.endswith("_twice")
    assert sorted(runs_of(the_sweep())) == ["default/s0", "default/s1"]


def test_drawn_seeds_are_recorded_within_the_sweep():
    assert train("-m", *TINY, "seed=null", "agent.tau=0.1,0.2").code == 0
    runs = runs_of(the_sweep())
    assert sorted(name.split("/")[0] for name in runs) == ["tau-0.1", "tau-0.2"]
    seeds = {name.split("/")[1]: yaml.safe_load(run.config_text())["seed"] for name, run in runs.items()}
    assert len(seeds) == 2 and all(name == f"s{seed}" for name, seed in seeds.items())


def test_tuned_values_follow_each_environment_of_a_sweep():
    size = [x for x in BUDGET if not x.startswith("schedule.")]
    assert train("-m", "env=pendulum,lunarlander", *size, "schedule.warmup_env_steps=20", "env.num_envs=1").code == 0
    runs = runs_of(the_sweep())
    assert sorted(runs) == ["lunarlander/s0", "pendulum/s0"]
    norms = {n: yaml.safe_load(run.config_text())["agent"]["critic_layer_norm"] for n, run in runs.items()}
    assert norms == {"lunarlander/s0": True, "pendulum/s0": False}


@pytest.mark.parametrize("fault", [["agent.tau=0.1,7"], ["alpha=auto,fixed", "alpha.lr=1"], ["agent.nope=1,2"]])
def test_a_fault_in_one_job_stops_the_sweep_before_anything_is_made(elsewhere, fault):
    answer = train("-m", *TINY, *fault)
    assert answer.code == 2 and len(answer.err.splitlines()) <= 3 and answer.err.startswith("error: ")
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize(
    "fault", ["env.id=NoSuchEnv-v0,Pendulum-v1", "env.id=CartPole-v1,Pendulum-v1", "device=cpu,cuda:9"]
)
def test_what_is_not_there_stops_the_sweep_before_anything_is_made(elsewhere, fault):
    answer = train("-m", "env=custom", "env.id=Pendulum-v1", *BUDGET, fault)
    assert answer.code == 2 and len(answer.err.splitlines()) <= 3
    assert not (elsewhere / "outputs").exists()


def test_a_job_that_fails_leaves_the_others_done():
    answer = train("-m", *FAILS, "env.kwargs.at=5,1000")
    assert answer.code == 70 and "Traceback" not in answer.err and "the rotor came off" in answer.err
    statuses = {name: run.read_summary()["status"] for name, run in runs_of(the_sweep()).items()}
    assert statuses == {"at-5/s0": "failed", "at-1000/s0": "finished"}


def test_a_job_whose_environment_can_not_be_made_leaves_the_others_done():
    ids = "env.id=tests.scripted:Breaks-v0,tests.scripted:Countdown-v0"
    answer = train("-m", "env=custom", ids, *BUDGET)
    assert answer.code == 70 and "Traceback" not in answer.err and "can't be made" in answer.err
    assert [run.read_summary()["status"] for run in runs_of(the_sweep()).values()] == ["finished"]


def test_a_fault_of_ours_in_one_job_is_not_swallowed(monkeypatch):
    from sac_runner.training import trainer

    evaluate, calls = trainer.evaluate, []

    def fails_first(*arguments, **options):
        calls.append(1)
        if len(calls) == 1:
            raise AssertionError("a bug")
        return evaluate(*arguments, **options)

    monkeypatch.setattr(trainer, "evaluate", fails_first)
    with pytest.raises(AssertionError, match="a bug"):
        train("-m", *TINY, "seed=0,1")
    assert [run.read_summary()["status"] for _, run in sorted(runs_of(the_sweep()).items())] == ["failed", "finished"]


def test_a_signal_stops_the_whole_sweep(monkeypatch):
    progress = Console.progress

    def with_signal(self, counters, record):
        progress(self, counters, record)
        if counters.env_steps == 30:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Console, "progress", with_signal)
    answer = train("-m", *TINY, "seed=0,1,2")
    assert answer.code == 130
    assert {name: run.read_summary()["status"] for name, run in runs_of(the_sweep()).items()} == {
        "default/s0": "stopped"
    }


def test_a_dry_run_of_a_sweep_makes_nothing(elsewhere, monkeypatch):
    monkeypatch.setattr("sac_runner.training.preflight._PROBE_S", 0.01)
    answer = train("-m", *TINY, "seed=0,1", "dry_run=true")
    assert answer.code == 0 and answer.out.count("a dry run: nothing is written") == 2
    assert list(elsewhere.iterdir()) == []


def test_multirun_yaml_can_be_read_and_names_the_sweep():
    assert train("-m", *TINY, "seed=3,4").code == 0
    text = (the_sweep() / "multirun.yaml").read_text()
    assert "seed=3,4" in yaml.safe_load(text)["hydra"]["overrides"]["task"]
    assert os.path.getsize(the_sweep() / "multirun.yaml") < 20_000
