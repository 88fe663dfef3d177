"""A trained policy for one's own code: ``sac_runner.load_policy(RUN)(obs)``."""

from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces.utils import flatdim
from numpy.typing import NDArray

from sac_runner.config.schema import Config
from sac_runner.errors import WrongInput
from sac_runner.interaction.spaces import EnvSpaces
from sac_runner.playback.stored import StoredPolicy, read_policy, read_spaces
from sac_runner.storage.checkpoints import Checkpoint
from sac_runner.storage.find import find_run
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.training.device import resolve_device
from sac_runner.training.resume import stored_config


class LoadedPolicy:
    """Observation as the environment gives it in, action as the environment takes it out."""

    def __init__(self, stored: StoredPolicy, config: Config, spaces: EnvSpaces, seed: int) -> None:
        """Use ``load_policy``."""
        self.config, self.spaces = config, spaces
        self.checkpoint: Checkpoint = stored.checkpoint
        """Where the policy came from."""
        self._policy = stored.policy
        self._generator = np.random.default_rng(seed)

    def __repr__(self) -> str:
        """``<policy of Pendulum-v1, best checkpoint, 40 env steps>``."""
        of, at = self.config.env.id, self.checkpoint
        return f"<policy of {of}, {at.kind} checkpoint, {at.env_steps:,} env steps>"

    def __call__(self, obs: Any, sampled: bool = False) -> NDArray[np.floating]:
        """Choose the action for one observation, or for each of a batch.

        Args:
            obs: As the environment gives it (a mapping where it observes a Dict of Boxes), or flat as (obs_dim,); a
                batch has one more axis in front. Raw: normalization happens inside.
            sampled: Draw from the policy instead of taking its deterministic action, tanh(mean).

        Returns:
            Of the environment's action shape and dtype, within its bounds; (N, *shape) for a batch.

        Raises:
            ValueError: ``obs`` has another shape, or a number that is not finite: a sensor that fails moves no robot.
        """
        rows, batched = self.spaces.flatten(obs)
        noise = None
        if sampled:
            shape = (len(rows), flatdim(self.spaces.action))
            noise = self._generator.standard_normal(shape, np.float32)
        action = self.spaces.to_env(self._policy.act(rows, noise))
        return action if batched else action[0]


def load_policy(
    run: str | Path,
    checkpoint: str | int = "best",
    device: str = "cpu",
    *,
    seed: int = 0,
    outputs: str | Path | None = None,
    trust: bool = False,
) -> LoadedPolicy:
    """Load the policy of a run with its observation statistics; nothing loaded can run code.

    It acts with NumPy's threads as they are (``evaluate`` takes one), which may move the last bits.

    Args:
        run: A path, a unique part of a run's name, or ``last``.
        checkpoint: ``best``, ``latest`` or a number of env steps.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        seed: Of the noise of sampled actions.
        outputs: Where runs are looked for by name; by default ``SAC_OUTPUTS``, else ``outputs``.
        trust: Allow to import the package that ``env.id`` names, should the environment have to be made.

    Raises:
        WrongInput: No such run, checkpoint or device, or a run of another version.
        Damaged: What is read is not what was written.
    """
    directory = RunDirectory(find_run(str(run), outputs))
    config = stored_config(directory)
    try:
        where = resolve_device(device)
    except WrongInput as e:
        raise WrongInput(e.message, 'load_policy(..., device="auto")') from e
    stored = read_policy(directory, config, str(checkpoint), where)
    spaces = read_spaces(directory, config.env, trust)
    stored.require_fit(spaces.obs_dim, flatdim(spaces.action))
    return LoadedPolicy(stored, config, spaces, seed)
