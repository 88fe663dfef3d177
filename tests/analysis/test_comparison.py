import contextlib
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from sac_runner.analysis.comparison import compare
from sac_runner.analysis.figures import draw
from sac_runner.analysis.load import load
from sac_runner.analysis.statistics import band, iqm_interval
from sac_runner.analysis.tables import scores_csv
from sac_runner.analysis.words import differences, lines
from sac_runner.errors import WrongInput
from sac_runner.storage.lock import RunLock
from sac_runner.storage.sweep_directory import Ended
from tests.analysis.made import ALPHAS, META, VERSIONS, alpha_sweep, make_run, make_sweep

METRIC = "eval/return_mean"
FIXED = ALPHAS["alpha=fixed"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def made(name, values, **options):
    return make_run(Path("runs/pendulum") / name, values, **options)


def compared(by=None, baseline=None, to_reach=None, at=None, texts=("runs",)):
    return compare(load(list(texts), Path("outputs"), METRIC), METRIC, by, baseline, to_reach, at)


def panel(**options):
    (one,) = compared(**options).panels
    return one


def flat_runs(n, level, first=0, **options):
    """``n`` runs of constant return ``level``, level + 1, ..."""
    return [made(f"{level}_{i}", [float(level + i)] * 4, seed=first + i, **options) for i in range(n)]


def test_scores_are_those_of_the_last_step_and_their_interval_is_over_seeds():
    finals = [10.0, 50.0, 20.0, 40.0, 36.0]
    for i, final in enumerate(finals):
        made(f"r{i}", [0.0, 90.0, final], seed=i)
    one = panel(to_reach=90)
    (row,) = one.rows
    assert one.at == 2000 and row.finals.tolist() == finals
    assert row.iqm == pytest.approx(stats.trim_mean(finals, 0.25))
    assert row.interval == iqm_interval(np.array(finals))
    assert row.best == 90 and row.better is None
    assert row.area == pytest.approx(stats.trim_mean([(90 + (90 + final)) / 4 for final in finals], 0.25))
    assert row.minutes == pytest.approx(0.2) and row.reached == [(1000.0, pytest.approx(0.1))] * 5


def test_an_area_begins_where_all_curves_have():
    made("late", [10.0, 20.0], steps=[1000, 2000], seed=0)
    assert panel().rows[0].area == 15
    made("early", [0.0, 10.0, 20.0], seed=1)
    assert panel().rows[0].area == 15


def test_minutes_are_a_median():
    for i, pace in enumerate((0.06, 0.12, 0.6)):
        made(f"r{i}", [1.0, 2.0], seed=i, seconds_per_step=pace)
    assert panel().rows[0].minutes == pytest.approx(2)


def test_few_seeds_have_no_interval_and_no_band():
    flat_runs(4, 10)
    flat_runs(5, 20, **FIXED)
    few, enough = panel().rows
    assert (few.interval, few.over_steps.band) == (None, None) and few.iqm == 11.5
    assert enough.interval and enough.over_steps.band and enough.better.interval is None
    assert enough.better.probability == 1 and enough.better.p_value == pytest.approx(2 / math.comb(9, 4))


def test_the_baseline_comes_first_and_the_others_by_their_score():
    alpha_sweep(Path("sweeps/t_alpha"), seeds=4, levels=(100, 50, 200), points=5)
    labels = [row.group.label for row in panel(texts=["sweeps"]).rows]
    assert labels == ["alpha=auto", "alpha=fixed", "alpha=fixed_0.05"]
    for name in ("alpha=fixed_0.05", "0.05"):
        rows = panel(texts=["sweeps"], baseline=name).rows
        assert [row.group.label for row in rows] == ["alpha=fixed_0.05", "alpha=fixed", "alpha=auto"]
        assert rows[0].better is None and rows[1].better.probability == 1
    for name in ("alpha", "nix"):  # several, none
        with pytest.raises(WrongInput, match=f"--baseline {name}"):
            panel(texts=["sweeps"], baseline=name)
    assert panel(texts=["sweeps"], baseline="alpha=fixed").baseline.group.label == "alpha=fixed"  # whole beats part


def test_the_baseline_may_be_typed_as_a_number_is_typed():
    for i, lr in enumerate((1e-3, 3e-4, 3e-5)):
        made(f"r{i}", [1.0], agent={"lr": lr})
    for text in ("agent.lr=3e-4", "agent.lr=0.00030", "agent.lr=0.0003"):
        assert panel(baseline=text).baseline.group.label == "agent.lr=0.0003"


def test_other_grids_are_interpolated_and_lines_end_where_the_shortest_run_does():
    made("a", [0.0, 10.0, 20.0, 30.0], steps=[0, 100, 200, 300], seed=0)
    made("b", [0.0, 40.0], steps=[0, 400], seed=1)
    one = panel()
    (row,) = one.rows
    assert one.at == 300 and row.finals.tolist() == [30, 30]
    assert row.over_steps.x.tolist() == [0, 100, 200, 300] and row.over_steps.iqm.tolist() == [0, 10, 20, 30]
    assert row.over_minutes.x[-1] == pytest.approx(300 * 0.006 / 60)


def test_a_line_goes_on_as_far_as_its_own_group_does():
    for i in range(5):
        made(f"a_short{i}", [1.0, 2.0 + i], seed=i)
        made(f"b_long{i}", [1.0, 2.0, 3.0 + i], seed=i, **FIXED)
    one = panel()
    assert one.at == 1000
    assert {row.group.label: row.over_steps.x[-1] for row in one.rows} == {"alpha=auto": 1000, "alpha=fixed": 2000}
    line = one.rows[1].over_steps
    values = np.array([[1.0, 2.0, 3.0 + i] for i in range(5)])
    assert np.array_equal(line.band, band(values)) and line.iqm.tolist() == [1, 2, 5]


def test_the_line_of_a_group_is_of_its_seeds():
    for i, (seed, end) in enumerate([(0, 1.0), (0, 3.0), (0, 5.0), (1, 9.0), (1, 11.0)]):
        made(f"r{i}", [0.0, end], seed=seed)
    (row,) = panel().rows
    assert row.over_steps.band is None and row.over_steps.iqm.tolist() == [0.0, (3.0 + 10.0) / 2]
    assert row.interval is None and row.iqm == 6.5 and len(row.scores) == 5


def test_a_run_that_is_not_counted_is_no_second_one_of_its_seed():
    flat_runs(3, 10)
    made("cut", [99.0, 99.0], seed=0, state="stopped", cause="Ctrl-C")
    assert not any("more than once" in caution for caution in panel().cautions)


def test_long_curves_are_thinned_evenly():
    made("r", list(np.linspace(0, 1, 1001)))
    line = panel().rows[0].over_steps
    assert len(line.x) == 150 and np.allclose(line.iqm, line.x / 1e6)


def test_runs_that_ended_early_are_named_and_left_out_of_the_scores():
    flat_runs(4, 10)
    made("early", [99.0, 99.0], seed=8, state="failed", cause="environment raised")
    made("gone", [99.0, 99.0], seed=9, state="killed")
    made("told", [99.0, 99.0], seed=7, state="stopped", cause="SIGTERM")
    with RunLock(made("on", [99.0, 99.0], seed=6, state="killed").path):
        one = panel()
    (row,) = one.rows
    assert one.at == 3000 and row.finals.tolist() == [10, 11, 12, 13] and len(row.group.runs) == 8
    assert {x.name.rpartition("/")[2]: x.why for x in one.short} == {
        "early": "failed at 1,000 (environment raised)",
        "gone": "killed at 1,000",
        "told": "stopped at 1,000 (SIGTERM)",
        "on": "still running at 1,000",
    }


def test_an_early_end_beyond_the_others_is_no_reason_to_leave_a_run_out():
    flat_runs(2, 10)
    made("longer", [0.0] * 6, seed=9, state="stopped")
    assert panel().rows[0].finals.tolist() == [10, 11, 0]


def test_while_none_has_finished_those_that_go_on_decide_and_else_all():
    made("gone", [1.0], seed=0, state="killed")
    on = [made(f"on{i}", [1.0] * (3 + i), seed=1 + i, state="killed") for i in range(2)]
    assert panel().at == 0
    with contextlib.ExitStack() as locks:
        for run in on:
            locks.enter_context(RunLock(run.path))
        one = panel()
    assert one.at == 2000 and [x.why for x in one.short] == ["killed at 0"]


def test_a_finished_run_whose_file_is_torn_does_not_decide_for_the_others():
    flat_runs(2, 10)
    torn = made("torn", [5.0] * 4, seed=9).path / "metrics.csv"
    torn.write_text("\n".join(torn.read_text().splitlines()[:4]) + "\n")
    one = panel()
    assert one.at == 3000 and [x.why for x in one.short] == ["metrics.csv ends at 1,000 of 3,000"]


def test_at_chooses_another_step_for_everything():
    for i in range(4):
        made(f"r{i}", [0.0, 10.0 + i, 50.0, 20.0], seed=i)
    made("short", [0.0, 7.0], seed=4)
    one = panel(at=1500.0, to_reach=40)
    (row,) = one.rows
    assert row.finals.tolist() == [30, 30.5, 31, 31.5] and row.reached == [] and row.best == pytest.approx(30.75)
    assert [x.why for x in one.short] == ["finished at 1,000"]
    assert row.minutes == pytest.approx(0.15)
    with pytest.raises(WrongInput, match="the longest to 3,000"):
        panel(at=3001.0)


def test_a_step_far_before_other_ends_and_far_from_evaluations_is_said():
    for i in range(4):
        made(f"long{i}", [0.0, 10.0 + i, 20.0, 30.0], steps=[0, 500, 1000, 1500], seed=i)
    made("short", [0.0, 5.0], steps=[0, 340], seed=9)
    one = panel()
    assert one.at == 340 and one.cautions == [
        "compared at 340 env steps, the last that pendulum/short came to; the longest came to 1,500 "
        "(--at STEPS takes the runs that came so far)",
        "eval/return_mean was not measured near 340 env steps in 4 of 5 runs, "
        "so there it is worked out from the nearest points",
    ]
    assert panel(at=1500.0).cautions == []
    assert panel(at=700.0).cautions == [one.cautions[1].replace("340", "700").replace("4 of 5", "4 of 4")]


def test_runs_of_rounds_that_end_a_little_apart_need_no_caution():
    for i in range(4):
        steps = [(970 + 10 * i) * n for n in range(11)]
        made(f"r{i}", [float(n) for n in range(11)], steps=steps, seed=i)
    assert panel().at == 9700 and panel().cautions == []


def test_a_group_without_a_counted_run_is_shown_as_such():
    flat_runs(4, 10)
    made("gone", [1.0], seed=0, state="killed", **FIXED)
    empty = panel().rows[-1]
    assert empty.scores == [] and math.isnan(empty.iqm) and empty.better is None and empty.over_steps is None
    base = panel(baseline="alpha=fixed").rows[0]
    assert base.scores == [] and panel(baseline="alpha=fixed").rows[1].better is None


@pytest.mark.parametrize("text", ["alpha=fixed", "fixed"])
def test_a_baseline_may_be_named_by_its_value_alone_as_in_the_table(text):
    sweep = alpha_sweep(Path("sweep"))
    assert panel(baseline=text, texts=[str(sweep.path)]).baseline.group.label == "alpha=fixed"


@pytest.mark.parametrize("text", ["3e-4", "0.0003", "agent.lr=3e-4"])
def test_a_baseline_may_be_a_number_in_another_form(text):
    for i, lr in enumerate((0.0003, 0.00031)):
        made(f"r{i}", [float(i)], seed=0, agent={"lr": lr})
    assert panel(baseline=text).baseline.group.label == "agent.lr=0.0003"


def test_environments_are_never_mixed():
    for i in range(4):
        made(f"p{i}", [-200.0 - i], seed=i)
        made(f"l{i}", [200.0 + i], seed=i, env={"id": "LunarLanderContinuous-v3"})
    panels = compared().panels
    assert [(one.env_id, one.rows[0].iqm) for one in panels] == [
        ("LunarLanderContinuous-v3", 201.5),
        ("Pendulum-v1", -201.5),
    ]


def test_over_environments_a_probability_has_a_mean():
    for env, gain in (("Pendulum-v1", 1.5), ("Hopper-v5", -100)):
        for i in range(5):
            made(f"{env}_a{i}", [float(i)], seed=i, env={"id": env})
            made(f"{env}_b{i}", [i + gain], seed=i, env={"id": env}, **FIXED)
    comparison = compared()
    each = [panel.rows[1].better.probability for panel in comparison.panels]
    (found,) = comparison.overall.values()
    assert each == [0, 19 / 25] and found.probability == pytest.approx(np.mean(each))
    low, high = found.interval
    assert 0.1 < low < found.probability < high <= 0.5
    assert "Over 2 environments P(alpha=fixed better than alpha=auto) is 0.38 [" in lines(comparison)[-1]
    assert scores_csv(comparison).splitlines()[-1].startswith("overall,all,alpha=fixed,") and ",0.38," in scores_csv(
        comparison
    )
    shutil.rmtree("runs/pendulum/Hopper-v5_b0")
    assert compared().overall["alpha=fixed"].interval is None  # of the fewest seeds
    assert compared(baseline="fixed").overall.keys() == {"alpha=auto"} and compared(by=["agent.tau"]).overall == {}


def test_groups_that_not_all_environments_have_are_not_put_together():
    made("a", [1.0])
    made("b", [1.0], **FIXED)
    assert compared().overall == {}
    made("c", [1.0], env={"id": "Hopper-v5"}, agent={"tau": 0.1})
    made("d", [1.0], env={"id": "Hopper-v5"})
    assert compared().overall == {}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"eval": {"episodes": 1}}, "eval.episodes differs, so not the same evaluation: 2 in"),
        ({"eval": {"deterministic": False}}, "eval.deterministic"),
        ({"eval": {"seed": 5}}, "eval.seed"),
        ({"eval": {"num_envs": 2}}, "eval.num_envs"),
        ({"eval": {"max_episode_steps": 5}}, "eval.max_episode_steps"),
        (
            {"env": {"max_episode_steps": 5}, "eval": {"max_episode_steps": None}},
            "env.max_episode_steps differs, so not the same environment",
        ),
        ({"env": {"kwargs": {"g": 5}}}, "env.kwargs.g differs, so not the same environment: not given in"),
        ({"meta": {"versions": VERSIONS | {"gymnasium": "1.3.0"}}}, "gymnasium differs"),
        ({"meta": {"versions": VERSIONS | {"mujoco": "3.0.0"}}}, "mujoco differs"),
        ({"meta": {"versions": VERSIONS | {"Box2D": "2.0"}}, "n": 2}, "Box2D differs"),
        ({"meta": {"versions": VERSIONS | {"torch": "2.0"}}}, "torch differs"),
        ({"meta": {"git": {"commit": "b" * 40, "dirty": False}}}, "code differs, so not the same program: aaaaaaa in"),
        ({"meta": {"git": None, "versions": VERSIONS | {"sac-runner": "0.2"}}}, "code differs"),
        ({"meta": {"git": {"commit": "a" * 40, "dirty": True}}}, "not committed"),
        ({"meta": {"earlier_starts": [META | {"git": {"commit": "c" * 40}}]}}, "ccccccc, then aaaaaaa in"),
        ({"precision": "medium"}, "precision differs"),
        ({"meta": {"device": "cuda:0"}}, "device differs, so minutes can't be compared"),
        ({"meta": {"threads": 4}}, "device differs"),
        ({"eval": {"every_env_steps": 5}}, "eval.every_env_steps differs, so best and the way to a return can't"),
        ({"eval": {"every_rounds": 5}}, "eval.every_rounds differs, so best and the way to a return can't"),
        ({"compile_after_updates": 5}, "compile_after_updates differs, so minutes can't be compared"),
        ({"env": {"vectorization": "async"}}, "env.vectorization differs, so minutes can't be compared"),
    ],
)
def test_what_makes_runs_hard_to_compare_is_said_with_the_groups(change, words):
    change = dict(change)
    common = {"meta": {"versions": VERSIONS | {"Box2D": "1.9"}}} if change.pop("n", 0) else {}
    for i in range(2):
        made(f"a{i}", [1.0 + i], seed=i, **common)
    made("b", [1.0], seed=2, **{**FIXED, **change})
    cautions = [caution for caution in panel(by=["alpha"]).cautions if "mixes settings" not in caution]
    assert len(cautions) == 1 and words in cautions[0], cautions
    assert "alpha=fixed" in cautions[0]


