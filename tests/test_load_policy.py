import shutil
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
import torch

import sac_runner
from sac_runner.errors import WrongInput
from sac_runner.interaction import spaces as env_spaces
from sac_runner.storage.run_directory import RunDirectory
from tests.runs import TINY, train

OBS = np.array([[0.5, -0.5, 3.0], [1.0, 0.0, -2.0], [-0.2, 0.9, 7.0]], np.float32)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "tiny"
    answer = train(*TINY, "normalization=obs", "checkpoint.keep_every_env_steps=30", f"run.dir={folder}")
    assert answer.code == 0, answer.err
    return folder


def test_action_is_the_environments_own(run):
    policy = sac_runner.load_policy(run)
    one, many = policy(OBS[0]), policy(OBS)
    assert one.shape == (1,) and many.shape == (3, 1)
    assert one.dtype == many.dtype == np.float32
    np.testing.assert_allclose(many[0], one, rtol=1e-5)
    for action in many:
        assert action in gym.make("Pendulum-v1").action_space
    np.testing.assert_array_equal(policy(OBS.astype(np.float64).tolist()), many)
    np.testing.assert_array_equal(policy(torch.tensor(OBS)), many)


def test_action_is_that_of_the_weights_with_their_statistics(run):
    policy = sac_runner.load_policy(run, "latest")
    arrays = policy.checkpoint.arrays("policy")
    x = (OBS - arrays["obs_normalizer.moments.mean"]) / (np.sqrt(arrays["obs_normalizer.moments.var"]) + 1e-8)
    for layer in ("hidden.0", "hidden.1"):
        x = np.maximum(x @ arrays[f"actor.{layer}.weight"].T + arrays[f"actor.{layer}.bias"], 0)
    mean = x @ arrays["actor.mean.weight"].T + arrays["actor.mean.bias"]
    assert abs(arrays["obs_normalizer.moments.mean"]).max() > 0.01
    np.testing.assert_allclose(policy(OBS), 2.0 * np.tanh(mean), rtol=1e-4)  # Pendulum's bounds are +-2


def test_plays_what_evaluate_scores(run):
    from sac_runner.playback.assess import assess

    scored = assess(
        RunDirectory(run),
        "best",
        episodes=1,
        seed=11,
        deterministic=True,
        as_trained=False,
        trusted=False,
        on_episode=max,
    ).evaluation
    policy, env = sac_runner.load_policy(run), gym.make("Pendulum-v1", max_episode_steps=15)
    obs, _ = env.reset(seed=11)
    total, ended = 0.0, False
    while not ended:
        obs, reward, terminated, truncated, _ = env.step(policy(obs))
        total, ended = total + reward, terminated or truncated
    assert total == pytest.approx(scored.returns[0], rel=1e-5)


def test_sampled_actions_have_a_seed(run):
    def drawn(seed):
        policy = sac_runner.load_policy(run, seed=seed)
        return np.concatenate([policy(obs, sampled=True) for obs in OBS])

    np.testing.assert_array_equal(drawn(0), drawn(0))
    assert (drawn(0) != drawn(1)).all()
    together = sac_runner.load_policy(run, seed=0)(OBS, sampled=True)
    np.testing.assert_allclose(together.ravel(), drawn(0), rtol=1e-4)
    assert (np.abs(together) <= 2.0).all()
    policy = sac_runner.load_policy(run)
    before = policy(OBS)
    policy(OBS, sampled=True)
    np.testing.assert_array_equal(policy(OBS), before)


def test_checkpoint_and_name_select(run, nothing_goes_on):
    outputs = run.parent / "outputs"
    (outputs / "runs" / "pendulum").mkdir(parents=True)
    (outputs / "runs" / "pendulum" / "by_name").symlink_to(run)
    assert sac_runner.load_policy(run).checkpoint.kind == "best"
    kept = "<policy of Pendulum-v1, kept checkpoint, 30 env steps>"
    assert repr(sac_runner.load_policy(run, 30)) == kept
    assert sac_runner.load_policy("by_na", 30, outputs=outputs).checkpoint.env_steps == 30
    assert sac_runner.load_policy("last", "latest", outputs=outputs).checkpoint.kind == "latest"
    with pytest.raises(WrongInput, match="no checkpoint 31"):
        sac_runner.load_policy(run, 31)
    with pytest.raises(WrongInput, match='device=tpu.*\n  try: load_policy\\(..., device="auto"\\)'):
        sac_runner.load_policy(run, device="tpu")


def test_stored_spaces_make_the_environment_unneeded(run, monkeypatch):
    policy = sac_runner.load_policy(run)
    monkeypatch.setattr(env_spaces, "raw_spaces", lambda config: pytest.fail("the environment was made"))
    np.testing.assert_array_equal(sac_runner.load_policy(run)(OBS), policy(OBS))


def test_a_package_that_a_run_names_is_imported_only_if_trusted(run, tmp_path, monkeypatch):
    (tmp_path / "named_by_a_policy.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    own = RunDirectory(shutil.copytree(run, tmp_path / "own"))
    text = own.config_text().replace("id: Pendulum-v1", "id: named_by_a_policy:Missing-v0")
    own.write_start(text, {})  # without its spaces the environment has to be made
    with pytest.raises(WrongInput, match="imports named_by_a_policy, which is code from outside"):
        sac_runner.load_policy(own.path)
    assert "named_by_a_policy" not in sys.modules
    with pytest.raises(WrongInput, match="Missing"):
        sac_runner.load_policy(own.path, trust=True)
    assert "named_by_a_policy" in sys.modules


def test_wrong_observation_is_named(run):
    with pytest.raises(ValueError, match=r"\(4,\); this policy takes \(3,\)"):
        sac_runner.load_policy(run)(np.zeros(4))


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1e300])
def test_an_observation_that_is_not_finite_is_refused_not_answered(run, wrong):
    with pytest.raises(ValueError, match="NaN or infinite"):
        sac_runner.load_policy(run)([0.0, wrong, 0.0])


def test_importing_the_package_imports_no_torch():
    code = (
        "import sys, sac_runner; print(sac_runner.__version__);"
        "assert 'load_policy' in dir(sac_runner); assert not hasattr(sac_runner, 'nothing');"
        "print({'torch', 'gymnasium', 'numpy'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out == "0.1.0\nset()\n"
