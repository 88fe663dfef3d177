"""Groups of runs as runs of TensorBoard: the IQM of each and its band, outside the runs' own directories."""

from pathlib import Path

import numpy as np

from sac_runner.analysis.comparison import Comparison, Row
from sac_runner.storage.events import BandPoint, write_band
from sac_runner.storage.names import safe_name
from sac_runner.storage.new_folder import create_exclusively


def write_groups(comparison: Comparison, folder: Path) -> Path:
    """Write them into a new folder in ``folder``, and return that.

    Raises:
        DiskFailed: Not all are there.
        WrongInput: The folder can't be written.
    """
    new = create_exclusively(folder / "tensorboard")
    several = len(comparison.panels) > 1
    for panel in comparison.panels:
        place = new / safe_name(panel.env_id) if several else new
        for row in panel.rows:
            points = _points(row)
            if points:
                write_band(create_exclusively(place / safe_name(row.group.label)), comparison.metric, points)
    return new


def _points(row: Row) -> list[BandPoint]:
    line = row.over_steps
    if line is None:
        return []
    clocks = [np.interp(line.x, score.run.curve.env_steps, score.run.curve.minutes) for score in row.scores]
    seconds = np.nan_to_num(60 * np.median(clocks, 0))
    low, high = line.band or ([None] * len(line.x), [None] * len(line.x))
    return [
        BandPoint(round(x), float(s), float(y), None if a is None else float(a), None if b is None else float(b))
        for x, s, y, a, b in zip(line.x, seconds, line.iqm, low, high, strict=True)
    ]
