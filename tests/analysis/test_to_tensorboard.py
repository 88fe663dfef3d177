import re
from pathlib import Path

import numpy as np
import pytest
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.util import tensor_util

from sac_runner.analysis.comparison import compare
from sac_runner.analysis.load import load
from sac_runner.analysis.to_tensorboard import write_groups
from tests.analysis.made import alpha_sweep, make_run
from tests.runs import event_curve, events_of

METRIC = "eval/return_mean"


def written(root):
    comparison = compare(load([str(root)], Path("outputs"), METRIC), METRIC, None, None, None, None)
    return comparison, write_groups(comparison, root.parent / "out")


def test_each_group_is_a_run_with_its_middle_and_its_band(tmp_path):
    before = alpha_sweep(tmp_path / "sweeps", seeds=5, points=6)
    files = sorted(before.path.rglob("*"))
    comparison, folder = written(tmp_path / "sweeps")
    assert sorted(x.name for x in folder.iterdir()) == ["alpha-auto", "alpha-fixed", "alpha-fixed_0.05"]
    for row in comparison.panels[0].rows:
        place, line = folder / row.group.label.replace("=", "-"), row.over_steps
        for tag, values in ((METRIC, line.iqm), (f"{METRIC}_low", line.band[0]), (f"{METRIC}_high", line.band[1])):
            steps, found = zip(*event_curve(place, tag), strict=True)
            assert steps == tuple(line.x) and found == pytest.approx(values.tolist(), rel=1e-6)
    assert sorted(before.path.rglob("*")) == files  # outside the runs


def test_their_relative_time_is_that_of_training(tmp_path):
    for i in range(2):
        make_run(tmp_path / "runs" / str(i), [1.0, 2.0, 3.0], seed=i, seconds_per_step=0.06)
    _, folder = written(tmp_path / "runs")
    times = [event.wall_time for event in events_of(folder / "all-runs").Scalars(METRIC)]
    assert np.diff(times) == pytest.approx([60, 60], abs=1e-3)


def test_the_margin_chart_is_of_tags_there_are(tmp_path):
    alpha_sweep(tmp_path / "sweeps", seeds=5, points=6)
    _, folder = written(tmp_path / "sweeps")
    accumulator = events_of(folder / "alpha-auto")
    (event,) = accumulator.Tensors("custom_scalars__config__")
    layout = layout_pb2.Layout.FromString(tensor_util.make_ndarray(event.tensor_proto).item())
    margin, lines = layout.category[0].chart
    (series,) = margin.margin.series
    assert (series.value, series.lower, series.upper) == (METRIC, f"{METRIC}_low", f"{METRIC}_high")
    assert {series.value, series.lower, series.upper} == set(accumulator.Tags()["scalars"])
    (pattern,) = lines.multiline.tag
    assert [tag for tag in accumulator.Tags()["scalars"] if re.match(pattern, tag)] == [METRIC]


def test_few_seeds_have_no_band_and_a_group_without_a_counted_run_no_curve(tmp_path):
    for i in range(2):
        make_run(tmp_path / f"runs/{i}", [1.0, 2.0], seed=i)
    make_run(tmp_path / "runs/gone", [1.0], state="killed", agent={"tau": 0.1})
    _, folder = written(tmp_path / "runs")
    (place,) = folder.iterdir()
    assert events_of(place).Tags()["scalars"] == [METRIC]


def test_environments_have_a_folder_each_and_names_that_become_alike_too(tmp_path):
    for i, lr in enumerate(("a b", "a?b")):
        make_run(tmp_path / f"runs/{i}", [1.0, 2.0], env={"kwargs": {"x": lr}})
    make_run(tmp_path / "runs/9", [1.0, 2.0], env={"id": "ns/Hopper-v5"})
    _, folder = written(tmp_path / "runs")
    places = sorted(x.parent.relative_to(folder).as_posix() for x in folder.rglob("events*"))
    assert places == ["Pendulum-v1/env.kwargs.x-a-b", "Pendulum-v1/env.kwargs.x-a-b-2", "ns-Hopper-v5/all-runs"]
    _, again = written(tmp_path / "runs")
    assert again != folder and len(list(folder.rglob("events*"))) == 3  # earlier ones are left alone
