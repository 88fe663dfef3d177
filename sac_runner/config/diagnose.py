"""What is wrong with an override that Hydra refused, in our words: the key, what is allowed, and what to type."""

import difflib
import re
import shlex
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from sac_runner.config.convert import key_of
from sac_runner.config.keys import nearest_keys, schema_keys
from sac_runner.config.origin import Groups, env_of, foreign_id
from sac_runner.config.synonyms import SYNONYMS, VALUES, not_here
from sac_runner.errors import train_command


class Answer(NamedTuple):
    """What is wrong with an argument, and what to type in its place."""

    text: str
    instead: tuple[str, ...] | None = None
    """Settings, with ``-m`` before those of a sweep; none where it is best left out, None where nobody can know."""
    meant: str = ""
    """Our key, where it is another codebase's."""
    see: str | None = None
    """A command that tells more."""


def find_faults(
    groups: Groups,
    overrides: list[str],
    choices: dict[str, str],
    sweeps: bool = False,
    twice: str | None = None,
) -> dict[str, Answer]:
    """Those of ``overrides`` that can't be right, explained.

    Args:
        groups: What there is.
        overrides: ``key=value``, as typed.
        choices: Group -> choice that the run has, ``group.mode`` -> the mode of that, as far as known.
        sweeps: An override may name several values.
        twice: The key or group that is there already, but was to be added.
    """
    answers = {}
    typed = {key_of(override) for override in overrides}
    chosen, names_a_run = typed & groups.keys(), not typed.isdisjoint({"resume", "run.dir"})
    for override, following in pairwise([*overrides, ""]):
        key, (_, equals, value) = key_of(override), override.partition("=")
        answer = _answer(groups, key, value, choices, sweeps) if equals else _bare_word(groups, override, following)
        if answer is None and key == twice and override.startswith("+"):
            answer = Answer(f"{override}: {key} exists already, so it needs no plus", (f"{key}={value}",))
        if answer is not None:
            answer = _keeping(answer, key, choices, chosen)
            if names_a_run and "-m" in (answer.instead or ()):  # no sweep goes on with it
                answer = answer._replace(instead=None)
            answers[override] = answer
    return answers


def _keeping(answer: Answer, key: str, choices: dict[str, str], chosen: set[str]) -> Answer:
    """``answer`` about ``key``, but a choice that was typed stays: another one would train by another method."""
    choice, *settings = [word for word in answer.instead or () if word != "-m"] or [""]
    group, _, name = choice.partition("=")
    is_method = group in chosen and group != key and f"{group}.mode" in schema_keys()
    if not is_method or choices.get(group, name) == name:
        return answer
    meant = key_of(settings[-1]) if settings else key
    text = "" if meant == key else f"; {meant} is a key of {choice}; this run has {group}={choices[group]}"
    return Answer(f"{answer.text}{text}", ())


def _bare_word(groups: Groups, word: str, following: str) -> Answer | None:
    if word.startswith("~") and word[1:] in groups and word != "~tuned":
        return Answer(f"{word}: a group has a choice; {word[1:]} can be {', '.join(groups[word[1:]])}", ())
    if word.startswith(("~", "-")):
        return None
    group = _group_of(word, groups)
    instead = (f"{group}={word}",) if group else None
    if (word in schema_keys() or word in groups) and following and "=" not in following:
        instead = (f"{word}={following}",)
    return Answer(f"{word} is not a setting; every setting is a key=value", instead)


def _group_of(choice: str, groups: Groups) -> str | None:
    return next((group for group, choices in groups.items() if choice in choices), None)


def _answer(groups: Groups, key: str, value: str, choices: dict[str, str], sweeps: bool) -> Answer | None:
    if key.startswith("hydra") and key != "hydra/launcher":
        return None
    if key.startswith("env.kwargs."):
        return _two_values(key, value) if _is_list(value) and not sweeps else None
    if key in groups:
        return _choice_fault(key, value, groups, sweeps)
    keys = schema_keys()
    if not key:
        return Answer(f"={value} names no key; a setting is key=value, without spaces")
    if key not in keys:
        return _unknown_key(key, value, choices, groups, sweeps)
    group, _, mode = key.partition(".")
    if mode == "mode" and choices.get(key, value) != value:
        if answer := _choice_fault(group, value, groups, sweeps):
            return answer._replace(text=f"{key} comes with {group}, and {answer.text}")
        return Answer(f"{key} comes with {group}={value}", (f"{group}={value}",))
    owner = _missing_choice(key, choices)
    if owner is not None:
        group = key.split(".")[0]
        return Answer(f"{key} is a key of {owner}; this run has {group}={choices[group]}", (owner, f"{key}={value}"))
    if key == "env.id" and (foreign := foreign_id(value, choices.get("env"), groups)):
        return Answer(foreign.text, _swept(foreign.mends, sweeps))
    if sweeps and re.fullmatch(r"\[.*\]", value) and key not in ("agent.hidden_sizes", "env.kwargs"):
        return Answer(f"{key}={value}: values of a sweep need no brackets", (f"{key}={value[1:-1]}",))
    if _is_list(value) and not sweeps:
        return _two_values(key, value)
    return None


