import re
import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from sac_runner.storage.names import run_path, safe_name, setting_name

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
