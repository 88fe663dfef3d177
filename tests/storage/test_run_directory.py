import json
import os
from contextlib import contextmanager

import numpy as np
import pytest

from sac_runner.errors import DiskFailed, WrongInput
from sac_runner.storage import checkpoints
from sac_runner.storage.files import folder_size
from sac_runner.storage.run_directory import MetricsFile, RunDirectory, Written
from tests.support import short_of_room

TAGS = ["eval/return_mean", "train/alpha"]


@pytest.fixture
def run(tmp_path):
    directory = RunDirectory(tmp_path / "20260101-000000_s0")
    directory.path.mkdir()
    return directory


def write_rows(run, *rows, after=0, rows_there=9, tags=TAGS):
    metrics = MetricsFile(run, tags, Written(after, rows_there))
    for env_steps, values in rows:
        metrics.write(env_steps, env_steps // 10, values)
    metrics.close()


def lines(run):
    return (run.path / "metrics.csv").read_text().splitlines()


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


def test_metrics_are_one_row_for_each_time_blank_where_nothing_was_measured(run):
    write_rows(run, (0, {TAGS[0]: -1.5}), (10, {TAGS[1]: 0.1}), (20, {TAGS[0]: 1e-17, TAGS[1]: 3.0}))
    assert lines(run) == ["env_steps,round,eval/return_mean,train/alpha", "0,0,-1.5,", "10,1,,0.1", "20,2,1e-17,3.0"]
    assert run.read_metrics() == {TAGS[0]: [(0, -1.5), (20, 1e-17)], TAGS[1]: [(10, 0.1), (20, 3.0)]}


def test_a_run_without_metrics_has_no_curves(run):
    assert run.read_metrics() == {}


def test_every_row_is_with_the_operating_system_at_once(run):
    metrics = MetricsFile(run, TAGS, Written(0, 0))
    metrics.write(10, 0, {TAGS[0]: 1.0})
    assert run.read_metrics() == {TAGS[0]: [(10, 1.0)]}
    metrics.close()


def test_rows_that_a_full_disk_refuses_wait_for_it(run, monkeypatch):
    metrics = MetricsFile(run, TAGS, Written(-1, 0))
    room = short_of_room(monkeypatch, metrics._file, 7)
    metrics.write(1, 0, {"train/alpha": 0.5})
    metrics.write(2, 0, {"train/alpha": 0.25})
    with pytest.raises(DiskFailed, match="metrics.csv"):
        metrics.sync()
    room[0] = 1000
    metrics.sync()
    metrics.close()
    assert run.read_metrics() == {"train/alpha": [(1, 0.5), (2, 0.25)]}


def test_a_torn_last_line_is_left_out_and_mended(run):
    write_rows(run, (0, {TAGS[0]: 1.0}), (10, {TAGS[0]: 2.0}))
    path = run.path / "metrics.csv"
    path.write_text(path.read_text() + "20,2,3.1")
    assert run.read_metrics() == {TAGS[0]: [(0, 1.0), (10, 2.0)]}
    write_rows(run, (30, {TAGS[0]: 4.0}), after=20)
    assert lines(run)[1:] == ["0,0,1.0,", "10,1,2.0,", "30,3,4.0,"]


def test_rows_after_the_checkpoint_are_dropped_when_a_run_continues(run):
    write_rows(run, *((n, {TAGS[0]: float(n)}) for n in (0, 10, 10, 20, 30)))
    write_rows(run, (20, {TAGS[0]: 99.0}), after=10)
    assert lines(run)[1:] == ["0,0,0.0,", "10,1,10.0,", "10,1,10.0,", "20,2,99.0,"]


def test_rows_of_the_checkpoints_own_step_are_dropped_where_they_came_after_it(run):
    write_rows(run, (10, {TAGS[0]: 1.0}), (20, {TAGS[0]: 2.0}), (20, {TAGS[1]: 3.0}), (30, {TAGS[1]: 4.0}))
    metrics = MetricsFile(run, TAGS, Written(20, 1))
    assert lines(run)[1:] == ["10,1,1.0,", "20,2,2.0,"] and metrics.newest == [{TAGS[0]: 2.0}]
    metrics.close()
    MetricsFile(run, TAGS, Written(-1, 0)).close()
    assert len(lines(run)) == 1


def test_values_are_kept_as_they_were_written(run):
    values = [0.1 + 0.2, 1 / 3, 1e300, -5e-324, 12345678.9]
    write_rows(run, *((n, {TAGS[0]: x}) for n, x in enumerate(values)))
    before = lines(run)
    write_rows(run, after=100)
    assert lines(run) == before
    assert [x for _, x in run.read_metrics()[TAGS[0]]] == values


def test_a_run_of_a_version_with_other_tags_keeps_its_values_under_their_names(run):
    write_rows(run, (10, {"train/alpha": 0.5, "gone": 7.0}), tags=["gone", "train/alpha"])
    write_rows(run, (20, {TAGS[0]: 2.0}), after=10)
    assert run.read_metrics() == {"train/alpha": [(10, 0.5)], TAGS[0]: [(20, 2.0)]}


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
