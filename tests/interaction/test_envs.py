import shlex
import sys
from inspect import signature

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from hypothesis import given
from hypothesis import strategies as st

from sac_runner.errors import EnvironmentFailed, WrongInput
from sac_runner.interaction.envs import from_unit, is_endless, make_env
from tests.scripted import Echo
from tests.support import config, vector_env


def make(env_id, **env):
    return make_env(config(env={"id": env_id, **env}).env)


def with_spaces(**kwargs):
    flatten = kwargs.pop("flatten_dict", False)
    return make("tests.scripted:Spaces-v0", kwargs=kwargs, flatten_dict=flatten)


def received(env, action):
    """The action that reached the innermost environment, flat."""
    env.reset(seed=0)
    return env.step(np.asarray(action, np.float32))[0]


@pytest.mark.parametrize(("observes", "size"), [("vector", 2), ("matrix", 6), ("scalar", 1), ("float64", 2)])
def test_observations_of_any_shape_become_one_vector_of_their_numbers(observes, size):
    env = with_spaces(observes=observes)
    assert env.observation_space.shape == (size,)
    obs, _ = env.reset(seed=0)
    np.testing.assert_array_equal(obs, np.ravel(env.unwrapped.last))
    obs = env.step(np.zeros(1, np.float32))[0]
    np.testing.assert_array_equal(obs, np.ravel(env.unwrapped.last))


def test_a_dict_is_flattened_only_when_asked():
    with pytest.raises(WrongInput, match="observes a Dict.*takes one vector") as error:
        with_spaces(observes="dict")
    assert "env.flatten_dict=true" in error.value.remedy
    env = with_spaces(observes="dict", flatten_dict=True)
    obs, _ = env.reset(seed=0)
    np.testing.assert_array_equal(obs, np.concatenate([env.unwrapped.last["goal"], env.unwrapped.last["state"]]))


@pytest.mark.filterwarnings("ignore:.*maximum and minimum values are equal")  # Gymnasium's own view of "degenerate"
@pytest.mark.parametrize(
    ("spaces", "cause"),
    [
        ({"observes": "image"}, r"observes images \(8, 8, 3\)"),
        ({"observes": "discrete"}, r"observes Discrete\(3\); SAC here takes a Box"),
        ({"acts": "discrete"}, r"takes actions of Discrete\(3\)"),
        ({"acts": "dict"}, "takes actions of Dict"),
        ({"acts": "whole_numbers"}, r"takes actions of Box\(0, 9, \(2,\), int64\)"),
        ({"acts": "half_bounded"}, "unbounded actions"),
        ({"acts": "degenerate"}, "empty action range"),
    ],
)
def test_spaces_that_sac_cannot_use_are_refused_by_name(spaces, cause):
    with pytest.raises(WrongInput, match=cause) as error:
        with_spaces(**spaces)
    assert "Spaces-v0" in error.value.message


@pytest.mark.parametrize(
    ("low", "high"),
    [([-0.4] * 3, [0.4] * 3), ([-1.0, 0.0, -5.0], [1.0, 2.0, -1.0]), ([-2.0, 100.0, 0.1], [4.0, 100.1, 0.3])],
)
def test_actions_reach_the_bounds_exactly_at_the_ends_and_the_centre_at_zero(low, high):
    env = make("tests.scripted:Echo-v0", kwargs={"low": low, "high": high})
    assert env.action_space == gym.spaces.Box(-1.0, 1.0, (3,), np.float32)
    low, high = np.float32(low), np.float32(high)
    np.testing.assert_array_equal(received(env, [-1, -1, -1]), low)
    np.testing.assert_array_equal(received(env, [1, 1, 1]), high)
    middle, upper_quarter = (low + high.astype(float)) / 2, low + 0.75 * (high - low.astype(float))
    np.testing.assert_array_equal(received(env, [0, 0, 0]), np.float32(middle))
    np.testing.assert_array_equal(received(env, [0.5] * 3), np.float32(upper_quarter))
    np.testing.assert_array_equal(received(env, [1, -1, 0]), np.float32([high[0], low[1], middle[2]]))


@given(st.floats(-1e3, 1e3, width=32), st.floats(2**-7, 1e3, width=32), st.floats(-1, 1, width=32))
def test_no_rounding_takes_an_action_out_of_its_bounds(low, size, unit):
    space = gym.spaces.Box(np.float32([low]), np.float32([low]) + np.float32([size]))
    assert space.contains(from_unit(space)(np.float32([unit])))


def test_a_batch_of_actions_reaches_its_bounds_row_by_row():
    space = gym.spaces.Box(np.zeros((2, 3), np.float32), np.arange(1.0, 7.0, dtype=np.float32).reshape(2, 3))
    unit = np.random.default_rng(0).uniform(-1, 1, (4, 6)).astype(np.float32)
    expected = (unit.reshape(4, 2, 3) + 1) / 2 * space.high
    np.testing.assert_allclose(from_unit(space)(unit), expected, rtol=1e-6)


