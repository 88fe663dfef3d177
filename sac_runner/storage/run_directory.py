"""The run directory: the only writer of what a run leaves on disk, and the first reader of it."""

import contextlib
import csv
import io
import json
import time
from pathlib import Path
from typing import Any

from sac_runner.errors import DiskFailed, WrongInput
from sac_runner.storage import checkpoints
from sac_runner.storage.files import Appended, json_bytes, write_atomically


class RunDirectory:
    """One run on disk: config, versions, metrics, events, checkpoints, summary."""

    def __init__(self, path: Path) -> None:
        """``path`` exists; whether it holds a run, ``is_run`` says."""
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.replay = path / "replay"

    @property
    def is_run(self) -> bool:
        """Whether a config was written here."""
        return (self.path / "config.yaml").is_file()

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    def write_start(self, config_yaml: str, meta: dict[str, Any]) -> None:
        """The resolved config, and ``meta.json``: versions, git commit, command line, device, threads, precision.

        What it said of earlier starts of the run is kept in it.
        """
        before = {key: value for key, value in self.read_meta().items() if key != "spaces"}
        earlier = before.pop("earlier_starts", None)
        if before:
            meta = meta | {"earlier_starts": [*(earlier if isinstance(earlier, list) else []), before]}
        write_atomically(self.path / "meta.json", json_bytes(meta))
        write_atomically(self.path / "config.yaml", config_yaml.encode())

    def write_summary(self, summary: dict[str, Any]) -> None:
        """``summary.json``: status, cause and scores with their protocol."""
        write_atomically(self.path / "summary.json", json_bytes({**summary, "written": time.strftime("%FT%T%z")}))

    def write_bytes(self, name: str, data: bytes) -> Path:
        """Any other single file, such as ``curve.png``."""
        target = self.path / name
        target.parent.mkdir(exist_ok=True)
        write_atomically(target, data)
        return target

    def read_summary(self) -> dict[str, Any]:
        """``summary.json``, or an empty dict where there is none yet."""
        return self._read_json("summary.json")

    def read_meta(self) -> dict[str, Any]:
        """``meta.json``, or an empty dict where there is none."""
        return self._read_json("meta.json")

    def _read_json(self, name: str) -> dict[str, Any]:
        try:
            value = json.loads((self.path / name).read_bytes())
        except (OSError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}

    def config_text(self) -> str:
        """``config.yaml``.

        Raises:
            WrongInput: This is no run.
        """
        try:
            return (self.path / "config.yaml").read_text()
        except OSError as e:
            raise WrongInput(f"{self.path} is no run: it has no config.yaml") from e

    def read_metrics(self) -> dict[str, list[tuple[int, float]]]:
        """Tag -> (env steps, value) in order, from ``metrics.csv``; a torn last line is left out."""
        curves: dict[str, list[tuple[int, float]]] = {}
        for row in _rows(self.path / "metrics.csv"):
            for tag, value in row.items():
                if value and tag not in ("env_steps", "round"):
                    curves.setdefault(tag, []).append((int(row["env_steps"]), float(value)))
        return curves

    def size(self) -> tuple[int, int]:
        """Bytes of the whole directory, and of its replay."""
        files = [(path, path.stat().st_size) for path in self.path.rglob("*") if path.is_file()]
        return sum(n for _, n in files), sum(n for path, n in files if "replay" in path.relative_to(self.path).parts)

    def checkpoint(self, which: str) -> checkpoints.Checkpoint:
        """The checkpoint ``best``, ``latest`` or at a number of env steps.

        Raises:
            WrongInput: There is none such.
        """
        found = checkpoints.find(self.checkpoints)
        if which in ("best", "latest"):
            chosen = [c for c in found if c.kind == which]
        else:
            chosen = [c for c in found if str(c.env_steps) == which.replace("_", "")]
        if not chosen:
            there = ", ".join(f"{c.kind} at {c.env_steps:,}" for c in found) or "none yet"
            raise WrongInput(f"{self.path} has no checkpoint {which}; there is {there}")
        return chosen[-1]


def _rows(metrics: Path) -> list[dict[str, str]]:
    """The whole lines of ``metrics.csv``; none where there is no file."""
    try:
        text = metrics.read_text()
    except OSError:
        return []
    return list(csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1])))


class MetricsFile:
    """``metrics.csv``: one row for each time that something was measured, blank where nothing was."""

    def __init__(self, run: RunDirectory, tags: list[str], env_steps: int) -> None:
        """Append to the file, less the rows that lie after ``env_steps``; a new one begins with a header."""
        path = run.path / "metrics.csv"
        columns = ["env_steps", "round", *tags]
        text = io.StringIO()
        kept = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
        kept.writeheader()
        kept.writerows(row for row in _rows(path) if int(row["env_steps"]) <= env_steps)
        write_atomically(path, text.getvalue().encode())
        self._file = Appended(path, "ab")
        self._columns = columns

    def write(self, env_steps: int, round_count: int, values: dict[str, float]) -> None:
        """Append a row; where the disk refuses it, it waits for the next one, or for ``flush``."""
        row = io.StringIO()
        writer = csv.DictWriter(row, self._columns, lineterminator="\n")
        writer.writerow({"env_steps": env_steps, "round": round_count, **values})
        self._file.write(row.getvalue().encode())
        with contextlib.suppress(DiskFailed):
            self._file.flush()

    def flush(self) -> None:
        """Hand every row to the operating system.

        Raises:
            DiskFailed: It did not take all of them.
        """
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
