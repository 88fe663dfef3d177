from pathlib import Path

import pytest

from sac_runner.analysis.comparison import compare
from sac_runner.analysis.load import load
from sac_runner.analysis.words import lines
from tests.analysis.made import ALPHAS, make_run, make_sweep

METRIC = "eval/return_mean"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def said(text="sweeps", metric=METRIC, by=None, **options):
    given = {"baseline": None, "to_reach": None, "at": None} | options
    return lines(compare(load([text], Path("outputs"), metric), metric, by, **given))


def sweep_of(*levels, seeds=5, rise=1.0, settings=ALPHAS, **common):
    """A sweep whose settings end at ``levels``, seed by seed a little higher, from twice as low."""
    settings = dict(list(settings.items())[: len(levels)])
    return make_sweep(Path("sweeps/t"), settings, seeds, lambda i, s: [levels[i] / 2, levels[i] + rise * s], **common)


def test_the_whole_table():
    sweep_of(200, 202, 40, seconds_per_step=0.6)
    assert said(to_reach=201.0) == [
        "eval/return_mean at 1,000 env steps, deterministic, Pendulum-v1",
        "group              n   IQM [95%]         area   to 201     P(better than auto)   minutes",
        "alpha=auto         5   202 [200, 204]    151    1k (4/5)   baseline                   10",
        "alpha=fixed_0.05   5   204 [202, 206]    152    1k (5/5)   0.82 [0.52, 1.00]          10",
        "alpha=fixed        5   42 [40.3, 43.7]   31     - (0/5)    0.00 [0.00, 0.00]          10",
        "differ in alpha, alpha.value; equal: 36 other keys, code, torch, gymnasium.",
        "fixed is worse than auto; 5 seeds do not separate fixed_0.05 from auto.",
    ]


def verdict(*levels, seeds=5, rise=1.0, **options):
    sweep_of(*levels, seeds=seeds, rise=rise)
    return next(line for line in said(**options) if line.endswith(".") and "; equal: " not in line)


def test_seeds_that_separate_and_seeds_that_do_not():
    assert verdict(10, 100) == "fixed_0.05 is better than auto."
    assert said(metric="eval/return_std")[-1] == "5 seeds do not separate fixed_0.05 from auto."  # all of them 1
    assert "P(above auto)" in said(metric="eval/return_std")[1] and "P(better than auto)" in said()[1]


def test_one_run_beside_three_is_no_anecdote():
    sweep_of(10, 1000, 2000, seeds=1)
    for seed in (1, 2):
        make_run(Path(f"sweeps/more{seed}"), [1000.0, 2000.0 + seed], seed=seed, alpha={"mode": "fixed", "value": 0.2})
    proof = "even if every one of them did better, it would be chance 1 time in 2 or more often."
    assert f"alpha=auto: {proof}" in "".join(said(baseline="alpha=auto"))


def test_what_whole_sweeps_differ_in_is_named_with_what_was_swept():
    for gamma, taus in ((0.99, (0.1, 0.2)), (0.9, (0.3, 0.4))):
        settings = {f"agent.tau={tau}": {"agent": {"tau": tau, "gamma": gamma}} for tau in taus}
        make_sweep(Path(f"sweeps/{gamma}"), settings, 1, lambda i, s: [1.0, 2.0 + i])
    assert {" ".join(line.split()[:2]) for line in said()[2:6]} == {
        *("agent.tau=0.1 agent.gamma=0.99", "agent.tau=0.2 agent.gamma=0.99"),
        *("agent.tau=0.3 agent.gamma=0.9", "agent.tau=0.4 agent.gamma=0.9"),
    }


def test_two_that_are_worse():
    assert verdict(100, 10, 20) == "fixed and fixed_0.05 are worse than auto."


def test_four_seeds_with_one_on_the_wrong_side_prove_nothing():
    assert verdict(10, 12.5, seeds=4) == "4 seeds do not separate fixed_0.05 from auto."


@pytest.mark.parametrize(("seeds", "times"), [(2, 3), (3, 10)])
def test_few_seeds_say_how_little_they_prove(seeds, times):
    proof = f"even if every one of them did better, it would be chance 1 time in {times}."
    assert verdict(10, 1000, seeds=seeds) == f"too few seeds to tell fixed_0.05 from auto: {proof}"
    table = said()[2:4]
    assert f"{seeds} seeds: {' '.join(str(10 + i) for i in range(seeds))}" in table[0] and "[" not in "".join(table)
    assert " 1.00 " in table[1]  # without an interval


@pytest.mark.parametrize(("seeds", "text"), [((3, 3), "1 seed: 1.5"), ((3, 3, 4), "2 seeds: 1.5 3")])
def test_runs_of_one_seed_count_as_one_by_their_mean(seeds, text):
    for i, seed in enumerate(seeds):
        make_run(Path(f"sweeps/{i}"), [1.0 + i], seed=seed)
    assert f"   {len(seeds)}   {text}   " in said()[2], said()


