import errno
import sys
from dataclasses import replace

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

from sac_runner.errors import DiskFailed
from sac_runner.storage.lock import RunLock
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.storage.status import status
from sac_runner.training.run import _cut_short, hyperparameters, train
from tests.fault_layer import Layer
from tests.support import config

SHORT = config(total_env_steps=4, eval={"episodes": 1, "max_episode_steps": 3})


def test_that_the_trainer_asks_is_a_sign_of_life(tmp_path):
    tiny = config(total_env_steps=4, eval={"episodes": 1, "max_episode_steps": 3})
    beats = []

    class Lock(RunLock):
        def beat(self):
            beats.append(self.run)

    tmp_path.joinpath("run").mkdir()
    train(tiny, [], None, lambda: Lock(tmp_path / "run"))
    assert len(beats) >= 4 + 2 * 3  # env steps, and those of two evaluations


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc which file a descriptor is")
@pytest.mark.parametrize("closed", ["train.log", ".metrics.csv.tmp", "metrics.csv", "events.out."])
def test_a_run_whose_files_can_not_be_made_says_so_in_its_summary(tmp_path, closed):
    def strike(number, operation):
        if operation.name == "create" and operation.path.startswith(closed):
            raise PermissionError(errno.EACCES, "Permission denied")

    run = RunDirectory(tmp_path)
    with pytest.raises(DiskFailed) as failed, Layer(tmp_path, strike):
        train(SHORT, [], None, lambda: RunLock(tmp_path))
    assert status(run)[:2] == ("failed", failed.value.message)
    train(SHORT, [], None, lambda: RunLock(tmp_path))
    assert status(run).state == "finished"


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc which file a descriptor is")
@pytest.mark.parametrize("begun", [False, True])
def test_a_start_that_can_not_write_its_config_leaves_the_run_as_it_was(tmp_path, begun):
    def strike(number, operation):
        if operation.path == ".config.yaml.tmp":
            raise PermissionError(errno.EACCES, "Permission denied")

    run = RunDirectory(tmp_path)
    if begun:
        train(SHORT, [], None, lambda: RunLock(tmp_path))
    before = status(run)
    with pytest.raises(DiskFailed), Layer(tmp_path, strike):
        train(replace(SHORT, total_env_steps=8), [], None, lambda: RunLock(tmp_path), continued=begun)
    assert status(run) == before and before.state == ("finished" if begun else "waiting")
    assert (
        tmp_path / "summary.json"
    ).exists() == begun  # else run.dir would take the folder for something of the user's


@pytest.mark.parametrize(
    ("typed", "listed"),
    [
        *[("1e-3", 0.001), ("3", 3.0), ("1_000", 1000.0), ("-0.5", -0.5)],
        *[("true", True), ("False", False), ("fixed_0.05", "fixed_0.05"), ("[64,64]", "[64,64]"), ("null", "null")],
        *[("inf", "inf"), ("-nan", "-nan"), ("1e999", "1e999"), ("", "")],
    ],
)
def test_a_swept_value_is_listed_as_the_number_that_it_is(typed, listed):
    seen = hyperparameters(config(seed=7), {"alpha": "auto", "agent.lr": typed})
    assert seen == {"alpha": "auto", "agent.lr": listed, "seed": 7}
    assert type(seen["agent.lr"]) is type(listed)


def test_a_run_that_is_interrupted_where_it_can_not_save_says_that_it_did_not(tmp_path, monkeypatch, capsys):
    def interrupted(trainer):
        raise KeyboardInterrupt

    monkeypatch.setattr("sac_runner.training.trainer.Trainer._collect", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(replace(SHORT, seed=7), [], None, lambda: RunLock(tmp_path))
    summary = RunDirectory(tmp_path).read_summary()
    assert (summary["status"], summary["cause"]) == ("stopped", "KeyboardInterrupt, not saved")
    words = "\nstopped by KeyboardInterrupt, not saved; go on at 0: sac-train resume="
    assert words in capsys.readouterr().err


def test_episodes_that_a_resume_cut_short_are_named():
    assert _cut_short([]) == ""
    assert _cut_short([0]) == "; the episode of env 0 could not be replayed exactly and was cut short"
    assert _cut_short([1, 3]).startswith("; the episode of env 1, 3 could not be ")


def test_a_single_run_lists_all_that_may_be_swept():
    seen = hyperparameters(config(seed=7, agent={"lr": 0.25}))
    assert {"seed": 7, "agent.lr": 0.25, "agent.hidden_sizes": "[16, 12]", "alpha.mode": "auto"}.items() <= seen.items()
    assert len(seen) > 20 and None not in seen.values()


def test_a_job_of_a_sweep_lists_what_is_swept_with_its_events(tmp_path, capsys):
    tiny = config(total_env_steps=4, eval={"episodes": 1, "max_episode_steps": 3}, seed=7)
    tmp_path.joinpath("run").mkdir()
    train(tiny, [], None, lambda: RunLock(tmp_path / "run"), swept={"agent.lr": "1e-3"})
    events = EventAccumulator(str(tmp_path / "run")).Reload()
    content = events.PluginTagToContent("hparams")[metadata.SESSION_START_INFO_TAG]
    listed = metadata.parse_session_start_info_plugin_data(content).hparams
    assert {key: value.number_value for key, value in listed.items()} == {"agent.lr": 1e-3, "seed": 7.0}
