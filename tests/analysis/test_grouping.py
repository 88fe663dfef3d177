from dataclasses import replace

import pytest

from sac_runner.analysis.grouping import group_runs
from sac_runner.errors import WrongInput
from tests.analysis.grouped import FIXED, LOW, a_run, labels
from tests.support import PER_ROUND


def test_seeds_never_split_a_group_and_neither_does_what_learns_nothing():
    aside = {
        "total_env_steps": 77,
        "device": "cuda",
        "threads": 7,
        "outputs": "elsewhere",
        "resume": "last",
        "run": {"name": "x", "dir": "y"},
        "log": {"every_env_steps": 7},
        "checkpoint": {"every_env_steps": 7},
        "stop": {"at_return": 7.0},
        "eval": {"every_env_steps": 7, "every_rounds": 7},
        "env": {"timeout_s": 7.0, "name": "mine", "vectorization": "async"},
        "compile_after_updates": 7,
        "agent": {"lr_decay_env_steps": 7},
    }
    runs = [a_run(0), *(a_run(i + 1, **{key: value}) for i, (key, value) in enumerate(aside.items()))]
    assert labels(runs) == {"all runs": list(range(len(runs)))}


def test_rounds_are_a_budget_too():
    rounds = [a_run(i, schedule=PER_ROUND | {"rounds": n}) for i, n in enumerate((3, 30))]
    assert labels(rounds) == {"all runs": [0, 1]}


def test_keys_that_follow_another_are_not_said_twice():
    faster = {"lr": 1e-3, "actor_lr": 1e-3, "critic_lr": 1e-3}
    (grouping,) = group_runs([a_run(), a_run(agent=faster), a_run(agent=faster | {"tau": 0.1})], None)
    assert [x.label for x in grouping.groups] == [
        "agent.lr=0.0003 agent.tau=0.005",
        "agent.lr=0.001 agent.tau=0.005",
        "agent.lr=0.001 agent.tau=0.1",
    ]
    assert grouping.differing == {"agent.lr": ["agent.actor_lr", "agent.critic_lr"], "agent.tau": []}
    assert grouping.groups[2].values["agent.tau"] == 0.1


def test_keys_that_come_with_a_mode_are_not_differences_of_their_own():
    (grouping,) = group_runs([a_run(), a_run(alpha=FIXED)], None)
    assert grouping.differing == {"alpha.mode": []}
    (grouping,) = group_runs([a_run(), a_run(alpha=FIXED), a_run(alpha=LOW)], None)
    assert grouping.differing == {"alpha.mode": [], "alpha.value": []}


def test_equal_keys_are_counted():
    (one,) = group_runs([a_run(0), a_run(1)], None)
    (two,) = group_runs([a_run(0), a_run(1, agent={"tau": 0.1})], None)
    assert two.equal == one.equal - 1 > 30


def test_the_rate_of_a_linear_schedule_matters_where_it_is_linear():
    linear = [a_run(i, agent={"lr_schedule": "linear", "lr_decay_env_steps": n}) for i, n in enumerate((10, 20))]
    assert list(labels(linear)) == ["agent.lr_decay_env_steps=10", "agent.lr_decay_env_steps=20"]


def test_weights_to_begin_with_matter_but_not_where_they_lie():
    runs = [a_run(0), a_run(1, init_from="a"), a_run(2, init_from="b")]
    assert labels(runs) == {"init_from=null": [0], "init_from=another run": [1, 2]}
    assert labels(runs, ["init_from"]) == {"init_from=null": [0], "init_from=a": [1], "init_from=b": [2]}
    swept = [a_run(i, {"init_from": name}, init_from=name) for name in ("a", "b") for i in (0, 1)]
    assert labels(swept) == {"init_from=a": [0, 1], "init_from=b": [0, 1]}


def test_the_same_setting_of_several_sweeps_is_one_group_and_another_never_is():
    one = [a_run(0, {"alpha": "auto"}), a_run(0, {"alpha": "fixed"}, alpha=FIXED)]
    more_seeds = [a_run(1, {"alpha": "auto"})]
    assert labels([*one, *more_seeds]) == {"alpha=auto": [0, 1], "alpha=fixed": [0]}
    other = a_run(1, {"alpha": "auto"}, agent={"tau": 0.1})  # typed alike, and not the same
    assert labels([*one, other]) == {
        "agent.tau=0.005 alpha=auto": [0],
        "agent.tau=0.005 alpha=fixed": [0],
        "agent.tau=0.1 alpha=auto": [1],
    }


def test_what_was_swept_splits_even_if_it_learns_nothing():
    swept = [a_run(i, {"total_env_steps": str(n)}, total_env_steps=n) for i, n in enumerate((10, 20))]
    assert list(labels(swept)) == ["total_env_steps=10", "total_env_steps=20"]
    assert labels([*swept, a_run(5, total_env_steps=20)]) == {"total_env_steps=10": [0], "total_env_steps=20": [1, 5]}