def test_runs_of_one_seed_prove_nothing():
    for i in range(10):
        make_run(Path(f"sweeps/{i}"), [1000.0 * (i % 2) + i], seed=i // 4, agent={"tau": 0.1 * (1 + i % 2)})
    assert "too few seeds to tell" in said()[5], said()


def test_of_groups_with_few_seeds_the_weakest_proof_is_told():
    values = {0: 10.0, 1: 1000.0, 2: 2000.0}
    make_sweep(Path("sweeps/t"), ALPHAS, 3, lambda i, s: None if i == 2 and s == 2 else [values[i] + s])
    assert said()[6] == (
        "too few seeds to tell fixed or fixed_0.05 from auto: "
        "even if every one of them did better, it would be chance 1 time in 5."
    ), said()


def test_of_an_odd_number_of_ways_two_are_named():
    make_sweep(Path("sweeps/t"), ALPHAS, 2, lambda i, s: [10.0 + i] if i == 0 or (i, s) == (1, 0) else None)
    assert "chance 2 times in 3." in said()[5], said()


def test_only_those_that_can_tell_are_counted():
    taus = {f"agent.tau={i / 100:g}": {"agent": {"tau": i / 100}} for i in range(1, 13)}
    make_sweep(Path("sweeps/t"), taus, 5, lambda i, s: [10.0 + 100 * (i == 1) + s] if i < 3 or s == 0 else None)
    told = next(line for line in said() if " is better " in line)
    assert told.startswith("0.02 is better than 0.01; 5 seeds do not separate 0.03 from 0.01; too few seeds to tell ")
    assert told.endswith(" it would be chance 1 time in 3."), told


def test_two_seeds_against_ten_can_tell():
    for i in range(10):
        make_run(Path(f"sweeps/a{i}"), [float(i)], seed=i)
    for i in range(2):
        make_run(Path(f"sweeps/b{i}"), [100.0 + i], seed=i, **ALPHAS["alpha=fixed"])
    assert said()[5] == "fixed is better than auto.", said()


def test_of_an_even_number_that_came_to_the_level_the_median_lies_between():
    for i, rise in enumerate((1, 2, 3, 9)):
        make_run(Path(f"sweeps/{i}"), [0.0] * rise + [9.0] * (11 - rise), seed=i)
    assert " 2.5k (4/4) " in said(to_reach=9.0)[2]


def test_one_run_each_is_an_anecdote():
    assert verdict(10, 1000, seeds=1) == "too few seeds to tell fixed_0.05 from auto: one run each is an anecdote."


def test_one_group_has_nothing_to_be_held_against():
    assert verdict(10) == "5 seeds of one setting: nothing to hold it against."
    assert "P(" not in said()[1] and said()[3].startswith("one group; equal: ")


def test_many_settings_are_not_all_named_and_some_look_different_by_chance():
    taus = {f"agent.tau={i / 100:g}": {"agent": {"tau": i / 100}} for i in range(1, 13)}
    sweep_of(10, *range(100, 1200, 100), settings=taus)
    assert said()[-1] == (
        "0.12, 0.11, 0.1, 0.09 and 7 more are better than 0.01. "
        "Of 11 comparisons about 0.55 would look like that by chance."
    )


def test_metrics_of_which_more_is_not_better_are_above_and_below():
    sweep_of(10, 100)
    for folder in Path("sweeps/t").glob("alpha-fixed_0.05/*"):
        path = folder / "metrics.csv"
        path.write_text(path.read_text().replace(",0.1,", ",0.7,"))
    out = said(metric="train/alpha")
    assert out[0] == "train/alpha at 1,000 env steps, Pendulum-v1"
    assert "P(above auto)" in out[1] and out[-1] == "fixed_0.05 is above auto."


def test_a_baseline_with_a_long_name_is_called_baseline():
    for i in range(2):
        make_run(Path(f"sweeps/x{i}"), [1.0], seed=i, agent={"hidden_sizes": [64 + i] * 8})
    assert "P(better than baseline)" in said()[1]


def test_runs_left_out_are_named_and_many_of_them_counted():
    sweep_of(10, 20)
    for i in range(7):
        make_run(Path(f"sweeps/gone{i}"), [1.0], seed=20 + i, state="killed")
    out = said()
    assert any("5 of 12" in line for line in out)
    named = [line for line in out if line.startswith("left out")]
    assert len(named) == 6 and named[0].endswith("gone0: killed at 0")
    assert named[-1] == "left out 2 more runs, which the report lists"


def test_a_group_of_which_no_run_is_counted():
    sweep_of(10)
    make_run(Path("sweeps/gone"), [1.0], seed=20, state="killed", alpha={"mode": "fixed", "value": 1.0})
    out = said()
    assert out[3].split() == ["alpha=fixed", "0", "of", "1", "-", "-", "-", "-"]
    assert "No run of fixed is counted, so there is nothing to hold auto against." in out
    out = said(baseline="alpha=fixed")
    assert "No run of fixed is counted" in "".join(out)
    assert out[2].split() == ["alpha=fixed", "0", "of", "1", "-", "-", "baseline", "-"]
    assert out[3].startswith("alpha=auto ") and out[3].split()[-2] == "-", out


def test_several_environments_have_a_table_each_and_no_common_mean():
    for i, env in enumerate(("Pendulum-v1", "Hopper-v5")):
        make_run(Path(f"sweeps/{env}"), [float(i)], env={"id": env})
    out = said()
    heads = [line for line in out if line.startswith("eval/return_mean at")]
    assert [head.rpartition(" ")[2] for head in heads] == ["Hopper-v5", "Pendulum-v1"]
    assert "no common mean" in out[-1]


@pytest.mark.parametrize(
    ("deterministic", "way"),
    [((True, True), "deterministic"), ((False, False), "sampled"), ((True, False), "some sampled")],
)
def test_the_headline_says_how_it_was_evaluated(deterministic, way):
    for i, x in enumerate(deterministic):
        make_run(Path(f"sweeps/{i}"), [1.0], seed=i, eval={"deterministic": x})
    assert said()[0] == f"eval/return_mean at 0 env steps, {way}, Pendulum-v1"


def test_what_a_config_says_can_not_steer_the_terminal():
    for i, name in enumerate(("a\x1b[2Jb\nc", "d" * 300)):
        make_run(Path(f"sweeps/{i}"), [1.0], env={"kwargs": {"name": name}})
    out = said()
    assert not [c for line in out for c in line if not c.isprintable()]
    assert max(map(len, out)) <= 400
