import os
import re
import subprocess
import sys

import pytest

from sac_runner.config.compose import CONF
from sac_runner.config.keys import schema_keys
from tests.runs import train

GROUPS = ["env", "agent", "alpha", "normalization", "schedule", "experiment", "sweep"]


@pytest.fixture(scope="module")
def page():
    answer = train("--help")
    assert (answer.code, answer.err) == (0, "")
    return answer.out.rstrip("\n")


def test_it_fits_a_screen(page):
    lines = page.split("\n")
    assert len(lines) <= 25 and max(map(len, lines)) <= 120
    assert lines[0].startswith("sac-train: ") and "${" not in page


def test_it_lists_exactly_the_choices_there_are(page):
    words = page[page.index("\ngroups") : page.index("\nrun ")].split()
    starts = [words.index(group) for group in GROUPS] + [len(words)]
    assert starts == sorted(starts)
    for group, start, end in zip(GROUPS, starts, starts[1:], strict=False):
        assert sorted(words[start + 1 : end]) == sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def test_it_lists_every_key_that_is_in_no_group_and_every_group_of_keys(page):
    run, parts = (re.search(rf"^{name} +(.*(\n {{8,10}}.*)*)$", page, re.M)[1].split() for name in ("run", "parts"))
    single = {key for key in schema_keys() if "." not in key} | {"run.dir", "run.name", "seeds"}
    groups = {f"{key.split('.')[0]}.*" for key in schema_keys() if "." in key} - {"run.*"}
    assert set(run) == single and set(parts) == groups


def test_it_lists_the_recipes_of_a_folder_too(tmp_path, page):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\n")
    assert " pendulum_quick mine\n" in train("--config-dir", tmp_path, "--help").out
    assert train("--help").out.rstrip("\n") == page


@pytest.mark.parametrize(("scripts", "name"), [("scripts", "scripts/train"), ("", "sac-train")])
def test_it_names_the_command_as_it_was_typed(scripts, name, monkeypatch):
    monkeypatch.setenv("SAC_SCRIPTS", scripts)
    assert f"  {name} env=humanoid seed=1 " in train("--help").out


def test_it_comes_at_once_since_it_imports_neither_torch_nor_gymnasium(tmp_path):
    code = (
        "import sys; from sac_runner.commands.train import main; sys.argv = ['sac-train', '--help']; main();"
        "heavy = {'torch', 'gymnasium', 'matplotlib', 'tensorboard', 'mujoco', 'pygame', 'moviepy'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_leaves_early_breaks_nothing(tmp_path):
    read, write = os.pipe()
    os.close(read)
    code = "import sys; from sac_runner.commands.train import main; sys.argv = ['sac-train', '--help']; main()"
    done = subprocess.run([sys.executable, "-c", code], stdout=write, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    os.close(write)
    assert "Traceback" not in done.stderr and "Broken pipe" not in done.stderr
