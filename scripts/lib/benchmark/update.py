"""One update against the matrix products in it, written into memory that is there already."""

import torch
from torch import Tensor

from benchmark.ours import ALIKE, trainer
from benchmark.timing import Row, compared, in_turn, milliseconds
from sac_runner.training.compilation import compiled
from sac_runner.types import Batch, UpdateNoise

BATCH, WIDTH = 256, 256
Product = tuple[int, int, int]
"""Rows, inner size and columns."""


def products(obs_dim: int, action_dim: int) -> list[Product]:
    """The 42 products of an update with two critics, the actor run once on obs and next_obs together."""
    actor = [(obs_dim, WIDTH), (WIDTH, WIDTH), (WIDTH, 2 * action_dim)]
    critic = [(obs_dim + action_dim, WIDTH), (WIDTH, WIDTH), (WIDTH, 1)]
    forward = [(BATCH, i, o) for i, o in critic]
    to_weights = [(i, BATCH, o) for i, o in critic]
    to_inputs = [(BATCH, o, i) for i, o in critic]
    both = forward + forward + to_weights + to_inputs[1:] + forward + to_inputs  # target, step of Q, actor's way back
    actor_forward = [(2 * BATCH, i, o) for i, o in actor]
    actor_back = [(i, BATCH, o) for i, o in actor] + [(BATCH, o, i) for i, o in actor[1:]]
    return 2 * both + actor_forward + actor_back


def measure(rounds: int) -> list[Row]:
    """Both sizes, at the threads that training takes."""
    return _measure(rounds, "lunarlander") + _measure(rounds, "humanoid")


def _measure(rounds: int, env: str) -> list[Row]:
    with trainer(f"env={env}", *ALIKE) as made:
        obs_dim, action_dim = made.collector.obs.shape[1], made.action_dim
        generator = torch.Generator().manual_seed(0)

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator)

        batch = Batch(
            draw(BATCH, obs_dim), draw(BATCH, action_dim).tanh(), draw(BATCH), draw(BATCH, obs_dim), torch.zeros(BATCH)
        )
        noise = UpdateNoise(draw(BATCH, action_dim), draw(BATCH, action_dim))
        matrices = [(draw(n, k), draw(k, m), torch.empty(n, m)) for n, k, m in products(obs_dim, action_dim)]

        def floor() -> None:
            for a, b, out in matrices:
                torch.mm(a, b, out=out)

        fast = compiled(made.agent, batch, noise)
        fast_ones, updates, floors = in_turn(
            rounds,
            lambda: milliseconds(lambda: fast(batch, noise)),
            lambda: milliseconds(lambda: made.agent.update(batch, noise)),
            lambda: milliseconds(floor),
        )
    case, against = f"{obs_dim} observations and {action_dim} actions", "its 42 matrix products"
    return [
        compared("update", f"compiled, {case}", fast_ones, floors, "ms", against, "<= 1.5 times as long"),
        compared("update", f"as written, {case}", updates, floors, "ms", against),
    ]
