"""What this process may use: the memory and the cores that the system has, and that a container or batch job allows."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

MOST_THREADS = 4
"""Of PyTorch, unless more are asked for: an update is too small to be shared out among many."""

# Of control groups, by version: where they are, and the files with the limit, what is used, and what of it is a cache.
_VERSIONS = {
    "0::": ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    ":memory:": ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def threads_asked_for() -> int | None:
    """OMP_NUM_THREADS, where it is a number."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdecimal() and int(asked) > 0 else None


def available_memory() -> int | None:
    """Bytes that this process can still have, or None where the system does not say."""
    return min(_known_limits(), default=None)


def available_cores() -> int:
    """Cores that this process may use: those it is bound to, or fewer where a container has a share of the time."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for line in _lines(Path("/proc/self/cgroup")):
        _, found, own = line.partition("0::")
        root = Path("/sys/fs/cgroup")
        for group in [root / own.lstrip("/"), *(root / own.lstrip("/")).parents] if found else []:
            quota, _, period = " ".join(_lines(group / "cpu.max")).partition(" ")
            if quota.isdecimal() and period.isdecimal():
                cores = min(cores, math.ceil(int(quota) / int(period)))
    return max(cores, 1)


def _known_limits() -> Iterator[int]:
    free = _numbers(Path("/proc/meminfo")).get("MemAvailable:")
    if free is not None:
        yield 1024 * free
    for line in _lines(Path("/proc/self/cgroup")):
        for version, (root, limit_file, used_file, cache) in _VERSIONS.items():
            _, found, own = line.partition(version)
            groups = [Path(root + own), *Path(root + own).parents] if found else []  # each may set a limit
            for group in groups:
                limit, used = _number(group / limit_file), _number(group / used_file)
                if limit is not None and used is not None:
                    yield max(limit - used + _numbers(group / "memory.stat").get(cache, 0), 0)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _number(path: Path) -> int | None:
    """The number in a file of one; None for ``max``, or no such file."""
    lines = _lines(path)
    return int(lines[0]) if lines and lines[0].isdecimal() else None


def _numbers(path: Path) -> dict[str, int]:
    """First word of each line -> the number after it."""
    words = [line.split() for line in _lines(path)]
    return {name: int(rest[0]) for name, *rest in words if rest and rest[0].isdecimal()}
