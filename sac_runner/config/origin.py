"""Where values come from, those that can't be too: the command line, or a file of a config group."""

import difflib
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from sac_runner.config.convert import Fault, flat, key_of
from sac_runner.config.keys import nearest_keys, schema_keys
from sac_runner.config.schema import Config

Groups = dict[str, dict[str, Path]]
"""Config group -> its choices and their files."""

Files = list[tuple[Path, str]]
"""Config files, a later one winning over those before it, each with the package that its keys lie in."""

WHOLE = ("experiment", "sweep")
"""Groups whose files have no keys of their own, but any of a run and of its sweep."""


def find_groups(folders: Iterable[Path]) -> Groups:
    """The config groups in ``folders``; of two files of one choice, that of the first folder counts."""
    groups: Groups = defaultdict(dict)
    for folder in folders:
        for file in sorted(file for depth in ("*/", "*/*/") for file in folder.glob(f"{depth}*.yaml")):
            groups[file.parent.relative_to(folder).as_posix()].setdefault(file.stem, file)
    return dict(groups)


def foreign_id(env_id: Any, choice: str | None, groups: Groups) -> Fault | None:
    """That an ``env.id``, or one of a list, is not the world of the chosen file, whose tuned values the run would have.

    Its mend is the choice that has this id, or ``env=custom``.
    """
    ids = env_id.split(",") if isinstance(env_id, str) and env_id != "null" else []
    own = _id_in(groups["env"][choice]) if choice in groups.get("tuned", {}) and choice in groups["env"] else None
    if own is None or not set(map(_family, ids)) - {_family(own)}:
        return None
    text = f"env={choice} is tuned for {own}, not for env.id={env_id}"
    return Fault(("env.id",), text, tuple(env_of(env_id, groups)))


def foreign_env(config: Config, choice: str | None, groups: Groups) -> list[Fault]:
    """That of a run's environment. One that goes on has the ``env`` that it began with, not this command's."""
    found = foreign_id(config.env.id, choice, groups) if config.resume is None else None
    return [found] if found else []


def env_of(env_id: str, groups: Groups) -> list[str]:
    """What to type for the environment ``env_id``, or for each of a list."""
    names = {_id_in(file): name for name, file in reversed(groups["env"].items())}  # of two with one id, ours
    ids = env_id.split(",")
    if all(each in names for each in ids):
        return [f"env={','.join(names[each] for each in ids)}"]
    return ["env=custom", f"env.id={env_id}"]


def _id_in(file: Path) -> str | None:
    """The ``env.id`` that a file of the group ``env`` sets; none where it is another key's."""
    try:
        keys = flat(yaml.safe_load(file.read_text()))
    except (yaml.YAMLError, TypeError):  # or no group of keys: which is said where it is composed
        return None
    written = keys.get("env.id", keys.get("id"))  # with a package line or without
    return written if isinstance(written, str) and "$" not in written else None


def _family(env_id: str) -> str:
    """``Hopper`` of ``Hopper-v4`` and of ``gymnasium.envs.mujoco:Hopper-v5``."""
    return re.sub(r"^.*:|-v\d+$", "", env_id)


def by_origin(faults: list[Fault], settings: list[str], files: Files, choices: dict[str, str]) -> list[Fault]:
    """``faults``, those of files with the file's name; without those that only repeat a wrong value by interpolation.

    Args:
        faults: Of values, each by itself.
        settings: As typed; they are to blame before any file.
        files: That have been put together.
        choices: Group -> choice.
    """
    typed = {key_of(setting) for setting in settings} - set(WHOLE)  # which choose a file
    typed_whole = tuple(f"{key_of(setting)}." for setting in settings if "={" in setting)
    file_of_each = _file_of_each(files)

    def is_typed(fault: Fault) -> bool:
        return any(key in typed or key.startswith(typed_whole) for key in fault.keys)

    faults = [*dict.fromkeys(faults)]
    of_file = {fault: file for fault in faults if not is_typed(fault) and (file := _file_of(fault, file_of_each))}
    owned = {fault for fault in faults if fault in of_file or is_typed(fault)}
    wrong = {_value(fault) for fault in owned} - {""}
    told = [fault for fault in faults if fault in owned or _value(fault) not in wrong]
    said = {fault: _of_another_choice(fault, choices) for fault in told}
    return [named(said[fault], of_file[fault]) if fault in of_file else said[fault] for fault in told]


def _of_another_choice(fault: Fault, choices: dict[str, str]) -> Fault:
    """``fault``; of a key that there is, but not with the choice that its group has, that."""
    key = fault.keys[0]
    group, owner = key.partition(".")[0], schema_keys().get(key)
    if owner is None or fault.text != f"unknown key {key}":
        return fault
    now = f"; this run has {group}={choices[group]}" if group in choices else ""
    return fault._replace(text=f"{key} is a key of {group}={owner}{now}")


def _value(fault: Fault) -> str:
    """``VALUE must be RANGE``: equal for keys that share it."""
    return fault.text.partition("=")[2]


def _file_of(fault: Fault, file_of_each: dict[str, Path]) -> Path | None:
    key = fault.keys[0]
    return file_of_each.get(key.partition(".")[0] if fault.text == f"{key} is missing" else key)


def named(fault: Fault, file: Path) -> Fault:
    """``fault`` with the ``file`` that it is of, where the nearest right key stands beside a wrong one."""
    hint, key = "", fault.keys[0]
    if fault.text.startswith("unknown key"):
        parts = {name.partition(".")[0] for name in schema_keys() if "." in name}
        near = nearest_keys(key) or difflib.get_close_matches(key, parts, 1, 0.7)
        hint = f"; the nearest is {' or '.join(near)}" if near else ""
        hint = "; its first line must be # @package _global_" if key in WHOLE else hint
    shown = file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
    return fault._replace(text=f"{fault.text} (in {shown}{hint})")


def _file_of_each(files: Files) -> dict[str, Path]:
    """Key -> the last file that sets it; a key with others below it -> the first that sets any."""
    found: dict[str, Path] = {}
    for file, package in files:
        prefix = f"{package}." if package else ""
        found.setdefault(package, file)
        for key, value in flat(yaml.safe_load(file.read_text()) or {}, prefix).items():
            for dot in re.finditer(r"\.", key):
                found.setdefault(key[: dot.start()], file)
            if not re.fullmatch(r"\$\{[\w.]+\}", str(value)):  # else the value is another key's
                found[key] = file
    return found


def sweeper_params(file: Path) -> dict[str, Any]:
    """``hydra.sweeper.params`` of a file; nothing where it has none, or can't be read."""
    try:
        found = yaml.safe_load(file.read_text())["hydra"]["sweeper"]["params"]
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        return {}
    return flat(found) if isinstance(found, dict) else {}
