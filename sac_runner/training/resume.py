"""Runs that begin from others: what may change when one continues, and weights for a new one."""

import contextlib
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import Any

import torch

from sac_runner.algorithm.agent import SAC, under
from sac_runner.config.compose import own_folders
from sac_runner.config.convert import by_key, flat, from_plain, key_of, to_plain
from sac_runner.config.schema import ABOUT_A_START, NOT_LEARNED, OF_A_LINEAR_RATE, Config
from sac_runner.config.validate import validate
from sac_runner.errors import Damaged, WrongInput, first_line, train_command
from sac_runner.interaction.spaces import EnvSpaces
from sac_runner.storage.checkpoints import find
from sac_runner.storage.find import find_run
from sac_runner.storage.names import shown
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.storage.stored_config import plain_config
from sac_runner.storage.sweep_directory import find_job

_ABOUT_THE_START = (*ABOUT_A_START, "init_from")
_SHAPING = ("normalization", "agent.hidden_sizes", "agent.n_critics", "agent.critic_layer_norm")
"""Keys with other values of which there are other weights, so that those of the run don't fit."""
_LISTED = 4


def stored_config(run: RunDirectory) -> Config:
    """The config of ``run``.

    Raises:
        WrongInput: It is not a run, or its config is of another version.
        Damaged: Its config is not what was written, or no config.
        DiskFailed: It can't be read.
    """
    plain = plain_config(run)
    try:
        return from_plain(plain)
    except WrongInput as e:
        raise WrongInput(f"{run.path / 'config.yaml'} can't be read as a config of this version: {e.message}") from e


def continued_config(run: RunDirectory, overrides: list[str], composed: Config) -> Config:
    """The stored config with this command's ``overrides`` on it.

    Args:
        run: To continue.
        overrides: As typed.
        composed: What they compose to, from which their values are taken.

    Raises:
        WrongInput: An override would change what it learns, or how it is judged.
    """
    keys = list(by_key(overrides))
    stored, values = to_plain(stored_config(run)), flat(composed)
    _require_single_keys(overrides, run)
    ignored = (*_ABOUT_THE_START, *NOT_LEARNED)
    same_schedule = ("schedule",) if composed.schedule.mode == stored["schedule"]["mode"] else ()
    asked = [key for key in keys if not key.startswith(ignored) and key not in same_schedule]
    refused = {key: found for key in asked if (found := _differences(flat(stored), values, key, ignored))}
    if refused:
        listed = list(dict.fromkeys(difference for found in refused.values() for difference in found))
        keys = [key for key in refused if not any(other.startswith(f"{key}.") for other in refused)]
        fit = not any(key.startswith(_SHAPING) for key in refused)
        where = "; ".join(listed[:_LISTED]) + (f"; {len(listed) - _LISTED} more" if len(listed) > _LISTED else "")
        raise WrongInput(
            f"{', '.join(keys)} can't change in {run.path.name}, which goes on as it began ({where})",
            train_command(from_its_weights(run, overrides)) if fit else None,
        )
    for key in keys:
        if key.startswith(NOT_LEARNED):
            _set(stored, key, values[key])
    config = from_plain(stored)
    validate(config)
    if "total_env_steps" in keys:
        _check_learning_rate(config, run, overrides)
    _check_budget(config, run, keys)
    return replace(config, resume=None, dry_run=composed.dry_run)


def _require_single_keys(overrides: list[str], run: RunDirectory) -> None:
    """``stop={max_minutes: 1}`` would not say whether the other keys of ``stop`` stay as they are."""
    for override in overrides:
        key, value = key_of(override), override.partition("=")[2]
        named = re.match(r"\{\s*(\w+)", value)
        if named and any(may.startswith(f"{key}.") for may in NOT_LEARNED):
            text = f"{override}: a run that goes on takes its keys one by one"
            raise WrongInput(text, train_command(f"resume={quote(str(run.path))} {key}.{named[1]}=..."))


def _check_budget(config: Config, run: RunDirectory, keys: Sequence[str]) -> None:
    """A run does not become shorter than it is."""
    saved, budgets = find(run.checkpoints, "latest"), flat(config)
    for key, count in {"total_env_steps": "env_steps", "schedule.rounds": "rounds"}.items():
        budget, done = budgets.get(key) if key in keys else None, 0
        with contextlib.suppress(Damaged):  # then an earlier one is gone on from
            done = saved[-1].plain("state")["counters"][count] if saved else 0
        if budget is not None and budget < done:
            text = f"{key}={budget:,} is less than the {done:,} that {run.path.name} has done"
            raise WrongInput(text, train_command(f"resume={quote(str(run.path))}"))


def _check_learning_rate(config: Config, run: RunDirectory, overrides: Sequence[str]) -> None:
    """A linear schedule keeps the end that the run began with; past it, at a rate of 0, nothing would be learned."""
    agent, end = config.agent, config.agent.lr_decay_env_steps
    if agent.lr_schedule == "linear" and agent.lr_final_share == 0 and end and (config.total_env_steps or 0) > end:
        raise WrongInput(
            f"the learning rate of {run.path.name} falls to 0 at {end:,} env steps: past them nothing would be learned",
            train_command(from_its_weights(run, overrides)),
        )


