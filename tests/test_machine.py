import sys
from pathlib import Path

import pytest

from sac_runner.machine import available_cores, available_memory, busy_cores

MEMINFO = "MemTotal:       9000 kB\nMemFree:  1 kB\nMemAvailable:   8000 kB\n"


@pytest.fixture
def system(monkeypatch, tmp_path):
    """Lets files say what they are given to say, and no others be there."""
    said = {}
    read = Path.read_text

    def read_text(path, *arguments):
        if path.is_relative_to("/proc") or path.is_relative_to("/sys"):
            if str(path) not in said:
                raise FileNotFoundError(path)
            return said[str(path)]
        return read(path, *arguments)

    monkeypatch.setattr(Path, "read_text", read_text)
    return said


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_read_from_the_system():
    there = available_memory()
    assert there is not None and 1e8 < there < 1e14


def test_a_system_that_does_not_say(system):
    assert available_memory() is None


def test_what_the_machine_has_counts_where_nothing_is_limited(system):
    system |= {"/proc/meminfo": MEMINFO, "/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/memory.max": "max\n"}
    system |= {"/sys/fs/cgroup/memory.current": "5\n"}
    assert available_memory() == 8000 * 1024


V1 = ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
V2 = ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file")


@pytest.mark.parametrize(("own", "names"), [("4:memory:/job/step", V1), ("0::/job/step", V2)])
@pytest.mark.parametrize("where", ["/job/step", "/job", ""])
def test_the_limit_of_a_container_or_job_counts_wherever_it_is_set(system, where, own, names):
    root, limit, used, cache = names
    group = f"{root}{where}"
    system |= {"/proc/meminfo": MEMINFO, "/proc/self/cgroup": f"1:cpu:/x\n{own}\n"}
    system |= {f"{group}/{limit}": "3000\n", f"{group}/{used}": "2000\n"}
    assert available_memory() == 1000
    system[f"{group}/memory.stat"] = f"anon 1500\n{cache} 400\n"
    assert available_memory() == 1400
    system[f"{group}/{used}"] = "9000"
    assert available_memory() == 0


def test_cores_are_those_that_the_process_is_bound_to(system, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(6)), raising=False)
    assert available_cores() == 6


@pytest.mark.parametrize(("where", "quota", "cores"), [("/job", "150000 100000", 2), ("", "100000 100000", 1)])
def test_a_container_may_have_a_share_of_their_time(system, monkeypatch, where, quota, cores):
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(6)), raising=False)
    system |= {"/proc/self/cgroup": "0::/job/step\n", "/sys/fs/cgroup/job/step/cpu.max": "max 100000\n"}
    system |= {f"/sys/fs/cgroup{where}/cpu.max": quota + "\n"}
    assert available_cores() == cores


def stat(*cores, io=0):
    """What the kernel says of cores: how long each was idle, busy, and waiting for a disk."""
    times = [f"cpu{i} {busy} 0 0 {idle} {io} 0 0 0 7 7" for i, (idle, busy) in enumerate(cores)]
    return "\n".join(["cpu  1 2 3 4 5 6 7 8 9 10", *times, "intr 1 2 3", ""])


BEFORE, IDLE, BUSY = (100, 50), (110, 50), (100, 60)


@pytest.fixture
def bound_to(monkeypatch, system):
    """Binds this process to so many of four cores, and lets a nap bring them to what they are said to be after it."""

    def bind(cores, *after, io=0):
        system["/proc/stat"] = stat(*4 * [BEFORE])
        monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(cores)), raising=False)
        monkeypatch.setattr("time.sleep", lambda seconds: system.update({"/proc/stat": stat(*after, io=io)}))

    return bind


@pytest.mark.parametrize(
    ("after", "io", "busy"),
    [
        ((IDLE, IDLE, IDLE, IDLE), 0, 0.0),
        ((BEFORE, BEFORE, BEFORE, BEFORE), 10, 0.0),  # waiting for a disk keeps no core
        ((IDLE, IDLE, BUSY, BUSY), 0, 2.0),
        ((BUSY, BUSY, BUSY, BUSY), 0, 4.0),
        ((BEFORE, BEFORE, BEFORE, BEFORE), 0, None),  # no time has gone by
    ],
)
def test_cores_that_compute_for_others(bound_to, after, io, busy):
    bound_to(4, *after, io=io)
    assert busy_cores(0.1) == busy


def test_cores_that_it_is_not_bound_to_do_not_count(bound_to):
    bound_to(2, IDLE, BUSY, BUSY, BUSY)
    assert busy_cores(0.1) == 1.0


def test_who_can_not_say_how_busy_cores_are(system, bound_to, monkeypatch):
    bound_to(4, BUSY, BUSY, BUSY, BUSY)
    system |= {"/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpu.max": "200000 100000\n"}
    assert busy_cores(0.1) is None  # a share of their time is its own, whatever they do
    system.clear()
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    assert busy_cores(0.1) is None
