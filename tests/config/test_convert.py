import copy

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sac_runner.config.convert import flat, from_plain, to_plain
from sac_runner.config.keys import schema_keys
from sac_runner.config.ranges import Within
from sac_runner.config.validate import validate
from sac_runner.errors import WrongInput
from tests.support import ANNEALED, AUTO, FIXED, PER_ROUND, PER_STEP, plain

MODES = {
    "alpha": {"fixed": FIXED, "auto": AUTO, "annealed": ANNEALED},
    "schedule": {"per_step": PER_STEP, "per_round": PER_ROUND},
}


def with_key(key, value):
    """Plain data of a run that has ``key``, with ``value`` there."""
    group, mode = key.split(".")[0], schema_keys()[key]
    data = copy.deepcopy(plain(**({group: MODES[group][mode]} if mode else {})))
    inner = data
    *groups, name = key.split(".")
    for part in groups:
        inner = inner[part]
    inner[name] = value
    return data


def faults(data):
    """What is wrong with ``data``, each by itself."""
    try:
        from_plain(data)
    except WrongInput as e:
        return e.message.split("; ")
    return []


def test_plain_data_makes_the_trip_through_dataclasses():
    for alpha in MODES["alpha"].values():
        for schedule in MODES["schedule"].values():
            data = plain(alpha=alpha, schedule=schedule)
            assert to_plain(from_plain(data)) == data


@pytest.mark.parametrize(
    ("key", "written", "value"),
    [
        ("total_env_steps", 1e6, 1_000_000),
        ("total_env_steps", None, None),
        ("seed", 0.0, 0),
        ("seed", "12345678901234567", 12345678901234567),  # as text, of an interpolation
        ("agent.lr", "1e-3", 1e-3),
        ("total_env_steps", "1_000.0", 1000),
        ("agent.gamma", 1, 1.0),
        ("agent.hidden_sizes", [8, 1e1], (8, 10)),
        ("agent.hidden_sizes", [], ()),
        ("threads", "auto", "auto"),
        ("threads", 2.0, 2),
        ("env.kwargs", {"x": [1, {"y": None}]}, {"x": [1, {"y": None}]}),
        ("agent.max_grad_norm", None, None),
        ("checkpoint.keep_replay", "never", "never"),
    ],
)
def test_values_become_what_their_type_says(key, written, value):
    made = from_plain(with_key(key, written))
    for part in key.split("."):
        made = getattr(made, part)
    assert (made, type(made)) == (value, type(value))


@pytest.mark.parametrize(
    ("key", "value", "fault"),
    [
        ("total_env_steps", 1.5, "total_env_steps=1.5 must be a whole number or null"),
        ("total_env_steps", True, "total_env_steps=true must be a whole number or null"),
        ("total_env_steps", 0, "total_env_steps=0 must be at least 1 or null"),
        ("total_env_steps", "many", "total_env_steps=many must be a whole number or null"),
        ("total_env_steps", float("inf"), "total_env_steps=inf must be a whole number or null"),
        ("agent.lr", "3e-4x", "agent.lr=3e-4x must be a number"),
        ("agent.lr", 0, "agent.lr=0 must be above 0"),
        ("agent.lr", float("nan"), "agent.lr=nan must be a number"),
        ("agent.lr", float("inf"), "agent.lr=inf must be a number"),
        ("agent.gamma", 1.01, "agent.gamma=1.01 must be at least 0 and at most 1"),
        ("agent.lr", None, "agent.lr=null must be a number"),
        ("agent.hidden_sizes", 256, "agent.hidden_sizes=256 must be a list, such as [256, 256]"),
        ("agent.hidden_sizes", [8, 0], "agent.hidden_sizes=0 must be at least 1"),
        ("agent.activation", "gelu", "agent.activation=gelu must be relu or leaky_relu or tanh or elu or silu"),
        ("agent.critic_layer_norm", 1, "agent.critic_layer_norm=1 must be true or false"),
        ("threads", "many", "threads=many must be a whole number at least 1 and at most 1024 or auto"),
        ("env.kwargs", 3, "env.kwargs=3 must be a mapping"),
        ("alpha.mode", "adaptive", "alpha.mode=adaptive must be fixed or auto or annealed"),
        ("alpha.mode", ["auto"], "alpha.mode=[auto] must be fixed or auto or annealed"),
        ("env.name", 3, "env.name=3 must be a text or null"),
    ],
)
def test_a_fault_names_the_key_the_value_and_what_is_allowed(key, value, fault):
    assert faults(with_key(key, value)) == [fault]