def from_its_weights(run: RunDirectory, changes: Sequence[str] = ()) -> str:
    """What to type for a new run that begins from the weights of ``run``, and else as that one did.

    Args:
        run: As it lies there.
        changes: Overrides that it is to have besides.
    """
    meta = run.read_meta()
    first = [*meta.get("earlier_starts", []), meta][0]
    begin = f"init_from={quote(str(shown(run.path)))}"
    if "overrides" not in first:
        return f"{begin} ..."
    folders = own_folders(_command(run, first)[1:])
    groups = [key for key in by_key(changes) if "." not in key]  # whose other choices have other keys
    chosen = tuple(f"{group}." for group in groups)
    before = [x for key, x in by_key(first["overrides"]).items() if not key.startswith(chosen)]
    all_of_it = by_key([*before, *changes]).items()
    kept = [x for key, x in all_of_it if not key.startswith(("resume", "init_from", "dry_run", "run."))]
    return " ".join([*(f"--config-dir {quote(str(shown(folder)))}" for folder in folders), begin, *map(quote, kept)])


def _command(run: RunDirectory, start: dict[str, Any]) -> list[str]:
    """What was typed at ``start`` of ``run``; of a job, at that of its sweep."""
    planned = find_job(run.path)
    command: list[str] = (start if planned is None else planned[0].read_plan()).get("command", [])
    return command


def _set(plain: dict[str, Any], key: str, value: Any) -> None:
    *groups, name = key.split(".")
    for group in groups:
        plain = plain[group]
    plain[name] = value


def difference(run: RunDirectory, config: Config, may_change: bool = False) -> list[str]:
    """Where ``config`` asks for another run than the stored one: ``key: there, here``.

    Args:
        run: The stored one.
        config: As asked for.
        may_change: What may change when a run continues does not count.
    """
    anew = () if config.seed is not None else ("seed",)  # null: any seed will do
    unused = () if config.agent.lr_schedule == "linear" else OF_A_LINEAR_RATE
    may = (*NOT_LEARNED, *unused) if may_change else unused
    stored = stored_config(run)
    other = _other_start(stored.init_from, config)
    return [*other, *_differences(flat(stored), flat(config), "", (*_ABOUT_THE_START, *anew, *may))]


def _other_start(there: str | None, config: Config) -> list[str]:
    """Where ``config`` names another run to begin from than the one at ``there``."""
    if config.init_from is None or config.init_from == "last":  # which by now is another one
        return []
    try:
        here = find_run(config.init_from, config.outputs)
    except WrongInput:  # gone, or no longer the only one of such a name
        return []
    if there is not None and RunDirectory(Path(there)).is_run:
        same = os.path.samefile(there, here)
    else:  # moved since, or never there
        depth = 1 if find_job(here.resolve()) is None else 3  # of every setting of every sweep there is an s0
        same = there is not None and Path(there).parts[-depth:] == here.resolve().parts[-depth:]
    return [] if same else [f"init_from: {there}, here {here}"]


def _differences(there: dict[str, Any], here: dict[str, Any], asked: str, ignored: tuple[str, ...]) -> list[str]:
    """``key: there, here`` for what ``asked`` decides: a key, a group of keys or, being a recipe, everything."""
    both = {**there, **here}
    own = [key for key in both if f"{key}.".startswith(f"{asked}.")] or [*both]
    return [
        f"{key}: {there.get(key)}, here {here.get(key)}"
        for key in own
        if not key.startswith(ignored) and there.get(key) != here.get(key)
    ]


def require_same_spaces(run: RunDirectory, here: EnvSpaces) -> None:
    """What ``run`` has stored must mean the same in the environment as it is now.

    Raises:
        WrongInput: It observes or takes something else.
    """
    there, now = run.read_meta().get("spaces"), here.to_plain()
    if isinstance(there, dict) and (other := [key for key in now if there.get(key) != now[key]]):
        differs = f"{other[0]} was {there.get(other[0])}, now {now[other[0]]}"
        raise WrongInput(
            f"{shown(run.path)} was trained in an environment of other spaces than env.id has now ({differs})"
        )


def initialize(agent: SAC, run: RunDirectory, overrides: Sequence[str] = ()) -> None:
    """``init_from``: start ``agent`` from the newest networks and statistics of ``run``.

    Args:
        agent: Of a new run.
        run: Where they are.
        overrides: As typed for the new one.

    Raises:
        WrongInput: There are none, or they have other shapes.
    """
    arrays = under("agent.", run.checkpoint("latest").arrays("train"))
    state = {name: torch.from_numpy(x).to(agent.device) for name, x in arrays.items()}
    try:
        agent.load_weights(state)
    except RuntimeError as e:
        here = {name: tuple(x.shape) for name, x in agent.state_dict().items()}
        there = {name: tuple(x.shape) for name, x in state.items()}
        taken = ("policy.", "critic.", "critic_target.", "reward_normalizer.moments.")
        other = [name for name in here if name.startswith(taken) and here[name] != there.get(name)]
        which = f"{other[0]} is {there.get(other[0], 'not there')}, here {here[other[0]]}" if other else first_line(e)
        text = f"the networks of init_from={run.path} have other shapes or normalization than this run's ({which})"
        first = ("policy.actor.hidden.0.weight", "critic.hidden.0.weight")  # whose second size is that of the input
        other_env = any(there[name][1] != here[name][1] for name in first if name in there and name in here)
        shaping = ("experiment", *_SHAPING, *(("env", "tuned") if other_env else ()))
        fitting = [x for x in overrides if not _touches(key_of(x), shaping)]
        raise WrongInput(text, train_command(from_its_weights(run, fitting))) from e


def _touches(key: str, keys: Sequence[str]) -> bool:
    """Whether ``key`` is one of ``keys``, or a group or a part of one."""
    return any(f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.") for other in keys)
