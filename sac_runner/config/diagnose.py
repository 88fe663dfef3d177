"""What is wrong with an override that Hydra refused, in our words: the key, what is allowed, and what to type."""

import difflib
import re
import shlex
from collections.abc import Sequence
from itertools import pairwise

from sac_runner.config.keys import key_of, nearest_keys, schema_keys
from sac_runner.config.origin import Groups, env_of, foreign_id
from sac_runner.config.synonyms import SYNONYMS, VALUES, not_here
from sac_runner.errors import WrongInput, train_command


def find_faults(
    groups: Groups,
    overrides: list[str],
    choices: dict[str, str],
    sweeps: bool = False,
    twice: str | None = None,
) -> dict[str, WrongInput]:
    """Those of ``overrides`` that can't be right, explained.

    Args:
        groups: What there is.
        overrides: ``key=value``, as typed.
        choices: Group -> choice that the run has, ``group.mode`` -> the mode of that, as far as known.
        sweeps: An override may name several values.
        twice: The key or group that is there already, but was to be added.
    """
    faults = {}
    typed = {key_of(override) for override in overrides}
    chosen, names_a_run = typed & groups.keys(), not typed.isdisjoint({"resume", "run.dir"})
    for override, following in pairwise([*overrides, ""]):
        key, (_, equals, value) = key_of(override), override.partition("=")
        fault = _fault(groups, key, value, choices, sweeps) if equals else _bare_word(groups, override, following)
        if fault is None and key == twice and override.startswith("+"):
            fault = WrongInput(f"{override}: {key} exists already, so it needs no plus", to_paste(f"{key}={value}"))
        if fault is not None:
            fault = _keeping(fault, key, choices, chosen)
            fault = _without_sweep(fault) if names_a_run else fault
            faults[override] = _for_a_sweep(fault) if sweeps else fault
    return faults


def _keeping(fault: WrongInput, key: str, choices: dict[str, str], chosen: set[str]) -> WrongInput:
    """``fault`` of ``key``, but a choice that was typed stays: another one would train by another method."""
    words = shlex.split((fault.remedy or "").removeprefix(train_command("")))
    choice, *settings = [word for word in words if word != "-m"] or [""]
    group, _, name = choice.partition("=")
    is_method = group in chosen and group != key and f"{group}.mode" in schema_keys()
    if not is_method or choices.get(group, name) == name:
        return fault
    meant = key_of(settings[-1]) if settings else key
    text = "" if meant == key else f"; {meant} is a key of {choice}; this run has {group}={choices[group]}"
    return WrongInput(f"{fault.message}{text}", to_paste())


def _without_sweep(fault: WrongInput) -> WrongInput:
    """``fault``; beside a setting that names one run no sweep is the remedy."""
    sweeps = (fault.remedy or "").startswith(train_command("-m "))
    return WrongInput(fault.message) if sweeps else fault


def _for_a_sweep(fault: WrongInput) -> WrongInput:
    train = train_command("")
    if fault.remedy is not None and "--cfg" in fault.remedy:  # which goes with no -m
        return fault
    return WrongInput(fault.message, fault.remedy and fault.remedy.replace(train, train_command("-m "), 1))


def _bare_word(groups: Groups, word: str, following: str) -> WrongInput | None:
    if word.startswith("~") and word[1:] in groups and word != "~tuned":
        return WrongInput(f"{word}: a group has a choice; {word[1:]} can be {', '.join(groups[word[1:]])}", to_paste())
    if word.startswith(("~", "-")):
        return None
    group = _group_of(word, groups)
    remedy = to_paste(f"{group}={word}") if group else None
    if (word in schema_keys() or word in groups) and following and "=" not in following:
        remedy = to_paste(f"{word}={following}")
    return WrongInput(f"{word} is not a setting; every setting is a key=value", remedy)


def _group_of(choice: str, groups: Groups) -> str | None:
    return next((group for group, choices in groups.items() if choice in choices), None)


