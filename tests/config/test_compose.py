import os
import re
import shutil
from dataclasses import asdict
from functools import cache
from itertools import product
from pathlib import Path

import pytest
import yaml
from hydra._internal.hydra import Hydra
from hydra.errors import ConfigCompositionException

from sac_runner.config import compose as module
from sac_runner.config.compose import CONF, compose_config, to_yaml
from sac_runner.config.convert import flat
from sac_runner.config.keys import schema_keys
from sac_runner.errors import WrongInput
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.training.resume import stored_config

GROUPS = ["env", "agent", "alpha", "normalization", "schedule", "experiment"]
FILES = sorted(path.relative_to(CONF).as_posix() for path in CONF.rglob("*.yaml"))
TUNED = [file for file in FILES if file.startswith("tuned/")]
CUSTOM = ["env=custom", "env.id=Pendulum-v1"]


def choices(group):
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def choosing(group, choice):
    """Overrides that make ``choice`` part of a run."""
    return CUSTOM if (group, choice) == ("env", "custom") else [f"{group}={choice}"]


def composing(file):
    """Overrides under which ``conf/<file>`` is part of the composed config."""
    group, name = str(Path(file).parent), Path(file).stem
    if group in GROUPS:
        return choosing(group, name)
    if group == "sweep":
        return [f"sweep={name}"]
    if group == "tuned":
        return [f"env={name}"]
    if group.startswith("tuned/"):
        of = group.removeprefix("tuned/")
        (pair,) = [(e, c) for e in choices("env") for c in choices(of) if f"{e}_{c}" == name]
        return [f"env={pair[0]}", f"{of}={pair[1]}"]
    if group.startswith("experiment/"):
        of = group.removeprefix("experiment/")
        (pair,) = [(e, c) for e in choices("experiment") for c in choices(of) if f"{e}_{c}" == name]
        return [f"experiment={pair[0]}", f"{of}={pair[1]}"]
    assert file == "config.yaml" or group in ("hydra/help", "hydra/launcher"), f"nothing composes conf/{file}"
    return []


def values(file):
    """What ``conf/<file>`` sets: dotted key -> value."""
    text = (CONF / file).read_text()
    package = re.match(r"# @package (\S+)", text)
    prefix = "" if package is None or package[1] == "_global_" else f"{package[1]}."
    return {key: _number(x) for key, x in flat(yaml.safe_load(text), prefix).items()}


def _number(x):
    """YAML 1.1 takes 3e-4 for a text."""
    return float(x) if isinstance(x, str) and re.fullmatch(r"[\d.]+e-?\d+", x) else x


@cache
def run_config(*overrides):
    return compose_config(list(overrides))


def composed(*overrides):
    return flat(run_config(*overrides))


@pytest.mark.parametrize("file", FILES)
def test_every_file_composes_converts_and_can_be_read_back(file, tmp_path):
    config = run_config(*composing(file))
    run = RunDirectory(tmp_path)
    run.write_start(to_yaml(config), {})
    assert stored_config(run) == config


@pytest.mark.parametrize("file", [file for file in FILES if file != "config.yaml" and not file.startswith("hydra/")])
def test_files_are_short(file):
    assert len((CONF / file).read_text().splitlines()) <= 20


def test_all_choices_go_together_and_make_every_key_of_the_schema_and_no_other():
    groups = ["alpha", "agent", "normalization", "schedule"]
    for chosen in product(*map(choices, groups)):
        config = run_config(*map("=".join, zip(groups, chosen, strict=True)))
        modes = {"alpha": config.alpha.mode, "schedule": config.schedule.mode}
        expected = {key for key, mode in schema_keys().items() if mode in (None, modes.get(key.split(".")[0]))}
        assert flat(config).keys() == expected, chosen


@pytest.mark.parametrize("alpha", choices("alpha"))
def test_a_choice_is_what_its_file_says(alpha):
    config = asdict(run_config(*CUSTOM, f"alpha={alpha}").alpha)
    written = {key: x for key, x in values(f"alpha/{alpha}.yaml").items() if key != "defaults" and "${" not in str(x)}
    assert {key: config[key] for key in written} == written


def test_one_learning_rate_serves_actor_critic_and_alpha_unless_one_is_set_apart():
    keys = ["agent.actor_lr", "agent.critic_lr", "alpha.lr"]
    assert [composed(*CUSTOM, "agent.lr=0.5")[key] for key in keys] == [0.5, 0.5, 0.5]
    for apart in keys:
        config = composed(*CUSTOM, "agent.lr=0.5", f"{apart}=0.25")
        assert [config[key] for key in ["agent.lr", *keys]] == [0.5, *(0.25 if key == apart else 0.5 for key in keys)]


