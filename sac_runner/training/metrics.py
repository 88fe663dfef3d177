"""The metric contract: every tag there is, and the means that fill a row."""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from sac_runner.errors import diverged
from sac_runner.interaction.collector import Episode
from sac_runner.types import Scalars

METRICS: dict[str, str] = {
    "rollout/episode_return": "raw return of training episodes, mean over those that ended since the last row",
    "rollout/episode_length": "their length in env steps",
    "rollout/success": "share of them with `info['is_success']`, where the environment says so",
    "eval/return_mean": "undiscounted raw return, mean over the evaluation's episodes",
    "eval/return_std": "its standard deviation over episodes",
    "eval/return_min": "the worst episode",
    "eval/return_max": "the best episode",
    "eval/length_mean": "episode length in env steps",
    "eval/success_rate": "share of episodes with `info['is_success']`, where the environment says so",
    "eval/q_bias": "min_i Q_i(s_0, a_0) minus the discounted raw return (Q counts entropy too, and clipped rewards)",
    "train/critic_loss": "sum over critics of the mean squared error (Eq. 5, without its 1/2)",
    "train/actor_loss": "mean of alpha log pi(a|s) - min_i Q_i(s, a) (Eq. 9)",
    "train/alpha_loss": "mean of -log(alpha) (log pi(a|s) + target entropy) (Eq. 18), alpha=auto only",
    "train/alpha": "temperature, in reward per nat",
    "train/entropy": "-log pi(a|s) of new actions, in nats of the action in [-1, 1]",
    "train/target_entropy": "what alpha=auto holds it to",
    "train/q_mean": "mean of all critics on the batch",
    "train/q_target_mean": "mean of their common target",
    "train/td_error_abs_mean": "mean of |Q - target|",
    "train/action_saturation": "share of new action components with |a| > 0.99",
    "perf/env_steps_per_s": "env steps per second since the last row, updates included, evaluation and compiling not",
    "perf/updates_per_s": "updates per second since the last row, evaluation and compiling not included",
    "perf/updates_per_env_step": "updates so far over env steps so far after the warm-up",
    "perf/wall_time_s": "seconds so far, evaluation and earlier starts of the run included",
}

SCORES: dict[str, str] = {
    "score/final": "`eval/return_mean` of the last evaluation",
    "score/best": "the highest `eval/return_mean`",
    "score/area": "area under `eval/return_mean` over env steps, divided by the steps that it spans",
}
"""Of a run that has come to its end, in its events alone."""


def end_scores(scores: dict[str, dict[str, Any]], curve: list[tuple[int, float]]) -> dict[str, float]:
    """``SCORES`` of a run.

    Args:
        scores: ``final`` and ``best`` with their ``return_mean``.
        curve: (env steps, ``eval/return_mean``) in order, from the first evaluation to the last.
    """
    final, best = (float(scores[which]["return_mean"]) for which in ("final", "best"))
    return {"score/final": final, "score/best": best, "score/area": _mean_height(curve) if curve else final}


def _mean_height(curve: list[tuple[int, float]]) -> float:
    """Of the straight lines from point to point."""
    steps, values = np.array(curve, dtype=np.float64).T
    span = steps[-1] - steps[0]
    return float(np.trapezoid(values, steps) / span) if span > 0 else float(values[-1])


def check_finite(values: dict[str, float]) -> None:
    """Refuse means that are not finite.

    Raises:
        NotFinite: One is NaN or infinite.
    """
    wrong = [f"{name} is {value}" for name, value in values.items() if not math.isfinite(value)]
    if wrong:
        raise diverged(", ".join(wrong))


_AT_ONCE = 64
"""Updates whose scalars are added in one go: by itself an addition takes 30 us, as an update leaves cold caches."""


class TrainMeans:
    """Sums of the scalars of updates: added on the device, read only when a row falls due."""

    def __init__(self) -> None:
        """Start empty."""
        self.names: Sequence[str] = []
        self.total: torch.Tensor | None = None
        self.count = 0
        self._waiting: list[torch.Tensor] = []

    def add(self, scalars: Scalars) -> None:
        """Take in one update's."""
        self.names = scalars.names
        self.count += 1
        self._waiting.append(scalars.values.detach())
        if scalars.values.is_cuda or len(self._waiting) == _AT_ONCE:  # a GPU's next update writes where these are
            self._add_up()

    @torch.no_grad()
    def _add_up(self) -> None:
        """One by one, so that the sum does not depend on when it is asked for."""
        for values in self._waiting:
            if self.total is None:
                self.total = torch.zeros_like(values, dtype=torch.float64)  # sums of float32 drift
            self.total += values
        self._waiting.clear()

    def take(self) -> dict[str, float]:
        """Means since the last call, under ``train/``; empty if no update was made."""
        self._add_up()
        if self.total is None:
            return {}
        means = (self.total / self.count).tolist()
        self.total, self.count = None, 0
        return {f"train/{name}": mean for name, mean in zip(self.names, means, strict=True)}

    def state_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        self._add_up()
        return {
            "names": list(self.names),
            "total": None if self.total is None else self.total.tolist(),
            "count": self.count,
        }

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Continue where ``state_dict`` was taken."""
        self._waiting.clear()
        self.names, self.count = state["names"], state["count"]
        total = state["total"]
        self.total = None if total is None else torch.tensor(total, dtype=torch.float64, device=device)


class RolloutMeans:
    """Training episodes that ended since the last row."""

    def __init__(self) -> None:
        """Start empty."""
        self.values: dict[str, list[float]] = defaultdict(list)

    def add(self, episode: Episode) -> None:
        """Take in a finished episode."""
        self.values["rollout/episode_return"].append(episode.ret)
        self.values["rollout/episode_length"].append(float(episode.length))
        if episode.success is not None:
            self.values["rollout/success"].append(float(episode.success))

    def take(self) -> dict[str, float]:
        """Means since the last call; empty if no episode ended."""
        means = {name: float(np.mean(values)) for name, values in self.values.items()}
        self.values.clear()
        return means

    def state_dict(self) -> dict[str, list[float]]:
        """Plain data for JSON."""
        return dict(self.values)

    def load_state_dict(self, state: dict[str, list[float]]) -> None:
        """Continue where ``state_dict`` was taken."""
        self.values = defaultdict(list, state)
