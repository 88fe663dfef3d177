import json
import os
from contextlib import contextmanager

import numpy as np
import pytest

from sac_runner.errors import WrongInput
from sac_runner.storage import checkpoints
from sac_runner.storage.files import folder_size
from sac_runner.storage.run_directory import RunDirectory


@pytest.fixture
def run(tmp_path):
    directory = RunDirectory(tmp_path / "20260101-000000_s0")
    directory.path.mkdir()
    return directory


def test_a_folder_is_a_run_once_its_config_is_there(run):
    assert not run.is_run
    with pytest.raises(WrongInput, match="is not a run: it has no config.yaml"):
        run.config_text()
    run.write_start("env: {}\n", {"seed": 3})
    assert run.is_run and run.config_text() == "env: {}\n" and run.read_meta() == {"seed": 3}
    assert sorted(path.name for path in run.path.iterdir()) == ["config.yaml", "meta.json"]


def test_summaries_replace_each_other_and_say_when(run):
    assert run.read_summary() == {}
    run.write_summary({"status": "running", "extra": 1})
    run.write_summary({"status": "finished"})
    summary = run.read_summary()
    assert summary.pop("written") and summary == {"status": "finished"}


@pytest.mark.parametrize("text", ["", "{", "\x00\x00"])
def test_a_damaged_summary_reads_as_none(run, text):
    (run.path / "summary.json").write_text(text)
    assert run.read_summary() == {}


def test_the_size_of_a_folder_is_that_of_all_files_in_it(run):
    run.write_bytes("curve.png", b"x" * 10)
    run.replay.mkdir()
    (run.replay / "rows.safetensors").write_bytes(b"x" * 300)
    (run.replay / "link").symlink_to(run.path)
    link = (run.replay / "link").lstat().st_size
    assert folder_size(run.path) == 310 + link and folder_size(run.path, deep=False) == 10
    assert folder_size(run.replay) == 300 + link and folder_size(run.path / "nowhere") == 0


def test_a_file_that_vanishes_hides_none_of_the_others(run, monkeypatch):
    for name in "abc":
        run.write_bytes(name, b"x" * 10)
    scandir = os.scandir

    @contextmanager
    def dropping(folder):
        with scandir(folder) as entries:
            found = list(entries)
            os.unlink(found[0])
            yield found

    monkeypatch.setattr(os, "scandir", dropping)
    assert folder_size(run.path) == 20


def test_checkpoints_are_found_by_kind_or_by_env_steps(run):
    with pytest.raises(WrongInput, match="has no checkpoint best; there is none yet"):
        run.checkpoint("best")
    for kind, env_steps in [("best", 1000), ("latest", 3000), ("kept", 1000), ("kept", 2000)]:
        checkpoints.save(run.checkpoints, kind, env_steps, {"policy": {"x": np.zeros(1)}}, {}, {})
    assert run.checkpoint("best").env_steps == 1000
    assert run.checkpoint("latest").env_steps == 3000
    assert run.checkpoint("2_000").kind == "kept"
    assert run.checkpoint("3000").kind == "latest"
    with pytest.raises(WrongInput, match="has no checkpoint 500; there is .*kept at 2,000"):
        run.checkpoint("500")


def test_plain_files_are_json_that_people_can_read(run):
    run.write_start("", {"a": {"b": [1]}})
    text = (run.path / "meta.json").read_text()
    assert text == json.dumps(json.loads(text), indent=2) + "\n" and json.loads(text)["a"] == {"b": [1]}


def test_every_start_of_a_run_is_remembered(run):
    for start, spaces in enumerate(["a", "b", "c"]):
        run.write_start("", {"started": start, "spaces": spaces})
    assert run.read_meta() == {"started": 2, "spaces": "c", "earlier_starts": [{"started": 0}, {"started": 1}]}
    (run.path / "meta.json").write_text("{")
    run.write_start("", {"started": 3})
    assert run.read_meta() == {"started": 3}
