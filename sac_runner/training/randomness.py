"""All randomness of a run: one root seed, and a stream of its own for each use.

Every stream is a NumPy generator (bulk draws equal single ones, its state is JSON). No global generator is drawn from.
"""

from typing import Any

import numpy as np
import torch

_WEIGHTS, _ACTING, _UPDATE, _REPLAY, _WARMUP, _EPISODES, _EVALUATION = range(7)


def _sequence(root: int, *key: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(root, spawn_key=key)


def weights_generator(root: int) -> torch.Generator:
    """The generator of initial weights: PyTorch's, seeded from the root like the streams."""
    return torch.Generator().manual_seed(int(_sequence(root, _WEIGHTS).generate_state(1)[0]))


def episode_seed(root: int, env: int, episode: int) -> int:
    """Seed of environment ``env``'s ``episode``-th episode, in [0, 2^32)."""
    return int(_sequence(root, _EPISODES, env, episode).generate_state(1)[0])


def round_seed(root: int, round_index: int) -> int:
    """The tutorial's: one seed for all episodes of a round; of several environments, as episodes begin."""
    return root + round_index


def evaluation_noise(seed: int) -> np.random.Generator:
    """Acting noise of the evaluation episode that is reset with ``seed``."""
    return np.random.default_rng(_sequence(seed, _EVALUATION))


class Streams:
    """The generators that a run draws from as it goes."""

    def __init__(self, root: int) -> None:
        """Start every stream of ``root``."""
        self.acting = np.random.default_rng(_sequence(root, _ACTING))
        self.update = np.random.default_rng(_sequence(root, _UPDATE))
        self.replay = np.random.default_rng(_sequence(root, _REPLAY))
        self.warmup = np.random.default_rng(_sequence(root, _WARMUP))

    def state_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {name: stream.bit_generator.state for name, stream in vars(self).items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken."""
        for name, stream in vars(self).items():
            stream.bit_generator.state = state[name]
