"""What the commands that take a RUN share: options, answers to wrong ones, and the way out."""

import argparse
import difflib
import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from sac_runner.errors import RunnerError, WrongInput, command


class Parser(argparse.ArgumentParser):
    """An ``ArgumentParser`` whose errors are ours: at most three lines, with the nearest right option."""

    def __init__(self, name: str, description: str) -> None:
        """A command ``name``."""
        super().__init__(command(name), description=description, allow_abbrev=False)
        self.add_argument("--outputs", metavar="DIR", help="folder of all runs (else SAC_OUTPUTS, else outputs)")

    def read(self, arguments: Sequence[str] | None) -> argparse.Namespace:
        """The parsed ``arguments``, by default the command line's.

        Raises:
            WrongInput: They are no arguments of this command.
        """
        given = list(sys.argv[1:] if arguments is None else arguments)
        self._refuse_settings(given)
        namespace, unknown = self.parse_known_args(given)
        if unknown:
            raise self._unknown(sorted(unknown, key=lambda text: not text.startswith("-"))[0])
        return namespace

    def error(self, message: str) -> NoReturn:
        """Called by argparse."""
        unknown = next((a for a in self._given if a.startswith("--") and a.split("=")[0] not in self._options), None)
        raise self._unknown(unknown) if unknown else WrongInput(message, f"{self.prog} --help")

    @property
    def _options(self) -> list[str]:
        return [option for option in self._option_string_actions if option.startswith("--")]

    def _unknown(self, text: str) -> WrongInput:
        near = difflib.get_close_matches(text.split("=")[0], self._options, 1)
        remedy = near[0] if near else f"{self.prog} --help"
        return WrongInput(f"{self.prog} knows no {text}", remedy)
