"""Evaluation: the same episodes for every run, in environments of their own, drawing on no stream of the training."""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from sac_runner.algorithm.policy import Policy
from sac_runner.config.schema import EvalConfig
from sac_runner.errors import Interrupted
from sac_runner.interaction.collector import Collector, Episode
from sac_runner.training.randomness import evaluation_noise

QValue = Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float32]]
"""(obs (B, obs_dim), action (B, action_dim)) -> (B,), in units of the raw reward."""


class Evaluation(NamedTuple):
    """The episodes of one evaluation, in the order of their seeds."""

    returns: NDArray[np.float64]
    lengths: NDArray[np.int64]
    successes: list[bool]
    """Empty where the environment does not say."""
    q_bias: float | None
    """Mean over episodes of Q(s_0, a_0) minus the discounted return that followed."""

    def scores(self) -> dict[str, float]:
        """The metrics under ``eval/``."""
        scores = {
            "return_mean": float(self.returns.mean()),
            "return_std": float(self.returns.std()),
            "return_min": float(self.returns.min()),
            "return_max": float(self.returns.max()),
            "length_mean": float(self.lengths.mean()),
        }
        if self.successes:
            scores["success_rate"] = float(np.mean(self.successes))
        if self.q_bias is not None:
            scores["q_bias"] = self.q_bias
        return scores


class Protocol(NamedTuple):
    """What makes two evaluations of the same weights in the same environment equal: a score is written with it."""

    episodes: int
    deterministic: bool
    seed: int
    """Of episode 0; episode i has ``seed + i``."""
    num_envs: int

    @classmethod
    def in_training(cls, config: EvalConfig) -> "Protocol":
        """The one that a run evaluates by."""
        return cls(config.episodes, config.deterministic, config.seed, config.num_envs)

    @classmethod
    def of(cls, score: dict[str, Any]) -> "Protocol":
        """The one that ``score`` was written with."""
        return cls(*(score[name] for name in cls._fields))

    @property
    def seeds(self) -> str:
        """``1000..1009``."""
        return f"{self.seed}..{self.seed + self.episodes - 1}"


def evaluate(
    policy: Policy,
    envs: VectorEnv[Any, Any, Any],
    protocol: Protocol,
    *,
    q_value: QValue | None = None,
    gamma: float = 1.0,
    on_episode: Callable[[int], None] = lambda finished: None,
    stop_requested: Callable[[], bool] = lambda: False,
) -> Evaluation:
    """Play the episodes of ``protocol``, the i-th always with reset seed and noise of ``seed + i``.

    The batch is ``num_envs`` throughout (rows of a product differ in their last bits between batch sizes), so
    equal weights give equal numbers; slots that have no episode left play on and are not counted.

    Args:
        policy: In float32.
        envs: Made for evaluation alone, as many as ``protocol`` says.
        protocol: Of at least 1 episode.
        q_value: Adds ``q_bias`` when given.
        gamma: Discount for ``q_bias``.
        on_episode: Told how many episodes are finished.
        stop_requested: Asked before every step.

    Raises:
        Interrupted: A stop was requested.
    """
    episodes, slots = protocol.episodes, _Slots(envs.num_envs, protocol.seed)
    collector = Collector(envs, slots.next_seed)
    bias = _QBias(envs.num_envs, gamma)
    finished: dict[int, Episode] = {}
    biases: dict[int, float] = {}
    while len(finished) < episodes:
        if stop_requested():
            raise Interrupted
        action = policy.act(collector.obs, None if protocol.deterministic else slots.draw(collector.action_shape))
        if q_value is not None and bias.begins.any():
            bias.begin(q_value(collector.obs, action))
        step_of = list(slots.playing)
        step = collector.step(action)
        bias.add(step.reward)
        for episode in step.episodes:
            index = step_of[episode.env]
            biases[index] = bias.end(episode.env)
            if index < episodes:
                finished[index] = episode
                on_episode(len(finished))
    q_bias = float(np.mean([biases[i] for i in range(episodes)])) if q_value is not None else None
    ordered = [finished[i] for i in range(episodes)]
    return Evaluation(
        np.array([episode.ret for episode in ordered]),
        np.array([episode.length for episode in ordered]),
        [episode.success for episode in ordered if episode.success is not None],
        q_bias,
    )


class _Slots:
    """Which episode each environment plays, and with what noise."""

    def __init__(self, count: int, seed: int) -> None:
        self._upcoming, self._seed = itertools.count(), seed
        self.playing = [0] * count
        self._noises: dict[int, np.random.Generator] = {}

    def next_seed(self, env: int, *_: int) -> int:
        """Begin the next episode in ``env``."""
        self.playing[env] = next(self._upcoming)
        seed = self._seed + self.playing[env]
        self._noises[env] = evaluation_noise(seed)
        return seed

    def draw(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """A standard normal draw of ``shape`` for each of them."""
        return np.stack([noise.standard_normal(shape, np.float32) for _, noise in sorted(self._noises.items())])


class _QBias:
    """Q(s_0, a_0) minus the discounted return, kept for each slot while its episode runs."""

    def __init__(self, slots: int, gamma: float) -> None:
        self.gamma = gamma
        self.begins = np.ones(slots, np.bool_)
        self.bias = np.zeros(slots)
        self.discount = np.ones(slots)

    def begin(self, q: NDArray[np.float32]) -> None:
        self.bias[self.begins] = q[self.begins]
        self.discount[self.begins] = 1.0
        self.begins[:] = False

    def add(self, reward: NDArray[np.float64]) -> None:
        self.bias -= self.discount * reward
        self.discount *= self.gamma

    def end(self, slot: int) -> float:
        self.begins[slot] = True
        return float(self.bias[slot])
