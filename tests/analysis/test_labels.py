from dataclasses import replace

import pytest

from sac_runner.analysis.grouping import group_runs
from sac_runner.config.convert import written
from tests.analysis.grouped import FIXED, LOW, a_run, labels


def test_groups_are_what_differs_in_the_shortest_words_that_tell_them_apart():
    assert labels([a_run(0), a_run(0, alpha=FIXED), a_run(1)]) == {"alpha=auto": [0, 1], "alpha=fixed": [0]}
    three = labels([a_run(0), a_run(0, alpha=FIXED), a_run(0, alpha=LOW)])
    assert list(three) == ["alpha=auto", "alpha=fixed alpha.value=0.2", "alpha=fixed alpha.value=0.05"]
    assert list(labels([a_run(alpha=FIXED), a_run(alpha=LOW)])) == ["alpha.value=0.2", "alpha.value=0.05"]
    nets = labels([a_run(agent={"hidden_sizes": [8]}), a_run(agent={"hidden_sizes": [8, 8]})])
    assert list(nets) == ["agent.hidden_sizes=[8]", "agent.hidden_sizes=[8,8]"]
    kwargs = labels([a_run(), a_run(1, env={"kwargs": {"gravity": -5}})])
    assert list(kwargs) == ["default", "env.kwargs.gravity=-5"]


def test_a_mode_is_said_before_what_goes_with_it():
    runs = [a_run(agent={"tau": 0.1}), a_run(alpha=FIXED)]
    assert list(labels(runs)) == ["alpha=auto", "alpha=fixed"]


def test_jobs_of_sweeps_are_called_what_was_typed():
    typed = [
        a_run(seed, {"alpha": name}, **config)
        for name, config in (("auto", {}), ("fixed_0.05", {"alpha": LOW}))
        for seed in (0, 1)
    ]
    assert labels(typed) == {"alpha=auto": [0, 1], "alpha=fixed_0.05": [0, 1]}
    assert labels([a_run(0, {}), a_run(1, {})]) == {"all runs": [0, 1]}
    with_env = [replace(run, setting={"env": "pendulum", **run.setting}) for run in typed]
    assert list(labels(with_env)) == ["alpha=auto", "alpha=fixed_0.05"]


def test_sweeps_over_other_keys_and_runs_of_none_are_called_by_their_configs():
    sweeps = [a_run(0, {"alpha": "auto"}), a_run(0, {"alpha": "fixed"}, alpha=FIXED)]
    rates = [a_run(1, {"agent.tau": "0.005"}), a_run(1, {"agent.tau": "0.1"}, agent={"tau": 0.1})]
    assert labels([*sweeps, *rates]) == {
        "agent.tau=0.005 alpha=auto": [0, 1],
        "agent.tau=0.005 alpha=fixed": [0],
        "agent.tau=0.1 alpha=auto": [1],
    }
    assert labels([*sweeps, a_run(5)]) == {"alpha=auto": [0, 5], "alpha=fixed": [0]}


def test_other_evaluations_are_other_groups_named_where_they_are_not_the_usual():
    few = {"eval": {"episodes": 1}}
    runs = [a_run(0), a_run(1, **few), a_run(2, alpha=FIXED), a_run(3)]
    assert labels(runs) == {"alpha=auto": [0, 3], "alpha=auto eval.episodes=1": [1], "alpha=fixed": [2]}
    assert list(labels([a_run(0), a_run(1, **few)])) == ["eval.episodes=2", "eval.episodes=1"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(3e-4, "0.0003"), (1e-5, "1e-05"), (0.1 + 0.2, "0.30000000000000004"), (1.0, "1"), (None, "null")]
    + [(True, "true"), (False, "false"), ([8, 8], "[8,8]"), ("a b", "a b"), (12345678.0, "12345678.0")],
)
def test_values_are_written_as_they_are_typed_and_never_two_alike(value, text):
    assert written(value) == text


def test_true_is_not_one_and_a_list_is_no_text():
    odd = [{"kwargs": {"x": x}} for x in (True, 1, "1", [1], 1.5, "True", "[1]")]
    (grouping,) = group_runs([a_run(i, env=env) for i, env in enumerate(odd)], None)
    assert len({x.label for x in grouping.groups}) == 7
