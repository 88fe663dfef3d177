"""Which jobs a sweep has, and where they go: one folder for each setting, one in it for each seed."""

import itertools
from collections.abc import Sequence
from pathlib import Path

from sac_runner.config.convert import by_key
from sac_runner.errors import WrongInput, train_command
from sac_runner.storage.names import joined, override_name, safe_name
from sac_runner.storage.sweep_directory import SweepJob

Setting = dict[str, str]
"""Swept key -> value as Hydra writes it, the seed aside."""


def sweep_path(outputs: str, time: str, swept: list[str], name: str | None) -> Path:
    """``outputs/sweeps/<time>_<name>``, where the name lists the swept keys."""
    keys = [key.rsplit(".", 1)[-1] for key in swept] or ["seeds"]
    return Path(outputs) / "sweeps" / f"{time}_{safe_name(name or '_'.join(keys))}"


def values_of(job: Sequence[str]) -> dict[str, str]:
    """Key -> value of the overrides of ``job``; of several for a key, such as ``x=1 ++x=2``, the last one holds."""
    return {key: override.partition("=")[2] for key, override in by_key(job).items()}


def setting_of(job: Sequence[str], fixed: set[str]) -> Setting:
    """What the overrides of ``job`` say that is not the same for every job: those outside of ``fixed``."""
    values = values_of(job).items()
    return {key: value for key, value in values if f"{key}={value}" not in fixed and key != "seed"}


def folder_name(setting: Setting) -> str:
    """``alpha-fixed_0.05_lr-1e-3``; an environment names itself."""
    parts = [safe_name(value) if key == "env" else override_name(f"{key}={value}") for key, value in setting.items()]
    return joined(parts) or "default"


def seeds_of(first: int | None, count: int | None, swept: bool) -> list[int | None]:
    """The seeds of one setting, None where one is to be drawn.

    Args:
        first: ``seed``.
        count: ``seeds``.
        swept: Whether ``seed`` itself names several.

    Raises:
        WrongInput: Both name seeds.
    """
    if count is None:
        return [first]
    if swept:
        raise WrongInput("seed and seeds both name the seeds of this sweep", train_command("hydra.launcher.seeds=null"))
    return [None] * count if first is None else list(range(first, first + count))


def number_jobs(earlier: list[SweepJob], asked: list[tuple[Setting, int, int | None]]) -> list[SweepJob]:
    """A job for each that is asked for, with a run directory of its own.

    Args:
        earlier: Jobs that the sweep has already.
        asked: Setting, seed and budget of env steps of each.
    """
    taken = {job.path for job in earlier}
    folders: dict[str, str] = {}
    for job in earlier:
        folders.setdefault(job.label, Path(job.path).parent.name)
    jobs: list[SweepJob] = []
    for setting, seed, budget in asked:
        number = len(earlier) + len(jobs)
        label = SweepJob(number, "", setting, seed, budget).label
        path = _free_path(folders.get(label), folder_name(setting), seed, set(folders.values()), taken)
        folders.setdefault(label, Path(path).parent.name)
        taken.add(path)
        jobs.append(SweepJob(number, path, setting, seed, budget))
    return jobs


def _free_path(known: str | None, name: str, seed: int, folders: set[str], taken: set[str]) -> str:
    """In the setting's ``known`` folder, else in one of its own; where a run is there already, ``-2`` tells apart."""
    numbered = (f"{name}-{n}" for n in itertools.count(2))
    own = (f for f in itertools.chain([known or name], numbered) if f == known or f not in folders)
    return next(path for f in own if (path := f"{f}/s{seed}") not in taken)
