"""Whether a compiled update does what the update as written does: it is tried out before it is used."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from sac_runner.algorithm.agent import SAC
from sac_runner.types import Batch, Scalars, UpdateNoise

Update = Callable[[Batch, UpdateNoise], Scalars]


def as_written(agent: SAC, batch: Batch, noise: UpdateNoise) -> Scalars:
    """What ``agent.update`` does, its metrics side by side."""
    metrics = agent.update(batch, noise)
    return Scalars(tuple(metrics), torch.stack(list(metrics.values())))


def difference(agent: SAC, update: Update, batch: Batch, noise: UpdateNoise) -> str | None:
    """Where ``update`` does something else than ``agent.update``, rounding aside; None if nowhere.

    No compiler is beyond doubt: one release of PyTorch's lost what was written to a float64 parameter of shape ().
    What rounding does is measured: how far the update as written comes from itself in float32.
    """
    before = copied(agent)
    try:
        written = _made(agent, partial(as_written, agent), before, batch, noise)
        ours = _made(agent, update, before, batch, noise)
        exact = written if agent.precision == "highest" else _made(agent, _in_float32(agent), before, batch, noise)
    finally:
        agent.load_state_dict(before)
    coarse = _coarseness(before, written.state, exact.state)
    wrong = [
        name
        for name, x in ours.state.items()
        if _is_off(name, x, written.state[name], exact.state[name], before[name], coarse[_kind(name)])
    ]
    close = 0.01 if agent.precision == "highest" else 0.25
    loose = close + _SLACK * float(_apart(written.scalars.values, exact.scalars.values).max())
    apart = _apart(ours.scalars.values, exact.scalars.values).tolist()
    wrong += [name for name, x in zip(ours.scalars.names, apart, strict=True) if not x <= loose]
    return f"compiled, it gives another {wrong[0]}" if wrong else None


_SLACK = 5.0
"""How many times further than the update as written a compiled one may be led astray.

Of 510 right ones, in four states of training, one was refused: where Q was 700 times its error.
"""


class _Made(NamedTuple):
    """What an update leaves."""

    state: dict[str, Tensor]
    scalars: Scalars


def _made(agent: SAC, update: Update, before: dict[str, Tensor], batch: Batch, noise: UpdateNoise) -> _Made:
    agent.load_state_dict(before)
    scalars = update(batch, noise)
    return _Made(copied(agent), scalars)


def _in_float32(agent: SAC) -> Update:
    def update(batch: Batch, noise: UpdateNoise) -> Scalars:
        precision, agent.precision = agent.precision, "highest"
        try:
            return as_written(agent, batch, noise)
        finally:
            agent.precision = precision

    return update


def copied(agent: SAC) -> dict[str, Tensor]:
    """The state of ``agent`` as it is now."""
    return {name: x.clone() for name, x in agent.state_dict().items()}


def _kind(name: str) -> str:
    """Of a tensor: the network it is in, or ``adam``, whose and which moment."""
    first, *rest = name.split(".")
    return f"{first}.{rest[0]}.{rest[-1]}" if first == "adam" else first


def _coarseness(before: dict[str, Tensor], written: dict[str, Tensor], exact: dict[str, Tensor]) -> dict[str, float]:
    """How far rounding leads the tensors of each kind astray, as a share of the way that they go."""
    squares: dict[str, Tensor] = {}
    for name, x in exact.items():
        pair = torch.stack([(written[name] - x).double().square().sum(), (x - before[name]).double().square().sum()])
        squares[_kind(name)] = squares.get(_kind(name), torch.zeros_like(pair)) + pair
    return {kind: float((astray / way).sqrt()) if way > 0 else 0.0 for kind, (astray, way) in squares.items()}


def _is_off(name: str, x: Tensor, written: Tensor, exact: Tensor, before: Tensor, coarse: float) -> bool:
    """It did not move although it should have, or came elsewhere, or is no number.

    Float32 rounds by 3e-7 of its size, and can turn which of two critics is the lower one, or a unit on: at times a
    hundredth of the way. In bfloat16 much more turns, and single biases, the mean of what all but cancels, are led
    astray further than their kind.
    """
    if name.endswith(".step"):  # a count, of which one more is soon less than what rounding may do
        return not torch.equal(x, exact)
    way, size, off, astray = (float(y.norm()) for y in (exact - before, exact, x - exact, written - exact))
    lost = way > 3e-7 * size and torch.equal(x, before)
    return lost or not off <= (0.25 + _SLACK * coarse) * way + _SLACK * astray + 3e-7 * size


def _apart(x: Tensor, exact: Tensor) -> Tensor:
    return (x - exact).abs() / (1.0 + exact.abs())