def test_all_faults_are_found_at_once():
    data = plain(agent={"tau": 7, "lr": "x", "n_critics": 0}, seed=-1, eval={"episodes": 2.5})
    del data["agent"]["gamma"], data["stop"]
    data["agent"]["momentum"] = data["speed"] = 1
    assert sorted(faults(data)) == sorted(
        [
            "agent.tau=7 must be above 0 and at most 1",
            "agent.lr=x must be a number",
            "agent.n_critics=0 must be at least 1",
            "agent.gamma is missing",
            "unknown key agent.momentum",
            "stop is missing",
            "unknown key speed",
            "seed=-1 must be at least 0 or null",
            "eval.episodes=2.5 must be a whole number",
        ]
    )


NEGATIVE = {"agent.log_std_min", "agent.log_std_max", "stop.at_return"}
NEGATIVE |= {"alpha.target_entropy", "alpha.target_entropy_per_action_dim"}
ZERO = {"agent.gamma", "agent.lr_final_share", "alpha.value", "alpha.start", "alpha.end", "seed", "eval.seed"}
ZERO |= {"schedule.warmup_env_steps", "compile_after_updates"}


@pytest.mark.parametrize(("value", "takers"), [(-1, NEGATIVE), (0, NEGATIVE | ZERO)])
def test_no_other_key_takes_a_number_below_its_range(value, takers):
    assert {key for key in schema_keys() if not faults(with_key(key, value))} == takers


@pytest.mark.parametrize("key", ["agent.gamma", "agent.tau", "agent.lr_final_share"])
def test_no_share_is_more_than_all(key):
    assert faults(with_key(key, 1)) == [] and faults(with_key(key, 1.001)) != []


@pytest.mark.parametrize("data", [[], "text", None, 3, {}])
def test_what_is_no_config_at_all_is_refused(data):
    with pytest.raises(WrongInput):
        from_plain(data)


@pytest.mark.parametrize(
    ("bounds", "inside", "outside", "words"),
    [
        (Within(low=0, high=1), [0, 0.5, 1], [-1e-9, 1.1], "at least 0 and at most 1"),
        (Within(above=0, high=1), [1e-9, 1], [0, 1.1], "above 0 and at most 1"),
        (Within(), [-1e9, 1e9], [], ""),
    ],
)
def test_ranges_hold_their_ends_or_leave_them_out(bounds, inside, outside, words):
    assert all(x in bounds for x in inside) and not any(x in bounds for x in outside)
    assert str(bounds) == words


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(10**300, 10**400), st.floats(), st.text(max_size=5)
)
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)


@given(st.sampled_from(sorted(schema_keys())), ANYTHING)
@example("schedule.rounds", 2**32)
def test_any_value_for_any_key_converts_or_is_refused_by_name(key, value):
    data = with_key(key, value)
    try:
        config = from_plain(data)
        validate(config)
    except WrongInput as e:
        assert key in e.message or key.split(".")[0] in e.message
    else:
        assert from_plain(to_plain(config)) == config


@given(st.dictionaries(st.sampled_from(sorted(plain())), ANYTHING, max_size=4), st.text(max_size=4))
def test_any_data_converts_or_is_refused(changes, extra):
    try:
        from_plain({**plain(), **changes, extra: 1})
    except WrongInput as e:
        assert all(key in e.message for key in changes if key in ("agent", "env", "replay", "stop"))


def test_flat_keys_are_in_the_order_of_the_schema_and_keep_lists_and_empty_mappings():
    keys = flat(from_plain(plain(env={"kwargs": {"a": {"b": 1}}})))
    assert list(keys)[:4] == ["env.name", "env.id", "env.kwargs.a.b", "env.max_episode_steps"]
    assert keys["agent.hidden_sizes"] == [16, 12] and keys["alpha.mode"] == "auto"
    assert flat(from_plain(plain()))["env.kwargs"] == {}
