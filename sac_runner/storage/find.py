"""From what a user types for RUN or SWEEP to its directory: a path, a unique part of a name, or ``last``."""

import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from sac_runner.errors import RunnerError, WrongInput, train_command
from sac_runner.storage.names import TIME
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.storage.sweep_directory import SweepDirectory
from sac_runner.text import plural

_SHOWN = 3


def outputs_folder(given: str | None = None) -> Path:
    """The folder of all runs and sweeps: ``given`` (``--outputs``), else ``SAC_OUTPUTS``, else ``outputs``."""
    return typed_path(given or os.environ.get("SAC_OUTPUTS") or "outputs")


def typed_path(text: str) -> Path:
    """The path that a user typed, with the home that a ``~`` stands for."""
    return Path(os.path.expanduser(text))  # Path.expanduser raises where there is no such home


def find_run(text: str, outputs: Path | str | None = None) -> Path:
    """The run that ``text`` names.

    Args:
        text: A path, a unique part of a run's path under ``outputs``, or ``last``, the run that was started last.
        outputs: As for ``outputs_folder``; its sweeps' jobs count as runs.

    Raises:
        WrongInput: No run, or more than one.
    """
    path = typed_path(text)
    if text and RunDirectory(path).is_run:
        return path
    runs = list_runs(outputs)
    if text == "last" and runs:
        return max(runs, key=started)
    matches = [] if _is_a_path(text) else fitting(text, runs)
    if len(matches) == 1:
        return matches[0]
    if text and not matches and os.path.exists(path):
        raise _no_run(path)
    if not runs:
        first = train_command("env=pendulum") + ", or name a run by its path"
        raise WrongInput(f"{_no_path(text)}there are no runs in {_folder(outputs)}/", first)
    raise _not_one(text, matches, runs)


def find_run_or_sweep(text: str, outputs: Path | str | None = None) -> Path:
    """The run or the sweep that ``text`` names; a sweep stands for its jobs.

    Args:
        text: As for ``find_run``; ``last`` is what was started last, be it a sweep or a run that is not a job of one.
        outputs: As for ``outputs_folder``.

    Raises:
        WrongInput: Neither, or more than one.
    """
    path, sweeps = typed_path(text), list_sweeps(outputs)
    if text and SweepDirectory(path).is_sweep:
        return path
    if not sweeps or not text or _is_a_path(text) or RunDirectory(path).is_run:
        return find_run(text, outputs)
    singles = [run for run in list_runs(outputs) if not SweepDirectory(run.parents[1]).is_sweep]
    if text == "last":
        return max([*singles, *sweeps], key=started)
    wanted = Path(text).parts
    matches = [sweep for sweep in sweeps if sweep.parts[-len(wanted) :] == wanted]
    matches = matches or [sweep for sweep in sweeps if text in sweep.name]
    if not matches:
        return find_run(text, outputs)
    if len(matches) == 1 and matches[0].name == wanted[-1]:
        return matches[0]
    matches += fitting(text, singles)
    if len(matches) > 1:
        newest = sorted(matches, key=started, reverse=True)
        text = f'"{text}" is part of the names of {len(matches)} runs and sweeps'
        raise WrongInput(text, f"one of {_listed(newest)}")
    return matches[0]


def _is_a_path(text: str) -> bool:
    """Whether it can be nothing but a path that is there, be it a run or not."""
    return (os.sep in text or text in (".", "..")) and os.path.exists(typed_path(text))


def list_sweeps(outputs: Path | str | None = None) -> list[Path]:
    """All sweeps under ``outputs`` (as for ``outputs_folder``), by path."""
    return _in_sight(_folder(outputs), "sweeps/*/sweep.json")


def list_runs(outputs: Path | str | None = None) -> list[Path]:
    """All runs and sweep jobs under ``outputs`` (as for ``outputs_folder``), by path."""
    return _in_sight(_folder(outputs), "runs/*/config.yaml", "runs/*/*/config.yaml", "sweeps/*/*/*/config.yaml")


