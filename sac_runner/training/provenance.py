"""What ``meta.json`` says: what was run, with which versions, where."""

import os
import platform
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from sac_runner.config.schema import Config

_PACKAGES = ("sac-runner", "torch", "gymnasium", "mujoco", "Box2D", "numpy", "hydra-core", "safetensors")


def provenance(overrides: list[str], config: Config, device: torch.device, threads: int) -> dict[str, Any]:
    """Plain data for JSON.

    Args:
        overrides: As the run took them.
        config: With its seed.
        device: Resolved.
        threads: Of PyTorch.
    """
    return {
        "started": time.strftime("%FT%T%z"),
        "command": [Path(sys.argv[0]).name, *(a for a in sys.argv[1:] if not a.startswith("hydra.sweep.dir="))],
        "overrides": overrides,
        "seed": config.seed,
        "device": str(device),
        "threads": threads,
        "precision": config.precision,
        "versions": {"python": platform.python_version(), **{name: version_of(name) for name in _PACKAGES}},
        "git": git_state(),
        "host": {"system": platform.platform(), "cores": os.cpu_count(), "gpu": _gpu(device)},
    }


def _gpu(device: torch.device) -> str | None:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else None


def version_of(package: str) -> str | None:
    """Of an installed package; None where it is not."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def git_state() -> dict[str, Any] | None:
    """Commit and dirty flag of the source tree; None where it is no clone."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        commit, status = (
            subprocess.run(["git", "-C", root, *what], capture_output=True, text=True, timeout=10, check=True).stdout
            for what in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit.strip(), "dirty": bool(status.strip())}
