"""Where and how PyTorch computes: device, threads, precision."""

import ctypes
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits

from sac_runner.config.schema import Config
from sac_runner.errors import WrongInput, first_line, train_command, warn
from sac_runner.machine import MOST_THREADS, available_cores, busy_cores, threads_asked_for

_WIDE = 256
"""Units of a layer from which on oneDNN multiplies faster than MKL on one thread."""
_LISTENING_S = 0.1
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
        raise WrongInput(
            f"device={name} is not available; allowed here: {', '.join(there)}", train_command("device=auto")
        )
    return torch.device(name)


@contextmanager
def room_for(what: str, remedy: str) -> Iterator[None]:
    """Memory is taken inside.

    Args:
        what: ``key=value`` that decides how much.
        remedy: Another.

    Raises:
        WrongInput: There is too little.
    """
    try:
        yield
    except (MemoryError, OverflowError, RuntimeError, ValueError) as e:
        lacks = isinstance(e, MemoryError | OverflowError | torch.OutOfMemoryError)
        if not lacks and not re.search("allocate memory|out of memory|too big|[Oo]verflow|[Mm]aximum", str(e)):
            raise
        raise WrongInput(f"{what} does not fit into memory: {first_line(e)}", train_command(remedy)) from e


def set_up_torch(config: Config) -> tuple[torch.device, int]:
    """The device and the number of threads of a run, PyTorch being set to them; warns of what is slow here.

    Raises:
        WrongInput: The device is not there.
    """
    device = resolve_device(config.device)
    if config.precision == "medium" and _slow_in_bfloat16(device):
        warn("precision=medium makes updates slower here: this processor has no bfloat16 products (AVX512-BF16, AMX)")
    threads = configure_torch(config, device)
    if config.threads == "auto" and threads_asked_for() is None and device.type == "cpu":
        _warn_of_company(threads)
    return device, threads


def _warn_of_company(threads: int) -> None:
    """Threads wait for each other some eighty times an update, each time for the one that is kept from its core.

    On two cores beside two busy processes a compiled update of 256 x 256 took 17 ms on two threads, 11 on one (alone 4
    and 7).
    """
    cores = available_cores()
    busy = busy_cores(_LISTENING_S) if threads > 1 else None
    if busy is not None and threads + busy > cores + 0.5:
        fewer = max(round(cores - busy), 1)
        warn(f"other processes keep {busy:.1f} of {cores} cores busy; threads={fewer} is likely faster beside them")


def configure_torch(config: Config, device: torch.device) -> int:
    """Set threads, which library multiplies on ``device`` and how memory is kept; returns the number of threads."""
    _keep_freed_memory()
    one_thread_for_numpy()  # before PyTorch's, which may compute with the same library
    threads = own_threads() if config.threads == "auto" else config.threads
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("medium")
    if device.type != "cpu" or not _gains_by_onednn(config, threads) or not _multiplies_in_float32():
        torch.set_float32_matmul_precision("highest")
    return threads


def one_thread_for_numpy() -> None:
    """Compute NumPy's products on one thread, where threadpoolctl knows the library that makes them.

    Those of acting are too small for two, and more threads would move bits.
    OpenBLAS's other threads wait for the next product in a loop, on the cores that PyTorch's update needs meanwhile.
    """
    threadpool_limits(1, user_api="blas")


def _slow_in_bfloat16(device: torch.device) -> bool:
    """Whether ``precision=medium`` costs time instead of saving it: on x86 processors without such products."""
    if device.type != "cpu" or platform.machine() not in ("x86_64", "AMD64"):
        return False
    return not (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def own_threads() -> int:
    """What OMP_NUM_THREADS says, or else the cores that this process may use, four at most.

    A rule rather than a trial at each start: the number of threads moves bits. Two threads make a compiled update 1.3
    (128 x 128) to 1.9 (256 x 256) times as fast as one; products of this size leave little to share out among many.
    """
    return threads_asked_for() or min(available_cores(), MOST_THREADS)


def _gains_by_onednn(config: Config, threads: int) -> bool:
    """Whether an update is faster by oneDNN's products, where they are of float32, than by MKL's: wide, on one thread.

    On an AMD EPYC (Zen 4), compiled, one thread: 256 x 256 gains 4 (LunarLander) to 11 % (Humanoid), 128 x 128 loses
    8. With two threads what a call of oneDNN takes besides counts for more: 128 x 128 loses 19 %, 256 x 256 up to 3.
    """
    return threads == 1 and config.precision == "highest" and max(config.agent.hidden_sizes, default=0) >= _WIDE


def _multiplies_in_float32() -> bool:
    """Whether a CPU's products keep float32 accuracy even where bfloat16 is allowed.

    Allowing it routes products through oneDNN, which has bfloat16 ones only for AMX; with AVX512 alone it computes in
    float32. Tried out rather than assumed: with bfloat16 the error is near 0.1, in float32 below 1e-4.
    """
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