def test_humanoid_gets_its_torques():
    env = make("Humanoid-v5")
    assert env.unwrapped.action_space.low.min() == np.float32(-0.4)
    env.reset(seed=0)
    for unit, torque in ((-1.0, -0.4), (0.0, 0.0), (1.0, 0.4)):
        env.step(np.full(17, unit, np.float32))
        np.testing.assert_array_equal(env.unwrapped.data.ctrl, np.full(17, torque, np.float32).astype(float))
    assert env.observation_space.shape == (348,)


def test_actions_of_any_shape_are_taken_flat_in_the_order_of_their_numbers():
    low, high = -np.arange(1.0, 7.0).reshape(2, 3), np.arange(1.0, 7.0).reshape(2, 3)
    env = make("tests.scripted:Echo-v0", kwargs={"low": low, "high": high})
    assert env.action_space == gym.spaces.Box(-1.0, 1.0, (6,), np.float32)
    np.testing.assert_array_equal(received(env, [1, -1, 1, -1, 1, -1]), [1, -2, 3, -4, 5, -6])


def test_max_episode_steps_sets_the_time_limit_and_null_keeps_the_registered_one():
    assert make("Pendulum-v1").spec.max_episode_steps == 200
    env = make("Pendulum-v1", max_episode_steps=3)
    env.reset(seed=0)
    flags = [env.step(np.zeros(1, np.float32))[2:4] for _ in range(3)]
    assert flags == [(False, False), (False, False), (False, True)]


def test_kwargs_reach_the_environment():
    env = make("LunarLander-v3", kwargs={"continuous": True, "gravity": -5.0})
    assert env.unwrapped.gravity == -5.0


@pytest.mark.parametrize("vectorization", ["sync", "async"])
def test_vector_environments_never_reset_themselves(vectorization):
    envs = vector_env("tests.scripted:Countdown-v0", 2, vectorization=vectorization)
    try:
        assert isinstance(envs, SyncVectorEnv if vectorization == "sync" else AsyncVectorEnv)
        assert envs.num_envs == 2 and envs.metadata["autoreset_mode"] is AutoresetMode.DISABLED
    finally:
        envs.close()


def walker_episode(env, seed, steps=60):
    rng = np.random.default_rng(seed)
    obs = [env.reset(seed=seed)[0]]
    for _ in range(steps):
        obs.append(env.step(rng.uniform(-1, 1, 4).astype(np.float32))[0])
    return np.array(obs)


def test_a_world_made_each_episode_forgets_the_episodes_before():
    with_history, fresh = (make("BipedalWalker-v3", make_each_episode=True) for _ in range(2))
    for seed in (3, 4):
        walker_episode(with_history, seed)
    np.testing.assert_array_equal(walker_episode(with_history, 5), walker_episode(fresh, 5))


def test_a_remade_world_is_a_new_one_behind_the_same_door():
    env = make("tests.scripted:Echo-v0", kwargs={"low": [-2.0], "high": [4.0]}, make_each_episode=True)
    worlds = []
    for _ in range(3):
        np.testing.assert_array_equal(received(env, [1.0]), [4.0])
        worlds.append(env.unwrapped)
    assert len(set(map(id, worlds))) == 3


@pytest.mark.parametrize(
    ("env_id", "kwargs", "error", "cause"),
    [
        ("NoSuchEnv-v0", {}, WrongInput, "env.id=NoSuchEnv-v0 is unknown to Gymnasium"),
        ("Pendulum-v99", {}, WrongInput, "env.id=Pendulum-v99 is unknown to Gymnasium"),
        ("no_such_package:Env-v0", {}, WrongInput, "can't be imported: .*no_such_package"),
        ("tests.scripted:NeedsAPackage-v0", {}, WrongInput, "is not installed: pip install no-such-physics$"),
        ("Pendulum-v1", {"no_such_knob": 1}, WrongInput, "does not take env.kwargs=.*no_such_knob"),
        ("tests.scripted:Breaks-v0", {}, EnvironmentFailed, "can't be made: ZeroDivisionError: in its constructor"),
        ("tests.scripted:Misuses-v0", {}, EnvironmentFailed, r"TypeError: object .* \(scripted\.py:\d+, in misuses\)"),
        ("Pendulum-v1", {"max_episode_steps": 5}, WrongInput, "does not take env.kwargs="),
        ("Pendulum-v1", {"G": 5}, WrongInput, r": PendulumEnv.__init__\(\) got an [a-z ]* 'G'; it takes g$"),
        ("Humanoid-v5", {"G": 5}, WrongInput, r"\.__init__\(\) got an [a-z ]* 'G'$"),  # it hands others on
        (None, {}, WrongInput, "env=custom needs env.id"),
    ],
)
@pytest.mark.parametrize("make_each_episode", [False, True])
def test_what_cannot_be_made_says_why(env_id, kwargs, error, cause, make_each_episode):
    env = config(env={"id": "replaced", "kwargs": kwargs, "make_each_episode": make_each_episode}).env
    object.__setattr__(env, "id", env_id)  # null is what env=custom leaves
    with pytest.raises(error, match=cause):
        make_env(env)