def _fault(groups: Groups, key: str, value: str, choices: dict[str, str], sweeps: bool) -> WrongInput | None:
    if key.startswith("hydra") and key != "hydra/launcher":
        return None
    if key.startswith("env.kwargs."):
        return _two_values(key, value) if _is_list(value) and not sweeps else None
    if key in groups:
        return _choice_fault(key, value, groups, sweeps)
    keys = schema_keys()
    if not key:
        return WrongInput(f"={value} names no key; a setting is key=value, without spaces")
    if key not in keys:
        return _unknown_key(key, value, choices, groups, sweeps)
    group, _, mode = key.partition(".")
    if mode == "mode" and choices.get(key, value) != value:
        if fault := _choice_fault(group, value, groups, sweeps):
            return WrongInput(f"{key} comes with {group}, and {fault.message}", fault.remedy)
        return WrongInput(f"{key} comes with {group}={value}", to_paste(f"{group}={value}"))
    owner = _missing_choice(key, choices)
    if owner is not None:
        group = key.split(".")[0]
        return WrongInput(
            f"{key} is a key of {owner}; this run has {group}={choices[group]}",
            to_paste(owner, f"{key}={value}"),
        )
    if key == "env.id" and (foreign := foreign_id(value, choices.get("env"), groups)):
        return WrongInput(foreign.text, to_paste(*_swept(foreign.mends, sweeps)))
    if sweeps and re.fullmatch(r"\[.*\]", value) and key not in ("agent.hidden_sizes", "env.kwargs"):
        return WrongInput(f"{key}={value}: values of a sweep need no brackets", to_paste(f"{key}={value[1:-1]}"))
    if _is_list(value) and not sweeps:
        return _two_values(key, value)
    return None


def _is_list(value: str) -> bool:
    return "," in value and not value.startswith(("[", "'", '"', "{"))


def _swept(settings: Sequence[str], sweeps: bool) -> list[str]:
    """``settings``, the last of which may name several values, in the way that takes them."""
    key, _, value = settings[-1].partition("=")
    if not _is_list(value) or sweeps:
        return [*settings]
    if key == "agent.hidden_sizes":
        sizes = re.search(r"\d+(, ?\d+)*", value)  # of a tuple, or of SB3's dict(pi=[...], qf=[...])
        return [*settings[:-1], f"{key}=[{sizes[0] if sizes else value}]"]
    return ["-m", *settings]


def _missing_choice(key: str, choices: dict[str, str]) -> str | None:
    """``alpha=fixed`` for ``alpha.value`` where alpha is otherwise."""
    group, owner = key.split(".")[0], schema_keys().get(key)
    return None if owner is None or choices.get(f"{group}.mode", owner) == owner else f"{group}={owner}"


def _choice_fault(group: str, value: str, groups: Groups, sweeps: bool) -> WrongInput | None:
    there = groups[group]
    folder, _, name = value.rpartition("/")
    if value in there or name in groups.get(f"{group}/{folder}", {}) or value.startswith("{"):  # keys of the choice
        return None
    if value == "null":
        return WrongInput(f"{group}=null: a group has a choice, or is left out; {group} can be {', '.join(there)}")
    if sweeps and "(" in value:  # one of Hydra's functions, choice(...)
        return None
    parts = value.split(",")
    if len(parts) > 1 and all(part in there for part in parts):
        return None if sweeps else _two_values(group, value)
    wrong = next(part for part in parts if part not in there)
    near = difflib.get_close_matches(wrong.lower(), there, 1)
    is_id = group == "env" and re.search(r":|-v\d+$", wrong) is not None  # of Gymnasium's
    if is_id:
        named = wrong.lower().split("-v")[0].removesuffix("continuous")
        near = [name for name in there if name.replace("_", "") == named]
    mended = dict.fromkeys(near[0] if near and part == wrong else part for part in parts)
    remedy = to_paste(f"{group}={','.join(mended)}") if near else None
    if is_id and not near and len(parts) == 1:
        remedy = to_paste("env=custom", f"env.id={wrong}")
    if group == "alpha" and re.fullmatch(r"\d*\.?\d+(e-?\d+)?", wrong):
        remedy = to_paste("alpha=fixed", f"alpha.value={wrong}") if len(parts) == 1 else None
    return WrongInput(f"{group}={wrong} does not exist; {group} can be {', '.join(there)}", remedy)


