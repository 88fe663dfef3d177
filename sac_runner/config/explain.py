"""The command to paste in place of one that was refused: what was typed, mended."""

import difflib
import re
import shlex
from collections.abc import Callable
from typing import Any

from sac_runner.config.convert import Fault, convert, flat, key_of, written
from sac_runner.config.diagnose import Answer, to_paste
from sac_runner.config.keys import schema_keys
from sac_runner.config.validate import find_contradictions
from sac_runner.errors import WrongInput, first_line, train_command

Mends = dict[str, list[str]]
"""Argument that has a fault -> what to type in its place; "" -> what to add to the command."""

_TRIED = 20
"""Values of a list that are composed at most, 0.1 s each, to see which of them can be."""

Compose = Callable[[list[str]], dict[str, Any]]
"""Makes plain data of settings, or none where it can't."""


def find_mends(faults: list[Fault], settings: list[str], compose: Compose) -> Mends:
    """What each fault says, or the value that a run has without the setting that has it.

    Args:
        faults: Of values.
        settings: As typed.
        compose: To see what a run has without some of them.

    Returns:
        Nothing where that does not mend all.
    """
    typed = {key_of(setting): setting for setting in settings}
    blamed = [next((key for key in fault.keys if key in typed), None) for fault in faults]
    usual = flat(compose([setting for setting in settings if key_of(setting) not in blamed]))
    mends: Mends = {}
    for fault, key in zip(faults, blamed, strict=True):
        if key is None:
            mends[""] = list(dict.fromkeys([*mends.get("", []), *fault.mends]))
        else:
            mends[typed[key]] = [*fault.mends] or ([f"{key}={written(usual[key])}"] if key in usual else [])
    others = [word for setting in settings for word in mends.get(setting, [setting])]
    return mends if any(mends.values()) and _is_faultless(compose([*others, *mends.get("", [])])) else {}


def of_the_sweep(mends: Mends, job: list[str], typed: list[str], compose: Compose) -> Mends:
    """``mends`` of one ``job``, as those of the arguments that were ``typed`` for all jobs of its sweep.

    A list of values loses each that can't be in this job. Nothing where a list is too long to try its values, or is
    written in another way than ``1,2``.
    """
    words = {key_of(setting): mends.get(setting, [setting]) for setting in job}
    mended = {key_of(setting) for setting in mends}
    found: Mends = {"": mends.get("", [])}
    lists = {key_of(argument): argument for argument in typed if key_of(argument) in words}  # the last one counts
    if mended - {""} - lists.keys():  # a file has the list
        return {}
    for key, argument in lists.items():
        values = argument.partition("=")[2].split(",")
        if argument in mends:
            found[argument] = mends[argument]
        elif len(values) > _TRIED or re.search(r"[][(){}'\"]", argument) or [key_of(w) for w in words[key]] != [key]:
            if key in mended:
                return {}
        elif key in mended or len(values) > 1:
            others = [word for each in words if each != key for word in words[each]] + found[""]
            kept = [value for value in values if _is_faultless(compose([*others, f"{key}={value}"]))]
            right = words[key][0].partition("=")[2]
            # A wrong number has no nearest right one: where others are left, it is dropped.
            if key in mended and not (kept and re.match(r"-?\d", right)) and right not in kept:
                kept.insert(next(i for i, value in enumerate(values) if value not in kept), right)
            if not kept:
                return {}
            if kept != values:
                found[argument] = [f"{argument.partition('=')[0]}={','.join(kept)}"]
    return found


def _is_faultless(plain: dict[str, Any]) -> bool:
    config, faults = convert(plain)
    return not (faults or find_contradictions(config))


def in_the_command(remedy: str | None, typed: list[str]) -> str | None:
    """A ``remedy`` that is settings, within the whole command that was ``typed``; any other as it is."""
    train = train_command("")
    if remedy is None or not remedy.startswith(train):
        return remedy
    prose = found[0] if (found := re.search(r"   # [^'\"]*$", remedy)) else ""
    words = shlex.split(remedy.removeprefix(train).removesuffix(prose).removesuffix(" ..."))
    settings = {key_of(word): word for word in words}
    whole = any(key in ("resume", "init_from") for key in settings)
    several = any(key_of(word) in settings and re.search(r"=[^[{'\"]*,", word) for word in typed)  # which is not known
    if whole or several or not all(re.fullmatch(r"[\w./]+=(\[.*\]|[^,]+)", setting) for setting in settings.values()):
        return remedy
    keys = {word: "hydra.launcher.seeds" if word.startswith("seeds=") else key_of(word) for word in typed}
    last = {key: word for word, key in keys.items()}
    mended = [settings.get(key, word) for word, key in keys.items() if last[key] == word]
    mended += [setting for key, setting in settings.items() if key not in last]
    return remedy if mended == typed else to_paste(*mended) + prose


