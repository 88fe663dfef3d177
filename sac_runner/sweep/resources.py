"""How many jobs of a sweep run at a time, and what of the machine each of them gets."""

import os
from dataclasses import dataclass
from typing import NamedTuple

from sac_runner.config.schema import Config
from sac_runner.machine import MOST_THREADS


class Needs(NamedTuple):
    """What one job needs, measured with its own environment and agent."""

    seconds: float
    """On as many threads as it would have; evaluation aside, 0 where it can't be known."""
    disk: int
    """Bytes."""
    memory: int
    """Bytes, those of Python and PyTorch included."""
    gpus: int
    """How many there are for it to choose from; 0 where it runs on the CPU, or names its GPU."""


@dataclass(frozen=True)
class Machine:
    """What there is to share out."""

    cores: int
    memory: int | None
    """Bytes that are free; None where the system does not say."""
    gpus: int


@dataclass(frozen=True)
class Allotment:
    """What each job gets."""

    at_a_time: int
    threads: int
    """Of PyTorch, for jobs with threads=auto."""
    gpus: list[str]
    """Values of CUDA_VISIBLE_DEVICES that jobs take in turn; empty without GPUs."""

    def environment(self, slot: int) -> dict[str, str]:
        """Environment variables of the job in ``slot``, which no other has that runs beside it; GPUs go in turn."""
        shared = {"OMP_NUM_THREADS": str(self.threads)}
        return shared | ({"CUDA_VISIBLE_DEVICES": self.gpus[slot % len(self.gpus)]} if self.gpus else {})


def allot(
    jobs: int,
    at_a_time: int | None,
    threads: int | None,
    memory_each: int,
    machine: Machine,
    visible: str | None = None,
    most: int = MOST_THREADS,
) -> Allotment:
    """Share ``machine`` out so that no two jobs fight for a core.

    Args:
        jobs: How many there are in all.
        at_a_time: As asked for; None takes as many as cores, memory and GPUs allow.
        threads: As the jobs' configs ask for; None takes what is left to each.
        memory_each: Bytes that a job comes to need.
        machine: What there is.
        visible: CUDA_VISIBLE_DEVICES, where it is set: no other GPU is used.
        most: Threads of a job at most, where its config names none.
    """
    if at_a_time is None:
        limits = [jobs, machine.gpus or machine.cores // (threads or 1)]
        if machine.memory is not None:
            limits.append(machine.memory // max(memory_each, 1))
        at_a_time = max(min(limits), 1)
    at_a_time = min(at_a_time, max(jobs, 1))
    each = threads or min(max(machine.cores // at_a_time, 1), most)
    named = [name for name in visible.split(",") if name] if visible else [str(i) for i in range(machine.gpus)]
    return Allotment(at_a_time, each, named[: machine.gpus])


def visible_gpus() -> str | None:
    """CUDA_VISIBLE_DEVICES, as the user or a scheduler set it."""
    return os.environ.get("CUDA_VISIBLE_DEVICES")


def most_threads(configs: list[Config]) -> int | None:
    """The most threads that a config names; None where all leave it open."""
    return max((config.threads for config in configs if config.threads != "auto"), default=None)
