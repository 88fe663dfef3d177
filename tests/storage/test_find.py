import os
from pathlib import Path

import pytest

from sac_runner.errors import WrongInput
from sac_runner.storage.find import find_run, find_run_or_sweep, list_runs, list_sweeps, outputs_folder, run_label
from sac_runner.storage.signed import signed
from tests.support import as_nobody


@pytest.fixture
def outputs(tmp_path):
    return tmp_path / "outputs"


def make_run(folder, started=None):
    folder.mkdir(parents=True)
    (folder / "config.yaml").touch()
    if started is not None:
        (folder / "meta.json").write_bytes(signed({"started": started}))
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


def test_a_run_that_was_told_to_lie_right_below_runs_is_found_as_others_are(outputs):
    mine = make_run(outputs / "runs/mine", "2026-01-02T00:00:00+0000")
    make_run(outputs / "runs/ant/20260101-000000_s0", "2026-01-01T00:00:00+0000")
    assert {find(text, outputs) for find in (find_run, find_run_or_sweep) for text in ("mine", "min", "last")} == {mine}
    assert len(list_runs(outputs)) == 2 and run_label(mine) == "mine"
    assert run_label(outputs / "runs/runs/x_s0") == "runs/x_s0"


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


def test_outputs_may_begin_with_a_home(tmp_path, monkeypatch):
    run, sweep = make_run(tmp_path / "mine/runs/ant/x_s1"), make_sweep(tmp_path / "mine/sweeps/x")
    monkeypatch.chdir(tmp_path)
    literal = make_run(Path("~/runs/ant/x_s0"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_run("ant", "~/mine") == run and list_sweeps("~/mine") == [sweep]
    monkeypatch.setenv("SAC_OUTPUTS", "~/mine")
    assert find_run("last") == run
    assert list_runs(outputs_folder("./~")) == [literal]


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
    assert "no run has" in refusal("runs", outputs)  # a part of no label
    assert "gone/x does not exist, and there are no runs in " in refusal("gone/x", outputs / "empty")
    assert 'gone/x does not exist, and no run has "gone/x" in its name' in refusal("gone/x", outputs)


def test_folders_that_are_no_run(outputs):
    run = make_run(outputs / "runs/ant/x_s1")
    (run / "checkpoints").mkdir()
    job = make_run(outputs / "sweeps/t_x/default/s0", "2026-01-01T00:00:00+0000")
    assert "no config.yaml" in refusal(str(outputs.parent), "elsewhere")
    assert f"try: {run}" in refusal(str(run / "checkpoints"), outputs)
    assert "holds 1 run" in refusal(str(job.parents[1]), outputs)
    assert "holds 2 runs" in refusal(str(outputs), outputs)


def test_a_run_that_may_not_be_read_is_said(outputs, monkeypatch):
    make_run(outputs / "runs/ant/x_s1").chmod(0)
    outputs.parent.chmod(0o755)
    monkeypatch.chdir(outputs.parent)
    with as_nobody():
        for find in (find_run, find_run_or_sweep):
            with pytest.raises(WrongInput, match="can't read outputs/runs/ant/x_s1: Permission denied"):
                find("outputs/runs/ant/x_s1", "outputs")
        assert list_runs("outputs") == []
    (outputs / "runs/ant/x_s1").chmod(0o755)


def make_sweep(folder, *jobs, started=None):
    folder.mkdir(parents=True)
    (folder / "sweep.json").write_bytes(signed({"version": 1, "started": started, "jobs": []}))
    for job in jobs:
        make_run(folder / job)
    return folder


def neither(text, outputs):
    with pytest.raises(WrongInput) as refused:
        find_run_or_sweep(text, outputs)
    assert len(str(refused.value).splitlines()) <= 3
    return str(refused.value)


def test_sweeps_are_those_folders_that_have_a_plan(outputs):
    assert list_sweeps(outputs) == []
    second = make_sweep(outputs / "sweeps/20260102-000000_alpha")
    first = make_sweep(outputs / "sweeps/20260101-000000_alpha", "alpha-auto/s0")
    make_run(outputs / "sweeps/20260103-000000_of_before/alpha-auto/s0")
    assert list_sweeps(outputs) == [first, second]


def test_what_a_removal_has_hidden_is_no_run_and_no_sweep(outputs):
    make_run(outputs / "runs/ant/.x_s0.removed")
    make_sweep(outputs / "sweeps/.x.removed", "alpha-auto/s0")
    make_run(outputs / "sweeps/x/alpha-auto/.s0.removed")
    assert list_runs(outputs) == list_sweeps(outputs) == []


def test_outputs_may_lie_in_a_hidden_folder(tmp_path):
    run = make_run(tmp_path / ".data/outputs/runs/ant/x_s0")
    sweep = make_sweep(tmp_path / ".data/outputs/sweeps/x")
    assert list_runs(tmp_path / ".data/outputs") == [run] and list_sweeps(tmp_path / ".data/outputs") == [sweep]
    assert list_runs(tmp_path / ".data/outputs" / ".." / "outputs") != []


def test_a_sweep_is_found_by_its_path_its_name_and_a_part_of_it(outputs, monkeypatch):
    sweep = make_sweep(outputs / "sweeps/20260101-000000_alpha", "alpha-auto/s0", "alpha-auto/s1")
    make_run(outputs / "runs/ant/x_s0")
    for text in (str(sweep), f"{sweep}/", "20260101-000000_alpha", "sweeps/20260101-000000_alpha", "alpha", "0101"):
        assert find_run_or_sweep(text, outputs) == sweep, text
    monkeypatch.chdir(outputs / "sweeps")
    assert find_run_or_sweep("20260101-000000_alpha", outputs) == Path("20260101-000000_alpha")
    monkeypatch.chdir(sweep)
    assert find_run_or_sweep(".", outputs) == Path(".")


def test_what_names_one_job_or_one_run_is_that(outputs):
    sweep = make_sweep(outputs / "sweeps/20260101-000000_alpha", "alpha-auto/s0", "alpha-auto/s1")
    run = make_run(outputs / "runs/ant/x_s0")
    for text in ("alpha-auto/s1", "20260101-000000_alpha/alpha-auto/s1", str(sweep / "alpha-auto/s1")):
        assert find_run_or_sweep(text, outputs) == sweep / "alpha-auto/s1"
    assert find_run_or_sweep("ant", outputs) == find_run_or_sweep(str(run), outputs) == run
    assert "part of the names of 2 runs" in neither("alpha-auto", outputs)


def test_a_folder_of_the_same_name_here_hides_no_sweep(outputs, monkeypatch):
    sweep = make_sweep(outputs / "sweeps/20260101-000000_alpha", "alpha-auto/s0", "alpha-auto/s1")
    monkeypatch.chdir(outputs)
    (outputs / "alpha").mkdir()
    assert find_run_or_sweep("alpha", outputs) == sweep
    assert "is not a run" in neither("./alpha", outputs)
    assert "is not a run" in neither(".", outputs)  # and not what has a dot in its name


def test_a_part_of_several_names_names_none_unless_it_is_a_whole_one(outputs):
    first = make_sweep(outputs / "sweeps/20260101-000000_alpha", "alpha-auto/s0")
    make_sweep(outputs / "sweeps/20260102-000000_alpha")
    text = neither("alpha", outputs)
    assert "part of the names of 2 runs and sweeps" in text
    assert text.index("20260102") < text.index("20260101")
    assert find_run_or_sweep("20260101-000000_alpha", outputs) == first
    make_run(outputs / "runs/ant/20260101-000000_alpha-fixed_s0")
    assert find_run_or_sweep("20260101-000000_alpha", outputs) == first
    assert "2 runs and sweeps" in neither("20260101", outputs)


def test_last_is_what_was_started_last_be_it_a_sweep_or_a_run_of_none(outputs):
    run = make_run(outputs / "runs/ant/20260101-000000_s0", "2026-01-01T00:00:00+0000")
    assert find_run_or_sweep("last", outputs) == run
    sweep = make_sweep(outputs / "sweeps/x", "alpha-auto/s0", started="2026-01-01T02:30:00+0200")
    assert find_run_or_sweep("last", outputs) == sweep and find_run("last", outputs) == run
    newest = make_run(outputs / "sweeps/20260103-000000_of_before/alpha-auto/s0", "2026-01-03T00:00:00+0000")
    assert find_run_or_sweep("last", outputs) == newest


def test_last_reads_the_time_in_the_name_of_a_sweep_whose_plan_can_not_be_read(outputs):
    make_run(outputs / "runs/ant/20260102-000000_s0")
    damaged = make_sweep(outputs / "sweeps/20260103-000000_x")
    (damaged / "sweep.json").write_text("{")
    assert find_run_or_sweep("last", outputs) == damaged
    unreadable = make_sweep(outputs / "sweeps/20260104-000000_x")
    (unreadable / "sweep.json").unlink()
    (unreadable / "sweep.json").symlink_to(unreadable / "sweep.json")
    assert find_run_or_sweep("last", outputs) == damaged


def test_names_that_are_neither(outputs):
    assert "there are no runs" in neither("last", outputs)
    make_sweep(outputs / "sweeps/20260101-000000_alpha", "alpha-auto/s0")
    for text in ("walker", "", "~nobody-of-this-name/x", "x" * 5000, "a\0b"):
        assert "alpha-auto" in neither(text, outputs), text
        with pytest.raises(WrongInput):
            find_run(text, outputs)
