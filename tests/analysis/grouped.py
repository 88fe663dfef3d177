"""Runs with nothing but a config, and the labels of their groups."""

from pathlib import Path

import numpy as np

from sac_runner.analysis.curves import Curve
from sac_runner.analysis.grouping import group_runs
from sac_runner.analysis.load import Run
from sac_runner.config.convert import flat
from sac_runner.storage.status import Status
from tests.support import plain

FIXED = {"mode": "fixed", "value": 0.2}
LOW = {"mode": "fixed", "value": 0.05}
POINT = Curve(np.array([0.0]), np.array([0.0]), np.array([0.0]))


def a_run(seed=0, setting=None, overrides=(), **config):
    """A run with this config; ``setting`` is what its sweep swept."""
    keys = flat(plain(seed=seed, **config))
    status = Status("finished", None, 0, 0.0, {})
    return Run(
        Path(f"r{seed}"),
        f"r{seed}",
        keys["env.id"],
        seed,
        keys,
        {"overrides": [*overrides]},
        status,
        setting,
        POINT,
        {},
    )


def labels(runs, by=None):
    """Label -> seeds, of runs of one environment."""
    (grouping,) = group_runs(runs, by)
    return {x.label: [run.seed for run in x.runs] for x in grouping.groups}