@pytest.fixture
def own_package(tmp_path, monkeypatch):
    """Makes a package in the working folder."""

    def own_package(name, text):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(text)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return own_package


def test_a_package_that_is_not_found_is_said_to_be_looked_for_where():
    with pytest.raises(WrongInput, match="can't be imported: No module named 'no_such_package'\n") as error:
        make("no_such_package.envs:Env-v0")
    install, _, start = error.value.remedy.partition(", or ")
    assert shlex.split(install) == [sys.executable, "-m", "pip", "install", "-e", "FOLDER_OF_no_such_package"]
    assert start == "start in the folder that holds no_such_package"


def test_only_an_id_that_names_a_package_lets_python_look_for_it_here(own_package, tmp_path):
    sys.path[:] = [path for path in sys.path if path != str(tmp_path)]
    make("Pendulum-v1").close()
    assert str(tmp_path) not in sys.path
    own_package("registers_nothing", "")
    with pytest.raises(WrongInput):
        make("registers_nothing:Env-v0")
    assert sys.path[-1] == str(tmp_path)


def test_what_a_package_of_ones_own_can_not_import_is_named_with_its_line(own_package):
    own_package("needs_another", "import gymnasium\nimport no_such_package\n")
    with pytest.raises(WrongInput, match=r"named 'no_such_package' \(__init__\.py:2, in <module>\)$") as error:
        make("needs_another:Env-v0")
    assert error.value.remedy is None
    with pytest.raises(WrongInput, match=r"No module named 'tests\.no_such_part'$") as error:
        make("tests.no_such_part:Env-v0")
    assert error.value.remedy is None


def test_a_package_that_is_no_python_is_named_with_its_file_and_line(own_package):
    own_package("no_python", "import gymnasium\n\n\ndef f(:\n")
    with pytest.raises(EnvironmentFailed, match=r"can't be made: SyntaxError: [a-z ]+ \(no_python/__init__\.py:4\)$"):
        make("no_python:Env-v0")


@pytest.mark.parametrize(
    ("env_id", "own"),
    [
        ("Reach-v0", "my_package:Reach-v0"),
        ("mine/Reach-v0", "my_package:mine/Reach-v0"),
        ("tests.scripted:Reach-v0", None),
        ("Pendulm-v1", None),
        ("Pendulum-v99", None),
    ],
)
def test_an_unknown_id_may_be_of_a_package_of_ones_own(env_id, own):
    with pytest.raises(WrongInput, match="is unknown to Gymnasium") as error:
        make(env_id)
    of_own = f"sac-train env=custom env.id={own}   # if it is of a package of your own"
    assert error.value.remedy == (own and of_own)


def test_faults_of_parallel_environments_are_named_before_a_process_starts():
    with pytest.raises(WrongInput, match="unknown to Gymnasium"):
        vector_env("NoSuchEnv-v0", 2, vectorization="async")


def test_an_environment_that_knows_nothing_of_rendering_can_be_made():
    assert "render_mode" not in signature(Echo.__init__).parameters
    assert make("tests.scripted:Echo-v0", kwargs={"low": [0.0], "high": [1.0]}).spec.kwargs.keys() == {"low", "high"}


def test_a_render_mode_reaches_the_environment_beside_its_kwargs():
    env = make_env(config(env={"id": "Pendulum-v1", "kwargs": {"g": 9.0}}).env, render_mode="rgb_array")
    assert (env.render_mode, env.unwrapped.g) == ("rgb_array", 9.0)


@pytest.mark.parametrize("vectorization", ["sync", "async"])
def test_of_what_environments_say_beside_only_success_is_gathered(vectorization):
    envs = vector_env("Hopper-v5", 2, vectorization=vectorization)
    infos = [envs.reset(seed=[0, 1])[1], envs.step(np.zeros((2, 3), np.float32))[-1]]
    envs.close()
    assert infos == [{}, {}]


@pytest.mark.parametrize(
    ("env_id", "limit", "endless"),
    [
        ("Pendulum-v1", None, False),
        ("tests.scripted:Countdown-v0", None, True),
        ("tests.scripted:Countdown-v0", 9, False),
    ],
)
def test_an_environment_without_a_time_limit_is_known(env_id, limit, endless):
    env = config(env={"id": env_id, "max_episode_steps": limit}).env
    make_env(env).close()
    assert is_endless(env) == endless


def test_mujoco_warns_once_of_what_happens_and_leaves_no_file(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sac_runner.interaction.envs._mujoco_warned", set())
    make("HalfCheetah-v5").close()  # its model file is deprecated, which is for its author to hear
    env = make("Hopper-v5")
    for speed in (1e12, -2e12):
        env.reset(seed=0)
        env.unwrapped.data.qvel[:] = speed
        env.step(np.zeros(3, np.float32))
    said = capfd.readouterr()
    assert said.out == "" and said.err.startswith("warning: MuJoCo: Nan, Inf or huge value in QVEL")
    assert said.err.count("\n") == 1 and list(tmp_path.iterdir()) == []
