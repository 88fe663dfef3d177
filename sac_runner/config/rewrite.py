"""Small liberties for the command line, before Hydra reads it."""

import re

from sac_runner.errors import WrongInput, train_command

# Hydra's own; a part of one will do.
_OPTIONS = (
    *("--help", "--hydra-help", "--version", "--cfg", "--resolve", "--package", "--run", "--multirun", "--info"),
    *("--shell-completion", "--config-path", "--config-name", "--config-dir", "--experimental-rerun"),
)


def rewrite(arguments: list[str]) -> list[str]:
    """``env.kwargs.x=1`` works without a ``+``; ``seeds=5`` is a sweep over seeds 0 to 4.

    Raises:
        WrongInput: ``seeds`` is no count.
    """
    rewritten = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if key.startswith("env.kwargs.") and equals:
            rewritten.append(f"++{argument}")
        elif key == "seeds" and equals:
            rewritten += _seeds(value, arguments)
        else:
            rewritten.append(argument)
    return rewritten


def unknown_option(arguments: list[str]) -> tuple[str, str, str] | None:
    """The first option that Hydra does not have, with the key and the value it means: ``--seed 3`` is ``seed=3``."""
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        option, _, value = argument.partition("=")
        if option.startswith("--") and not any(known.startswith(option) for known in _OPTIONS):
            value = value or ("" if "=" in following or following.startswith("-") else following) or "true"
            return argument, option[2:].replace("-", "_"), value
    return None


def _seeds(value: str, arguments: list[str]) -> list[str]:
    if re.fullmatch(r"\d+(,\d+)+", value):
        raise WrongInput(f"seeds={value}: seeds is how many; to name them use seed", train_command(f"-m seed={value}"))
    if not re.fullmatch(r"[1-9]\d*", value):
        raise WrongInput(f"seeds={value} must be a whole number, at least 1", train_command("seeds=5"))
    sweep = "seed=" + ",".join(map(str, range(int(value))))
    return [sweep] if {"-m", "--multirun"} & set(arguments) else [sweep, "--multirun"]
