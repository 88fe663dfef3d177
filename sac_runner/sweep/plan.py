"""Where the jobs of a sweep go: one folder for each setting, one in it for each seed."""

from pathlib import Path

from sac_runner.storage.names import safe_name, setting_name


def sweep_path(outputs: str, time: str, jobs: list[list[str]], name: str | None) -> Path:
    """``outputs/sweeps/<time>_<name>``, where the name lists the swept keys."""
    keys = [key.rsplit(".", 1)[-1] for key in swept_keys(jobs) if key != "seed"] or ["seeds"]
    return Path(outputs) / "sweeps" / f"{time}_{safe_name(name or '_'.join(keys))}"


def job_path(job: list[str], jobs: list[list[str]], seed: int) -> Path:
    """``<setting>/s<seed>`` within the sweep, the setting being what differs between jobs."""
    swept = swept_keys(jobs)
    differing = [override for override in job if override.partition("=")[0] in swept]
    envs = [safe_name(override.partition("=")[2]) for override in differing if override.startswith("env=")]
    setting = "_".join(filter(None, [*envs, setting_name(differing)]))
    return Path(setting or "default") / f"s{seed}"


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
