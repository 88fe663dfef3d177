from pathlib import Path

import pytest

from sac_runner.analysis.comparison import compare
from sac_runner.analysis.load import load
from tests.analysis.made import make_run

METRIC = "eval/return_mean"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def made(name, values, **options):
    return make_run(Path("runs/pendulum") / name, values, **options)


def compared(by=None):
    return compare(load(["runs"], Path("outputs"), METRIC), METRIC, by, baseline=None, to_reach=None, at=None)


def test_a_copy_of_a_run_is_no_second_seed():
    made("a", [1.0, 2.0], seed=3)
    made("b", [1.0, 2.0], seed=3)
    made("c", [1.0, 2.0], seed=4)  # another seed may score the same
    made("d", [1.0, 2.5], seed=3)
    comparison = compared()
    assert [run.name[-1] for run in comparison.panels[0].rows[0].group.runs] == ["a", "c", "d"]
    ((name, why),) = comparison.left_out
    assert name == "pendulum/b" and why.endswith("curve of pendulum/a")
    assert "has seed 3 more than once" in comparison.panels[0].cautions[0]


def test_of_two_copies_the_one_with_more_of_the_curve_counts():
    made("damaged", [1.0, 3.0], steps=[0, 800], seed=3)
    made("whole", [1.0, 2.0, 3.0], steps=[0, 400, 800], seed=3)
    comparison = compared()
    assert comparison.left_out == [("pendulum/damaged", "has the seed and, to the bit, the values of pendulum/whole")]


def test_the_beginning_of_a_longer_run_is_no_second_seed():
    made("pilot", [1.0, 2.0, 2.5], steps=[0, 400, 600], seed=3)  # whose end is no measurement of the longer one
    made("longer", [1.0, 2.0, 3.0], steps=[0, 400, 800], seed=3)
    made("other", [1.0, 2.1, 3.0], steps=[0, 400, 800], seed=3)
    made("short", [1.0, 2.0], steps=[0, 300], seed=3)  # of which nothing tells: the first policy is that of all
    comparison = compared()
    assert [run.name[9:] for run in comparison.panels[0].rows[0].group.runs] == ["longer", "other", "short"]
    assert comparison.left_out == [("pendulum/pilot", "has the seed and, to the bit, the beginning of pendulum/longer")]


def test_a_run_with_another_setting_is_no_copy_where_a_metric_is_always_the_same():
    made("a", [200.0, 200.0], seed=3, agent={"gamma": 0.9})
    made("b", [200.0, 200.0], seed=3, agent={"gamma": 0.99})
    comparison = compared(by=["alpha"])
    assert comparison.left_out == [] and len(comparison.panels[0].rows[0].scores) == 2


def test_a_run_that_failed_before_it_had_learned_is_no_copy_of_one_that_began_alike():
    made("whole", [1.0, 2.0, 3.0], seed=3)
    made("at once", [1.0], steps=[0], seed=3, state="failed")
    made("in warm-up", [1.0, 2.0], seed=3, state="failed", schedule={"warmup_env_steps": 1500})
    assert compared(by=["alpha"]).left_out == []


def test_a_finished_run_counts_before_its_own_continuation_that_failed():
    made("pilot", [1.0, 2.0, 3.0], seed=3)
    made("longer", [1.0, 2.0, 3.0, 4.0], seed=3, state="failed")
    comparison = compared()
    assert comparison.left_out == [("pendulum/longer", "goes on, to the bit, from the end of pendulum/pilot")]
    assert comparison.panels[0].at == 2000 and comparison.panels[0].rows[0].finals.tolist() == [3.0]
