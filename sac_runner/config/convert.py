"""Plain data to the dataclasses of ``schema`` and back, with every fault found at once."""

import dataclasses
import difflib
import math
import re
import sys
import types
from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from sac_runner.config.ranges import Within
from sac_runner.config.schema import Config
from sac_runner.errors import WrongInput

_THOUSANDS = {"k": 1e3, "K": 1e3, "M": 1e6, "%": 0.01}
_SECONDS = dict.fromkeys(("s", "sec", "second", "seconds"), 1) | dict.fromkeys(("m", "min", "minute", "minutes"), 60)
_SECONDS |= dict.fromkeys(("h", "hour", "hours"), 3600) | dict.fromkeys(("d", "day", "days"), 86400)
_NUMBER = re.compile(r"[+-]?\d[\d_]*(\.\d*)?([eE][+-]?\d+)?", re.ASCII)
_INVALID = math.nan
"""In the place of a value that can't be: it compares false, so that no check between keys blames it again."""


class Fault(NamedTuple):
    """A value that can't be, or values that can't be together."""

    keys: tuple[str, ...]
    """The first of them that was typed is to blame."""
    text: str
    mends: tuple[str, ...] = ()
    """Overrides to put in its place; if there are none, the value that it has where nobody types one will do."""


def from_plain(data: dict[str, Any]) -> Config:
    """A ``Config`` from nested plain data.

    Raises:
        WrongInput: Missing, unknown, mistyped or out-of-range values, all of them in one message.
    """
    config, faults = convert(data)
    refuse(faults)
    return config


def refuse(faults: Sequence[Fault]) -> None:
    """Where there are ``faults``, raise ``WrongInput`` with all of them."""
    if faults:
        raise WrongInput("; ".join(fault.text for fault in faults))


def convert(data: dict[str, Any]) -> tuple[Config, list[Fault]]:
    """A ``Config`` from nested plain data, and what is wrong with it, each by itself.

    With faults the config is good for nothing but to be searched for more.
    """
    faults: list[Fault] = []
    config = _convert(Config, data, "", faults)
    assert isinstance(config, Config)
    return config, faults


def to_plain(config: Any) -> dict[str, Any]:
    """Nested dicts, lists and scalars, as YAML and JSON can hold them."""
    return {key: _plain(value) for key, value in vars(config).items()}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_plain(value)
    return list(value) if isinstance(value, tuple) else value


def flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted key -> scalar or list, in the order of the schema."""
    keys: dict[str, Any] = {}
    for key, value in (config if isinstance(config, dict) else to_plain(config)).items():
        if isinstance(value, dict) and value:
            keys |= flat(value, f"{prefix}{key}.")
        else:
            keys[f"{prefix}{key}"] = value
    return keys


def _convert(kind: Any, value: Any, key: str, faults: list[Fault]) -> Any:
    origin = get_origin(kind)
    if origin is Annotated:
        inner, *bounds = get_args(kind)
        return _bounded(_convert(inner, value, key, faults), bounds, key, faults)
    if origin in (Union, types.UnionType):
        return _one_of(get_args(kind), value, key, faults)
    if origin is Literal:
        return value if value in get_args(kind) else _no_choice(kind, key, value, faults)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            alone = (f"{key}=[{value}]",) if isinstance(value, int) else ()
            return _fault(key, value, "a list, such as [256, 256]", faults, alone)
        return tuple(_convert(get_args(kind)[0], x, key, faults) for x in value)
    if origin is dict:
        return dict(value) if isinstance(value, dict) else _fault(key, value, "a mapping", faults)
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, value, key, faults)
    return _scalar(kind, value, key, faults)


def _dataclass(kind: Any, value: Any, key: str, faults: list[Fault]) -> Any:
    hints = get_type_hints(kind, include_extras=True)
    prefix = f"{key}." if key else ""
    if isinstance(value, dict):
        faults += [Fault((f"{prefix}{x}",), f"unknown key {prefix}{x}") for x in value if x not in hints]
        faults += [Fault((f"{prefix}{x}",), f"{prefix}{x} is missing") for x in hints if x not in value]
    else:
        _fault(key, value, "a group of keys", faults)
        value = {}
    fields = {}
    for name, hint in hints.items():
        if name in value:
            fields[name] = _convert(hint, value[name], prefix + name, faults)
        else:  # a missing group is one of NaNs, so that checks between keys may look into it
            fields[name] = _convert(hint, {}, name, []) if dataclasses.is_dataclass(hint) else _INVALID
    return kind(**fields)


def _one_of(kinds: tuple[Any, ...], value: Any, key: str, faults: list[Fault]) -> Any:
    if value is None and type(None) in kinds:
        return None
    kinds = tuple(kind for kind in kinds if kind is not type(None))
    if dataclasses.is_dataclass(kinds[0]):
        variants = {variant_mode(kind): kind for kind in kinds}
        mode = value.get("mode") if isinstance(value, dict) else None
        if not isinstance(mode, str) or mode not in variants:
            return _fault(f"{key}.mode", mode, " or ".join(variants), faults)
        return _dataclass(variants[mode], value, key, faults)
    for kind in kinds:
        attempt: list[Fault] = []
        result = _convert(kind, value, key, attempt)
        if not attempt:
            return result
    if len(kinds) == 1:
        faults += [fault._replace(text=f"{fault.text} or null") if fault.keys == (key,) else fault for fault in attempt]
        return _INVALID
    return _fault(key, value, " or ".join(_alternatives(kind) for kind in kinds), faults)


def variant_mode(kind: Any) -> str:
    """The ``mode`` that selects a dataclass among the variants of its group."""
    return str(get_args(get_type_hints(kind)["mode"])[0])


def _alternatives(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " or ".join(map(str, get_args(kind)))
    if get_origin(kind) is Annotated:
        return " ".join([_alternatives(get_args(kind)[0]), *map(str, get_args(kind)[1:])])
    return {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}[kind]


def _bounded(value: Any, bounds: list[Within], key: str, faults: list[Fault]) -> Any:
    for bound in bounds:
        if value is not _INVALID and value not in bound:
            return _fault(key, value, str(bound), faults)
    return value


def _scalar(kind: type, value: Any, key: str, faults: list[Fault]) -> Any:
    if kind in (int, float) and isinstance(value, str) and _NUMBER.fullmatch(value):
        value = int(value) if value.isdecimal() else float(value)  # ${oc.env:SLURM_ARRAY_TASK_ID} gives a text
    number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    if kind is int and number and value == int(value):
        return int(value)
    if kind is float and number:
        return float(value)
    if kind in (str, bool) and isinstance(value, kind):
        return value
    mends = _in_digits(kind, key, value) if kind in (int, float) else _yes_or_no(key, value) if kind is bool else ()
    return _fault(key, value, _alternatives(kind), faults, mends)


def _yes_or_no(key: str, value: Any) -> tuple[str, ...]:
    """``yes``, ``on`` and ``1`` as it is written here."""
    said = {"yes": "true", "on": "true", "1": "true", "no": "false", "off": "false", "0": "false"}.get(
        str(value).lower()
    )
    return (f"{key}={said}",) if said else ()


def _in_digits(kind: type, key: str, value: Any) -> tuple[str, ...]:
    """``10k`` and ``1.5M``, ``95%``, and ``2h`` of a key that is in minutes or seconds."""
    found = re.fullmatch(r"(-?\d+(?:\.\d+)?) ?([a-zA-Z]+|%)", str(value))
    seconds = 60 if key.endswith("_minutes") else 1 if key.endswith("_s") else None
    units = _THOUSANDS if seconds is None else {unit: x / seconds for unit, x in _SECONDS.items()}
    unit = None if found is None else found[2] if seconds is None else found[2].lower()
    if found is None or unit not in units or (kind is int and unit == "%"):
        return ()
    x = float(f"{float(found[1]) * units[unit]:.12g}")  # 95 * 0.01 is not 0.95
    return (f"{key}={round(x) if kind is int else written(x)}",)


def _no_choice(kind: Any, key: str, value: Any, faults: list[Fault]) -> Any:
    near = difflib.get_close_matches(str(value), map(str, get_args(kind)), 1)
    return _fault(key, value, _alternatives(kind), faults, tuple(f"{key}={choice}" for choice in near))


def _fault(key: str, value: Any, allowed: str, faults: list[Fault], mends: tuple[str, ...] = ()) -> Any:
    faults.append(Fault((key,), f"{key}={written(value)} must be {allowed}", mends))
    return _INVALID


def key_of(override: str) -> str:
    """``agent.lr`` of ``++agent.lr=1e-3``, ``env`` of ``env@_global_=ant``."""
    return override.lstrip("+~").partition("=")[0].partition("@")[0]


def by_key(overrides: Sequence[str]) -> dict[str, str]:
    """``agent.lr`` -> ``++agent.lr=1e-3``; of a key that comes twice the last, which counts."""
    return {key_of(override): override for override in overrides}


def written(value: Any) -> str:
    """As it is typed on the command line: ``0.0003``, ``null``, ``true``, ``[256,256]``."""
    match value:
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case float():
            return f"{value:g}" if float(f"{value:g}") == value else repr(value)
        case list() | tuple():
            return f"[{','.join(map(written, value))}]"
    return str(value)
