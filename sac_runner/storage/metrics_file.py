"""``metrics.csv`` of a run: written a row at a time, read by columns."""

import contextlib
import csv
import hashlib
import io
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sac_runner.errors import Damaged, DiskFailed, warn
from sac_runner.storage.files import Appended, matching, read_whole, write_atomically
from sac_runner.storage.run_directory import RunDirectory

_MOST = 2**53  # env steps that float64 tells apart


class Columns(NamedTuple):
    """Some columns of a ``metrics.csv``."""

    tags: list[str]
    """Of all columns there are."""
    points: dict[str, dict[int, float]]
    """Wanted tag -> env steps -> value; a later row of the same step counts."""


def read_columns(metrics: Path, wanted: Sequence[str]) -> Columns:
    """The columns ``wanted``, less rows that can't be read, of which it warns; a torn last one a run still writes.

    Raises:
        Damaged: There is no such file, or it has no env steps.
        DiskFailed: It can't be read.
    """
    header, *lines = _whole_lines(metrics) or [""]
    names = header.split(",")
    if "env_steps" not in names:
        raise Damaged(f"{metrics} is damaged: it has no column env_steps")
    steps_at, n_cells, damaged = names.index("env_steps"), len(names), 0
    points: dict[str, dict[int, float]] = {tag: {} for tag in wanted}
    places = [(names.index(tag), points[tag]) for tag in wanted if tag in names]
    for line in lines:
        cells = line.split(",")
        try:
            step = int(cells[steps_at])
            row = [(there, float(cells[place])) for place, there in places if cells[place]]
        except (ValueError, IndexError):
            step = -1
        if not 0 <= step < _MOST or len(cells) != n_cells:
            damaged += 1
            continue
        for there, value in row:
            if math.isfinite(value):
                there[step] = value
    if damaged:
        warn(f"{metrics} has damaged rows, which are left out: {damaged}")
    return Columns(names, points)


def read_points(run: RunDirectory, *tags: str) -> list[dict[int, float]]:
    """Env steps -> value of each of ``tags``, empty where there is no file to read, of which it warns.

    Raises:
        DiskFailed: The file can't be read.
    """
    metrics = run.path / "metrics.csv"
    try:
        columns = read_columns(metrics, tags)
    except Damaged as e:
        if os.path.lexists(metrics):
            warn(e.message)
        return [{} for _ in tags]
    return [columns.points[tag] for tag in tags]


def _whole_lines(metrics: Path) -> list[str]:
    """Not by a reader of CSV, as a quotation mark that a bit flip makes would reach over many."""
    text = read_whole(metrics).decode(errors="replace")
    return text[: text.rfind("\n") + 1].splitlines()


class Written(NamedTuple):
    """How far ``metrics.csv`` had come at some time."""

    env_steps: int
    """Of its newest row, -1 before the first."""
    rows: int
    """How many there were of that step."""
    digest: str | None = None
    """Of all of it; None where that is not known."""


class MetricsFile:
    """``metrics.csv``: one row for each time that something was measured, blank where nothing was."""

    def __init__(self, run: RunDirectory, tags: list[str], written: Written) -> None:
        """Append to the file, less the rows that came after ``written``; a new one begins with a header."""
        path, columns = run.path / "metrics.csv", ["env_steps", "round", *tags]
        header, lines = "env_steps,round", list[str]()
        with contextlib.suppress(Damaged):  # not there
            header, *lines = _whole_lines(path) or [header]
        names = header.split(",")
        rows = [dict(zip(names, cells, strict=False)) for line in lines if _is_row(names, cells := line.split(","))]
        text = io.StringIO()
        kept = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
        kept.writeheader()
        kept.writerows(row for row in rows if int(row["env_steps"]) < written.env_steps)
        newest = [row for row in rows if int(row["env_steps"]) == written.env_steps][: written.rows]
        kept.writerows(newest)
        self.newest = [{tag: float(row[tag]) for tag in tags if row.get(tag)} for row in newest]
        """Tag -> value of each row of the newest step."""
        whole = text.getvalue().encode()
        self._digest = hashlib.sha256(whole)
        is_other = written.digest not in (None, self.digest)
        if is_other and not path.exists():
            warn(f"{path} is gone, and with it the curves of {run.path.name} so far")
        elif (is_other and names == columns) or len(rows) < len(lines) or not set(names) <= set(columns):
            kept_before = len(matching(run.path, "earlier-metrics-*.csv"))
            earlier = run.write_bytes(f"earlier-metrics-{kept_before + 1}.csv", path.read_bytes())
            what = "damaged, missing or unknown"
            warn(f"{path} has rows or columns that are {what}; as it was it is kept as {earlier.name}")
        write_atomically(path, whole)
        self._file = Appended(path, "ab")
        self._columns = columns

    def write(self, env_steps: int, round_count: int, values: dict[str, float]) -> None:
        """Append a row; where the disk refuses it, it waits for the next one, or for ``sync``."""
        row = io.StringIO()
        writer = csv.DictWriter(row, self._columns, lineterminator="\n")
        writer.writerow({"env_steps": env_steps, "round": round_count, **values})
        line = row.getvalue().encode()
        self._digest.update(line)
        self._file.write(line)
        with contextlib.suppress(DiskFailed):
            self._file.flush()

    @property
    def digest(self) -> str:
        """Of the header and of every row so far: SHA-256, in hexadecimal digits."""
        return self._digest.hexdigest()

    def sync(self) -> None:
        """Have every row on the disk.

        Raises:
            DiskFailed: Not all of them are.
        """
        self._file.sync()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _is_row(columns: list[str], cells: list[str]) -> bool:
    try:
        counts = [int(cell) for name, cell in zip(columns, cells, strict=True) if name in ("env_steps", "round")]
        [float(cell) for cell in cells if cell]
    except ValueError:
        return False
    return len(counts) == 2
