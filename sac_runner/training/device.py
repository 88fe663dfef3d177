"""Where and how PyTorch computes: device, threads, precision."""

import os

import torch

from sac_runner.config.schema import Config
from sac_runner.errors import WrongInput, train_command


def resolve_device(name: str) -> torch.device:
    """The device that ``auto``, ``cpu``, ``cuda`` or ``cuda:N`` means here.

    Raises:
        WrongInput: It is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return torch.device("cpu")
    there = ["auto", "cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    there += [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if name not in there:
        raise WrongInput(f"device={name} is not there; here it can be {', '.join(there)}", train_command("device=auto"))
    return torch.device(name)


def configure_torch(config: Config) -> int:
    """Set threads and precision; returns the number of threads."""
    threads = len(os.sched_getaffinity(0)) if config.threads == "auto" else config.threads
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision(config.precision)
    return threads
