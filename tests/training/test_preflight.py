"""What a run would need, to the byte."""

import math
from types import SimpleNamespace

import pytest

from sac_runner.errors import WrongInput
from sac_runner.interaction.replay import ReplayBuffer
from sac_runner.storage.files import folder_size
from sac_runner.training import preflight
from sac_runner.training.console import Console
from sac_runner.training.trainer import Trainer
from tests.storage.written import write_checkpoints, write_run
from tests.support import CPU, config

ROW = 2 * (3 * 4 + (1 + 2) * 4 + 1 + 1 + 4)  # two environments: obs; action, reward, end; two flags; where the final is
FILES = 500_000 + 3 * 4 * (3 * 50 + 4 * 98 + 3 + 11)  # policy, critics, targets, alpha, what Adam keeps, its steps


@pytest.mark.parametrize(
    ("total", "rows"), [(None, 501), (10_000, 501), (1000, 501), (998, 500), (100, 51), (2, 2), (1, 1)]
)
def test_the_bytes_of_a_replay_buffer_are_those_of_the_rows_that_it_comes_to_hold(total, rows):
    replay = ReplayBuffer(1000, 2, 3, 1, True)
    assert preflight.replay_bytes(replay, total) == rows * ROW
    held = (x for name, x in vars(replay).items() if name not in ("action", "reward", "_no_value"))  # parts of taken
    assert sum(getattr(x, "nbytes", 0) for x in held) == 501 * ROW


@pytest.mark.parametrize(
    ("keep", "compiles_after", "disk", "compiler"),
    [("always", None, 30_030, 0), ("never", 10_000, 0, 0), ("until_finished", 10, 30_030, 250_000_000)],
)
def test_a_job_needs_its_buffer_its_process_and_its_compiler(monkeypatch, keep, compiles_after, disk, compiler):
    monkeypatch.setattr(preflight, "_PROBE_S", 0.001)
    monkeypatch.setattr("sac_runner.training.preflight.resource.getrusage", lambda who: SimpleNamespace(ru_maxrss=7000))
    checkpoint, agent = {"keep_replay": keep}, {"hidden_sizes": [8]}
    asked = config(checkpoint=checkpoint, agent=agent, compile_after_updates=compiles_after, replay={"batch_size": 4})
    seconds, on_disk, memory, gpus = preflight.needs(asked)
    assert (on_disk, memory, gpus) == (disk + FILES, 30_030 + 7000 * 1024 + compiler, 0)
    assert 0.0 < seconds < math.inf


def test_the_disk_of_a_run_that_goes_on_holds_most_of_it_already(monkeypatch):
    monkeypatch.setattr(preflight, "_PROBE_S", 0.001)
    monkeypatch.setattr(preflight, "_disk", lambda config, memory: (memory, memory - 1))
    asked = config(agent={"hidden_sizes": [8]}, replay={"batch_size": 4})
    for done, too_little in ((None, True), (40, False)):
        with Trainer(asked, CPU, Console(asked)) as trainer:
            lines = preflight.preflight(trainer, trainer.envs.single_action_space, done)
            assert ("(too little)" in lines) == too_little


def test_a_run_that_goes_on_longer_than_its_disk_has_room_for_is_warned_of(monkeypatch, tmp_path, capsys):
    run = write_run(tmp_path / "run")
    write_checkpoints(run)
    asked = config(total_env_steps=400, agent={"hidden_sizes": [8]})
    with Trainer(asked, CPU, Console(asked)) as trainer:
        more = preflight.replay_bytes(trainer.replay, 400) - folder_size(run.replay)
        for free, words in ((more, ""), (more - 1, f"the replay buffer of {run.path} will need 0.0 MB of disk more")):
            monkeypatch.setattr(preflight.shutil, "disk_usage", lambda folder, free=free: SimpleNamespace(free=free))
            preflight.warn_of_disk(trainer, run)
            assert words in capsys.readouterr().err if words else not capsys.readouterr().err


def test_what_would_fit_is_offered(monkeypatch):
    monkeypatch.setattr(preflight, "available_memory", lambda: 500)
    asked = config(total_env_steps=400, replay={"capacity": 100_000})
    with Trainer(asked, CPU, Console(asked)) as trainer, pytest.raises(WrongInput) as refused:
        preflight.require_fit(trainer, continued=False)
    assert "replay.capacity=40 ..." in refused.value.remedy


def test_a_target_entropy_out_of_reach_is_refused_but_for_a_run_that_has_begun_with_it():
    for asked in (config(alpha={"target_entropy": 0.69}), config(alpha={"target_entropy": 0.7})):
        with Trainer(asked, CPU, Console(asked)) as trainer:
            preflight.require_fit(trainer, continued=True)
            if asked.alpha.target_entropy < 0.693:
                preflight.require_fit(trainer, continued=False)
            else:
                with pytest.raises(WrongInput, match="can't be reached"):
                    preflight.require_fit(trainer, continued=False)


def test_the_disk_that_is_asked_is_the_one_that_the_run_will_be_on(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "sac_runner.training.preflight.shutil.disk_usage",
        lambda folder: asked.append(folder) or SimpleNamespace(free=9),
    )
    for name in ("outputs", "elsewhere"):
        (tmp_path / name).mkdir()
    there = config(outputs=str(tmp_path / "outputs"), run={"dir": str(tmp_path / "elsewhere/job/17")})
    assert preflight._disk(there, 5) == (5, 9)
    assert preflight._disk(config(outputs=str(tmp_path / "outputs")), 5) == (5, 9)
    assert asked == [tmp_path / "elsewhere", tmp_path / "outputs"]
