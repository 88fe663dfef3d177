"""The way out of a command, shown with real processes."""

import contextlib
import subprocess
import sys
from importlib.metadata import version

import pytest

from sac_runner.commands import compare, evaluate, record, runs, tensorboard, train, watch

COMMAND = """
import sys, threading, time
from sac_runner.commands import arguments
from sac_runner.errors import EnvironmentFailed

arguments._PATIENCE_S = 0.1

def body():
    threading.Thread(target=time.sleep, args=(600,)).start()
    print("trained")
    {ending}

arguments.open_door(body)
"""


@pytest.mark.parametrize(
    ("ending", "code", "said"),
    [
        ("pass", 0, ""),
        ("sys.exit(143)", 143, ""),
        ("raise EnvironmentFailed('it broke')", 70, "error: it broke"),
        ("raise ValueError('a bug')", 1, "ValueError: a bug"),
        ("sys.exit('no licence')", 1, "no licence"),
    ],
)
def test_a_thread_that_an_environment_left_does_not_keep_a_command(ending, code, said):
    command = [sys.executable, "-c", COMMAND.format(ending=ending)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (code, "trained\n")
    assert said in ended.stderr and bool(said) == bool(ended.stderr)


def test_a_thread_that_has_something_to_save_is_waited_for(tmp_path):
    body = """
import atexit, pathlib, sys, threading, time
from sac_runner.commands import arguments

saved, later = map(pathlib.Path, sys.argv[1:])
arguments._PATIENCE_S = 1.0

def save():
    time.sleep(0.3)
    saved.write_text("")

def body():
    atexit.register(later.write_text, "")
    threading.Thread(target=save).start()
    threading.Thread(target=time.sleep, args=(600,)).start()

arguments.open_door(body)
"""
    files = tmp_path / "saved", tmp_path / "later"
    assert subprocess.run([sys.executable, "-c", body, *files], timeout=60).returncode == 0
    assert all(file.exists() for file in files)


@pytest.mark.parametrize("command", [train, evaluate, watch, record, compare, runs, tensorboard])
def test_every_command_tells_its_version(command, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["command", "--version"])
    with contextlib.suppress(SystemExit):
        command.main()
    assert capsys.readouterr().out == f"sac_runner {version('sac-runner')}\n"
