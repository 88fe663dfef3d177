import os
import re
import shlex
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from sac_runner.errors import DiskFailed, WrongInput
from sac_runner.storage.names import (
    create_exclusively,
    refuse_where_none_can_be_made,
    run_path,
    safe_name,
    setting_name,
)

SAFE = re.compile(r"[A-Za-z0-9._-]*")


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ([], ""),
        (["env=pendulum", "seed=3", "outputs=x", "device=cpu", "threads=2", "run.name=a", "log.every_env_steps=5"], ""),
        (
            ["resume=last", "dry_run=true", "hydra.verbose=true", "stop.max_minutes=3", "checkpoint.keep_replay=never"],
            "",
        ),
        (["alpha=fixed_0.05", "agent.lr=1e-3", "seed=1"], "alpha-fixed_0.05_lr-1e-3"),
        (["agent.hidden_sizes=[8,8]"], "hidden_sizes--8-8"),
        (["agent.lr=1", "alpha=auto", "agent.lr=2"], "lr-2_alpha-auto"),
        (["+agent.x=1", "++env.kwargs.gravity=-5"], "x-1_gravity--5"),
        (["experiment=lunarlander_tutorial"], "experiment-lunarlander_tutorial"),
        (["init_from=outputs/runs/x-v0/20261127-182324_lr-1e-3_s0/"], "init_from-20261127-182324_lr-1e-3_s0"),
        (["init_from=outputs/sweeps/20261127-182324_lr/lr-1e-3/s1"], "init_from-lr-1e-3-s1"),
        (
            ["init_from=runs/20261127-182324_init_from-x_experiment-point_of-mine_s4", "agent.lr=1"],
            "init_from-20261127-182324-ent-point_of-mine_s4_lr-1",
        ),
        ([f"init_from='my runs/a {60 * 'x'} long name'"], f"init_from-{30 * 'x'}-long-name"),
        (["init_from='2026'", "run.name='7'"], "init_from-2026"),
        (["init_from=last"], "init_from-last"),
        ([f"env.kwargs.a={60 * 'x'}", f"env.kwargs.b={36 * 'y'}"], f"a-{60 * 'x'}"),
        ([f"env.kwargs.a={60 * 'x'}", f"env.kwargs.b={35 * 'y'}"], f"a-{60 * 'x'}_b-{35 * 'y'}"),
        ([f"env.kwargs.a={200 * 'x'}", "agent.lr=1"], f"a-{98 * 'x'}"),
    ],
)
def test_a_setting_is_named_by_what_was_overridden(overrides, name):
    assert setting_name(overrides) == name


def test_a_run_lies_under_its_env_and_says_when_what_and_which_seed():
    path = run_path("outputs", "pendulum", "20260101-120000", ["env=pendulum", "agent.lr=1e-3"], None, 7)
    assert str(path) == "outputs/runs/pendulum/20260101-120000_lr-1e-3_s7"
    path = run_path("out", "my_pkg:My/Env-v0", "20260101-120000", ["agent.lr=1e-3"], "try 2", 0)
    assert str(path) == "out/runs/my_pkg-My-Env-v0/20260101-120000_try-2_s0"
    assert run_path("outputs", "pendulum", "T", [], None, 0).name == "T_s0"


@given(st.text(max_size=300))
def test_names_are_made_of_letters_digits_dots_and_dashes(text):
    name = safe_name(text)
    assert SAFE.fullmatch(name) and len(name) <= 100
    assert name not in (".", "..") and not name.startswith(("-", ".")) and not name.endswith(("-", "."))
    assert safe_name(name) == name


@given(st.lists(st.text(max_size=30), max_size=4), st.text(max_size=20), st.none() | st.text(max_size=20))
def test_a_run_is_one_folder_deep_whatever_was_overridden(overrides, env, name):
    path = run_path("outputs", env, "20260101-120000", overrides, name, 0)
    assert path.parts[:2] == ("outputs", "runs") and len(path.parts) <= 4
    assert all(SAFE.fullmatch(part) for part in path.parts) and path.name.endswith("_s0")


@given(st.lists(st.text(max_size=20), max_size=3))
def test_a_name_is_a_bare_value_for_hydra_and_one_word_for_a_shell(overrides):
    name = run_path("outputs", "pendulum", "20260101-120000", overrides, None, 0).name
    assert shlex.split(f"resume={name}") == [f"resume={name}"]
    assert OverridesParser.create().parse_override(f"resume={name}").value() == name


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