def test_a_score_of_the_runs_that_did_not_fail_is_called_so():
    flat_runs(3, 1)
    flat_runs(2, 9, **FIXED)
    made("diverged", [1.0], seed=7, state="failed", steps=[0], cause="a number became NaN", **FIXED)
    lost = "1 of 3 runs of alpha=fixed failed and is not counted: its score is that of the others"
    assert panel().cautions == [lost]
    died = make_sweep(Path("runs/died"), {"alpha=fixed": FIXED}, 1, lambda *_: None)
    died.write_end(died.jobs()[0], Ended(70, "in its first reset"))
    lost = "2 of 4 runs of alpha=fixed failed and are not counted: its score is that of the others"
    assert panel().cautions == [lost]
    assert {row.group.label: len(row.scores) for row in panel().rows} == {"alpha=auto": 3, "alpha=fixed": 2}
    assert ("died/alpha-fixed/s0", "failed at 0 (in its first reset)") in panel().short
    assert draw(compared()).png
    made("full disk", [1.0] * 4, seed=8, state="failed", cause="No space left on device", **FIXED)  # and is counted
    assert panel().cautions == [lost.replace("4 runs", "5 runs")]


def test_a_run_that_ended_by_its_score_is_named():
    flat_runs(3, 1)
    made("good", [1.0, 99.0], seed=7, cause="reached stop.at_return")
    assert "good ended there because stop.at_return was reached" in "".join(panel().cautions)
    assert "stop.at_return" not in "".join(panel(at=3000.0).cautions)