@pytest.mark.parametrize("file", TUNED)
def test_tuned_values_apply_by_naming_the_env_and_the_command_line_wins(file):
    tuned = values(file)
    config = composed(*composing(file))
    assert {key: config[key] for key in tuned} == tuned

    other = {key: _other(x) for key, x in tuned.items()}
    config = composed(*composing(file), *(f"{key}={str(x).lower()}" for key, x in other.items()))
    assert {key: config[key] for key in tuned} == other


def _other(x):
    match x:
        case bool():
            return not x
        case int():
            return x + 1
        case float():
            return x / 2
        case list():
            return [x[0] + 1, *x]
    return {"linear": "constant", "constant": "linear"}[x]


@pytest.mark.parametrize("choice", [f"{of}={x}" for of in ("env", "experiment") for x in choices(of) if x != "custom"])
def test_tuned_values_and_recipes_leave_other_choices_alone(choice):
    chosen = ["alpha=fixed", "agent=sac_tutorial", "schedule=per_round", "normalization=none", "total_env_steps=777"]
    ours, plain = composed(choice, *chosen), composed(*CUSTOM, *chosen)
    groups = ("alpha.", "agent.", "schedule.", "normalization.", "replay.")
    differing = {key for key in ours if ours[key] != plain[key]}
    assert not {key for key in differing if key.startswith(groups)}


def test_humanoid_normalizes_observations_unless_told_otherwise():
    assert [composed("env=humanoid", *more)["normalization.obs"] for more in ([], ["normalization=none"])] == [
        True,
        False,
    ]


def test_a_recipe_wins_over_tuned_values_and_the_command_line_over_a_recipe():
    assert composed("env=lunarlander")["total_env_steps"] == 200_000
    recipe = ["experiment=lunarlander_100k"]
    assert composed(*recipe)["total_env_steps"] == 100_000
    assert composed(*recipe, "total_env_steps=6000")["total_env_steps"] == 6000


@pytest.mark.parametrize("recipe", choices("experiment"))
def test_any_choice_goes_with_any_recipe(recipe):
    ends = [] if composed(f"experiment={recipe}")["total_env_steps"] else ["total_env_steps=1e6"]
    for group in ("agent", "alpha", "normalization"):
        for choice in choices(group):
            composed(f"experiment={recipe}", f"{group}={choice}", "agent.lr_schedule=constant", *ends)
    per_step = ["schedule=per_step", "total_env_steps=1e6", "eval.every_rounds=null", "env.episode_seed=per_episode"]
    composed(f"experiment={recipe}", *per_step)
    composed(f"experiment={recipe}", "schedule=per_round")


@pytest.mark.parametrize("recipe", choices("experiment"))
def test_a_recipe_stays_the_same_whatever_is_tuned(recipe):
    ours = composed(f"experiment={recipe}")
    untuned = composed(f"experiment={recipe}", "env=custom", f"env.id={ours['env.id']}")
    assert {key for key in ours if ours[key] != untuned[key]} <= {"env.name", "env.id"}


# SAC v2 (arXiv 1812.05905v2), table 1: its name, its value, our key.
PAPER = [
    ("learning rate", 3e-4, "agent.actor_lr"),
    ("learning rate", 3e-4, "agent.critic_lr"),
    ("learning rate", 3e-4, "alpha.lr"),
    ("discount", 0.99, "agent.gamma"),
    ("replay buffer size", 1_000_000, "replay.capacity"),
    ("number of hidden layers, of hidden units per layer", [256, 256], "agent.hidden_sizes"),
    ("number of samples per minibatch", 256, "replay.batch_size"),
    ("entropy target", -1.0, "alpha.target_entropy_per_action_dim"),
    ("nonlinearity", "relu", "agent.activation"),
    ("target smoothing coefficient", 0.005, "agent.tau"),
    ("gradient steps", 1.0, "schedule.updates_per_env_step"),
    ("two soft Q-functions", 2, "agent.n_critics"),
    ("learning rate schedule: none", "constant", "agent.lr_schedule"),
    ("layer norm: none", False, "agent.critic_layer_norm"),
    ("gradient clipping: none", None, "agent.max_grad_norm"),
]


def test_an_environment_that_nobody_has_tuned_gets_the_values_of_the_paper():
    config = composed(*CUSTOM)
    assert {key: config[key] for _, _, key in PAPER} == {key: value for _, value, key in PAPER}


