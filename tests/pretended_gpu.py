"""The processor in a GPU's place, so that what is done for GPUs alone is done here too."""

from types import SimpleNamespace

import torch

from sac_runner.algorithm import acting, policy
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


def pretend_a_gpu_that_acts_in_numpy(monkeypatch):
    """The same, and what is chosen is to the last bit what is chosen on a CPU."""
    pretend_a_gpu(monkeypatch)

    def numpy_actor(choose, device):
        chooser = choose.__self__
        return acting.NumpyActor(chooser.actor, chooser.obs_normalizer.of_array)

    monkeypatch.setattr(policy, "GpuActor", numpy_actor)


def recorded(body, device):
    """As ``cuda_graph.recorded``, which warms up."""
    for _ in range(3):
        result = body()

    return result, Replay(body, result)


class Replay:
    """Does what was recorded; like a CUDA graph, it can't be copied."""

    def __init__(self, body, result):
        self.body, self.result = body, result

    def __call__(self):
        for into, x in zip(tensors(self.result), tensors(self.body()), strict=True):
            into.copy_(x)

    def __deepcopy__(self, _):
        raise TypeError("cannot pickle 'CUDAGraph' object")


def tensors(result):
    return [result.values] if isinstance(result, Scalars) else [result]
