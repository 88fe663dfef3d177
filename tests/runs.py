"""Whole runs, tiny ones: through the train command in this process, or through the trainer itself."""

import contextlib
import csv
import hashlib
import io
import sys
from functools import cache
from itertools import count, product
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sac_runner.commands import train as train_command
from sac_runner.config.compose import compose_config, to_yaml
from sac_runner.config.rewrite import rewrite, split
from sac_runner.storage.checkpoints import find
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.training.console import Console
from sac_runner.training.device import resolve_device
from sac_runner.training.record import Record
from sac_runner.training.recovery import newest_whole
from sac_runner.training.trainer import Trainer

SIZE = [
    "threads=1",
    "device=cpu",
    "agent.hidden_sizes=[8,8]",
    "replay.batch_size=8",
    "eval.episodes=1",
    "eval.num_envs=1",
]
"""Overrides that make any run small."""
BUDGET = [
    *SIZE,
    *("total_env_steps=60", "schedule.warmup_env_steps=20", "eval.max_episode_steps=15", "env.max_episode_steps=15"),
]
"""And a short one, for schedule=per_step."""
TINY = ["env=pendulum", *BUDGET]


class Answer(NamedTuple):
    """What a command said."""

    code: int
    out: str
    err: str


def train(*arguments, draws=False):
    """``sac-train`` with ``arguments``, in this process; it ``draws`` only if told to: that takes half of the time."""
    before, out, err, code = sys.argv, io.StringIO(), io.StringIO(), 0
    sys.argv = ["sac-train", *map(str, arguments)]
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        if not draws:
            stack.enter_context(mock.patch("sac_runner.analysis.figures.learning_curve", lambda run: None))
        try:
            train_command.main()
        except SystemExit as e:
            code = e.code if isinstance(e.code, int) else int(e.code is not None)
        finally:
            sys.argv = before
    return Answer(code, out.getvalue(), err.getvalue())


def trained(*arguments, draws=False):
    """The directory of a run that ``train`` has made, as the only one under outputs."""
    answer = train(*arguments, draws=draws)
    assert answer.code == 0, answer.err
    return the_run()


def the_run(outputs="outputs"):
    """The only run under ``outputs``."""
    (found,) = Path(outputs).glob("runs/*/*")
    return RunDirectory(found)


_composed = cache(lambda *overrides: compose_config(list(overrides)))


def compose_all(arguments):
    """Compose every run that ``arguments`` ask for."""
    options, overrides = split(rewrite(arguments))
    sweeps = {"-m", "--multirun"} & set(options)
    alternatives = []
    for override in overrides:
        key, _, value = override.partition("=")
        values = value.split(",") if sweeps and not value.startswith("[") else [value]
        alternatives.append([f"{key}={x}" for x in values])
    return [_composed(*job) for job in product(*alternatives)]


class Killed(Exception):
    """The process of a run ends here, and nothing more is written."""


def advance(config, folder, stop_at=None, killed=False, asked=None, asks=None):
    """Train in ``folder``, from the start or on from its checkpoint.

    At ``stop_at`` env steps, or when it asks for the ``asked``-th time whether to, the run is told to stop, or it is
    killed. ``asks`` counts from 1. Returns all that it knows at its end.
    """
    asks = asks or count(1)
    run = RunDirectory(folder)
    run.path.mkdir(exist_ok=True)
    device = resolve_device(config.device)
    with Trainer(config, device, Console(config, io.StringIO())) as trainer:
        record = Record(config, run, {})
        if find(run.checkpoints, "latest"):
            assert record.restore(newest_whole(run), trainer.state) == []
        else:
            run.write_start(to_yaml(config), {})

        def stops():
            due = next(asks) == asked or (stop_at is not None and trainer.counters.env_steps >= stop_at)
            if due and killed:
                raise Killed
            return due

        record.open()
        with contextlib.suppress(Killed):
            trainer.run(record, stops)
        record.close(True)
        return knowledge(trainer)


def knowledge(trainer):
    """Every array of a trainer as a digest, and the rest as it is: equal if and only if two runs are, to the bit."""
    arrays, plain = trainer.state.capture()
    del plain["turn"]  # whether a stop was heard within it
    replay = trainer.replay
    held = replay.rows_between(max(replay.added - replay.rows, 0), replay.added)
    arrays |= {f"replay.{name}": x for name, x in held.items()}
    return {
        name: (x.shape, str(x.dtype), hashlib.sha256(x.tobytes()).hexdigest()) for name, x in arrays.items()
    } | plain


def _all_rows(folder):
    with (Path(folder) / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def metrics_rows(folder):
    """The rows of metrics.csv, those of ``perf/`` aside."""
    return [{k: x for k, x in row.items() if not k.startswith("perf/")} for row in _all_rows(folder)]


def measured(folder):
    """Tag -> (env steps, value) of each cell of metrics.csv, of tags that have any."""
    found = {}
    for row in _all_rows(folder):
        for tag, value in row.items():
            if value and tag not in ("env_steps", "round"):
                found.setdefault(tag, []).append((int(row["env_steps"]), float(value)))
    return found


def curves(folder):
    """Tag -> (env steps, value) as TensorBoard shows them, those of ``perf/`` aside."""
    tags = [tag for tag in events_of(folder).Tags()["scalars"] if not tag.startswith("perf/")]
    return {tag: event_curve(folder, tag) for tag in tags}


def policy(run):
    """The bytes of its newest policy."""
    return (run.checkpoint("latest").path / "policy.safetensors").read_bytes()


def events_of(folder):
    """What TensorBoard reads in ``folder``."""
    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    accumulator.Reload()
    return accumulator


def event_curve(folder, tag):
    """Step and value of each point that TensorBoard shows of ``tag``."""
    return [(event.step, event.value) for event in events_of(folder).Scalars(tag)]
