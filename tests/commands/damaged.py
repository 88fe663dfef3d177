"""One run with everything in it, ways to damage a file of it, and what each reader then makes of it."""

import contextlib
import hashlib
import io
import json
import shutil
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np

import sac_runner
from sac_runner.analysis.figures import learning_curve
from sac_runner.commands import evaluate
from sac_runner.commands.arguments import open_door
from sac_runner.storage.files import folder_size
from sac_runner.storage.find import find_run
from sac_runner.storage.metrics_file import read_points
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.storage.signed import signed
from sac_runner.training.console import Console
from sac_runner.training.metrics import METRICS
from sac_runner.training.record import Record
from sac_runner.training.recovery import newest_whole
from sac_runner.training.report import finished_already
from sac_runner.training.resume import stored_config
from sac_runner.training.trainer import Trainer
from tests.runs import TINY, knowledge, train
from tests.support import CPU

RUN = [
    *TINY,
    *("normalization=obs", "agent.lr=1e-2", "eval.every_env_steps=20", "log.every_env_steps=10"),
    *("checkpoint.every_env_steps=30", "checkpoint.keep_every_env_steps=25"),
]
"""Finished at 60 env steps; checkpoints of 30 and 60 of them, kept policies of 25 and 50, and a best one."""
OBS = np.array([[0.5, -0.5, 3.0], [1.0, 0.0, -2.0], [-0.2, 0.9, 7.0]], np.float32)


