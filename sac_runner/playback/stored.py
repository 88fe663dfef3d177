"""What a run has stored, ready to act: its config, its policy, its spaces. Nothing that is read runs code."""

import time
from dataclasses import dataclass, replace
from typing import Any

import torch
from safetensors import SafetensorError

from sac_runner.algorithm.policy import Policy
from sac_runner.config.schema import Config, EnvConfig
from sac_runner.errors import Damaged, WrongInput
from sac_runner.interaction.spaces import EnvSpaces, spaces_from_plain, spaces_of
from sac_runner.storage.checkpoints import Arrays, Checkpoint
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.training.resume import stored_config


@dataclass(frozen=True)
class StoredPolicy:
    """A policy with its observation statistics, as a checkpoint holds it."""

    policy: Policy
    checkpoint: Checkpoint
    score: dict[str, Any] | None
    """The in-training evaluation at its step with its protocol; None where there was none."""
    obs_dim: int
    action_dim: int

    def require_fit(self, obs_dim: int, action_dim: int) -> None:
        """Refuse an environment that is not as it was in training, such as one's own that has grown since.

        Raises:
            WrongInput: It observes or takes another number of numbers.
        """
        if (obs_dim, action_dim) != (self.obs_dim, self.action_dim):
            raise WrongInput(
                f"the environment now observes {obs_dim} and takes {action_dim} numbers; "
                f"the policy was trained on {self.obs_dim} and {self.action_dim}"
            )


def read_policy(run: RunDirectory, config: Config, which: str, device: torch.device) -> StoredPolicy:
    """The policy of a checkpoint, also while the run goes on: one that vanishes meanwhile is looked up anew.

    Args:
        run: The run.
        config: Its stored config.
        which: ``best``, ``latest`` or a number of env steps.
        device: Where the policy will act.

    Raises:
        WrongInput: There is no such checkpoint.
        Damaged: It is not what was written.
    """
    for pause_s in (0.05, 0.25):
        try:
            return _read(run.checkpoint(which), config, device)
        except (Damaged, WrongInput):
            time.sleep(pause_s)
    return _read(run.checkpoint(which), config, device)


def _read(checkpoint: Checkpoint, config: Config, device: torch.device) -> StoredPolicy:
    score = checkpoint.manifest()["score"]
    try:
        arrays = checkpoint.arrays("policy")
        obs_dim, action_dim = _sizes(config, arrays)
        policy = Policy(config.agent, config.normalization, obs_dim, action_dim, torch.Generator())
        policy.load_state_dict({name: torch.tensor(x) for name, x in arrays.items()})
    except (AttributeError, KeyError, IndexError, RuntimeError, TypeError, SafetensorError) as e:
        raise WrongInput(f"{checkpoint.path / 'policy.safetensors'} does not fit the config.yaml of its run") from e
    policy.requires_grad_(False).eval().to(device)
    return StoredPolicy(policy, checkpoint, score, obs_dim, action_dim)


def _sizes(config: Config, arrays: Arrays) -> tuple[int, int]:
    """obs_dim and action_dim from the weights, so that no environment need be made."""
    first = arrays["actor.hidden.0.weight" if config.agent.hidden_sizes else "actor.mean.weight"]
    return first.shape[1], arrays["actor.mean.weight"].shape[0]


def as_recorded(run: RunDirectory) -> Config:
    """The stored config with the device and the threads that the run in fact had.

    Raises:
        WrongInput: It is not a run, or its config is of another version.
        Damaged: Its config is not what was written, or no config.
    """
    config, meta = stored_config(run), run.read_meta()
    return replace(config, **{key: meta[key] for key in ("device", "threads") if key in meta})


def read_spaces(run: RunDirectory, config: EnvConfig, trusted: bool) -> EnvSpaces:
    """The spaces that the run stored; from the environment itself, where it stored none.

    Raises:
        WrongInput: The environment would have to be made and can't be.
    """
    spaces = run.read_meta().get("spaces")
    if spaces is not None:
        return spaces_from_plain(spaces)
    require_trust(config, trusted)
    return spaces_of(config)


def require_trust(config: EnvConfig, trusted: bool) -> None:
    """Refuse to import a package only because a stored config names it.

    Raises:
        WrongInput: ``env.id`` names a package and the user has not said that it may be imported.
    """
    package, colon, _ = (config.id or "").partition(":")
    if colon and not trusted:
        raise WrongInput(
            f"this run's environment {config.id} imports {package}, which is code from outside sac_runner",
            "the same with --trust (from Python: trust=True), if you know that code",
        )
