"""The keys that there are, and which of them is meant."""

import difflib
from collections import defaultdict
from functools import cache
from typing import Any, get_args, get_type_hints

from sac_runner.config.convert import variant_mode
from sac_runner.config.schema import Config

TEXTS = ("run.name", "run.dir", "outputs", "resume", "init_from", "env.id")
"""Keys whose values may hold what Hydra's grammar has another meaning for."""


def nearest_keys(key: str) -> list[str]:
    """The known keys whose last part is most like that of ``key``, in its group if there are such.

    Several where it names no group.
    """
    keys = schema_keys()
    group, _, last = key.lower().rpartition(".")
    if group in keys:
        return [group]
    everywhere: dict[str, list[str]] = defaultdict(list)
    for name in keys:
        everywhere[name.rpartition(".")[2]].append(name)
    beside = {name.rpartition(".")[2]: [name] for name in keys if name.rpartition(".")[0] == group}
    if group and (begun := [name for short, (name,) in beside.items() if short.startswith(last)]):
        return begun
    for there in (beside, everywhere):
        for near in difflib.get_close_matches(last, there, 1, 0.7):
            of_group = {name.rpartition(".")[0]: name for name in there[near]}
            return [of_group[near] for near in difflib.get_close_matches(group, of_group, 1, 0.5)] or there[near]
    return []


@cache
def schema_keys() -> dict[str, str | None]:
    """Every dotted key, and the mode of its group that it belongs to (None: it is always there)."""
    keys: dict[str, str | None] = {}

    def walk(kind: Any, prefix: str, mode: str | None) -> None:
        """Take in the fields of the dataclass ``kind``, which lies under ``prefix``."""
        for name, hint in get_type_hints(kind).items():
            variants = [k for k in (get_args(hint) or (hint,)) if hasattr(k, "__dataclass_fields__")]
            for variant in variants:
                walk(variant, f"{prefix}{name}.", variant_mode(variant) if len(variants) > 1 else mode)
            if not variants:
                key = f"{prefix}{name}"
                keys[key] = None if key in keys and keys[key] != mode else mode

    walk(Config, "", None)
    return keys