@pytest.mark.parametrize(
    ("env", "theirs"),
    [
        ("pendulum", {"agent.lr": 1e-3}),
        ("swimmer", {"agent.gamma": 0.999}),
        ("bipedalwalker", {"agent.lr": 7.3e-4, "agent.gamma": 0.98, "agent.tau": 0.02, "replay.capacity": 300_000}),
        ("bipedalwalker_hardcore", {"agent.lr": 7.3e-4, "agent.tau": 0.01, "agent.lr_schedule": "linear"}),
        *[(env, {}) for env in ("ant", "halfcheetah", "hopper", "walker2d")],
    ],
)
def test_tuned_values_are_those_of_rl_baselines3_zoo_where_they_say_so(env, theirs):
    warmup = {} if env == "pendulum" else {"schedule.warmup_env_steps": 10_000}
    config = composed(f"env={env}")
    assert {key: config[key] for key in theirs | warmup} == theirs | warmup


def test_evaluation_has_the_time_limit_of_training_unless_told_otherwise():
    limits = ("env.max_episode_steps", "eval.max_episode_steps")
    pendulum = composed("env=pendulum", "env.max_episode_steps=30")
    assert [pendulum[key] for key in limits] == [30, 30]
    pendulum = composed("env=pendulum", "env.max_episode_steps=30", "eval.max_episode_steps=null")
    assert [pendulum[key] for key in limits] == [30, None]


# The tutorial's appendices: their name, their value, our key.
BOTH_APPENDICES = [
    ("epochs", 2000, "schedule.rounds"),
    ("num_trajectories", 10, "schedule.episodes_per_round"),
    ("steps_per_epoch", 256, "schedule.updates_per_round"),
    ("batch_size", 256, "replay.batch_size"),
    ("replay_buffer_size", 100_000, "replay.capacity"),
    ("test_epochs_freq", 100, "eval.every_rounds"),
    ("evaluation by env steps: none", None, "eval.every_env_steps"),
    ("num_test_episodes", 10, "eval.episodes"),
    ("test_seed", 55, "eval.seed"),
    ("one test episode at a time", 1, "eval.num_envs"),
    ("sampled actions in tests", False, "eval.deterministic"),
    ("train_seed", 42, "seed"),
    ("env.reset(seed=train_seed + epoch)", "per_round", "env.episode_seed"),
    ("one environment", 1, "env.num_envs"),
    ("no budget of steps", None, "total_env_steps"),
    ("gamma", 0.99, "agent.gamma"),
    ("tau", 0.005, "agent.tau"),
    ("policy_lr", 3e-4, "agent.actor_lr"),
    ("q_lr", 3e-4, "agent.critic_lr"),
    ("no learning rate schedule", "constant", "agent.lr_schedule"),
    ("no gradient clipping", None, "agent.max_grad_norm"),
    ("fc1, fc2", [256, 256], "agent.hidden_sizes"),
    ("F.leaky_relu", "leaky_relu", "agent.activation"),
    ("q1, q2", 2, "agent.n_critics"),
    ("no layer norm", False, "agent.critic_layer_norm"),
    ("clamp min", -20, "agent.log_std_min"),
    ("clamp max", 2, "agent.log_std_max"),
    ("log(1 - a^2 + 1e-6)", 1e-6, "agent.log_prob_epsilon"),
    ("done = terminated or truncated", False, "agent.bootstrap_at_time_limit"),
    ("reward_scale 1", False, "normalization.reward"),
    ("no clipping of observations", None, "normalization.obs_clip"),
]
APPENDIX_A = [
    ("env_name", "LunarLanderContinuous-v3", "env.id"),
    ("max_episode_steps", 500, "env.max_episode_steps"),
    ("the same cap in tests", 500, "eval.max_episode_steps"),
    ("entropy_weight: fixed", "fixed", "alpha.mode"),
    ("entropy_weight", 0.05, "alpha.value"),
    ("raw observations", False, "normalization.obs"),
]
APPENDIX_B = [
    ("env_name", "Humanoid-v5", "env.id"),
    ("max_episode_steps", 1000, "env.max_episode_steps"),
    ("the same cap in tests", 1000, "eval.max_episode_steps"),
    ("log_alpha: learned", "auto", "alpha.mode"),
    ("log_alpha = zeros", 1.0, "alpha.initial"),
    ("alpha_lr", 3e-4, "alpha.lr"),
    ("target_entropy = -dim", -1.0, "alpha.target_entropy_per_action_dim"),
    ("target_entropy: no other", None, "alpha.target_entropy"),
    ("obs_normalizer", True, "normalization.obs"),
]


