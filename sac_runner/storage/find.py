"""From what a user types for RUN to a run directory: a path, a unique part of a name, or ``last``."""

import os
import re
from datetime import datetime
from pathlib import Path

from sac_runner.errors import WrongInput, train_command
from sac_runner.storage.run_directory import RunDirectory

_SHOWN = 3
_TIME = re.compile(r"\d{8}-\d{6}")


def outputs_folder(given: str | None = None) -> Path:
    """The folder of all runs and sweeps: ``given`` (``--outputs``), else ``SAC_OUTPUTS``, else ``outputs``."""
    return Path(given or os.environ.get("SAC_OUTPUTS") or "outputs")


def find_run(text: str, outputs: Path | str | None = None) -> Path:
    """The run that ``text`` names.

    Args:
        text: A path, a unique part of a run's path under ``outputs``, or ``last``, the run that was started last.
        outputs: As for ``outputs_folder``; its sweeps' jobs count as runs.

    Raises:
        WrongInput: No run, or more than one.
    """
    path = Path(text).expanduser()
    exists = bool(text) and path.exists()
    if exists and RunDirectory(path).is_run:
        return path
    runs = list_runs(outputs)
    if exists and (os.sep in text or text in (".", "..") or not runs):
        raise _no_run(path)
    if not runs:
        raise WrongInput(
            f"there are no runs in {_folder(outputs)}/", train_command("env=pendulum") + ", or name a run by its path"
        )
    if text == "last":
        return max(runs, key=_started)
    matches = _matches(text, runs)
    if len(matches) == 1:
        return matches[0]
    if not matches and exists:
        raise _no_run(path)
    raise _not_one(text, matches, runs)


def list_runs(outputs: Path | str | None = None) -> list[Path]:
    """All runs and sweep jobs under ``outputs`` (as for ``outputs_folder``), by path."""
    folder = _folder(outputs)
    configs = [*folder.glob("runs/*/*/config.yaml"), *folder.glob("sweeps/*/*/*/config.yaml")]
    return sorted(config.parent for config in configs)


def _folder(outputs: Path | str | None) -> Path:
    return outputs_folder(None if outputs is None else str(outputs))


def _matches(text: str, runs: list[Path]) -> list[Path]:
    """Runs whose path ends in ``text``, or else those that have it in their label."""
    wanted = Path(text).parts
    exact = [run for run in runs if wanted and run.parts[-len(wanted) :] == wanted]
    return exact or [run for run in runs if text and text in run_label(run)]


def run_label(run: Path) -> str:
    """``pendulum/20261122-160501_s0`` or ``<sweep>/<setting>/s<seed>``: the path below ``runs`` or ``sweeps``."""
    below = 2 if run.parts[-3:-2] == ("runs",) else 3
    return "/".join(run.parts[-below:])


def _started(run: Path) -> tuple[float, str]:
    """When ``run`` was started, in seconds; its path decides between equal times."""
    try:
        return datetime.fromisoformat(RunDirectory(run).read_meta()["started"]).timestamp(), str(run)
    except (KeyError, TypeError, ValueError, OverflowError):
        pass
    try:
        return datetime.strptime(_TIME.findall(run_label(run))[0], "%Y%m%d-%H%M%S").timestamp(), str(run)
    except (IndexError, ValueError, OverflowError):
        return 0.0, str(run)


def _no_run(path: Path) -> WrongInput:
    """``path`` exists and is no run: say what it is instead."""
    above = next((folder for folder in path.absolute().parents if RunDirectory(folder).is_run), None)
    if above is not None:
        return WrongInput(f"{path} lies inside a run; the run itself is meant", str(above))
    below = list_runs(path) or [
        meta.parent for depth in ("*", "*/*") for meta in sorted(path.glob(f"{depth}/meta.json"))
    ]
    if below:
        return WrongInput(f"{path} is no run, it holds {_count(below)}", _listed(below))
    return WrongInput(f"{path} is no run: it has no config.yaml", "a path, a part of a run's name, or last")


def _not_one(text: str, matches: list[Path], runs: list[Path]) -> WrongInput:
    newest = sorted(matches or runs, key=_started, reverse=True)
    if matches:
        return WrongInput(f'"{text}" is part of the names of {_count(matches)}', f"one of {_listed(newest)}")
    return WrongInput(f'no run has "{text}" in its name', f"last, or one of {_listed(newest)}")


def _count(runs: list[Path]) -> str:
    return f"{len(runs)} run{'s'[: len(runs) > 1]}"


def _listed(runs: list[Path]) -> str:
    more = len(runs) - _SHOWN
    return "  ".join(map(str, runs[:_SHOWN])) + (f"  and {more} more" if more > 0 else "")