def test_each_environment_is_grouped_by_itself():
    hopper = {"env": {"id": "Hopper-v5"}}
    runs = [a_run(0), a_run(0, alpha=FIXED), a_run(1, agent={"tau": 0.1}, **hopper), a_run(2, **hopper)]
    pendulum, other = group_runs(runs, None)
    assert (pendulum.env_id, other.env_id) == ("Pendulum-v1", "Hopper-v5")
    assert [x.label for x in pendulum.groups] == ["alpha=auto", "alpha=fixed"]
    assert [x.label for x in other.groups] == ["agent.tau=0.1", "agent.tau=0.005"]


@pytest.mark.parametrize("typed", ["${seed}", "$\\{seed\\}", "${oc.decode:'1${seed}'}"])
def test_what_follows_the_seed_is_no_setting(typed):
    runs = [a_run(seed, overrides=[f"eval.seed={typed}"], eval={"seed": seed}) for seed in (3, 4)]
    assert labels(runs) == {"all runs": [3, 4]}
    assert len(labels([replace(run, meta={}) for run in runs])) == 2


def test_grouping_by_keys_and_by_groups_of_keys():
    runs = [a_run(0), a_run(1, agent={"tau": 0.1}), a_run(2, alpha=FIXED), a_run(3, alpha=LOW)]
    assert labels(runs, ["agent.tau"]) == {"agent.tau=0.005": [0, 2, 3], "agent.tau=0.1": [1]}
    assert labels(runs, ["alpha"]) == {
        "alpha=auto": [0, 1],
        "alpha=fixed alpha.value=0.2": [2],
        "alpha=fixed alpha.value=0.05": [3],
    }
    assert labels(runs, ["alpha.mode"]) == {"alpha=auto": [0, 1], "alpha=fixed": [2, 3]}
    assert labels(runs, ["agent.gamma"]) == {"agent.gamma=0.99": [0, 1, 2, 3]}  # asked for, so said
    assert labels([a_run(0), a_run(1, threads=2)], ["threads"]) == {"threads=1": [0], "threads=2": [1]}
    assert len(labels(runs, ["agent.tau", "alpha"])) == 4


@pytest.mark.parametrize(
    ("config", "label"),
    [
        ({"stop": {"at_return": 7.0}}, "stop.at_return=7"),
        ({"checkpoint": {"every_env_steps": 7}}, "checkpoint.every_env_steps=7"),
        ({"log": {"every_env_steps": 7}}, "log.every_env_steps=7"),
        ({"run": {"name": "x"}}, "run.name=x"),
        ({"env": {"kwargs": {"gravity": -5}}}, "env.kwargs.gravity=-5"),
    ],
)
def test_groups_of_keys_that_learn_nothing_may_be_asked_about(config, label):
    runs = [a_run(0), a_run(1, **config)]
    first, other = labels(runs, list(config)).items()
    assert other == (label, [1]) and first[1] == [0]


def test_of_a_group_that_is_asked_about_what_is_not_used_splits_nothing():
    runs = [a_run(i, agent={"lr_decay_env_steps": n}) for i, n in enumerate((10, 20))]
    assert labels(runs, ["agent"]) == {"all runs": [0, 1]}


def test_of_what_differs_with_the_keys_that_are_asked_for_each_group_has_its_value():
    runs = [a_run(i, agent={"tau": tau, "gamma": gamma}) for i, (tau, gamma) in enumerate([(0.1, 0.9), (0.2, 0.8)])]
    runs.append(a_run(2, agent={"tau": 0.3, "gamma": 0.8}))
    (grouping,) = group_runs(runs, ["agent.tau"])
    assert [*grouping.differing] == ["agent.tau", "agent.gamma"]
    assert [group.values for group in grouping.groups] == [
        {"agent.tau": tau, "agent.gamma": gamma} for tau, gamma in ((0.1, 0.9), (0.2, 0.8), (0.3, 0.8))
    ]


def test_groups_that_mix_settings_say_which():
    runs = [a_run(0), a_run(1, agent={"tau": 0.1}), a_run(2, alpha=FIXED)]
    (grouping,) = group_runs(runs, ["alpha"])
    assert grouping.mixed == {"alpha=auto": ["agent.tau"]} and list(grouping.differing) == ["alpha.mode"]
    (grouping,) = group_runs(runs, None)
    assert grouping.mixed == {}


@pytest.mark.parametrize(
    ("key", "remedy"),
    [("seed", "seeds never split"), ("agent.lrr", "agent.lr"), ("lr", "agent.lr"), ("alhpa", "alpha"), ("", "lists")],
)
def test_keys_that_are_none(key, remedy):
    with pytest.raises(WrongInput) as refused:
        group_runs([a_run()], [key])
    assert remedy in str(refused.value)


def test_configs_of_other_versions_lack_keys():
    old = a_run(0)
    old = replace(old, config={key: x for key, x in old.config.items() if key != "agent.critic_layer_norm"})
    assert list(labels([old, a_run(1)])) == ["default", "agent.critic_layer_norm=false"]
