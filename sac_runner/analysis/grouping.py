"""Which runs are one and the same setting over several seeds, and what the others differ in."""

import contextlib
import difflib
import re
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from sac_runner.analysis.labels import labels_of
from sac_runner.analysis.load import Run
from sac_runner.analysis.settings import ABSENT, Setting, value_of
from sac_runner.config.convert import key_of
from sac_runner.config.schema import ABOUT_A_START, NOT_LEARNED, OF_A_LINEAR_RATE
from sac_runner.errors import WrongInput, command

_FOLLOWS_THE_SEED = re.compile(r"\$\\?\{\s*seed\b")  # as typed, or as a sweeper writes it
_ASIDE = (*NOT_LEARNED, *ABOUT_A_START, "seed", "env.id", "env.name", "env.vectorization")
"""What the keys begin with that don't make another setting."""


@dataclass(frozen=True)
class Group:
    """Runs that differ in nothing but their seed and what does not matter; of one environment."""

    label: str
    runs: list[Run]
    values: dict[str, Any]
    """Key -> value, of the keys that groups are made by and of others in which they differ as a whole."""


@dataclass(frozen=True)
class Grouping:
    """The groups of one environment."""

    env_id: str
    groups: list[Group]
    """In the order of their first run."""
    differing: dict[str, list[str]]
    """Key that they differ in -> other keys that always have the same value, such as ``agent.lr`` -> ``alpha.lr``.

    Those that ``--group-by`` does not ask for count too, where each group has one value of them.
    """
    equal: int
    """How many other keys all runs share."""
    mixed: dict[str, list[str]]
    """Label -> keys that its runs differ in all the same; only where ``--group-by`` asks for it."""


def group_runs(runs: list[Run], by: list[str] | None) -> list[Grouping]:
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


def find_group(text: str, grouping: Grouping) -> Group | None:
    """The group that ``text`` names: by its label, its value alone or a part of either; None unless it is one."""
    wanted, groups = _plain(text), grouping.groups
    exact = [group for group in groups if group.label == text or _plain(group.label) == wanted]
    exact = exact or [group for group in groups if _plain(group.label.partition("=")[2]) == wanted]
    found = exact or [group for group in groups if text in group.label]
    return found[0] if len(found) == 1 else None


def _plain(label: str) -> list[str]:
    """``agent.lr=3e-4`` is ``agent.lr=0.0003``, ``3e-4`` is ``0.0003``."""
    words = []
    for word in label.split():
        key, equals, value = word.rpartition("=")
        with contextlib.suppress(ValueError):
            word = f"{key}{equals}{float(value)}"
        words.append(word)
    return words


def _group(runs: list[Run], by: list[str] | None) -> Grouping:
    """The groups of runs of one environment."""
    swept = {key.lstrip("+~") for run in runs for key in run.setting or {}}
    configs = [_relevant(run, swept, set(by or ())) for run in runs]
    keys = list(dict.fromkeys(key for config in configs for key in config))
    differing = _differing(keys, configs)
    chosen = differing if by is None else _asked(by, keys, differing)
    settings = _settings(runs, configs, chosen)
    asked = [key for key in chosen if key in differing]
    others = [key for key in differing if not any(_differing([key], setting.configs) for setting in settings)]
    leaders = _leaders(list(dict.fromkeys([*asked, *others])), configs)
    labels = labels_of(settings, chosen, leaders, None if by is None else _exact(by, keys))
    groups, mixed = [], {}
    for label, setting in zip(labels, settings, strict=True):
        values = {key: setting.config[key] for key in (*chosen, *others) if key in setting.config}
        groups.append(Group(label, setting.runs, values))
        if within := _leaders(_differing(differing, setting.configs), configs):
            mixed[label] = list(within)
    equal = sum(not _is_aside(key) for key in keys) - sum(not _is_aside(key) for key in differing)
    return Grouping(runs[0].env_id, groups, leaders, equal, mixed)


def _settings(runs: list[Run], configs: list[dict[str, Any]], keys: list[str]) -> list[Setting]:
    """Runs with the same values of ``keys`` put together, in the order of their first run."""
    settings: dict[tuple[Any, ...], Setting] = {}
    for run, config in zip(runs, configs, strict=True):
        own = settings.setdefault(tuple(value_of(config, key) for key in keys), Setting([], []))
        own.runs.append(run)
        own.configs.append(config)
    return list(settings.values())


def _relevant(run: Run, swept: set[str], by: set[str]) -> dict[str, Any]:
    """The keys of its config that matter: ``swept``, of ``by`` or its groups, and all that decide what is learned."""
    unused: tuple[str, ...] = () if run.config.get("agent.lr_schedule") == "linear" else OF_A_LINEAR_RATE
    asked = swept | by
    unused = (*unused, *(key_of(x) for x in run.meta.get("overrides", []) if _FOLLOWS_THE_SEED.search(str(x))))
    aside = {key for key, x in run.config.items() if key in unused or x == {}}
    aside |= {key for key in run.config if _is_aside(key) and not by & set(_prefixes(key))}
    relevant = {key: x for key, x in run.config.items() if key in asked or key not in aside}
    if relevant.get("init_from") is not None and "init_from" not in asked:  # each seed may begin from one of its own
        relevant["init_from"] = "another run"
    return relevant


def _is_aside(key: str) -> bool:
    return key.startswith(_ASIDE)


def _differing(keys: list[str], configs: list[dict[str, Any]]) -> list[str]:
    return [key for key in keys if len({value_of(config, key) for config in configs}) > 1]


def _leaders(keys: list[str], configs: list[dict[str, Any]]) -> dict[str, list[str]]:
    """``keys`` less those that go with an earlier one or come and go with a mode, which are listed with it."""
    columns = {key: [value_of(config, key) for config in configs] for key in keys}
    leaders: dict[str, list[str]] = {}
    for key, column in columns.items():
        leader = next((other for other in leaders if columns[other] == column), None)
        if leader is not None:
            leaders[leader].append(key)
        elif len(set(column) - {ABSENT}) > 1 or f"{key.rpartition('.')[0]}.mode" not in columns:
            leaders[key] = []
    return leaders


def _check_keys(by: list[str], runs: list[Run]) -> None:
    known = dict.fromkeys(prefix for run in runs for key in run.config for prefix in _prefixes(key))
    for key in by:
        if key == "seed":
            raise WrongInput("seeds never split a group: each group is a setting over its seeds")
        if key not in known:
            near = [x for x in known if x.endswith(f".{key}")] or difflib.get_close_matches(key, known, 1)
            remedy = f"--group-by {near[0]}" if near else f"{command('train')} --cfg job --resolve   # lists them"
            raise WrongInput(f"--group-by {key}: no run's config has such a key", remedy)


def _prefixes(key: str) -> list[str]:
    """``env``, ``env.kwargs`` and ``env.kwargs.gravity``."""
    return list(accumulate(key.split("."), "{}.{}".format))


def _asked(by: list[str], keys: list[str], differing: list[str]) -> list[str]:
    """The keys themselves; of a group of keys those that differ, ``mode`` in any case."""
    exact = _exact(by, keys)
    of_groups = {key for name in by for key in keys if key.startswith(f"{name}.")}
    return [key for key in keys if key in exact or (key in of_groups and (key in differing or key.endswith(".mode")))]


def _exact(by: list[str], keys: list[str]) -> list[str]:
    return [key for key in keys if key in by]