def _is_list(value: str) -> bool:
    return "," in value and not value.startswith(("[", "'", '"', "{"))


def _swept(settings: Sequence[str], sweeps: bool) -> tuple[str, ...]:
    """``settings``, the last of which may name several values, in the way that takes them."""
    key, _, value = settings[-1].partition("=")
    if not _is_list(value) or sweeps:
        return tuple(settings)
    if key == "agent.hidden_sizes":
        sizes = re.search(r"\d+(, ?\d+)*", value)  # of a tuple, or of SB3's dict(pi=[...], qf=[...])
        return *settings[:-1], f"{key}=[{sizes[0] if sizes else value}]"
    return "-m", *settings


def _missing_choice(key: str, choices: dict[str, str]) -> str | None:
    """``alpha=fixed`` for ``alpha.value`` where alpha is otherwise."""
    group, owner = key.split(".")[0], schema_keys().get(key)
    return None if owner is None or choices.get(f"{group}.mode", owner) == owner else f"{group}={owner}"


def _choice_fault(group: str, value: str, groups: Groups, sweeps: bool) -> Answer | None:
    there = groups[group]
    folder, _, name = value.rpartition("/")
    if value in there or name in groups.get(f"{group}/{folder}", {}) or value.startswith("{"):  # keys of the choice
        return None
    if value == "null":
        return Answer(f"{group}=null: a group has a choice, or is left out; {group} can be {', '.join(there)}")
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
    instead: tuple[str, ...] | None = (f"{group}={','.join(mended)}",) if near else None
    if is_id and not near and len(parts) == 1:
        instead = "env=custom", f"env.id={wrong}"
    if group == "alpha" and re.fullmatch(r"\d*\.?\d+(e-?\d+)?", wrong):
        instead = ("alpha=fixed", f"alpha.value={wrong}") if len(parts) == 1 else None
    return Answer(f"{group}={wrong} does not exist; {group} can be {', '.join(there)}", instead)


def _two_values(key: str, value: str) -> Answer:
    instead = _swept([f"{key}={value}"], False)
    if key == "agent.hidden_sizes":
        return Answer(f"{key}={value} must be a list", instead)
    if re.fullmatch(r"-?[1-9]\d{0,2}(,\d{3})*,0\d\d", value):  # no number of a list begins with 0
        return Answer(f"{key}={value}: a number is written without commas", (f"{key}={value.replace(',', '')}",))
    if re.fullmatch(r"-?\d+,0\d+", value):
        return Answer(f"{key}={value}: a number is written with a point", (f"{key}={value.replace(',', '.')}",))
    count = value.count(",") + 1
    number = "several" if "(" in value else "two" if count == 2 else str(count)
    return Answer(f"{key}={value} names {number} settings; one run takes one", instead)


def _unknown_key(key: str, value: str, choices: dict[str, str], groups: Groups, sweeps: bool) -> Answer:
    theirs, text = key if key in SYNONYMS else key.split(".")[-1].replace("-", "_").lower(), f"unknown key {key}"
    if key.startswith("env_kwargs."):
        ours = f"env.kwargs.{key.partition('.')[2]}"
        return Answer(f"{text}; here it is {ours}", _swept([f"{ours}={value}"], sweeps))
    if theirs in SYNONYMS:
        settings = _in_our_words(theirs, value, choices, groups)
        meant = key_of(settings[-1])
        return Answer(f"{text}; here it is {meant}", _swept(settings, sweeps), meant)
    if (words := not_here(theirs)) is not None:
        return Answer(f"{text}; {words}", ())
    near = nearest_keys(key)
    if len(near) == 1:
        return Answer(text, _swept(_with_choice(near[0], value, choices), sweeps))
    text += f"{'; there is ' * bool(near)}{' and '.join(near)}"
    if group := _group_of(value.split(",")[0], groups):
        return Answer(text, (f"{group}={value}",))
    return Answer(text, see=train_command("--cfg job") + "   # every key")


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