@pytest.mark.parametrize(("sources", "said"), [("ab", False), ("aab", True), ("abc", False), ("aaa", False)])
def test_runs_that_began_from_others_are_not_mixed_in_silence(sources, said):
    for i, source in enumerate(sources):
        made(f"run{i}", [1.0], seed=i, init_from=source)
    assert panel().cautions == ["all runs mixes runs that began from 2 others (--group-by init_from)"] * said
    made("from scratch", [1.0], seed=9)
    assert (
        panel().cautions == ["init_from=another run mixes runs that began from 2 others (--group-by init_from)"] * said
    )
    assert not any("mixes" in caution for caution in panel(by=["init_from"]).cautions)


def test_a_baseline_that_an_environment_does_not_have_is_named():
    made("a", [1.0])
    made("b", [1.0], **FIXED)
    made("c", [1.0], env={"id": "Hopper-v5"}, agent={"tau": 0.1})
    made("d", [1.0], env={"id": "Hopper-v5"})
    said = [panel.cautions for panel in compared(baseline="alpha=fixed").panels]
    assert said[0] == [] and said[1][0].startswith("--baseline alpha=fixed is not a group here: agent.tau=")


def test_a_run_that_went_on_elsewhere_has_minutes_of_both():
    made("a", [1.0], meta={"earlier_starts": [META | {"device": "cuda:0", "threads": 8}]})
    made("b", [1.0], seed=1, **FIXED)
    assert "device differs, so minutes can't be compared: cuda:0 (threads: 8), then cpu" in panel().cautions[0]


