"""Evaluation of a stored policy: on fresh seeds, or once more exactly as in training."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from gymnasium.spaces.utils import flatdim

from sac_runner.config.schema import Config
from sac_runner.errors import WrongInput
from sac_runner.interaction.envs import evaluation_env, make_vector_env
from sac_runner.interaction.faults import close
from sac_runner.playback.stored import StoredPolicy, as_recorded, read_policy, require_trust
from sac_runner.storage.metrics_file import read_points
from sac_runner.storage.names import shown
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.training.device import configure_torch, resolve_device
from sac_runner.training.evaluation import Evaluation, Protocol, evaluate
from sac_runner.training.provenance import provenance

FRESH_SEED = 1_000_000
"""First seed of the episodes that ``evaluate``, ``watch`` and ``record`` play: none that chose a checkpoint."""


@dataclass(frozen=True)
class Assessment:
    """A stored policy, what was known of it, and what has come out now."""

    run: RunDirectory
    config: Config
    stored: StoredPolicy
    asked: str
    """``best``, ``latest`` or a number of env steps."""
    protocol: Protocol
    evaluation: Evaluation
    as_trained: bool
    device: torch.device

    @property
    def is_fresh(self) -> bool:
        """Whether no episode played now has chosen a checkpoint in training."""
        played = range(self.protocol.seed, self.protocol.seed + self.protocol.episodes)
        return _are_apart(played, _training_seeds(self.config))

    def differences(self) -> list[str]:
        """Scores that are not the recorded ones to the bit: ``name there, here``."""
        recorded = self.stored.score or {}
        scores = {name: x for name, x in self.evaluation.scores().items() if name in recorded}
        return [f"{name} {recorded[name]!r}, here {x!r}" for name, x in scores.items() if recorded[name] != x]

    def changed(self) -> list[str]:
        """What is not as it was in training and can move bits: ``torch 2.12.0, here 2.13.0``."""
        here = _what_moves_bits(provenance([], self.config, self.device, torch.get_num_threads()))
        there = _what_moves_bits(self.run.read_meta())
        return [f"{name} {there.get(name)}, here {x}" for name, x in here.items() if there.get(name) != x]

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        values: dict[str, Any] = {
            "run": str(shown(self.run.path)),
            "env": self.config.env.id,
            "checkpoint": {"kind": self.stored.checkpoint.kind, "env_steps": self.stored.checkpoint.env_steps},
            "recorded": self.stored.score,
            "as_trained": self.as_trained,
            **self.protocol._asdict(),
            **self.evaluation.scores(),
            "returns": self.evaluation.returns.tolist(),
            "lengths": self.evaluation.lengths.tolist(),
        }
        return values | ({"equal_to_recorded": not self.differences()} if self.as_trained else {})


def assess(
    run: RunDirectory,
    which: str,
    *,
    episodes: int,
    seed: int | None,
    deterministic: bool,
    as_trained: bool,
    trusted: bool,
    on_episode: Callable[[int, int], None],
) -> Assessment:
    """Evaluate a checkpoint of ``run`` with the device and threads of its training.

    Args:
        run: The run; nothing is written to it.
        which: ``best``, ``latest`` or a number of env steps.
        episodes: How many are played.
        seed: Of the first episode; by default ``FRESH_SEED``, or after the in-training ones should they reach it.
        deterministic: False samples actions.
        as_trained: Repeat the in-training evaluation of the checkpoint's step instead; the three above don't count.
        trusted: An environment from a package that is named in the run may be imported.
        on_episode: Told how many episodes are finished, of how many.

    Raises:
        WrongInput: It needs trust; no such checkpoint, or ``as_trained`` where there was no evaluation.
        Damaged: It is not what was written.
    """
    config = as_recorded(run)
    require_trust(config.env, trusted)
    device = _device(config)
    configure_torch(config, device)
    stored = read_policy(run, config, which, device)
    if as_trained:
        protocol = _recorded_protocol(run, stored)
    else:
        seeds = fresh_seeds(config, episodes, seed)
        protocol = Protocol(len(seeds), deterministic, seeds[0], config.eval.num_envs)
    evaluation = _evaluate(config, stored, protocol, lambda n: on_episode(n, protocol.episodes))
    return Assessment(run, config, stored, which, protocol, evaluation, as_trained, device)


def _evaluate(
    config: Config, stored: StoredPolicy, protocol: Protocol, on_episode: Callable[[int], None]
) -> Evaluation:
    envs = make_vector_env(evaluation_env(config), protocol.num_envs)
    try:
        stored.require_fit(flatdim(envs.single_observation_space), flatdim(envs.single_action_space))
        return evaluate(stored.policy, envs, protocol, on_episode=on_episode)
    finally:
        close(envs)


def fresh_seeds(config: Config, episodes: int, first: int | None) -> range:
    """Seeds of ``episodes`` episodes, by default such as chose no checkpoint of a run with ``config``."""
    if first is None:
        chose = _training_seeds(config)
        first = FRESH_SEED if _are_apart(range(FRESH_SEED, FRESH_SEED + episodes), chose) else chose.stop
    return range(first, first + episodes)


def _training_seeds(config: Config) -> range:
    """Seeds of the evaluations in training, which choose the best checkpoint."""
    return range(config.eval.seed, config.eval.seed + config.eval.episodes)


def _are_apart(one: range, other: range) -> bool:
    """Whether no seed is in both."""
    return one.stop <= other.start or other.stop <= one.start


def _device(config: Config) -> torch.device:
    try:
        return resolve_device(config.device)
    except WrongInput:  # trained on a GPU that this machine does not have
        return torch.device("cpu")


def _recorded_protocol(run: RunDirectory, stored: StoredPolicy) -> Protocol:
    score = stored.score
    if score is None:
        (curve,) = read_points(run, "eval/return_mean")
        steps = [f"{env_steps:,}" for env_steps in curve]
        there = f"; there was one at {', '.join(steps[-5:])}" if steps else ""
        raise WrongInput(f"no evaluation was made at {stored.checkpoint.env_steps:,} env steps{there}")
    return Protocol.of(score)


def _what_moves_bits(meta: dict[str, Any]) -> dict[str, Any]:
    values = {name: meta.get(name) for name in ("device", "threads", "precision")}
    for group in ("versions", "git", "host"):
        values |= meta.get(group) or {}  # git is None where the package was installed
    return values
