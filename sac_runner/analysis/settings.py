"""What a setting is: runs to be one group, their configs, and when two values of a key are the same."""

from typing import Any, NamedTuple

from sac_runner.analysis.load import Run

ABSENT: Any = object()
"""In the place of a key that a run's config does not have."""


class Setting(NamedTuple):
    """Runs that become one group."""

    runs: list[Run]
    configs: list[dict[str, Any]]
    """For each of them the keys that matter."""

    @property
    def config(self) -> dict[str, Any]:
        """The first run's, which is that of all in the keys that tell groups apart."""
        return self.configs[0]


def value_of(config: dict[str, Any], key: str) -> Any:
    """Something that can be hashed, equal only if the value is; ``ABSENT`` where there is no such key."""
    if key not in config:
        return ABSENT
    value = config[key]
    plain = isinstance(value, int | float | str | None) and not isinstance(value, bool)
    return value if plain else (repr(value),)  # else True would be 1, and a list its own text
