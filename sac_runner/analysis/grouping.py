"""Which runs are one and the same setting over several seeds, and what the others differ in."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from sac_runner.analysis.load import LeftOut, Run
from sac_runner.config.convert import written
from sac_runner.errors import WrongInput, command

# How far a run goes, how it is watched, where it computes and where it lies: not what it learns.
_ASIDE = (
    *(
        "seed",
        "total_env_steps",
        "schedule.rounds",
        "device",
        "threads",
        "compile_after_updates",
        "outputs",
        "resume",
        "dry_run",
    ),
    *("env.id", "env.name", "env.timeout_s", "env.vectorization", "eval.every_env_steps", "eval.every_rounds"),
)
_GROUPS_ASIDE = ("run.", "log.", "checkpoint.", "stop.")
_OF_A_LINEAR_RATE = ("agent.lr_final_share", "agent.lr_decay_env_steps")
_ENV = ("env", "env.id")
_ABSENT: Any = object()
"""In the place of a key that a run's config does not have."""


@dataclass(frozen=True)
class Group:
    """Runs that differ in nothing but their seed and what does not matter; of one environment."""

    label: str
    runs: list[Run]
    values: dict[str, Any]
    """Key -> value, of the keys that groups differ in."""


@dataclass(frozen=True)
class Grouping:
    """The groups of one environment."""

    env_id: str
    groups: list[Group]
    """In the order of their first run."""
    differing: dict[str, list[str]]
    """Key that they differ in -> other keys that always have the same value, such as ``agent.lr`` -> ``alpha.lr``."""
    equal: int
    """How many other keys all runs share."""
    mixed: dict[str, list[str]]
    """Label -> keys that its runs differ in all the same; only where ``--group-by`` asks for it."""


def group(runs: list[Run], by: list[str] | None) -> list[Grouping]:
    """Groups of each environment by itself.

    Args:
        runs: At least one.
        by: Keys or groups of keys of the config; None takes all that differ.

    Raises:
        WrongInput: ``by`` names what is no key.
    """
    if by is not None:
        _check_keys(by, runs)
    envs = dict.fromkeys(run.env_id for run in runs)
    return [_group([run for run in runs if run.env_id == env_id], by) for env_id in envs]


def without_copies(grouping: Grouping) -> tuple[Grouping, list[LeftOut]]:
    """A copy of a run, the same run done twice, or its first part is no second seed."""
    copies: list[LeftOut] = []
    groups = []
    for x in grouping.groups:
        kept: dict[tuple[Any, ...], list[Run]] = {}
        mixed = grouping.mixed.get(x.label, {})
        for run in sorted(x.runs, key=lambda run: (run.status.state not in ("finished", "running"), -run.curve.reach)):
            own = kept.setdefault((written(run.seed), *(_value(run.config, key) for key in mixed)), [])
            first = next((other for other in own if _is_one_run(other, run)), None)
            if first is None:
                own.append(run)
            elif run.curve.reach > first.curve.reach:
                copies.append(LeftOut(run.name, f"goes on, to the bit, from the end of {first.name}"))
            else:
                what = "curve" if run.curve.reach == first.curve.reach else "beginning"
                copies.append(LeftOut(run.name, f"has the seed and, to the bit, the {what} of {first.name}"))
        ids = {id(run) for own in kept.values() for run in own}
        groups.append(replace(x, runs=[run for run in x.runs if id(run) in ids]))
    return replace(grouping, groups=groups), copies


def _is_one_run(one: Run, other: Run) -> bool:
    """Whether they have the same values wherever both were measured, a policy that had learned among them.

    A run that is continued has no measurement of its own at the end that it had before.
    """
    common, here, there = np.intersect1d(one.curve.env_steps, other.curve.env_steps, return_indices=True)
    warm_up = max(run.config.get("schedule.warmup_env_steps") or 0 for run in (one, other))
    learned = bool((common > warm_up).any())
    whole = len(common) == len(one.curve.env_steps) == len(other.curve.env_steps)
    return np.array_equal(one.curve.values[here], other.curve.values[there]) and (learned or whole)