class Damage(NamedTuple):
    """What happens to one file."""

    how: str
    """truncate, flip, zeros, empty, delete, folder or swap."""
    file: str
    """Relative to the run."""
    at: int | str = 0
    """The byte (of a flip, the bit), or what it is swapped with."""

    def do(self, folder):
        """Damage the file below ``folder``."""
        path = folder / self.file
        if self.how in ("delete", "folder"):
            path.unlink()
            if self.how == "folder":
                path.mkdir()
        elif self.how == "swap":
            aside = path.with_name("aside")
            path.rename(aside)
            (folder / self.at).rename(path)
            aside.rename(folder / self.at)
        else:
            path.write_bytes(self._damaged(bytearray(path.read_bytes())))

    def _damaged(self, data):
        match self.how:
            case "truncate" | "empty":
                del data[self.at :]
            case "flip":
                data[self.at // 8] ^= 1 << self.at % 8
            case "zeros":  # a block that a crash of the machine kept from the disk
                end = min(self.at + 512, len(data))
                data[self.at : end] = bytes(end - self.at)
        return data


def damages(folder, flips):
    """Every truncation by 512 bytes or a 32nd, ``flips`` random bit flips, and the rest, of each file of a run."""
    draw = np.random.default_rng(0)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in files:
        name, size = path.relative_to(folder).as_posix(), path.stat().st_size
        yield from (Damage("truncate", name, at) for at in range(1, size, min(512, max(1, size // 32))))
        yield from (Damage("flip", name, int(at)) for at in draw.integers(8 * size, size=flips))
        yield from (Damage("zeros", name, at) for at in range(0, size, max(512, size // 4)))
        yield from (Damage(how, name) for how in ("empty", "delete", "folder"))
    for a, b in combinations(files, 2):
        same_kind = a.name.partition("-")[0] == b.name.partition("-")[0]  # segments are of one
        if same_kind and a.read_bytes() != b.read_bytes():
            yield Damage("swap", a.relative_to(folder).as_posix(), b.relative_to(folder).as_posix())
    for a, b in combinations(sorted((folder / "checkpoints").iterdir()), 2):
        yield Damage("swap", f"checkpoints/{a.name}", f"checkpoints/{b.name}")


class Answer(NamedTuple):
    """What one reader makes of a run: a value, or a refusal."""

    code: int
    value: object
    said: list[str]


def ask(reader, folder):
    """The answer of ``reader``, which may warn, and end with at most three lines; anything else goes through."""
    values, err, code = [], io.StringIO(), 0
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):
        try:
            open_door(lambda: values.append(reader(folder)))
        except SystemExit as e:
            code = e.code
    said = err.getvalue().splitlines()
    refusal = [line for line in said if not line.startswith("warning: ")]
    assert code in (0, 2, 74) and bool(code) == bool(refusal), (code, said)
    assert not code or (refusal[0].startswith("error: ") and len(refusal) <= 3), refusal
    return Answer(code, *values or [None], said)


def _loaded(which):
    def load(folder):
        policy = sac_runner.load_policy(folder, which)
        weights = b"".join(x.numpy().tobytes() for x in policy._policy.state_dict().values())
        return policy.checkpoint.env_steps, hashlib.sha256(weights).hexdigest(), policy(OBS).tolist()

    return load


def _evaluated(*options):
    def evaluated(folder):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            evaluate.main([str(folder), "--json", *options])
        return json.loads(out.getvalue())

    return evaluated


def _found(folder):
    outputs = folder.parents[2]
    return find_run(folder.name, outputs), find_run("last", outputs)


def _plain(name):
    def read(folder):
        run = RunDirectory(folder)
        folder_size(run.path)
        plain = run.read_summary() if name == "summary" else run.read_meta()
        return {key: x for key, x in plain.items() if len(str(x)) != 64}  # a digest whose name was hit

    return read


def _measured(folder):
    curves = zip(METRICS, read_points(RunDirectory(folder), *METRICS), strict=True)
    return {tag: list(points.items()) for tag, points in curves if points}


def _finished(folder):
    """What ``train`` says of a run that has nothing left to do."""
    run = RunDirectory(folder)
    return finished_already(stored_config(run), run)


def _resumed(folder):
    """All that a run knows that goes on."""
    run = RunDirectory(folder)
    config = stored_config(run)
    with Trainer(config, CPU, Console(config, io.StringIO())) as trainer:
        record = Record(config, run, {})
        assert record.restore(newest_whole(run), trainer.state) == []
        record.open()
        record.close(True)
        latest = {name: x for name, x in record.latest.items() if not name.startswith("perf/")}
        return knowledge(trainer) | {"scores": record.scores, "latest": latest}


READERS = {
    "config": lambda folder: stored_config(RunDirectory(folder)),
    "summary": _plain("summary"),
    "meta": _plain("meta"),
    "metrics": _measured,
    "find": _found,
    "finished": _finished,
    "load best": _loaded("best"),
    "load latest": _loaded("latest"),
    "load kept": _loaded(25),
    "evaluate": _evaluated("--episodes", "1", "--checkpoint", "latest"),
    "as trained": _evaluated("--as-trained"),
    "resume": _resumed,
}
"""In this order, as the last one changes what is there."""


def curve(folder):
    """Whether there is a picture of the learning curve."""
    picture = learning_curve(folder)
    return None if picture is None else picture[:4]


def command(folder):
    """``sac-train resume=`` to 66 env steps: all that the run is by then."""
    answer = train(f"resume={folder}", "total_env_steps=66")
    if answer.code:
        refusal = [line for line in answer.err.splitlines() if not line.startswith("warning: ")]
        assert answer.code in (2, 74) and refusal[0].startswith("error: ") and len(refusal) <= 3, answer
        return None
    latest = RunDirectory(folder).checkpoint("latest")
    state = latest.plain("state")
    return latest.env_steps, state["counters"], state["streams"], latest.manifest()["files"]["train.safetensors"]


class World:
    """The run, an older one beside it, and what every reader makes of it undamaged."""

    def __init__(self, outputs):
        self.whole = outputs.with_name("whole")
        answer = train(*RUN, f"run.dir={self.whole}", draws=True)
        assert answer.code == 0, answer.err
        self.folder = outputs / "runs" / "pendulum" / "20260102-000000_s0"
        older = self.folder.with_name("20260101-000000_s1")
        older.mkdir(parents=True)
        (older / "config.yaml").write_text("")
        (older / "meta.json").write_bytes(signed({"started": "2026-01-01T00:00:00+0000"}))
        self.header = len((self.whole / "metrics.csv").read_text().splitlines()[0])
        self.expected = {name: ask(reader, self.copy()) for name, reader in READERS.items()}
        assert not [answer for answer in self.expected.values() if answer.code or answer.said], self.expected
        self.at_66 = command(self.copy())
        Damage("truncate", "checkpoints/latest-000000000060/state.json", 9).do(self.copy())
        self.older = ask(_resumed, self.folder).value
        assert self.older["counters"]["env_steps"] == 30

    def copy(self):
        """The run as it was, in the same place."""
        shutil.rmtree(self.folder, ignore_errors=True)
        return Path(shutil.copytree(self.whole, self.folder))
