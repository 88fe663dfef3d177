"""All that a finished run leaves, but for what the clock says: equal if and only if two runs are, to the bit."""

import hashlib
import logging
import re

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sac_runner.interaction.replay import ReplayBuffer
from sac_runner.storage.checkpoints import find
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.storage.segments import read_segments
from sac_runner.training.recovery import listed_segments
from tests.runs import metrics_rows

_FILES = (
    r"config\.yaml|meta\.json|metrics\.csv|summary\.json|curve\.png|train\.log|crash(_reported)?\.log"
    r"|events\..*|\.lock|\.owner-\d+"
)


def left(folder):
    """What ``folder`` holds; nothing that a killed process began to write may be in it."""
    run = RunDirectory(folder)
    _check_names(run)
    latest, summary = run.checkpoint("latest"), run.read_summary()
    arrays, state = latest.arrays("train"), latest.plain("state")
    del state["replay"], summary["written"]
    for timed in (state["record"], summary):
        del timed["wall_time_s"]
    del state["record"]["row_s"], state["record"]["rows"]  # the latter of rows with speeds in them
    state["record"]["latest"] = {k: x for k, x in state["record"]["latest"].items() if not k.startswith("perf/")}
    policies = [checkpoint for checkpoint in find(run.checkpoints) if checkpoint.kind != "latest"]
    return {
        "state": state,
        "summary": summary,
        "train": _digest(arrays),
        "rows": _digest(_rows(run, arrays["collector.obs"])),
        "policies": {c.path.name: (_digest(c.arrays("policy")), c.manifest()["score"]) for c in policies},
        "metrics": metrics_rows(folder),
        "curve": _curve(folder),
    }


def _check_names(run):
    known = [run.read_summary()["scores"], run.checkpoint("latest").plain("state")["record"]["scores"]]
    assert {c.env_steps for c in find(run.checkpoints, "best")} == {scores["best"]["env_steps"] for scores in known}
    assert len(find(run.checkpoints, "latest")) == 2
    assert len(list(run.checkpoints.iterdir())) == len(find(run.checkpoints))
    listed = {segment.file for c in find(run.checkpoints, "latest") for segment in listed_segments(c)}
    assert {path.name for path in run.replay.iterdir()} == listed
    for checkpoint in find(run.checkpoints):
        checkpoint.verify()
    for path in run.path.iterdir():
        assert path.name in ("checkpoints", "replay") or re.fullmatch(_FILES, path.name), path


def _digest(arrays):
    return {name: (x.dtype.str, x.shape, hashlib.sha256(x.tobytes()).hexdigest()) for name, x in arrays.items()}


def _rows(run, obs):
    latest = run.checkpoint("latest")
    replay = ReplayBuffer(40, *obs.shape, 1, True)
    replay.restore(((s.first, rows) for s, rows in read_segments(run.replay, listed_segments(latest))), obs)
    return replay.rows_between(replay.added - replay.rows, replay.added)


def _curve(folder):
    """As TensorBoard shows it, from the files of all starts."""
    logging.disable()  # of what was purged
    events = EventAccumulator(str(folder)).Reload()
    logging.disable(logging.NOTSET)
    return [(event.step, event.value) for event in events.Scalars("eval/return_mean")]
