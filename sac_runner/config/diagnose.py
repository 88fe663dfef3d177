"""What is wrong with overrides that Hydra refused, in our words: the key, what is allowed, and what to type."""

import difflib
from pathlib import Path
from typing import Any, get_args, get_type_hints

from sac_runner.config.convert import variant_mode
from sac_runner.config.schema import Config
from sac_runner.errors import WrongInput, train_command

# Names that SB3, CleanRL, Spinning Up and the tutorial use -> ours.
SYNONYMS = {
    "learning_starts": "schedule.warmup_env_steps",
    "start_steps": "schedule.warmup_env_steps",
    "ent_coef": "alpha.value",
    "entropy_weight": "alpha.value",
    "policy_lr": "agent.actor_lr",
    "pi_lr": "agent.actor_lr",
    "q_lr": "agent.critic_lr",
    "qf_learning_rate": "agent.critic_lr",
    "learning_rate": "agent.lr",
    "lr": "agent.lr",
    "alpha_lr": "alpha.lr",
    "target_entropy": "alpha.target_entropy",
    "gamma": "agent.gamma",
    "tau": "agent.tau",
    "polyak": "agent.tau",
    "net_arch": "agent.hidden_sizes",
    "hidden_sizes": "agent.hidden_sizes",
    "buffer_size": "replay.capacity",
    "replay_buffer_size": "replay.capacity",
    "replay_size": "replay.capacity",
    "batch_size": "replay.batch_size",
    "gradient_steps": "schedule.updates_per_env_step",
    "utd_ratio": "schedule.updates_per_env_step",
    "replay_ratio": "schedule.updates_per_env_step",
    "epochs": "schedule.rounds",
    "steps_per_epoch": "schedule.updates_per_round",
    "num_trajectories": "schedule.episodes_per_round",
    "test_epochs_freq": "eval.every_rounds",
    "num_test_episodes": "eval.episodes",
    "test_seed": "eval.seed",
    "train_seed": "seed",
    "eval_freq": "eval.every_env_steps",
    "n_eval_episodes": "eval.episodes",
    "total_timesteps": "total_env_steps",
    "n_timesteps": "total_env_steps",
    "total_steps": "total_env_steps",
    "env_id": "env.id",
    "env_name": "env.id",
    "num_envs": "env.num_envs",
    "n_envs": "env.num_envs",
    "max_episode_steps": "env.max_episode_steps",
    "reward_scale": "normalization.reward",
    "best_test_reward": "stop.at_return",
    "torch_deterministic": "device",
    "cuda": "device",
}


def explain(conf: Path, overrides: list[str], choices: dict[str, str], error: Exception) -> WrongInput:
    """The first of ``overrides`` that can't be right, explained; or else ``error``'s own first line.

    Args:
        conf: The folder of config groups.
        overrides: ``key=value``, as typed.
        choices: Group -> choice that the run has, as far as known.
        error: What Hydra said.
    """
    for override in overrides:
        key, _, value = override.lstrip("+~").partition("=")
        fault = _fault(conf, key.partition("@")[0], value, choices)
        if fault is not None:
            return fault
    return WrongInput(str(error).strip().split("\n")[0])


def _fault(conf: Path, key: str, value: str, choices: dict[str, str]) -> WrongInput | None:
    if key.startswith("hydra"):
        return None
    if (conf / key).is_dir():
        return _choice_fault(conf, key, value)
    keys = schema_keys()
    if key not in keys:
        return _unknown_key(key, value, keys)
    owner = keys[key]
    group = key.split(".")[0]
    if owner is not None and choices.get(group, owner).split("_0")[0] != owner:
        example = f"{group}={owner} {key}={value}"
        return WrongInput(
            f"{key} is a key of {group}={owner}; this run has {group}={choices[group]}", train_command(example)
        )
    if "," in value and not value.startswith(("[", "'", '"', "{")):
        return _two_values(key, value)
    return None


def _choice_fault(conf: Path, group: str, value: str) -> WrongInput | None:
    there = sorted(path.stem for path in (conf / group).glob("*.yaml"))
    if value in there or value == "null":
        return None
    parts = value.split(",")
    if len(parts) > 1 and all(part in there for part in parts):
        return _two_values(group, value)
    wrong = next(part for part in parts if part not in there)
    near = difflib.get_close_matches(wrong, there, 1)
    remedy = train_command(f"{group}={near[0]}") if near else None
    return WrongInput(f"{group}={wrong} is not there; {group} can be {', '.join(there)}", remedy)


def _two_values(key: str, value: str) -> WrongInput:
    count = value.count(",") + 1
    number = "two" if count == 2 else str(count)
    return WrongInput(f"{key}={value} names {number} settings; one run takes one", train_command(f"-m {key}={value}"))


def _unknown_key(key: str, value: str, keys: dict[str, str | None]) -> WrongInput:
    ours = SYNONYMS.get(key) or SYNONYMS.get(key.split(".")[-1])
    if ours is not None:
        return WrongInput(f"unknown key {key}; here it is {ours}", train_command(f"{ours}={value}"))
    leaf = {name.split(".")[-1]: name for name in keys}
    near = difflib.get_close_matches(key, keys, 1, 0.7) or [
        leaf[name] for name in difflib.get_close_matches(key.split(".")[-1], leaf, 1, 0.7)
    ]
    remedy = train_command(f"{near[0]}={value}") if near else train_command("--cfg job") + "   (every key)"
    return WrongInput(f"unknown key {key}", remedy)


def schema_keys() -> dict[str, str | None]:
    """Every dotted key, and the mode of its group that it belongs to (None: it is always there)."""
    keys: dict[str, str | None] = {}

    def walk(kind: Any, prefix: str, mode: str | None) -> None:
        for name, hint in get_type_hints(kind).items():
            variants = [k for k in (get_args(hint) or (hint,)) if hasattr(k, "__dataclass_fields__")]
            for variant in variants:
                walk(variant, f"{prefix}{name}.", variant_mode(variant) if len(variants) > 1 else mode)
            if not variants:
                key = f"{prefix}{name}"
                keys[key] = None if key in keys and keys[key] != mode else mode

    walk(Config, "", None)
    return keys