def _two_values(key: str, value: str) -> WrongInput:
    remedy = to_paste(*_swept([f"{key}={value}"], False))
    if key == "agent.hidden_sizes":
        return WrongInput(f"{key}={value} must be a list", remedy)
    if re.fullmatch(r"-?[1-9]\d{0,2}(,\d{3})*,0\d\d", value):  # no number of a list begins with 0
        return WrongInput(
            f"{key}={value}: a number is written without commas", to_paste(f"{key}={value.replace(',', '')}")
        )
    if re.fullmatch(r"-?\d+,0\d+", value):
        return WrongInput(
            f"{key}={value}: a number is written with a point", to_paste(f"{key}={value.replace(',', '.')}")
        )
    count = value.count(",") + 1
    number = "several" if "(" in value else "two" if count == 2 else str(count)
    return WrongInput(f"{key}={value} names {number} settings; one run takes one", remedy)


def _unknown_key(key: str, value: str, choices: dict[str, str], groups: Groups, sweeps: bool) -> WrongInput:
    theirs = key if key in SYNONYMS else key.split(".")[-1].replace("-", "_").lower()
    if key.startswith("env_kwargs."):
        ours = f"env.kwargs.{key.partition('.')[2]}"
        return WrongInput(f"unknown key {key}; here it is {ours}", to_paste(*_swept([f"{ours}={value}"], sweeps)))
    if theirs in SYNONYMS:
        settings = _in_our_words(theirs, value, choices, groups)
        text = f"unknown key {key}; here it is {key_of(settings[-1])}"
        return WrongInput(text, to_paste(*_swept(settings, sweeps)))
    if (words := not_here(theirs)) is not None:
        return WrongInput(f"unknown key {key}; {words}", to_paste())
    near = nearest_keys(key)
    if len(near) == 1:
        return WrongInput(f"unknown key {key}", to_paste(*_swept(_with_choice(near[0], value, choices), sweeps)))
    group = _group_of(value.split(",")[0], groups)
    remedy = to_paste(f"{group}={value}") if group else train_command("--cfg job") + "   # every key"
    return WrongInput(f"unknown key {key}{'; there is ' * bool(near)}{' and '.join(near)}", remedy)


def _in_our_words(theirs: str, value: str, choices: dict[str, str], groups: Groups) -> list[str]:
    """Overrides that ask for what ``theirs=value`` asks for elsewhere."""
    special = VALUES.get(theirs, {})
    ours = special.get(value, special.get(value.capitalize(), special.get(None)))
    if ours is not None:
        key, _, meant = ours.partition("=")
        return _with_choice(key, meant, choices)
    if theirs == "ent_coef" and value.startswith("auto_"):
        return ["alpha=auto", f"alpha.initial={value[5:]}"]
    if theirs == "polyak" and re.fullmatch(r"0?\.\d+(,0?\.\d+)*", value):
        return [f"agent.tau={','.join(f'{round(1 - float(each), 10):g}' for each in value.split(','))}"]
    if SYNONYMS[theirs] == "env.id":
        return env_of(value, groups)
    return _with_choice(SYNONYMS[theirs], value, choices)


def _with_choice(key: str, value: str, choices: dict[str, str]) -> list[str]:
    """``key=value``, led by the choice of its group that it belongs to."""
    group = "schedule=per_round" if key == "eval.every_rounds" else _missing_choice(key, choices)
    return [*filter(None, [group]), f"{key}={value}"]


def to_paste(*overrides: str) -> str:
    """A ``train`` command line, quoted where a shell needs it."""
    return train_command(" ".join(map(_quote, overrides)))


def _quote(word: str) -> str:
    """In double quotes what has single ones, which ``shlex`` makes hard to read."""
    return f'"{word}"' if "'" in word and not set(word) & set('"$`\\!') else shlex.quote(word)