def what_hydra_says(error: Exception, typed: list[str]) -> WrongInput:
    """Of a file, of a group of Hydra's own or of a key that not all jobs have; else its first line."""
    unread, said = getattr(error, "override", None), first_line(error)
    if mark := getattr(error, "problem_mark", None):  # of a file
        said = f"{mark.name}, line {mark.line + 1}, is no YAML: {getattr(error, 'problem', said)}"
    said = f"{unread} can't be read: {said}" if unread else said
    missing = re.search(r"Could not find '(hydra/\w+)/(\w+)'.*:\n((?:\t\w+\n)+)", str(error), re.DOTALL)
    if missing:
        group, wrong, there = missing[1], missing[2], missing[3].split()
        near = difflib.get_close_matches(wrong, there, 1)
        remedy = in_the_command(to_paste(f"{group}={near[0]}"), typed) if near else None
        return WrongInput(f"{group}={wrong} does not exist; {group} can be {', '.join(there)}", remedy)
    key = re.search(r"Could not override '([\w.]+)'", said)
    owner = schema_keys().get(key[1]) if key else None
    if key and owner:
        choice = f"{key[1].split('.')[0]}={owner}"
        return WrongInput(f"{key[1]} is a key of {choice}, which not every job of this sweep has")
    unlike = re.search(r"In '((?:experiment|sweep)/\w+)': Could not override '\w+@(?:experiment|sweep)\.", said)
    if unlike:
        return WrongInput(f"{unlike[1]}.yaml needs this as its first line: # @package _global_")
    within = re.search(r"In '((?:experiment|sweep)/\w+)': Could not find '(?:experiment|sweep)/(\w+)/(\w+)'", said)
    if within:
        group, choice = within[2], within[3]
        return WrongInput(f"{within[1]}.yaml has {group}: {choice} in its defaults: write override /{group}: {choice}")
    there_is = train_command("--cfg hydra --package hydra.launcher   # says what there is")
    return WrongInput(said, there_is if re.search(r"'hydra\.", said) else None)


def mended(answers: dict[str, Answer], typed: list[str], mends: Mends, compose: Compose) -> list[str] | None:
    """All words of the command once more, with what mends an argument in its place; None where nothing is known to.

    Args:
        answers: By the argument that they are about.
        typed: All arguments.
        mends: Of values.
        compose: For the modes of choices.
    """
    mends = mends | {argument: [*x.instead] for argument, x in answers.items() if x.instead is not None}
    if not mends:
        return None
    new = dict.fromkeys(w for words in mends.values() for w in words)
    words: list[str] = []
    for argument in typed:
        if argument in answers or argument in mends:
            words += [w for w in mends.get(argument, []) if w not in words]
        elif not _is_overruled(argument, {key_of(w): w.partition("=")[2] for w in new}, compose):
            words.append(argument)
    words += mends.get("", [])
    if "-m" in words:
        words = [*([] if "--multirun" in words else ["-m"]), *(w for w in words if w != "-m")]
    return words


def _is_overruled(argument: str, mended: dict[str, str], compose: Compose) -> bool:
    """Whether the settings ``mended`` have another value for it, or another choice than the one it belongs to."""
    key = key_of(argument)
    group, owner = key.split(".")[0], schema_keys().get(key)
    if key in mended or owner is None or group not in mended:
        return key in mended
    return mode_of(group, compose([f"{group}={mended[group]}"])) not in (None, owner)


def mode_of(group: str, plain: dict[str, Any]) -> str | None:
    """The ``mode`` that ``group`` has in composed data, where it has one."""
    keys = plain.get(group)
    return keys.get("mode") if isinstance(keys, dict) else None
