"""The default tests see each bug of ``planted_bugs``, planted in a copy of the repository."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contracts.planted_bugs import BUGS

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("sac_runner", "tests", "conf", "scripts", "pyproject.toml", "constraints.txt", "README.md")
ENDLESS = 600
"""Seconds that no test takes: a bug that has one wait for ever is no bug to plant."""


def test_each_bug_has_a_name_of_its_own_and_a_test_there_is():
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 40
    for bug in BUGS:
        file, _, name = bug.test.partition("::")
        written = (ROOT / file).read_text()
        assert (f"def {name.partition('[')[0]}(" if name else "def test_") in written, bug.test


def test_each_bug_can_be_planted_in_exactly_one_place():
    texts = {file: (ROOT / file).read_text() for file in {bug.file for bug in BUGS}}
    assert [bug.name for bug in BUGS if texts[bug.file].count(bug.there) != 1] == []
    assert all(bug.instead != bug.there for bug in BUGS)


@pytest.fixture
def copy(tmp_path):
    """What the tests need of the repository, in a place of its own."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for name in NEEDED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


def in_copy(folder, *arguments):
    """Python in ``folder``, where ``sac_runner`` is the one that lies there and not the one that is installed."""
    environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=ENDLESS)


def run_tests(folder, *tests):
    """Which copy was tested is asked of the tests' own process."""
    (folder / "which.py").write_text(
        "import sac_runner\n\ndef pytest_report_header():\n    return sac_runner.__file__\n"
    )
    done = in_copy(folder, "-m", "pytest", "-x", "-p", "no:cacheprovider", "-p", "which", *tests)
    assert str(folder / "sac_runner" / "__init__.py") in done.stdout, done
    return done


@pytest.mark.slow
@pytest.mark.parametrize("bug", BUGS, ids=[bug.name for bug in BUGS])
def test_a_planted_bug_turns_its_test_red(copy, bug):
    path = copy / bug.file
    path.write_text(path.read_text().replace(bug.there, bug.instead))
    done = run_tests(copy, bug.test)
    assert done.returncode == 1 and re.search(r"\b\d+ failed", done.stdout), done.stdout
    assert not re.search(r"\b\d+ errors?\b", done.stdout), done.stdout


@pytest.mark.slow
def test_without_a_bug_they_are_green(copy):
    done = run_tests(copy, *dict.fromkeys(bug.test for bug in BUGS))
    assert done.returncode == 0, done.stdout
