"""What a full disk, a damaged file and a weight that is no number do to a run."""

import errno
import multiprocessing
import shutil
import signal
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sac_runner.errors import DiskFailed, NotFinite
from sac_runner.signals import StopRequest
from sac_runner.storage import checkpoints
from sac_runner.storage.checkpoints import find
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.training.console import Console
from sac_runner.training.record import Record
from sac_runner.training.trainer import Trainer
from tests.runs import TINY, Answer, advance, metrics_rows, train
from tests.support import CPU, config, flip

EVERY_10 = [*TINY, "checkpoint.every_env_steps=10", "eval.every_env_steps=20"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def disk(monkeypatch):
    """Makes the disk full at checkpoints of the kinds and env steps that it is given."""
    refused = set()
    write = checkpoints.write_durably

    def write_durably(path, data):
        if any(name in path.parent.name for name in refused):
            path.write_bytes(data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, data)

    monkeypatch.setattr(checkpoints, "write_durably", write_durably)
    return refused


def latest(steps):
    return f"latest-{steps:012}"


def last_arrays(folder):
    return {name: x.tobytes() for name, x in RunDirectory(folder).checkpoint("latest").arrays("train").items()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The same run on a good disk."""
    folder = tmp_path_factory.mktemp("faults") / "whole"
    assert train(*EVERY_10, f"run.dir={folder}").code == 0
    return folder


def test_a_disk_that_is_full_for_a_while_costs_nothing(tmp_path, whole, disk):
    def fill_and_free(self, counters, record):
        if counters.env_steps == 15:
            disk.update({"latest-", "best-"})
        if counters.env_steps == 35:
            disk.clear()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Console, "progress", fill_and_free)
        answer = train(*EVERY_10, "run.dir=job")
    assert answer.code == 0 and answer.err.count("No space left on device") == 2
    assert "the checkpoints before are good, trying again" in answer.err
    assert last_arrays(tmp_path / "job") == last_arrays(whole)
    assert metrics_rows(tmp_path / "job") == metrics_rows(whole)


def test_a_policy_that_does_not_fit_is_no_failed_checkpoint(tmp_path, whole, disk):
    kept = "kept-000000000015"
    disk |= {kept, latest(20), latest(30)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Console, "progress", lambda _, now, record: disk.discard(kept) if now.env_steps == 16 else None)
        answer = train(*EVERY_10, "run.dir=job", "checkpoint.keep_every_env_steps=15")
    assert answer.code == 0 and answer.err.count("warning: ") == 3
    assert last_arrays(tmp_path / "job") == last_arrays(whole)


def test_a_disk_that_stays_full_ends_the_run_at_the_third_try(tmp_path, whole, disk):
    disk |= {latest(steps) for steps in (20, 30, 40)}
    answer = train(*EVERY_10, "run.dir=job")
    run = RunDirectory(tmp_path / "job")
    assert answer.code == 74 and answer.err.count("warning: ") == 2
    assert run.checkpoint("latest").env_steps == 10
    assert run.read_summary()["status"] == "failed"
    disk.clear()
    assert train(*EVERY_10, "run.dir=job").code == 0
    assert last_arrays(tmp_path / "job") == last_arrays(whole)
    assert metrics_rows(tmp_path / "job") == metrics_rows(whole)


@pytest.fixture
def pauses(monkeypatch):
    """Seconds slept by the trainer, which do not pass; what is put into ``then`` is called at each pause."""
    slept = SimpleNamespace(seconds=[], then=lambda: None)

    def sleep(seconds):
        slept.seconds.append(seconds)
        slept.then()

    clock = SimpleNamespace(sleep=sleep, monotonic=time.monotonic)  # the module's own: others sleep too
    monkeypatch.setattr("sac_runner.training.trainer.time", clock)
    return slept


def test_at_its_end_a_run_waits_for_room_on_the_disk(tmp_path, whole, disk, pauses):
    disk |= {latest(steps) for steps in (40, 50, 60)}
    pauses.then = lambda: disk.clear() if len(pauses.seconds) == 2 else None
    answer = train(*EVERY_10, "run.dir=job")
    assert answer.code == 0 and pauses.seconds == [10, 10]
    assert answer.err.count("trying again at the next one") == answer.err.count("trying again in 10 s") == 2
    assert last_arrays(tmp_path / "job") == last_arrays(whole)
    assert metrics_rows(tmp_path / "job") == metrics_rows(whole)


def test_a_disk_that_stays_full_at_the_end_is_tried_three_times(tmp_path, whole, disk, pauses):
    disk |= {latest(steps) for steps in (50, 60)}
    answer = train(*EVERY_10, "run.dir=job")
    run = RunDirectory(tmp_path / "job")
    assert answer.code == 74 and pauses.seconds == [10, 10]
    assert run.checkpoint("latest").env_steps == 40 and run.read_summary()["status"] == "failed"
    disk.clear()
    assert train(*EVERY_10, "run.dir=job").code == 0
    assert last_arrays(tmp_path / "job") == last_arrays(whole)


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_a_second_ctrl_c_leaves_at_once_though_a_stop_waits_for_the_disk(disk, pauses):
    def stop(self, counters, record):
        if counters.env_steps == 15:
            signal.raise_signal(signal.SIGINT)

    def run():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Console, "progress", stop)
            train(*EVERY_10, "run.dir=job")

    disk.add(latest(15))
    pauses.then = lambda: signal.raise_signal(signal.SIGINT)
    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGINT


def test_a_policy_that_does_not_fit_waits_for_the_next_checkpoint(disk):
    def fill_and_free(self, counters, record):
        if counters.env_steps == 15:
            disk.add("kept-")
        if counters.env_steps == 20:
            disk.clear()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Console, "progress", fill_and_free)
        answer = train(*EVERY_10, "checkpoint.keep_every_env_steps=15", "run.dir=job")
    assert answer.code == 0 and answer.err.count("trying again") == 1  # not three times, at 15, 16 and 17


def test_three_that_do_not_fit_but_not_in_a_row_end_nothing(tmp_path, whole, disk):
    disk |= {latest(steps) for steps in (10, 20, 40)}
    answer = train(*EVERY_10, "run.dir=job")
    assert answer.code == 0 and answer.err.count("trying again") == 3
    assert last_arrays(tmp_path / "job") == last_arrays(whole)


def test_a_policy_that_did_not_fit_is_saved_later_as_it_was(tmp_path):
    run = RunDirectory(tmp_path)
    c = config()
    with Trainer(c, CPU, Console(c)) as trainer:
        record = Record(c, run, {})
        record.open()
        record.keep(trainer.counters, trainer.agent)
        before = trainer.agent.policy.actor.mean.bias.detach().clone()
        (tmp_path / "checkpoints").write_text("a file where the folder should be")
        with pytest.raises(DiskFailed):
            record.save_policies()
        with torch.no_grad():
            trainer.agent.policy.actor.mean.bias += 1.0  # what is held is the policy as it was
        (tmp_path / "checkpoints").unlink()
        record.checkpoint(trainer.state)
        (kept,) = find(run.checkpoints, "kept")
        np.testing.assert_array_equal(kept.arrays("policy")["actor.mean.bias"], before)
        record.close(True)


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """The config of a run, what it comes to, and its directories: one that was killed at 45 env steps, and a whole."""
    c = config(checkpoint={"every_env_steps": 10}, total_env_steps=60, eval={"every_env_steps": 20, "episodes": 1})
    folder = tmp_path_factory.mktemp("killed")
    advance(c, folder / "killed", 45, killed=True)
    return c, advance(c, folder / "whole"), folder / "killed", folder / "whole"


@pytest.mark.parametrize("file", ["train.safetensors", "state.json", "policy.safetensors", "manifest.json", "replay"])
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_taken(tmp_path, capsys, killed, file):
    c, expected, before, whole = killed
    run = RunDirectory(shutil.copytree(before, tmp_path / "job"))
    older, newer = find(run.checkpoints, "latest")
    assert (older.env_steps, newer.env_steps) == (30, 40)
    if file == "replay":
        flip(sorted((run.path / "replay").iterdir())[-1])
    elif file == "manifest.json":
        (newer.path / file).write_bytes((newer.path / file).read_bytes()[:100])
    else:
        flip(newer.path / file)
    at_its_end = advance(c, run.path)
    said = capsys.readouterr().err
    assert "set aside as damaged-1-latest-000000000040, going on from 30 env steps" in said
    aside = run.checkpoints / "damaged-1-latest-000000000040"
    assert ("rows-" if file == "replay" else file) in (aside / "reason.txt").read_text()
    assert at_its_end == expected
    assert metrics_rows(run.path) == metrics_rows(whole)


def test_where_no_checkpoint_is_whole_all_stay_where_they_are(tmp_path):
    assert train(*EVERY_10, "run.dir=job").code == 0
    run = RunDirectory(tmp_path / "job")
    for checkpoint in find(run.checkpoints, "latest"):
        flip(checkpoint.path / "state.json")
    before = sorted(path.name for path in run.checkpoints.iterdir())
    answer: Answer = train("resume=./job", "total_env_steps=70")
    assert answer.code == 2 and "state.json is damaged" in answer.err and "Traceback" not in answer.err
    assert sorted(path.name for path in run.checkpoints.iterdir()) == before


@pytest.mark.parametrize(
    ("patched", "value", "said"),
    [
        ("available_memory", lambda: 500, "GB of memory, 0.0 GB are available"),
        ("shutil.disk_usage", lambda folder: SimpleNamespace(free=500), "MB of disk, 0.0 MB are free under outputs"),
    ],
)
def test_a_run_that_cannot_fit_is_refused_at_its_start(tmp_path, monkeypatch, patched, value, said):
    monkeypatch.setattr(f"sac_runner.training.preflight.{patched}", value)
    answer = train(*TINY)
    assert answer.code == 2 and said in answer.err and "try: " in answer.err
    tried = train(*TINY, "dry_run=true")
    assert tried.code == 2 and said in tried.err and "available" in tried.out
    assert list(tmp_path.iterdir()) == []
    if "disk" in patched:
        assert train(*TINY, "checkpoint.keep_replay=never").code == 0


def test_a_run_goes_on_only_where_its_buffer_fits_into_memory(tmp_path, monkeypatch):
    assert train(*TINY, "run.dir=job").code == 0
    monkeypatch.setattr("sac_runner.training.preflight.shutil.disk_usage", lambda folder: SimpleNamespace(free=0))
    assert train("resume=./job", "total_env_steps=70").code == 0  # its rows are on the disk
    monkeypatch.setattr("sac_runner.training.preflight.available_memory", lambda: 500)
    answer = train("resume=./job", "total_env_steps=80")
    assert answer.code == 2 and "GB of memory, 0.0 GB are available" in answer.err


def test_checkpoints_by_the_clock_change_no_bit(tmp_path):
    by_steps = config(total_env_steps=30, eval={"every_env_steps": None, "episodes": 1})
    by_clock = config(
        total_env_steps=30,
        eval={"every_env_steps": None, "episodes": 1},
        checkpoint={"every_minutes": 1e-9},
    )
    saves = []
    with pytest.MonkeyPatch.context() as patch:
        save = checkpoints.save
        patch.setattr(checkpoints, "save", lambda *x, **y: saves.append(x[1:3]) or save(*x, **y))
        clocked = advance(by_clock, tmp_path / "clock")
    assert [steps for kind, steps in saves if kind == "latest"] == list(range(31))
    assert clocked == advance(by_steps, tmp_path / "steps")


@pytest.fixture
def half_minutes(monkeypatch):
    """Every env step takes one."""
    now, collect = [0.0], Trainer._collect

    def slowly(trainer):
        collect(trainer)
        now[0] += 30.0

    monkeypatch.setattr(Trainer, "_collect", slowly)
    monkeypatch.setattr("sac_runner.training.trainer.time.monotonic", lambda: now[0])


def test_the_clock_of_checkpoints_begins_anew_at_each_of_them(half_minutes, monkeypatch):
    saves, save = [], checkpoints.save
    monkeypatch.setattr(checkpoints, "save", lambda *x, **y: saves.append(x[1:3]) or save(*x, **y))
    assert train(*TINY, "checkpoint.every_minutes=10", "run.dir=job").code == 0
    assert [steps for kind, steps in saves if kind == "latest"] == [0, 20, 40, 60]


def test_a_run_ends_after_its_minutes(half_minutes):
    assert train(*TINY, "stop.max_minutes=10", "run.dir=job").code == 0
    assert RunDirectory(Path("job")).read_summary()["env_steps"] == 20


def test_a_signal_while_a_run_comes_back_leaves_it_as_it_was(tmp_path, whole, half_minutes, monkeypatch):
    def files():
        return {path: path.read_bytes() for path in Path("job").rglob("[!.]*") if path.is_file()}

    assert train(*EVERY_10, "stop.max_minutes=16.5", "run.dir=job").code == 0  # within an episode
    before, stop = files(), StopRequest()
    stop.signal = signal.SIGTERM
    with monkeypatch.context() as patch:
        patch.setattr("sac_runner.training.run.stop_on_signals", lambda: nullcontext(stop))
        answer = train("resume=./job")
    assert answer.code == 143 and "stopped before it went on" in answer.err
    assert files() == before
    assert train("resume=./job", "stop.max_minutes=null").code == 0
    assert last_arrays(tmp_path / "job") == last_arrays(whole)
    assert metrics_rows(tmp_path / "job") == metrics_rows(whole)


@pytest.mark.parametrize("where", ["policy", "critic"])
def test_no_checkpoint_holds_a_weight_that_is_no_number(tmp_path, where):
    c = config()
    with Trainer(c, CPU, Console(c)) as trainer:
        record = Record(c, RunDirectory(tmp_path), {})
        record.open()
        part = trainer.agent.policy.actor.mean.bias if where == "policy" else trainer.agent.critic.out.bias
        with torch.no_grad():
            part.view(-1)[0] = float("nan")
        with pytest.raises(NotFinite, match=where):
            record.checkpoint(trainer.state)
        assert find(record.run.checkpoints) == []
        record.close(True)
