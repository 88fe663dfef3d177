"""What is wrong with an override that Hydra refused, in our words: the key, what is allowed, and what to type."""

import difflib
import re
import shlex
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
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
    "alpha": "alpha.value",
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
    "autotune": "alpha",
    "epochs": "schedule.rounds",
    "steps_per_epoch": "schedule.updates_per_round",
    "num_trajectories": "schedule.episodes_per_round",
    "test_epochs_freq": "eval.every_rounds",
    "num_test_episodes": "eval.episodes",
    "test_seed": "eval.seed",
    "train_seed": "seed",
    "no_seed": "seed",
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
    "reward_scale": "normalization",
    "best_test_reward": "stop.at_return",
    "cuda": "device",
}

# Their values that are written otherwise here: ours for theirs; None stands for any other.
_VALUES: dict[str, dict[str | None, str]] = {
    "ent_coef": {"auto": "alpha=auto"},
    "alpha": {choice: f"alpha={choice}" for choice in ("auto", "fixed", "annealed")},
    "autotune": {"False": "alpha=fixed", None: "alpha=auto"},
    "gradient_steps": {"-1": "schedule.updates_per_env_step=1"},
    "target_entropy": {"auto": "alpha.target_entropy=null"},
    "reward_scale": {None: "normalization=reward"},
    "no_seed": {None: "seed=null"},
    "cuda": {"False": "device=cpu", None: "device=auto"},
}

Groups = dict[str, list[str]]
"""Config group -> its choices."""


def find_faults(
    groups: Groups, overrides: list[str], choices: dict[str, str], sweeps: bool = False
) -> dict[str, WrongInput]:
    """Those of ``overrides`` that can't be right, explained.

    Args:
        groups: What there is.
        overrides: ``key=value``, as typed.
        choices: Group -> choice that the run has, as far as known.
        sweeps: An override may name several values.
    """
    faults = {}
    for override in overrides:
        _, equals, value = override.partition("=")
        fault = _fault(groups, key_of(override), value, choices, sweeps) if equals else _bare_word(groups, override)
        if fault is not None:
            faults[override] = _for_a_sweep(fault) if sweeps else fault
    return faults


def _for_a_sweep(fault: WrongInput) -> WrongInput:
    train = train_command("")
    if fault.remedy is not None and "--cfg" in fault.remedy:  # which goes with no -m
        return fault
    return WrongInput(fault.message, fault.remedy and fault.remedy.replace(train, train_command("-m "), 1))


def find_groups(folders: Iterable[Path]) -> Groups:
    """The config groups in ``folders``, and their choices."""
    files = [path.relative_to(folder) for folder in folders for path in sorted(folder.rglob("*.yaml"))]
    groups: Groups = defaultdict(list)
    for file in files:
        groups[file.parent.as_posix()].append(file.stem)
    return {group: choices for group, choices in groups.items() if group != "."}


def _bare_word(groups: Groups, word: str) -> WrongInput | None:
    if word.startswith(("~", "-")):
        return None
    group = _group_of(word, groups)
    remedy = to_paste(f"{group}={word}") if group else None
    return WrongInput(f"{word} is no setting; every setting is a key=value", remedy)


def _group_of(choice: str, groups: Groups) -> str | None:
    return next((group for group, choices in groups.items() if choice in choices), None)


def _fault(groups: Groups, key: str, value: str, choices: dict[str, str], sweeps: bool) -> WrongInput | None:
    if key.startswith(("hydra", "env.kwargs.")):
        return None
    if key in groups:
        return _choice_fault(key, value, groups[key], sweeps)
    keys = schema_keys()
    if not key:
        return WrongInput(f"={value} names no key; a setting is key=value, without spaces")
    if key not in keys:
        return _unknown_key(key, value, choices, groups)
    group, _, mode = key.partition(".")
    if mode == "mode" and choices.get(group, value).split("_0")[0] != value:
        fault = _choice_fault(group, value, groups[group], sweeps)
        return fault or WrongInput(f"{key} comes with {group}={value}", to_paste(f"{group}={value}"))
    if key.endswith(("env_steps", "capacity")) and re.fullmatch(r"[1-9]\d{0,2}(,\d{3})*,000", value) and not sweeps:
        whole = to_paste(f"{key}={value.replace(',', '')}")
        return WrongInput(f"{key}={value}: a number is written without commas", whole)
    owner = _missing_choice(key, choices)
    if owner is not None:
        group = key.split(".")[0]
        return WrongInput(
            f"{key} is a key of {owner}; this run has {group}={choices[group]}",
            to_paste(owner, f"{key}={value}"),
        )
    if "," in value and not sweeps and not value.startswith(("[", "'", '"', "{")):
        return _two_values(key, value)
    return None


def _missing_choice(key: str, choices: dict[str, str]) -> str | None:
    """``alpha=fixed`` for ``alpha.value`` where alpha is otherwise."""
    group, owner = key.split(".")[0], schema_keys().get(key)
    if owner is None or choices.get(group, owner).split("_0")[0] == owner:
        return None
    return f"{group}={owner}"


