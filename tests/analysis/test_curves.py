import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sac_runner.analysis.curves import Curve, read_curve
from sac_runner.errors import Damaged
from tests.analysis.made import make_run

METRIC = "eval/return_mean"


def curve(steps, values, minutes=None):
    return Curve(*(np.array(x, dtype=float) for x in (steps, steps if minutes is None else minutes, values)))


def test_minutes_are_those_of_the_rows_between_evaluations(tmp_path):
    run = make_run(tmp_path / "run", [1.0, 2.0, 3.0], steps=[0, 1000, 3000], seconds_per_step=0.06)
    found, _ = read_curve(run.path / "metrics.csv", METRIC, (3000, 180.0))
    assert found.minutes.tolist() == pytest.approx([0, 1, 3])
    assert found.minutes_at(2000) == pytest.approx(2)


def test_without_any_wall_time_minutes_are_unknown(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text(f"env_steps,round,{METRIC}\n0,0,1.0\n10,0,2.0\n")
    found, _ = read_curve(path, METRIC, (0, 0.0))
    assert found.values.tolist() == [1, 2] and np.isnan(found.minutes).all()
    found, _ = read_curve(path, METRIC, (20, 120.0))  # the summary knows it
    assert found.minutes.tolist() == [0, 1]


def test_a_later_row_of_the_same_step_counts_and_order_does_not(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text(f"env_steps,round,{METRIC}\n20,0,2.0\n10,0,1.0\n20,0,5.0\n")
    found, _ = read_curve(path, METRIC, (0, 0.0))
    assert (found.env_steps.tolist(), found.values.tolist()) == ([10, 20], [1, 5])


def test_a_run_that_lacks_the_metric_has_no_curve_of_it(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("env_steps,round,other\n0,0,1\n")
    found, columns = read_curve(path, METRIC, (0, 0.0))
    assert found is None and columns.tags == ["env_steps", "round", "other"]


@given(st.binary(max_size=60), st.integers(0, 400))
def test_whatever_is_in_the_file_it_is_read_or_refused(tmp_path_factory, noise, at):
    path = tmp_path_factory.getbasetemp() / "noise.csv"
    rows = b"env_steps,round,eval/return_mean,perf/wall_time_s\n" + b"10,0,1.5,\n20,0,,3\n" * 20
    path.write_bytes(rows[:at] + noise + rows[at:])
    try:
        found, _ = read_curve(path, METRIC, (20, 3.0))
    except Damaged:
        return
    assert found is None or (np.isfinite(found.values).all() and (np.diff(found.env_steps) > 0).all())


points = st.lists(
    st.tuples(st.integers(0, 50), st.integers(-100, 100)), min_size=2, max_size=8, unique_by=lambda p: p[0]
)


@given(points, st.integers(1, 9), st.integers(-50, 50))
def test_the_area_is_a_mean_height(points, scale, shift):
    steps, heights = zip(*sorted(points), strict=True)
    one = curve(steps, heights)
    area = one.area(steps[0], steps[-1])
    assert min(heights) - 1e-9 <= area <= max(heights) + 1e-9
    assert curve([s * 7 for s in steps], heights).area(7 * steps[0], 7 * steps[-1]) == pytest.approx(area)
    moved = curve(steps, [scale * y + shift for y in heights])
    assert moved.area(steps[0], steps[-1]) == pytest.approx(scale * area + shift)


def test_area_of_a_triangle_between_any_ends():
    one = curve([0, 10, 20], [0, 10, 0])
    assert one.area(0, 20) == 5 and one.area(0, 10) == 5 and one.area(5, 15) == 7.5 and one.area(10, 10) == 10


def test_best_and_first_at_a_level_look_no_further_than_the_end():
    one = curve([0, 10, 20, 30], [1, 5, 3, 9], minutes=[0, 1, 2, 3])
    assert [one.best(end) for end in (0, 10, 25, 30)] == [1, 5, 6, 9]
    assert one.first_at_least(5, 30) == (10, 1) and one.first_at_least(5.1, 30) == (30, 3)
    assert one.first_at_least(5.1, 29) is None and one.first_at_least(1, 30) == (0, 0)
    assert one.at(25) == 6 and one.reach == 30 and math.isclose(one.minutes_at(25), 2.5)
