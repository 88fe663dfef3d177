"""Small liberties for the command line, before Hydra reads it."""

import re

from sac_runner.errors import WrongInput, train_command


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


def _seeds(value: str, arguments: list[str]) -> list[str]:
    if re.fullmatch(r"\d+(,\d+)+", value):
        raise WrongInput(f"seeds={value}: seeds is how many; to name them use seed", train_command(f"-m seed={value}"))
    if not re.fullmatch(r"[1-9]\d*", value):
        raise WrongInput(f"seeds={value} must be a whole number, at least 1", train_command("seeds=5"))
    sweep = "seed=" + ",".join(map(str, range(int(value))))
    return [sweep] if {"-m", "--multirun"} & set(arguments) else [sweep, "--multirun"]
