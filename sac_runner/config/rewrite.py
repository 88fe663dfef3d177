"""Small liberties for the command line, before Hydra reads it."""

import re
from itertools import islice, pairwise
from pathlib import Path

from sac_runner.config.convert import key_of
from sac_runner.config.diagnose import to_paste
from sac_runner.config.keys import TEXTS, schema_keys
from sac_runner.config.synonyms import SYNONYMS, not_here
from sac_runner.errors import WrongInput

# Hydra's own; a part of one will do.
_OPTIONS = (
    *("--help", "--hydra-help", "--version", "--cfg", "--resolve", "--package", "--run", "--multirun", "--info"),
    *("--shell-completion", "--config-path", "--config-name", "--config-dir", "--experimental-rerun"),
)
_SHORT = ("-h", "-c", "-p", "-r", "-m", "-sc", "-cp", "-cn", "-cd", "-i")
_WITH_VALUE = (
    *("--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd"),
    "--experimental-rerun",
)

_PRINTING = ("--cfg", "-c", "--info", "-i", "--help", "-h", "--hydra-help", "--version", "--shell-completion", "-sc")

_FOLDERS = {"hydra.run.dir": "run.dir", "hydra.sweep.dir": "outputs"}
"""Hydra's keys that would make a folder in which nothing comes to lie, and ours."""

_NAMES = tuple(key for key in TEXTS if key != "env.id")
"""Keys whose values are names and paths, in which neither digits nor brackets mean anything."""


def rewrite(arguments: list[str]) -> list[str]:
    """``env.kwargs.x=1`` works without a ``+``, ``seeds`` and ``sweep`` imply ``-m``, options may come last.

    ``seeds`` is the launcher's affair: a sweeper that took it for a hyperparameter would tune it.

    Raises:
        WrongInput: ``seeds`` is no count, ``sweep`` names several, or Hydra is told where a run is to lie.
    """
    options, settings = split(arguments)
    rewritten, resumes = [], "resume" in map(key_of, settings)
    for argument in settings:
        key, equals, value = argument.partition("=")
        of_a_sweep = resumes and key.startswith("hydra.launcher.")  # whose own launcher says whether it has such a key
        if equals and (key == "env.kwargs" or key.startswith("env.kwargs.") or of_a_sweep):
            rewritten.append(f"++{argument}")
        elif key_of(key) == "seeds" and equals:
            rewritten.append(f"hydra.launcher.seeds={_seeds(value, arguments)}")
        elif key_of(key) in _FOLDERS and equals:
            others = [word for word in arguments if word != argument]
            ours = to_paste(*others, f"{_FOLDERS[key_of(key)]}={value}")
            raise WrongInput(f"{key_of(key)}: here it is {_FOLDERS[key_of(key)]}", ours)
        elif key_of(key) in _NAMES and _needs_quotes(value):
            quote = '"' if "'" in value else "'"
            rewritten.append(f"{key}={quote}{value}{quote}")
        else:
            rewritten.append(argument)
    sweeps = [s for s in settings if key_of(s) in ("seeds", "sweep") and "=" in s]
    if any(s.startswith("sweep=") and "," in s for s in sweeps):
        one = [re.sub(r"^(sweep=[^,]*),.*", r"\1", argument) for argument in arguments]
        raise WrongInput(f"{' '.join(sweeps)}: a ready sweep is one by itself", to_paste(*one))
    implied = sweeps and not is_sweep(options) and not prints(options)
    options += ["--multirun"] if implied else []
    return [*options, *_choices_of_resumed(settings), *rewritten]


def split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Options with their values, and settings."""
    options, settings = [], []
    rest = iter(arguments)
    for argument in rest:
        if argument.startswith("-"):
            options += [argument, *islice(rest, argument in _WITH_VALUE)]
        else:
            settings.append(argument)
    return options, settings


def is_sweep(options: list[str]) -> bool:
    """Whether they ask for several jobs."""
    return any(option == "-m" or (option.startswith("--m") and "--multirun".startswith(option)) for option in options)


def prints(options: list[str]) -> bool:
    """Whether Hydra is asked to print something, and to run nothing."""
    return any(option.partition("=")[0] in _PRINTING for option in options)


def config_folders(options: list[str]) -> list[Path]:
    """Those of ``--config-dir``."""
    words = [word for option in options for word in option.split("=", 1)]
    return [Path(value).absolute() for option, value in pairwise(words) if option in ("--config-dir", "-cd")]


def _needs_quotes(name: str) -> bool:
    """Whether Hydra would take ``name`` for a number, or can't read it."""
    if re.fullmatch(r"[\d_]+(\.\d+)?([eE][+-]?\d+)?", name):
        return True
    has_meaning = name.startswith(("'", '"')) or "," in name or "${" in name or {"'", '"'} <= set(name)
    return not has_meaning and re.fullmatch(r"[\w./+$%*@?|:~\\ -]*", name, re.ASCII) is None


def _choices_of_resumed(arguments: list[str]) -> list[str]:
    """``resume=last schedule.rounds=3000``: the run has that schedule, whatever the default is; so with alpha."""
    keys = list(map(key_of, arguments))
    choices = []
    for key in keys if "resume" in keys else []:
        group, owner = key.partition(".")[0], schema_keys().get(key)
        if group in ("schedule", "alpha") and group not in keys and owner is not None:
            choices.append(f"{group}={owner}")
    return list(dict.fromkeys(choices))


def as_settings(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The arguments, but each option that Hydra does not have as the setting that it means; and those options.

    ``--seed 3`` is ``seed=3``.
    """
    meant, unknown = [], []
    rest = iter(pairwise([*arguments, ""]))
    for argument, following in rest:
        option, _, value = argument.partition("=")
        known = option in _SHORT or option.startswith("--") and any(name.startswith(option) for name in _OPTIONS)
        if not option.startswith("-") or known:
            meant.append(argument)
            continue
        unknown.append(argument)
        if not value and following and re.fullmatch(r"[^=-][^=]*|-\.?\d[^=]*", following):
            value, _ = next(rest)
        key = option.lstrip("-").replace("-", "_")
        off = key.removeprefix("no_")
        negates = off != key and key not in SYNONYMS and not value
        if negates and (off in schema_keys() or off in SYNONYMS or not_here(off)):
            key, value = off, "false"
        meant.append(f"{key}={value or 'true'}")
    return meant, unknown


def _seeds(value: str, typed: list[str]) -> int:
    others = [argument for argument in typed if argument != f"seeds={value}"]
    named = next((argument for argument in others if key_of(argument) == "seed" and "," in argument), None)
    if named is not None:
        text = f"seeds={value} and {named} both name the seeds"
        raise WrongInput(text, to_paste(*dict.fromkeys(["-m", *others])))
    if re.fullmatch(r"\d+(,\d+)+", value):
        named = to_paste(*dict.fromkeys(["-m", *others]), f"seed={value}")
        raise WrongInput(f"seeds={value}: seeds is how many; to name them use seed", named)
    if not re.fullmatch(r"[1-9]\d*", value):
        raise WrongInput(f"seeds={value} must be a whole number, at least 1", to_paste(*others, "seeds=5"))
    return int(value)
