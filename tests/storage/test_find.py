import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sac_runner.errors import WrongInput
from sac_runner.storage.find import find_run, list_runs


@pytest.fixture
def outputs(tmp_path):
    return tmp_path / "outputs"


def make_run(folder, started=None):
    folder.mkdir(parents=True)
    (folder / "config.yaml").touch()
    if started is not None:
        (folder / "meta.json").write_text(json.dumps({"started": started}))
    return folder


def refusal(text, outputs):
    with pytest.raises(WrongInput) as refused:
        find_run(text, outputs)
    assert len(str(refused.value).splitlines()) <= 3
    return str(refused.value)


def test_path_and_unique_part_and_label(outputs):
    ant = make_run(outputs / "runs/ant/20260101-000000_s0")
    job = make_run(outputs / "sweeps/20260102-000000_alpha/alpha-fixed/s1")
    make_run(outputs / "sweeps/20260102-000000_alpha/alpha-auto/s1")
    assert find_run(str(ant), "elsewhere") == ant
    assert find_run("ant", outputs) == ant
    assert find_run("0101", outputs) == ant
    assert find_run("alpha-fixed", outputs) == job
    assert find_run("alpha-fixed/s1", outputs) == job
    assert set(list_runs(outputs)) == {ant, job, job.parents[1] / "alpha-auto/s1"}


def test_whole_name_beats_a_part_of_another(outputs):
    first = make_run(outputs / "runs/ant/x_s1")
    make_run(outputs / "runs/ant/x_s10")
    assert find_run("x_s1", outputs) == first
    assert find_run("ant/x_s1", outputs) == first


def test_last_is_the_run_that_was_started_last_whatever_was_touched_since(outputs):
    old = make_run(outputs / "runs/b/20260101-000000_s0", "2026-01-01T00:00:00+0000")
    job = make_run(outputs / "sweeps/t_x/default/s0", "2026-01-01T02:30:00+0200")  # half an hour later, in UTC
    os.utime(old / "meta.json", (4e9, 4e9))
    os.utime(old, (4e9, 4e9))
    assert find_run("last", outputs) == job


def test_last_reads_the_time_in_a_name_where_meta_is_missing_or_damaged(outputs):
    make_run(outputs / "runs/a/20260101-000000_s0")
    newest = make_run(outputs / "runs/a/20260103-000000_s0")
    (newest / "meta.json").write_text("[1, 2]")
    make_run(outputs / "runs/a/no-time", 17)
    assert find_run("last", outputs) == newest


def test_outputs_come_from_the_environment(outputs, monkeypatch):
    run = make_run(outputs / "runs/ant/x_s1")
    monkeypatch.setenv("SAC_OUTPUTS", str(outputs))
    assert find_run("last") == run
    monkeypatch.chdir(outputs.parent)
    monkeypatch.delenv("SAC_OUTPUTS")
    assert find_run("last") == Path("outputs/runs/ant/x_s1")


def test_ambiguous_part_lists_the_newest_few(outputs):
    for day in range(1, 7):
        make_run(outputs / f"runs/ant/2026010{day}-000000_s0")
    text = refusal("ant", outputs)
    assert "6 runs" in text
    assert "20260106" in text and "20260104" in text and "20260103" not in text
    assert "and 3 more" in text


def test_names_that_are_none(outputs):
    assert "train" in refusal("last", outputs)
    make_run(outputs / "runs/ant/x_s1")
    assert "x_s1" in refusal("walker", outputs)
    assert "x_s1" in refusal("", outputs)
    assert "no run" in refusal("runs", outputs)  # a part of no label


def test_folders_that_are_no_run(outputs):
    run = make_run(outputs / "runs/ant/x_s1")
    (run / "checkpoints").mkdir()
    job = make_run(outputs / "sweeps/t_x/default/s0", "2026-01-01T00:00:00+0000")
    assert "no config.yaml" in refusal(str(outputs.parent), "elsewhere")
    assert f"try: {run}" in refusal(str(run / "checkpoints"), outputs)
    assert "holds 1 run" in refusal(str(job.parents[1]), outputs)
    assert "holds 2 runs" in refusal(str(outputs), outputs)


def test_torch_is_not_imported():
    code = "import sys, sac_runner, sac_runner.storage.find; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
