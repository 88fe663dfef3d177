"""The few types that cross rooms, with their shapes."""

from typing import NamedTuple

import torch


class Batch(NamedTuple):
    """B transitions drawn from replay; float32 on the agent's device."""

    obs: torch.Tensor
    """(B, obs_dim), raw as the environment gave it."""
    action: torch.Tensor
    """(B, action_dim) in [-1, 1]."""
    reward: torch.Tensor
    """(B,), raw."""
    next_obs: torch.Tensor
    """(B, obs_dim), the true successor, also where an episode ended."""
    terminated: torch.Tensor
    """(B,), 1.0 where the value of ``next_obs`` counts as zero."""


class UpdateNoise(NamedTuple):
    """Standard normal noise of one update: an input, so that an update is a pure function."""

    next_action: torch.Tensor
    """(B, action_dim), for the action at ``next_obs`` (pseudocode line 12)."""
    action: torch.Tensor
    """(B, action_dim), for the action at ``obs`` (pseudocode line 14)."""


Metrics = dict[str, torch.Tensor]
"""Metric name without its prefix -> detached scalar tensor, still on the agent's device."""


class Scalars(NamedTuple):
    """``Metrics`` side by side, so that they are summed up in one call."""

    names: tuple[str, ...]
    values: torch.Tensor
    """(len(names),) float32."""
