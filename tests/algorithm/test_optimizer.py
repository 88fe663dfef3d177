import pytest
import torch
from torch import nn

from sac_runner.algorithm.optimizer import Adam, clip_global_norm


def draws(seed):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in ((7, 3), (7,), ())]


def optimizers():
    ours, theirs = ([nn.Parameter(x) for x in draws(0)] for _ in range(2))
    return Adam(ours, 3e-3), torch.optim.Adam(theirs, lr=torch.tensor(3e-3), fused=True), theirs


def test_adam_is_pytorchs_to_the_bit_also_when_the_learning_rate_changes():
    ours, theirs, parameters = optimizers()
    for step in range(5):
        ours.lr.fill_(3e-3 / (step + 1))
        theirs.param_groups[0]["lr"].fill_(3e-3 / (step + 1))
        ours.step(draws(step + 1))
        for parameter, gradient in zip(parameters, draws(step + 1), strict=True):
            parameter.grad = gradient
        theirs.step()
        assert all((x == y).all() for x, y in zip(ours.parameters, parameters, strict=True))
    for i, parameter in enumerate(parameters):
        for name, x in theirs.state[parameter].items():
            assert (ours.state_dict()[f"{i}.{name}"] == x).all()


@pytest.mark.parametrize("scale", [1.0, 1e-8])  # of gradients; the second meets epsilon
def test_what_is_compiled_is_adam_too(scale, monkeypatch):
    ours, theirs, parameters = optimizers()
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    for step in range(3):
        ours.step([scale * x for x in draws(step + 1)])
        for parameter, gradient in zip(parameters, draws(step + 1), strict=True):
            parameter.grad = scale * gradient
        theirs.step()
    for x, y in zip(ours.parameters, parameters, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("greatest", [0.5, 100.0])
def test_gradients_are_clipped_as_pytorch_clips_them(greatest):
    ours, theirs = draws(1), [nn.Parameter(x) for x in draws(0)]
    for parameter, gradient in zip(theirs, draws(1), strict=True):
        parameter.grad = gradient
    nn.utils.clip_grad_norm_(theirs, greatest)
    clip_global_norm(ours, greatest)
    assert all((x == y.grad).all() for x, y in zip(ours, theirs, strict=True))
    assert (ours[0] == draws(1)[0]).all() == (greatest == 100.0)
