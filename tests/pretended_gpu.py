"""The processor in a GPU's place, so that what is done for GPUs alone is done here too."""

from types import SimpleNamespace

import torch

from sac_runner.algorithm import acting, policy
from sac_runner.training import compilation
from sac_runner.types import Scalars


def pretend_a_gpu(monkeypatch):
    """Tensors say that they are on one, to move one there makes another, and what is recorded is done at each replay.

    What acting has recorded is done when somebody waits for it.
    """
    asked, move = [], torch.Tensor.to
    monkeypatch.setattr(torch.Tensor, "is_cpu", False)
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, *where, **how: move(tensor, *where, **how).clone())

    def wait():
        while asked:
            asked.pop(0)()

    pretend_to_send(monkeypatch, SimpleNamespace(synchronize=wait))
    monkeypatch.setattr(compilation, "recorded", lambda body, device: recorded(body, lambda replay: replay()))
    monkeypatch.setattr(acting, "recorded", lambda body, device: recorded(body, asked.append))


def pretend_to_send(monkeypatch, stream=None):
    """There are page-locked memory and events, and every copy is made at once."""
    monkeypatch.setattr(torch.Tensor, "pin_memory", torch.Tensor.clone)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    monkeypatch.setattr(torch.cuda, "Event", lambda: SimpleNamespace(record=lambda _: None, synchronize=lambda: None))


def pretend_a_gpu_that_acts_in_numpy(monkeypatch):
    """The same, and what is chosen is to the last bit what is chosen on a CPU."""
    pretend_a_gpu(monkeypatch)

    def numpy_actor(choose, device, records):
        chooser = choose.__self__
        return acting.NumpyActor(chooser.actor, chooser.obs_normalizer.in_numpy())

    monkeypatch.setattr(policy, "GpuActor", numpy_actor)


def recorded(body, ask):
    """As ``cuda_graph.recorded``, which warms up. ``ask`` is told of each replay."""
    for _ in range(3):
        result = body()
    return Asked(ask, body, result)


class Asked:
    """Like a CUDA graph, it can't be copied."""

    def __init__(self, ask, body, result):
        self.ask, self.body, self.result = ask, body, result

    def __call__(self):
        self.ask(self.replay)
        return self.result

    def replay(self):
        for into, x in zip(tensors(self.result), tensors(self.body()), strict=True):
            into.copy_(x)

    def __deepcopy__(self, _):
        raise TypeError("cannot pickle 'CUDAGraph' object")


def tensors(result):
    return [result.values] if isinstance(result, Scalars) else [result]
