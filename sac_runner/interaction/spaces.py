"""The spaces of an environment as plain data, so that a policy can be used without making its environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from sac_runner.config.schema import EnvConfig
from sac_runner.interaction.envs import from_unit, raw_spaces


class ObsPart(NamedTuple):
    """A Box within the observation space."""

    keys: tuple[str, ...]
    """Where it lies in a Dict; empty where the observation is this Box itself."""
    shape: tuple[int, ...]


@dataclass(frozen=True)
class EnvSpaces:
    """What an environment shows and takes, before ``make_env`` makes it flat."""

    obs: tuple[ObsPart, ...]
    """In the order in which they are made flat; empty where there is more than Boxes, then only flat ones are taken."""
    obs_dim: int
    action: spaces.Box

    def flatten(self, obs: Any) -> tuple[NDArray[np.float32], bool]:
        """One observation or a batch of N, as the environment gives them or flat.

        Returns:
            (N, obs_dim), and whether a batch was given; one observation comes back as (1, obs_dim).

        Raises:
            ValueError: It has another shape, or a number that is not finite in float32.
        """
        if isinstance(obs, Mapping):
            if not self.obs or not self.obs[0].keys:
                how = ", which gymnasium.spaces.flatten(env.observation_space, obs) makes of it" if not self.obs else ""
                raise ValueError(f"obs is a mapping; this policy takes a vector of {self.obs_dim} numbers{how}")
            parts = [_rows(_at(obs, part.keys), [part.shape]) for part in self.obs]
            flat, batched = np.concatenate([rows for rows, _ in parts], axis=1), parts[0][1]
        else:
            whole = [part.shape for part in self.obs if not part.keys]
            flat, batched = _rows(obs, [*whole, (self.obs_dim,)])
        if not np.isfinite(flat).all():
            raise ValueError("obs has a number that is NaN or infinite")
        return flat, batched

    def to_env(self, action: NDArray[np.float32]) -> NDArray[np.floating]:
        """(N, action_dim) in [-1, 1] -> (N, *shape) in the environment's bounds."""
        return from_unit(self.action)(action)

    def to_plain(self) -> dict[str, Any]:
        """For JSON."""
        action = {"shape": list(self.action.shape), "dtype": str(self.action.dtype)}
        bounds = {"low": self.action.low.ravel().tolist(), "high": self.action.high.ravel().tolist()}
        parts = [{"keys": list(part.keys), "shape": list(part.shape)} for part in self.obs]
        return {"obs": parts, "obs_dim": self.obs_dim, "action": action | bounds}


def spaces_of(config: EnvConfig) -> EnvSpaces:
    """Make the environment once to see what it has."""
    obs, action = raw_spaces(config)
    assert isinstance(action, spaces.Box)
    flat = spaces.flatten_space(obs)
    assert isinstance(flat, spaces.Box)
    return EnvSpaces(_parts(obs, ()), flat.shape[0], action)


def spaces_from_plain(plain: dict[str, Any]) -> EnvSpaces:
    """The inverse of ``to_plain``."""
    action = plain["action"]
    shape, dtype = tuple(action["shape"]), np.dtype(action["dtype"])
    low, high = (np.array(action[bound], dtype).reshape(shape) for bound in ("low", "high"))
    parts = tuple(ObsPart(tuple(part["keys"]), tuple(part["shape"])) for part in plain["obs"])
    return EnvSpaces(parts, plain["obs_dim"], spaces.Box(low, high, shape, dtype.type))


def _parts(space: spaces.Space[Any], keys: tuple[str, ...]) -> tuple[ObsPart, ...]:
    match space:
        case spaces.Box():
            return (ObsPart(keys, space.shape),)
        case spaces.Dict():
            inner = [_parts(value, (*keys, key)) for key, value in space.spaces.items()]
            return tuple(part for parts in inner for part in parts) if all(inner) else ()
    return ()


def _at(obs: Any, keys: tuple[str, ...]) -> Any:
    for key in keys:
        if not isinstance(obs, Mapping) or key not in obs:
            raise ValueError(f"obs has no {'/'.join(keys)}")
        obs = obs[key]
    return obs


def _rows(x: Any, shapes: list[tuple[int, ...]]) -> tuple[NDArray[np.float32], bool]:
    with np.errstate(over="ignore"):  # of what is infinite in float32 ``flatten`` speaks
        array = np.asarray(x, np.float32)
    for shape in shapes:
        if array.shape == shape:
            return array.reshape(1, prod(shape)), False
    for shape in shapes:
        if array.shape[1:] == shape and array.ndim:
            return array.reshape(len(array), prod(shape)), True
    wanted = " or ".join(f"{shape}" for shape in dict.fromkeys(shapes))
    raise ValueError(f"obs has shape {array.shape}; this policy takes {wanted}, or a batch (N, ...) of them")
