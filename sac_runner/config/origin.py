"""Where values that can't be come from: the command line, or a file of a config group."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from sac_runner.config.convert import Fault, flat
from sac_runner.config.diagnose import key_of, nearest_key


def by_origin(
    faults: list[Fault], settings: list[str], folders: Sequence[Path], choices: dict[str, str]
) -> list[Fault]:
    """``faults``, those of files with the file's name; without those of keys that only take a wrong value on.

    Args:
        faults: Of values, each by itself.
        settings: As typed; they are to blame before any file.
        folders: Of config groups, the one that counts first, which has ``config.yaml``.
        choices: Group -> choice.
    """
    typed = {key_of(setting) for setting in settings}
    typed_whole = tuple(f"{key_of(setting)}." for setting in settings if "={" in setting)
    files = _files(folders, choices)

    def is_typed(fault: Fault) -> bool:
        return any(key in typed or key.startswith(typed_whole) for key in fault.keys)

    own = {fault: None if is_typed(fault) else _file_of(fault, files) for fault in faults}
    wrong = {_value(fault) for fault, file in own.items() if file is not None or is_typed(fault)} - {""}
    return [
        fault if file is None else _naming(fault, file)
        for fault, file in own.items()
        if file is not None or is_typed(fault) or _value(fault) not in wrong
    ]


def _value(fault: Fault) -> str:
    """What it is, and must be."""
    return fault.text.partition("=")[2]


def _file_of(fault: Fault, files: dict[str, Path]) -> Path | None:
    key = fault.keys[0]
    return files.get(key.partition(".")[0] if fault.text == f"{key} is missing" else key)


def _naming(fault: Fault, file: Path) -> Fault:
    near = nearest_key(fault.keys[0]) if fault.text.startswith("unknown key") else None
    hint = f"; the nearest is {near}" if near else ""
    shown = file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
    return fault._replace(text=f"{fault.text} (in {shown}{hint})")


def _files(folders: Sequence[Path], choices: dict[str, str]) -> dict[str, Path]:
    """The file of each group that has one; that of each key, also of one with keys below it, the last that sets it."""
    files: dict[str, Path] = {}
    for group, choice in choices.items():
        file = next((file for folder in folders if (file := folder / group / f"{choice}.yaml").is_file()), None)
        if file is not None:
            files[group] = file
    found = dict(files)
    files[""] = folders[0] / "config.yaml"
    for group in sorted(files, key=_rank):
        for key, value in _keys(group, files[group]).items():
            for dot in re.finditer(r"\.", key):
                found.setdefault(key[: dot.start()], files[group])
            if not re.fullmatch(r"\$\{[\w.]+\}", str(value)):  # else the value is another key's
                found[key] = files[group]
    return found


def _rank(group: str) -> tuple[bool, ...]:
    """Of two groups, the one that is composed later is greater: the order of ``conf/config.yaml``."""
    return (*(group.startswith(of) for of in ("sweep", "experiment", "tuned")), "/" in group, group != "")


def _keys(group: str, file: Path) -> dict[str, Any]:
    text = file.read_text()
    package = re.search(r"^# *@package +(\S+)", text, re.MULTILINE)
    prefix = package[1] if package else group.replace("/", ".")
    return flat(yaml.safe_load(text) or {}, "" if prefix in ("", "_global_") else f"{prefix}.")