def _choice_fault(group: str, value: str, there: list[str], sweeps: bool) -> WrongInput | None:
    if value in there or value == "null" or (sweeps and "(" in value):  # one of Hydra's functions, choice(...)
        return None
    parts = value.split(",")
    if len(parts) > 1 and all(part in there for part in parts):
        return None if sweeps else _two_values(group, value)
    wrong = next(part for part in parts if part not in there)
    near = difflib.get_close_matches(wrong, there, 1)
    is_id = group == "env" and re.search(r":|-v\d+$", wrong) is not None  # of Gymnasium's
    if is_id:
        near = [name for name in there if name == wrong.lower().split("-v")[0].removesuffix("continuous")]
    mended = dict.fromkeys(near[0] if near and part == wrong else part for part in parts)
    remedy = to_paste(f"{group}={','.join(mended)}") if near else None
    if is_id and not near and len(parts) == 1:
        remedy = to_paste("env=custom", f"env.id={wrong}")
    if group == "alpha" and re.fullmatch(r"\d*\.?\d+", wrong):
        remedy = to_paste("alpha=fixed", f"alpha.value={wrong}")
    return WrongInput(f"{group}={wrong} is not there; {group} can be {', '.join(there)}", remedy)


def _two_values(key: str, value: str) -> WrongInput:
    if key == "agent.hidden_sizes":
        return WrongInput(f"{key}={value} must be a list", to_paste(f"{key}=[{value}]"))
    count = value.count(",") + 1
    number = "two" if count == 2 else str(count)
    return WrongInput(f"{key}={value} names {number} settings; one run takes one", to_paste("-m", f"{key}={value}"))


def _unknown_key(key: str, value: str, choices: dict[str, str], groups: Groups) -> WrongInput:
    theirs = key if key in SYNONYMS else key.split(".")[-1].replace("-", "_")
    if theirs in SYNONYMS:
        ours = _in_our_words(theirs, value, choices)
        return WrongInput(f"unknown key {key}; here it is {SYNONYMS[theirs]}", to_paste(*ours))
    near = nearest_key(key)
    if near is not None:
        return WrongInput(f"unknown key {key}", to_paste(*_with_choice(near, value, choices)))
    group = _group_of(value.split(",")[0], groups)
    remedy = to_paste(f"{group}={value}") if group else train_command("--cfg job") + "   (every key)"
    return WrongInput(f"unknown key {key}", remedy)


def nearest_key(key: str) -> str | None:
    """The key that is spelled most like ``key``, or whose last part is most like its own."""
    keys = schema_keys()
    leaf = {name.split(".")[-1]: name for name in keys}
    near = difflib.get_close_matches(key, keys, 1, 0.7)
    near += [leaf[name] for name in difflib.get_close_matches(key.split(".")[-1], leaf, 1, 0.7)]
    return near[0] if near else None


def _in_our_words(theirs: str, value: str, choices: dict[str, str]) -> list[str]:
    """Overrides that ask for what ``theirs=value`` asks for elsewhere."""
    special = _VALUES.get(theirs, {})
    ours = special.get(value, special.get(value.capitalize(), special.get(None)))
    if ours is not None:
        return [ours]
    if theirs == "ent_coef" and value.startswith("auto_"):
        return ["alpha=auto", f"alpha.initial={value[5:]}"]
    if theirs == "polyak" and re.fullmatch(r"0?\.\d+", value):
        return [f"agent.tau={round(1 - float(value), 10):g}"]
    if SYNONYMS[theirs] == "env.id":
        return ["env=custom", f"env.id={value}"]
    return _with_choice(SYNONYMS[theirs], value, choices)


def _with_choice(key: str, value: str, choices: dict[str, str]) -> list[str]:
    """``key=value``, led by the choice of its group that it belongs to."""
    group = "schedule=per_round" if key == "eval.every_rounds" else _missing_choice(key, choices)
    return [*filter(None, [group]), f"{key}={value}"]


def key_of(override: str) -> str:
    """``agent.lr`` of ``++agent.lr=1e-3``, ``env`` of ``env@_global_=ant``."""
    return override.lstrip("+~").partition("=")[0].partition("@")[0]


def to_paste(*overrides: str) -> str:
    """A ``train`` command line, quoted where a shell needs it."""
    return train_command(" ".join(map(_quote, overrides)))


def _quote(word: str) -> str:
    """In double quotes what has single ones, which ``shlex`` makes hard to read."""
    return f'"{word}"' if "'" in word and not set(word) & set('"$`\\!') else shlex.quote(word)


@cache
def schema_keys() -> dict[str, str | None]:
    """Every dotted key, and the mode of its group that it belongs to (None: it is always there)."""
    keys: dict[str, str | None] = {}

    def walk(kind: Any, prefix: str, mode: str | None) -> None:
        """Take in the fields of the dataclass ``kind``, which lies under ``prefix``."""
        for name, hint in get_type_hints(kind).items():
            variants = [k for k in (get_args(hint) or (hint,)) if hasattr(k, "__dataclass_fields__")]
            for variant in variants:
                walk(variant, f"{prefix}{name}.", variant_mode(variant) if len(variants) > 1 else mode)
            if not variants:
                key = f"{prefix}{name}"
                keys[key] = None if key in keys and keys[key] != mode else mode

    walk(Config, "", None)
    return keys
