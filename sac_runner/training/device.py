"""Where and how PyTorch computes: device, threads, precision."""

import ctypes
import os

import torch

from sac_runner.config.schema import Config
from sac_runner.errors import WrongInput, train_command
from sac_runner.machine import MOST_THREADS, available_cores

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's <malloc.h>


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
    """Set threads, the way of products and how memory is kept; returns the number of threads."""
    _keep_freed_memory()
    threads = _own_threads() if config.threads == "auto" else config.threads
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("medium")
    if not _multiplies_in_float32():
        torch.set_float32_matmul_precision("highest")
    return threads


def _own_threads() -> int:
    """What OMP_NUM_THREADS says, or else the cores that this process may use, four at most.

    A rule rather than a trial at each start: the number of threads moves bits. Two threads make a compiled update 1.3
    (128 x 128) to 1.7 (256 x 256) times as fast as one; products of this size leave little to share out among many.
    """
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdecimal() and int(asked) > 0 else min(available_cores(), MOST_THREADS)


def _multiplies_in_float32() -> bool:
    """Whether products keep float32 accuracy even where bfloat16 is allowed.

    Allowing it routes CPU products through oneDNN, which has bfloat16 ones only for AMX. Elsewhere it computes in
    float32, on an AMD EPYC twice as fast as MKL, so runs of either precision take that way. Tried out rather than
    assumed: with bfloat16 the error is near 0.1, in float32 below 1e-4.
    """
    if torch.cuda.is_available():
        return False
    a, b = torch.randn(2, 2, 256, 256, generator=torch.Generator().manual_seed(0))
    exact = a.double() @ b.double()
    errors = ((a @ b - exact).abs().max(), (a[0] @ b[0] - exact[0]).abs().max())
    return max(float(error) for error in errors) < 1e-3


def _keep_freed_memory() -> None:
    """Let the C library keep what an update frees for the next one; by default glibc gives it back each time.

    The pages then fault in again: 900,000 faults in 700 updates of two 256 x 256 critics, which took 8.8 ms each, 5.7
    without. Blocks from 32 MB on still come and go by themselves, and what is kept is at most 512 MB.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library than glibc
        return
    if mallopt(_M_MMAP_THRESHOLD, 32 * 2**20):  # the most that older ones take; one alone would end their own tuning
        mallopt(_M_TRIM_THRESHOLD, 512 * 2**20)