@pytest.mark.parametrize(
    ("experiment", "theirs"),
    [
        ("lunarlander_tutorial", BOTH_APPENDICES + APPENDIX_A),
        ("humanoid_tutorial", BOTH_APPENDICES + APPENDIX_B),
    ],
)
def test_tutorial_experiments_are_its_appendices_setting_by_setting(experiment, theirs):
    config = composed(f"experiment={experiment}")
    assert {key: config[key] for _, _, key in theirs} == {key: value for _, value, key in theirs}
    learned = ("agent.", "alpha.", "normalization.", "schedule.", "replay.", "eval.")
    derived = {
        "agent.lr",
        "agent.lr_final_share",
        "agent.lr_decay_env_steps",
        "normalization.reward_clip",
        "schedule.mode",
    }
    assert {key for key in config if key.startswith(learned)} - derived == {
        key for _, _, key in theirs if key.startswith(learned)
    }
    assert composed(f"experiment={experiment}", "seed=null")["seed"] is None  # --no-seed


@pytest.mark.parametrize("text", ["1e6", "1_000_000", "1000000"])
def test_counts_are_taken_as_they_are_written(text):
    steps = run_config(*CUSTOM, f"total_env_steps={text}").total_env_steps
    assert steps == 1_000_000 and isinstance(steps, int)


@pytest.mark.parametrize("text", ["1.5", "0", "true", "[1]", "1e400"])
def test_what_is_no_count_is_refused(text):
    with pytest.raises(WrongInput, match="total_env_steps="):
        compose_config([f"total_env_steps={text}"])


def test_outputs_follow_the_environment_variable(monkeypatch):
    monkeypatch.setenv("SAC_OUTPUTS", "/somewhere/else")
    assert compose_config([]).outputs == "/somewhere/else"
    assert compose_config(["outputs=here"]).outputs == "here"
    monkeypatch.setenv("SAC_OUTPUTS", "")
    assert compose_config([]).outputs == "outputs"


def test_a_home_folder_is_one_also_where_the_shell_leaves_it_as_typed(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    config = compose_config(["env=pendulum", "outputs='~/x'", "run.dir='~/y'"])
    assert (config.outputs, config.run.dir) == ("/home/me/x", "/home/me/y")
    monkeypatch.setenv("SAC_OUTPUTS", "~/z")
    assert compose_config(["env=pendulum"]).outputs == "/home/me/z"


def interrupted(*_, **__):
    """As OmegaConf, in whose midst Ctrl-C came, and Hydra, which reports what became of that."""
    try:
        try:
            raise KeyboardInterrupt
        finally:
            raise UnboundLocalError("old")
    except UnboundLocalError as e:
        raise ConfigCompositionException from e


def test_ctrl_c_is_one_where_a_library_fails_as_it_cleans_up_after_it(monkeypatch):
    monkeypatch.setattr(module, "compose", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compose_config(["env=pendulum"])
    monkeypatch.setattr(Hydra, "compose_config", interrupted)
    with pytest.raises(KeyboardInterrupt):
        module.from_command_line(["env=pendulum"], lambda job: 0.0, lambda: None)


def test_an_error_of_a_run_that_was_interrupted_is_said(monkeypatch):
    monkeypatch.setattr(module.hydra, "main", lambda **_: lambda task: lambda: task(None))
    monkeypatch.setattr(module, "_job", lambda cfg: None)
    with pytest.raises(ConfigCompositionException):
        module.from_command_line(["env=pendulum"], interrupted, lambda: None)


def test_what_a_file_asks_of_hydra_for_a_run_is_done(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CONF", shutil.copytree(CONF, tmp_path / "conf"))
    (tmp_path / "conf" / "experiment" / "mine.yaml").write_text("""# @package _global_
hydra: {job: {env_set: {ASKED: 'yes'}}, launcher: {note: '${hydra.sweep.dir}/x'}}
outputs: ${hydra:runtime.output_dir}/${hydra:job.name}/${oc.env:ASKED,not_yet}
""")
    asked = []
    run = lambda job: asked.append((job.config.outputs, os.environ.get("ASKED"))) or 0.0  # noqa: E731
    module.from_command_line(["env=pendulum", "experiment=mine"], run, lambda: None)
    assert asked == [(f"{os.getcwd()}/compose/yes", "yes")] and "ASKED" not in os.environ