def test_runs_alike_need_no_caution_and_share_code_and_versions():
    flat_runs(3, 1)
    flat_runs(3, 9, **FIXED)
    one = panel()
    assert one.cautions == [] and one.alike == ["code", "torch", "gymnasium"]


def test_changes_that_all_groups_have_are_said_in_short():
    dirty = {"meta": {"git": {"commit": "a" * 40, "dirty": True}}}
    flat_runs(1, 1, **dirty)
    flat_runs(1, 9, **dirty, **FIXED)
    assert panel().cautions == ["code had changes that were not committed, which may differ: all groups"]


def test_a_group_that_is_mixed_says_how_many_of_it():
    flat_runs(3, 1)
    made("other", [1.0] * 4, seed=7, meta={"versions": VERSIONS | {"gymnasium": "1.3.0"}})
    one = panel()
    assert "1.4.0 in all runs (3 of 4); 1.3.0 in all runs (1 of 4)" in one.cautions[0]
    assert one.alike == ["code", "torch"]


def test_a_group_of_several_settings_is_called_mixed():
    made("a", [1.0], seed=0)
    made("b", [1.0], seed=1, agent={"tau": 0.1})
    assert panel(by=["alpha"]).cautions == ["all runs mixes settings: its runs differ in agent.tau"]


