"""Policies that are to be saved, held as they were until the disk takes them."""

from typing import Any, NamedTuple

import numpy as np

from sac_runner.algorithm.policy import Policy
from sac_runner.errors import diverged
from sac_runner.storage import checkpoints
from sac_runner.storage.checkpoints import Arrays, Kind
from sac_runner.storage.run_directory import RunDirectory


class UnsavedPolicies:
    """Best and kept policies on their way to the disk."""

    def __init__(self, run: RunDirectory) -> None:
        """None is held yet."""
        self._folder = run.checkpoints
        self._held: list[_Held] = []

    def hold(self, kind: Kind, env_steps: int, policy: Policy, note: dict[str, Any]) -> None:
        """Have ``policy`` saved as it is now.

        Raises:
            NotFinite: A weight is not.
        """
        self._held.append(_Held(kind, env_steps, finite(arrays_of(policy)), note))

    def forget_best(self) -> None:
        """A better one is about to be held."""
        self._held = [policy for policy in self._held if policy.kind != "best"]

    def save(self) -> None:
        """Save those that are not on the disk yet.

        Raises:
            DiskFailed: Those that are left are saved with the next.
        """
        while self._held:
            kind, env_steps, arrays, note = self._held[0]
            checkpoints.save(self._folder, kind, env_steps, {"policy": arrays}, {}, note)
            del self._held[0]


class _Held(NamedTuple):
    kind: Kind
    env_steps: int
    arrays: Arrays
    note: dict[str, Any]


def arrays_of(policy: Policy) -> Arrays:
    """Copies of its weights and statistics."""
    return {name: x.cpu().numpy().copy() for name, x in policy.state_dict().items()}


def finite(arrays: Arrays) -> Arrays:
    """``arrays``, none of which may reach the disk with a number that is not one.

    Raises:
        NotFinite: One holds a NaN or infinite number.
    """
    for name, x in arrays.items():
        if x.dtype.kind == "f" and not np.isfinite(x).all():
            raise diverged(f"{name} is not finite")
    return arrays
