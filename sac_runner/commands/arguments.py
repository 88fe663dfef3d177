"""What the commands beside ``train`` share: options, answers to wrong ones, and the way out."""

import argparse
import atexit
import contextlib
import difflib
import math
import os
import re
import shlex
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import NoReturn

from sac_runner.errors import RunnerError, WrongInput, command, say
from sac_runner.storage.names import typed_in

_PATIENCE_S = 5.0  # with threads that may have something to save
_NEGATIVE = re.compile(r"-\.?\d[\d.,_]*([eE][+-]?\d+)?")
_SETTING = re.compile(r"([A-Za-z_]\w*(?:\.\w+)*)=(.*)")


class Parser(argparse.ArgumentParser):
    """An ``ArgumentParser`` whose errors are ``WrongInput``, with the nearest right option."""

    def __init__(self, name: str, description: str) -> None:
        """Of the command ``name``."""
        super().__init__(command(name), description=description, allow_abbrev=False)
        self.add_argument("--version", action="version", version=version_line())

    def read(self, arguments: Sequence[str] | None) -> argparse.Namespace:
        """Parse ``arguments``, by default the command line's.

        Raises:
            WrongInput: They are none of this command's.
        """
        given = self._joined(sys.argv[1:] if arguments is None else arguments)
        for position, text in enumerate(given):
            self._refuse_setting(given, position, text)
            if text.startswith("--") and text.partition("=")[0] not in [*self._options(), "--"]:
                near = difflib.get_close_matches(text.partition("=")[0], self._options(), 1)
                raise WrongInput(f"{self.prog} has no option {text}", near[0] if near else f"{self.prog} --help")
        return self.parse_args(given)

    def _joined(self, arguments: Sequence[str]) -> list[str]:
        """``--to-reach -1e3`` as ``--to-reach=-1e3``: argparse would take the number for an option."""
        given: list[str] = []
        for text in arguments:
            if _NEGATIVE.fullmatch(text) and given and self._is_value([*given, text], len(given)):
                given[-1] += f"={text}"
            else:
                given.append(text)
        return given

    def error(self, message: str) -> NoReturn:
        """Called by argparse."""
        raise WrongInput(message.removeprefix("argument "), f"{self.prog} --help")

    def _refuse_setting(self, given: list[str], position: int, text: str) -> None:
        """``episodes=100`` is how ``train`` is told, and what fingers remember."""
        setting = _SETTING.fullmatch(text)
        if setting is None or self._is_value(given, position) or os.path.exists(text):
            return
        option = "--" + setting[1].split(".")[-1].replace("_", "-")
        if option not in self._options():
            raise WrongInput(f"{text}: {self.prog} takes options, not settings", f"{self.prog} --help")
        right = option if self._option_string_actions[option].nargs == 0 else f"{option} {shlex.quote(setting[2])}"
        mended = [right if i == position else shlex.quote(other) for i, other in enumerate(given)]
        raise WrongInput(f"{text}: use {right}", " ".join([self.prog, *mended]))

    def _is_value(self, given: list[str], position: int) -> bool:
        before = self._option_string_actions.get(given[position - 1]) if position else None
        return before is not None and before.nargs != 0

    def _options(self) -> list[str]:
        return [option for option in self._option_string_actions if option.startswith("--")]


def add_run(parser: Parser) -> None:
    """RUN, and what says which policy of it plays what."""
    parser.add_argument("run", metavar="RUN", help="a path, a unique part of a run's name, or last")
    parser.add_argument(
        "--checkpoint", type=_checkpoint, default="best", metavar="best|latest|STEP", help="default: best"
    )
    parser.add_argument("--sampled", action="store_true", help="draw actions from the policy (default: its mean)")
    parser.add_argument(
        "--seed",
        type=whole("a whole number, 0 or more and below 2^31", 0, 2**31),
        metavar="S",
        help="episode i has seed S + i (default: 1000000, or others that chose nothing)",
    )
    parser.add_argument("--trust", action="store_true", help="import the package that the run's env.id names")
    add_outputs(parser)


def add_episodes(parser: Parser, default: int) -> None:
    """``--episodes``."""
    parser.add_argument(
        "--episodes",
        type=whole("a whole number, at least 1", 1),
        default=default,
        metavar="N",
        help=f"default: {default}",
    )


def add_outputs(parser: Parser) -> None:
    """``--outputs``."""
    parser.add_argument("--outputs", metavar="DIR", help="where runs are (default: SAC_OUTPUTS, else outputs)")


def whole(words: str, least: int = 0, below: float = math.inf) -> Callable[[str], int]:
    """A type for argparse: whole numbers from ``least`` to ``below``, that aside; ``words`` says so to the user."""

    def to_whole(text: str) -> int:
        """The number that ``text`` is."""
        try:
            x = number(text)
        except ValueError:
            x = math.nan
        if not (x.is_integer() and least <= x < below):
            raise argparse.ArgumentTypeError(f"{text} must be {words}")
        return int(x)

    return to_whole


def _checkpoint(text: str) -> str:
    return text if text in ("best", "latest") else str(whole("best, latest or a number of env steps")(text))


def number(text: str) -> float:
    """``100000``, ``100_000``, ``100,000`` and ``1e5`` alike; ``1,5`` is none.

    Raises:
        ValueError: It is no number.
    """
    return float(text.replace(",", "") if re.fullmatch(r"-?\d{1,3}(,\d{3})+(\.\d+)?", text) else text)


def version_line() -> str:
    """``sac_runner 1.0``: what ``--version`` says."""
    try:
        return f"sac_runner {metadata.version('sac-runner')}"
    except metadata.PackageNotFoundError:
        return "sac_runner, not installed"


def open_door(body: Callable[[], None]) -> None:
    """Run a command; an expected failure becomes at most three lines and its exit code."""
    before, code = threading.enumerate(), 0
    try:
        with typed_in(Path.cwd()):
            body()
    except RunnerError as e:
        say("\n".join(f"error: {e}".splitlines()[:3]))
        code = e.exit_code
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:  # as in `... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else int(e.code is not None)
        if isinstance(e.code, str):
            say(e.code)
    except Exception:
        traceback.print_exc()
        code = 1
    left, until = [x for x in threading.enumerate() if not x.daemon and x not in before], time.monotonic() + _PATIENCE_S
    with contextlib.suppress(KeyboardInterrupt):
        for thread in left:
            thread.join(max(until - time.monotonic(), 0.0))
    if any(thread.is_alive() for thread in left):
        atexit._run_exitfuncs()
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os._exit(code)  # a thread that an environment left behind would keep the process for ever
    if code:
        sys.exit(code)
