"""What can go wrong in a way that a user can mend: each names its cause, its remedy, and carries its exit code."""

import contextlib
import os
import shlex
import sys
from collections.abc import Callable, Iterator


def say(text: str) -> None:
    """Print to standard error; a terminal or a pipe that is gone must end nothing."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def warn(text: str) -> None:
    """Say what the user should know and the run survives."""
    say(f"warning: {text}")


@contextlib.contextmanager
def hears_ctrl_c(composing: Callable[[], bool]) -> Iterator[None]:
    """Ctrl-C is one also where OmegaConf fails as it cleans up after it, and Hydra reports only that.

    Args:
        composing: Whether that is what goes on; else the failure stays what it is.
    """
    try:
        yield
    except Exception as e:
        cause: BaseException | None = e
        while cause is not None and not isinstance(cause, KeyboardInterrupt):
            cause = cause.__context__
        if cause is not None and composing():
            raise cause from e
        raise


def command(name: str) -> str:
    """The command in the form that the user typed: ``scripts/train`` in a clone, ``sac-train`` where installed."""
    folder = os.environ.get("SAC_SCRIPTS")
    return f"{shlex.quote(folder)}/{name}" if folder else f"sac-{name}"


def train_command(overrides: str) -> str:
    """A ``train`` command line to paste."""
    return f"{command('train')} {overrides}"


def first_line(error: BaseException) -> str:
    """What an exception of somebody else says first; if that only announces it, as compilers' do, also what it is."""
    first, *more = [line for line in str(error).splitlines() if line.strip()] or [""]
    if not more or not first.endswith(":"):
        return first.strip()
    causes = [line for line in more if not line[0].isspace() and not line.endswith(":")]  # no line of a traceback
    return f"{first} {(causes or more)[0].strip()}"


class RunnerError(Exception):
    """An expected failure, shown as at most three lines instead of a traceback."""

    exit_code = 1

    def __init__(self, message: str, remedy: str | None = None) -> None:
        """``message`` names the cause; ``remedy`` is what to type or do next."""
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        message = " ".join(self.message.splitlines())  # what others say may come in several
        return message + (f"\n  try: {self.remedy}" if self.remedy else "")


class WrongInput(RunnerError):
    """The command line, the config or the run named can't be used."""

    exit_code = 2
    job: list[str] | None = None
    """Overrides of the job of a sweep that it is about, if it is about one."""

    def of(self, job: list[str]) -> "WrongInput":
        """The same, of ``job``."""
        refusal = WrongInput(f"job {' '.join(job)}: {self.message}", self.remedy)
        refusal.job = job
        return refusal


class Damaged(RunnerError):
    """A file of a run is missing, or is not what was written."""

    exit_code = 2


class EnvironmentFailed(RunnerError):
    """The environment raised or returned what it must not."""

    exit_code = 70


class EnvironmentFault(Exception):
    """What an environment did, in words; it crosses processes, so what it raises with is nothing but its text."""

    envs: tuple[int, ...] = ()
    """Which ones, where the text does not say in what step of which episode."""


class Interrupted(Exception):
    """A stop was asked for in the middle of what is taken up again when the run goes on."""


class RunInUse(RunnerError):
    """Another process owns the run directory."""

    exit_code = 73


class DiskFailed(RunnerError):
    """The disk is full or refuses to write."""

    exit_code = 74


class NotFinite(RunnerError):
    """A number became NaN or infinite."""

    exit_code = 76


def diverged(what: str) -> NotFinite:
    """The learning itself made the number."""
    return NotFinite(what, "a smaller agent.lr, agent.max_grad_norm=1, or normalization=obs_and_reward")
