"""What this process may use: memory and cores that the system has and that a container or batch job allows.

Control groups of version 1 are asked for memory alone.
"""

import math
import os
import time
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
    cores = len(_bound_to())
    for line in _lines(Path("/proc/self/cgroup")):
        _, found, own = line.partition("0::")
        root = Path("/sys/fs/cgroup")
        for group in [root / own.lstrip("/"), *(root / own.lstrip("/")).parents] if found else []:
            quota, _, period = " ".join(_lines(group / "cpu.max")).partition(" ")
            if quota.isdecimal() and period.isdecimal():
                cores = min(cores, math.ceil(int(quota) / int(period)))
    return max(cores, 1)


def busy_cores(over_s: float) -> float | None:
    """How many of the cores that this process may use compute for others while it sleeps ``over_s`` seconds.

    None where the system does not say, or allows but a share of their time.
    """
    if available_cores() < len(_bound_to()):
        return None
    before = _core_times()
    time.sleep(over_s)
    idle, all_of_it = (now - then for now, then in zip(_core_times(), before, strict=True))
    return len(_bound_to()) * (1.0 - idle / all_of_it) if all_of_it > 0 else None


def _bound_to() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def _core_times() -> tuple[int, int]:
    """Time that these cores were idle, and time in all, in the kernel's ticks; zero where it does not say."""
    cores = {f"cpu{core}" for core in _bound_to()}
    lines = [line.split() for line in _lines(Path("/proc/stat"))]
    times = [[int(x) for x in times[:8]] for name, *times in filter(None, lines) if name in cores]
    return sum(idle + io for _, _, _, idle, io, *_ in times), sum(map(sum, times))


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
