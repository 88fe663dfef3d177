"""CUDA graphs: what a GPU is told to do, recorded once. Told anew each time, it would wait most of the time."""

import gc
from collections.abc import Callable
from typing import TypeVar

import torch

from sac_runner.errors import first_line, warn

T = TypeVar("T")

_BROKEN: list[torch.cuda.CUDAGraph] = []
"""Graphs whose recording failed. PyTorch 2.11's allocator goes on pointing to them, so they are kept."""


def recorded(body: Callable[[], T], device: torch.device) -> Callable[[], T]:
    """``body`` as one call of ``device``; itself, and a warning, where it can't be recorded.

    It runs some four times for that: its traces are the caller's to undo.

    Args:
        body: Reads and writes the same memory each time, and asks for no value.
        device: A GPU.

    Returns:
        Returns what ``body`` does, each time in the same memory.
    """
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.device(device):
        # A stream for each: from PyTorch 2.12 on, a graph that ends takes along what others on its stream compute with.
        here, aside = torch.cuda.current_stream(), torch.cuda.Stream()
        aside.wait_stream(here)
        with torch.cuda.stream(aside):
            for _ in range(3):  # what libraries set up at first cannot be recorded
                body()
        here.wait_stream(aside)
        gc.collect()  # another graph that ends while this one is recorded would spoil it
        try:
            # By itself a graph takes a stream of the GPU that was first in use, and leaves it current where it fails.
            with torch.cuda.stream(here), torch.cuda.graph(graph, stream=aside):
                result = body()
        except RuntimeError as e:
            causes: list[BaseException] = [e]  # that recording was broken off is all that the last one says
            while (cause := causes[-1].__context__) is not None:
                causes.append(cause)
            _BROKEN.append(graph)
            for cause in causes:
                if isinstance(cause, torch.OutOfMemoryError):
                    raise cause from None
            why = first_line(causes[-1])
            warn(f"no CUDA graph could be recorded, so every operation is launched by itself, which is slower ({why})")
            return body

    def replay() -> T:
        """What was recorded, once more."""
        graph.replay()
        return result

    return replay