def test_what_else_sets_the_groups_apart_is_said_where_one_key_is_asked_for():
    for i in range(2):
        made(f"a{i}", [1.0], seed=i, agent={"tau": 0.1, "gamma": 0.9})
        made(f"b{i}", [1.0], seed=i, agent={"tau": 0.2, "gamma": 0.8})
    one = panel(by=["agent.tau"])
    assert [row.group.label for row in one.rows] == ["agent.tau=0.1", "agent.tau=0.2"] and one.cautions == []
    assert differences(one).startswith("differ in agent.tau, agent.gamma; equal: ")


def test_unknown_versions_are_said_once_and_count_as_shared_by_none():
    flat_runs(2, 1)
    (made("nameless", [1.0] * 4, seed=7).path / "meta.json").unlink()
    one = panel()
    assert [x.partition(":")[0] for x in one.cautions] == [
        "meta.json is missing or damaged, so code and versions are unknown"
    ]
    assert one.alike == []
    for path in Path("runs/pendulum").glob("*/meta.json"):
        path.unlink()
    assert panel().alike == []


def test_a_run_of_which_nothing_is_recorded_is_compared_all_the_same():
    flat_runs(2, 1)
    made("odd", [1.0], seed=7, meta={})
    assert len(panel().rows) == 1


def test_steps_of_an_evaluation_matter_for_metrics_of_it_alone():
    made("a", [1.0, 2.0], seed=0)
    made("b", [1.0, 2.0], seed=1, eval={"episodes": 1})
    loaded = load(["runs"], Path("outputs"), "train/alpha")
    assert compare(loaded, "train/alpha", ["alpha"], None, None, None).panels[0].cautions[1:] == []


def test_a_sweep_of_many_settings_keeps_the_order_of_its_jobs():
    make_sweep(Path("sweeps/t"), {f"agent.tau={x}": {"agent": {"tau": x}} for x in (0.5, 0.1)}, 1, lambda i, s: [1.0])
    assert panel(texts=["sweeps"]).baseline.group.label == "agent.tau=0.5"


def test_scores_of_runs_none_of_which_has_finished_are_said_to_be_such():
    made("a", [1.0, 2.0], seed=3, state="stopped")
    made("b", [1.0, 2.0], seed=4, state="running")
    said = "no run has finished: scores are of runs that were cut off or still go on"
    assert said in compared().panels[0].cautions
    made("c", [1.0, 2.0], seed=5)
    assert said not in compared().panels[0].cautions