def _group(runs: list[Run], by: list[str] | None) -> Grouping:
    swept = {key.lstrip("+~") for run in runs for key in run.setting or {}}
    meant = [_meant(run, swept, set(by or ())) for run in runs]
    keys = list(dict.fromkeys(key for config in meant for key in config))
    differing = _differing(keys, meant)
    chosen = differing if by is None else _asked(by, keys, differing)
    members: dict[tuple[Any, ...], list[int]] = {}
    for i, config in enumerate(meant):
        members.setdefault(tuple(_value(config, key) for key in chosen), []).append(i)
    values = [{key: meant[own[0]][key] for key in chosen if key in meant[own[0]]} for own in members.values()]
    own_runs = [[runs[i] for i in own] for own in members.values()]
    within = [_followed(_differing(differing, [meant[i] for i in own]), meant) for own in members.values()]
    followed = _followed(chosen if by is None else [key for key in chosen if key in differing], meant)
    labels = _as_typed(own_runs) if by is None else None
    if labels is None:
        labels = _labels(values, chosen, _exact(by, keys))
    elif apart := _apart(followed, runs, meant):
        labels = [f"{label} {_text(own, apart)}" for label, own in zip(labels, values, strict=True)]
    groups = [Group(*parts) for parts in zip(labels, own_runs, values, strict=True)]
    return Grouping(
        runs[0].env_id,
        groups,
        followed,
        sum(not _is_aside(key) for key in keys) - sum(not _is_aside(key) for key in differing),
        {label: list(keys) for label, keys in zip(labels, within, strict=True) if keys},
    )


def _meant(run: Run, swept: set[str], by: set[str]) -> dict[str, Any]:
    """The keys of its config that matter: ``swept``, of ``by`` or its groups, and all that decide what is learned."""
    unused = () if run.config.get("agent.lr_schedule") == "linear" else _OF_A_LINEAR_RATE
    asked = swept | by
    aside = {key for key, x in run.config.items() if key in unused or x == {}}
    aside |= {key for key in run.config if _is_aside(key) and not by & set(_prefixes(key))}
    meant = {key: x for key, x in run.config.items() if key in asked or key not in aside}
    if meant.get("init_from") is not None and "init_from" not in asked:  # each seed may begin from one of its own
        meant["init_from"] = "another run"
    return meant


def _is_aside(key: str) -> bool:
    return key in _ASIDE or key.startswith(_GROUPS_ASIDE)


def _value(config: dict[str, Any], key: str) -> Any:
    """Something that can be hashed, equal if and only if the value is."""
    return _hashable(config[key]) if key in config else _ABSENT


def _hashable(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value)  # True is 1 otherwise
    return value if isinstance(value, int | float | str | None) else repr(value)


def _differing(keys: list[str], configs: list[dict[str, Any]]) -> list[str]:
    return [key for key in keys if len({_value(config, key) for config in configs}) > 1]


def _followed(keys: list[str], configs: list[dict[str, Any]]) -> dict[str, list[str]]:
    """``keys`` less those that go with an earlier one or come and go with a mode, which are listed with it."""
    columns = {key: [_value(config, key) for config in configs] for key in keys}
    leaders: dict[str, list[str]] = {}
    for key, column in columns.items():
        leader = next((other for other in leaders if columns[other] == column), None)
        if leader is not None:
            leaders[leader].append(key)
        elif len(set(column) - {_ABSENT}) > 1 or f"{key.rpartition('.')[0]}.mode" not in columns:
            leaders[key] = []
    return leaders


