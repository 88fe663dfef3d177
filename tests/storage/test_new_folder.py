import os
from pathlib import Path

import pytest

from sac_runner.errors import DiskFailed, RunInUse, WrongInput
from sac_runner.storage.lock import RunLock
from sac_runner.storage.new_folder import create, create_exclusively, own_directory, refuse_where_none_can_be_made
from sac_runner.storage.run_directory import RunDirectory


def test_two_starts_in_the_same_second_get_two_folders(tmp_path):
    wanted = tmp_path / "runs" / "x_s0"
    made = [create_exclusively(wanted).name for _ in range(3)]
    assert made == ["x_s0", "x_s0-2", "x_s0-3"]


def test_a_file_in_the_way_is_wrong_input(tmp_path):
    (tmp_path / "outputs").write_text("mine")
    for wanted in (tmp_path / "outputs" / "x", tmp_path / "outputs" / "runs" / "x"):
        with pytest.raises(WrongInput, match=r"outputs"):
            create_exclusively(wanted)
        with pytest.raises(WrongInput, match=r"can't write .*outputs.*: Not a directory"):
            refuse_where_none_can_be_made(wanted)
    assert (tmp_path / "outputs").read_text() == "mine"


def test_where_a_folder_can_be_made_is_known_before_one_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for wanted in (tmp_path / "outputs" / "runs" / "x", Path("outputs/x"), Path("x"), Path(300 * "y") / "x"):
        refuse_where_none_can_be_made(wanted)
        with monkeypatch.context() as patch, pytest.raises(WrongInput, match="can't write .*x: Permission denied"):
            patch.setattr(os, "access", lambda path, way: path != tmp_path)  # root may write anywhere
            refuse_where_none_can_be_made(wanted)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("number", "kind"), [(28, DiskFailed), (122, DiskFailed), (5, DiskFailed), (13, WrongInput), (30, WrongInput)]
)
def test_a_full_disk_is_told_from_one_that_may_not_be_written(tmp_path, monkeypatch, number, kind):
    def fails(self, *_, **__):
        raise OSError(number, "no")

    monkeypatch.setattr("pathlib.Path.mkdir", fails)
    with pytest.raises(kind, match="can't write"):
        create_exclusively(tmp_path / "x" / "y")


@pytest.mark.parametrize("wanted", ["outputs/runs/pendulum/x_s0", "x_s0"])
def test_the_names_of_all_new_folders_are_on_the_disk(tmp_path, monkeypatch, steps, wanted):
    monkeypatch.chdir(tmp_path)
    create(Path(wanted))
    assert steps == [folder.name for folder in (tmp_path / wanted).parents if folder.is_relative_to(tmp_path)]


def test_a_run_that_another_start_has_begun_meanwhile_is_in_use(tmp_path):
    RunDirectory(tmp_path).write_start("", {})
    with pytest.raises(RunInUse, match="was begun by another start meanwhile"):
        own_directory(tmp_path)
    with RunLock(tmp_path), pytest.raises(RunInUse, match=f"is in use by process {os.getpid()} on"):
        own_directory(tmp_path)
    assert not list(tmp_path.parent.glob(f"{tmp_path.name}-*"))
