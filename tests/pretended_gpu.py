"""The processor in a GPU's place, so that what is done for GPUs alone is done here too."""

from types import SimpleNamespace

import torch

from sac_runner.algorithm import acting
from sac_runner.training import compilation
from sac_runner.types import Scalars


def pretend_a_gpu(monkeypatch):
    """Tensors say that they are on one; what is recorded is done again at each replay, into the same memory."""
    monkeypatch.setattr(torch.Tensor, "is_cpu", False)
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    monkeypatch.setattr(torch.Tensor, "pin_memory", torch.Tensor.clone)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: SimpleNamespace(synchronize=lambda: None))
    for module in (acting, compilation):
        monkeypatch.setattr(module, "recorded", recorded)


def recorded(body, device):
    """As ``cuda_graph.recorded``, which warms up."""
    for _ in range(3):
        result = body()

    def replay():
        for into, x in zip(tensors(result), tensors(body()), strict=True):
            into.copy_(x)

    return result, replay


def tensors(result):
    return [result.values] if isinstance(result, Scalars) else [result]