def _check_keys(by: list[str], runs: list[Run]) -> None:
    known = dict.fromkeys(prefix for run in runs for key in run.config for prefix in _prefixes(key))
    for key in by:
        if key == "seed":
            raise WrongInput("seeds never split a group: each group is a setting over its seeds")
        if key not in known:
            near = [x for x in known if x.endswith(f".{key}")] or difflib.get_close_matches(key, known, 1)
            remedy = f"--group-by {near[0]}" if near else f"{command('train')} --cfg job --resolve   (lists them)"
            raise WrongInput(f"--group-by {key}: no run's config has such a key", remedy)


def _prefixes(key: str) -> list[str]:
    """``env``, ``env.kwargs`` and ``env.kwargs.gravity``."""
    return list(accumulate(key.split("."), "{}.{}".format))


def _asked(by: list[str], keys: list[str], differing: list[str]) -> list[str]:
    """The keys themselves; of a group of keys those that differ, ``mode`` in any case."""
    exact = _exact(by, keys)
    of_groups = {key for name in by for key in keys if key.startswith(f"{name}.")}
    return [key for key in keys if key in exact or (key in of_groups and (key in differing or key.endswith(".mode")))]


def _exact(by: list[str] | None, keys: list[str]) -> list[str]:
    return [key for key in keys if key in (by or [])]


def _as_typed(groups: list[list[Run]]) -> list[str] | None:
    """``alpha=fixed_0.05``: what was swept tells them apart, if all of them come from sweeps over the same keys."""
    runs = [run for own in groups for run in own]
    settings = [{k: x for k, x in (run.setting or {}).items() if k not in _ENV} for run in runs]
    if any(run.setting is None for run in runs) or len({tuple(setting) for setting in settings}) > 1:
        return None
    texts = [" ".join(f"{key}={value}" for key, value in setting.items()) for setting in settings]
    of_groups = dict(zip((id(run) for run in runs), texts, strict=True))
    labels = [of_groups[id(own[0])] or "all runs" for own in groups]
    return labels if len(set(labels)) == len(labels) else None


def _apart(keys: Iterable[str], runs: list[Run], configs: list[dict[str, Any]]) -> list[str]:
    """Of ``keys`` those that tell whole sweeps apart, as no setting says: each sweep has one value of them."""
    values: dict[tuple[str, Path], set[Any]] = {}
    for run, config in zip(runs, configs, strict=True):
        for key in keys:
            values.setdefault((key, run.path.absolute().parent.parent), set()).add(_value(config, key))
    return [key for key in keys if all(len(seen) == 1 for (of, _), seen in values.items() if of == key)]


def _labels(groups: list[dict[str, Any]], keys: Sequence[str], always: Iterable[str]) -> list[str]:
    """``alpha=auto`` and ``alpha=fixed alpha.value=0.05``: as few of ``keys`` as tell all groups apart.

    Of the evaluation's keys the usual value is not said.
    """
    shown = list(always)
    for key in sorted(keys, key=lambda key: not key.endswith(".mode")):
        if _count(groups, [*shown, key]) > _count(groups, shown):
            shown.append(key)
    ordered = [key for key in keys if key in shown]
    usual = {k: _most_common([_value(own, k) for own in groups]) for k in ordered if k.startswith("eval.")}
    texts = [_text(own, [k for k in ordered if k not in usual or _value(own, k) != usual[k]]) for own in groups]
    if len(set(texts)) < len(texts) or "" in texts:
        texts = [_text(own, ordered) for own in groups]
    return _unique([text or ("default" if shown else "all runs") for text in texts])


def _unique(texts: list[str]) -> list[str]:
    """Values of different types may be written alike."""
    return [f"{x} ({texts[:i].count(x) + 1})" if x in texts[:i] else x for i, x in enumerate(texts)]


def _text(own: dict[str, Any], keys: list[str]) -> str:
    return " ".join(f"{key.removesuffix('.mode')}={written(own[key])}" for key in keys if key in own)


def _most_common(values: list[Any]) -> Any:
    return max(values, key=values.count)


def _count(groups: list[dict[str, Any]], keys: list[str]) -> int:
    return len({tuple(_value(own, key) for key in keys) for own in groups})