def _in_sight(folder: Path, *patterns: str) -> list[Path]:
    """Where ``folder`` has such files, less what a removal has given a hidden name."""
    found = [file.parent for pattern in patterns for file in folder.glob(pattern)]
    return sorted(path for path in found if not any(p.startswith(".") for p in path.relative_to(folder).parts))


def _folder(outputs: Path | str | None) -> Path:
    return outputs if isinstance(outputs, Path) else outputs_folder(outputs)


def fitting(text: str, runs: Iterable[Path]) -> list[Path]:
    """Those of ``runs`` that ``text`` names: by the end of their path or their whole sweep, else by a part of it."""
    wanted, labels = Path(text).parts, {run: run_label(run) for run in runs}
    if not wanted:
        return []
    sweep = f"{'/'.join(wanted)}/" if is_whole_name(text) else "/"
    whole = [x for x, label in labels.items() if x.parts[-len(wanted) :] == wanted or label.startswith(sweep)]
    return whole or [run for run, label in labels.items() if text in label]


def is_whole_name(text: str) -> bool:
    """Whether it is more than a word that several names have in them: it holds a time, or where a run lies."""
    return os.sep in text or TIME.search(text) is not None


def run_label(run: Path) -> str:
    """``pendulum/20261122-160501_s0`` or ``<sweep>/<setting>/s<seed>``: the path below ``runs`` or ``sweeps``."""
    below = next((depth for depth in (2, 1) if run.parts[-1 - depth : -depth] == ("runs",)), 3)
    return "/".join(run.parts[-below:])


def started(path: Path) -> tuple[float, str]:
    """When a run or sweep was started, in seconds since 1970, 0 where nothing says; its path decides between equals."""
    sweep = SweepDirectory(path)
    try:
        begun = sweep.read_plan() if sweep.is_sweep else RunDirectory(path).read_meta()
        return datetime.fromisoformat(begun["started"]).timestamp(), str(path)
    except (RunnerError, KeyError, TypeError, ValueError, OverflowError):
        pass
    try:
        return datetime.strptime(TIME.findall(run_label(path))[0], "%Y%m%d-%H%M%S").timestamp(), str(path)
    except (IndexError, ValueError, OverflowError):
        return 0.0, str(path)


def _no_run(path: Path) -> WrongInput:
    """``path`` exists and is not a run: say what it is instead."""
    if why := RunDirectory(path).why_closed:
        return WrongInput(f"can't read {path}: {why}")
    above = next((folder for folder in path.absolute().parents if RunDirectory(folder).is_run), None)
    if above is not None:
        return WrongInput(f"{path} lies inside a run; the run itself is meant", str(above))
    below = list_runs(path) or [
        meta.parent for depth in ("*", "*/*") for meta in sorted(path.glob(f"{depth}/meta.json"))
    ]
    if below:
        return WrongInput(f"{path} is not a run, it holds {plural(len(below), 'run')}", _listed(below))
    return WrongInput(f"{path} is not a run: it has no config.yaml", "a path, a part of a run's name, or last")


def _not_one(text: str, matches: list[Path], runs: list[Path]) -> WrongInput:
    newest = sorted(matches or runs, key=started, reverse=True)
    if matches:
        several = plural(len(matches), "run")
        return WrongInput(f'"{text}" is part of the names of {several}', f"one of {_listed(newest)}")
    return WrongInput(f'{_no_path(text)}no run has "{text}" in its name', f"last, or one of {_listed(newest)}")


def _no_path(text: str) -> str:
    return f"{text} does not exist, and " if os.sep in text else ""


def _listed(runs: list[Path]) -> str:
    more = len(runs) - _SHOWN
    return "  ".join(map(str, runs[:_SHOWN])) + (f"  and {more} more" if more > 0 else "")
