"""Processes of ``sac-train`` that can be killed, each begun within milliseconds by ``tests.process_server``."""

import json
import os
import re
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
AT_ONCE = 0
"""As the mark of a signal: its seconds are those since the start of its process."""
_PATIENCE_S = 900  # a busy machine is none that hangs


class Ending(NamedTuple):
    """How a process ended."""

    process: int
    code: int
    seconds: float
    phase: str
    """What it was at when a signal came, else at its end: starting, building, beginning, restoring, stepping,
    evaluating, saving, dropping, asked (to stop) or ending."""
    env_steps: int
    marks: int
    """How often its phase had changed."""


class Server:
    """Runs ``sac-train`` in one folder, in as many processes at once as it is asked for."""

    def __init__(self, folder):
        folder.mkdir()
        self.folder = folder
        environment = os.environ | {"OMP_NUM_THREADS": "1", "TMPDIR": str(folder), "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.process_server"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the tests
        )

    def begin(self, *commands, signals=()):
        """Begin ``commands`` at the same moment.

        Each of ``signals`` is (mark, seconds, number): sent to the first of them so many seconds after it made its n-th
        mark, or came to a phase that it names. Ctrl-C goes to its whole group, as from a terminal.
        """
        for i in range(len(commands)):
            (self.folder / f"said-{i}").write_text("")
        request = {"commands": [list(map(str, command)) for command in commands], "signals": list(signals)}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()

    def endings(self):
        """How each of them ended, once all have."""
        if not select.select([self._process.stdout], [], [], _PATIENCE_S)[0]:
            self._process.kill()
            pytest.fail(f"no end after {_PATIENCE_S} s: {self.said()}")
        return [Ending(*ending) for ending in json.loads(self._process.stdout.readline())]

    def run(self, command, *signals):
        """``begin`` and the ending of one."""
        self.begin(command, signals=signals)
        return self.endings()[0]

    def said(self, process=0):
        """What the n-th of the last processes has written to its terminal."""
        return (self.folder / f"said-{process}").read_text()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.communicate()


def soon(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def alive(process):
    """Those that live of ``process`` and of what it began."""
    return [pid for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))) if _is_of_group(pid, process)]


def _is_of_group(pid, leader):
    try:
        state, _, group = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:3]
    except OSError:
        return False
    return state != "Z" and int(group) == leader


class Starts:
    """One run, started again and again, as a rule with a signal at some moment."""

    def __init__(self, server, name, command):
        self.server, self.command = server, [*command, f"run.dir={name}"]
        self.folder, self.endings, self._reached = server.folder / name, [], 0

    def once(self, *signals):
        ending = self.server.run(self.command, *signals)
        self.endings.append(ending)
        said = self.server.said()
        begun = re.search(r"continuing at ([\d,]+) env steps", said)
        if begun:  # what was on the disk is never lost again
            assert int(begun[1].replace(",", "")) >= self._reached - 10, said
        self._reached = max(self._reached, ending.env_steps)
        assert soon(lambda: not alive(ending.process)), f"{ending} left processes behind"
        assert "set aside" not in said and "could not be replayed" not in said, said
        return ending
