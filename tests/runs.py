"""Whole runs, tiny ones: through the train command in this process, or through the trainer itself."""

import contextlib
import csv
import hashlib
import io
import json
import sys
from pathlib import Path
from typing import NamedTuple

from sac_runner.commands import train as train_command
from sac_runner.config.compose import to_yaml
from sac_runner.config.validate import validate
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.training.console import Console
from sac_runner.training.record import Record
from sac_runner.training.run import hyperparameters
from sac_runner.training.trainer import Trainer
from tests.support import CPU, config

SIZE = [
    "threads=1",
    "device=cpu",
    "agent.hidden_sizes=[8,8]",
    "replay.batch_size=8",
    "eval.episodes=1",
    "eval.num_envs=1",
]
"""Overrides that make any run small."""
BUDGET = [*SIZE, "total_env_steps=60", "schedule.warmup_env_steps=20", "env.max_episode_steps=15"]
"""And a short one, for schedule=per_step."""
TINY = ["env=pendulum", *BUDGET]


class Answer(NamedTuple):
    """What a command said."""

    code: int
    out: str
    err: str


def train(*arguments):
    """``sac-train`` with ``arguments``, in this process."""
    before, out, err, code = sys.argv, io.StringIO(), io.StringIO(), 0
    sys.argv = ["sac-train", *map(str, arguments)]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            train_command.main()
        except SystemExit as e:
            code = e.code if isinstance(e.code, int) else int(e.code is not None)
        finally:
            sys.argv = before
    return Answer(code, out.getvalue(), err.getvalue())


def trained(*arguments):
    """The directory of a run that ``train`` has made, as the only one under outputs."""
    answer = train(*arguments)
    assert answer.code == 0, answer.err
    return the_run()


def the_run(outputs="outputs"):
    """The only run under ``outputs``."""
    (found,) = Path(outputs).glob("runs/*/*")
    return RunDirectory(found)
