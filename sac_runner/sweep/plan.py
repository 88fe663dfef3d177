"""Where the jobs of a sweep go: one folder for each setting, one in it for each seed."""

from pathlib import Path

from sac_runner.storage.names import override_name, safe_name


def sweep_path(outputs: str, time: str, jobs: list[list[str]], name: str | None) -> Path:
    """``outputs/sweeps/<time>_<name>``, where the name lists the swept keys."""
    keys = [key.rsplit(".", 1)[-1] for key in swept_keys(jobs) if key != "seed"] or ["seeds"]
    return Path(outputs) / "sweeps" / f"{time}_{safe_name(name or '_'.join(keys))}"


def job_paths(jobs: list[list[str]], seeds: list[int]) -> list[Path]:
    """A path for each job within the sweep; where long names are cut to the same one, ``-2`` tells them apart."""
    paths: list[Path] = []
    for job, seed in zip(jobs, seeds, strict=True):
        setting, name = job_path(job, jobs, seed).parts
        alike = [setting, *(f"{setting}-{n}" for n in range(2, len(jobs) + 1))]
        paths.append(next(path for path in (Path(s) / name for s in alike) if path not in paths))
    return paths


def job_path(job: list[str], jobs: list[list[str]], seed: int) -> Path:
    """``<setting>/s<seed>`` within the sweep, the setting being what differs between jobs."""
    swept = [key for key in swept_keys(jobs) if key != "seed"]
    differing = [override for override in job if override.partition("=")[0] in swept]
    parts = [o.removeprefix("env=") if o.startswith("env=") else override_name(o) for o in differing]
    return Path(safe_name("_".join(parts)) or "default") / f"s{seed}"


def settings(jobs: list[list[str]]) -> int:
    """How many different settings there are, seeds aside."""
    return len({tuple(o for o in job if not o.startswith("seed=")) for job in jobs})


def swept_keys(jobs: list[list[str]]) -> list[str]:
    """Keys whose value differs between ``jobs``, in the order given."""
    values: dict[str, set[str]] = {}
    for job in jobs:
        for override in job:
            key, _, value = override.partition("=")
            values.setdefault(key, set()).add(value)
    return [key for key, seen in values.items() if len(seen) > 1]
