"""CUDA graphs: what a GPU is told to do, recorded once. Told anew each time, it would wait most of the time."""

from collections.abc import Callable
from typing import TypeVar

import torch

T = TypeVar("T")


def recorded(body: Callable[[], T], device: torch.device) -> tuple[T, Callable[[], None]]:
    """What ``body`` has ``device`` do, as one call. It runs three times for that: its traces are the caller's to undo.

    Args:
        body: Reads and writes the same memory each time, and asks for no value.
        device: A GPU.

    Returns:
        What ``body`` returned, whose memory each replay writes anew, and the replay.
    """
    with torch.cuda.device(device):
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):  # what libraries set up at first cannot be recorded
                body()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=aside):  # by itself it takes one of the GPU that was first in use
            result = body()
    return result, graph.replay
