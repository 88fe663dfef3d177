"""How groups are called: what was typed where sweeps tell them apart, else as few keys as do."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sac_runner.analysis.settings import Setting, value_of
from sac_runner.config.convert import written

_ENV = ("env", "env.id")


def labels_of(
    settings: list[Setting], keys: Sequence[str], leaders: Iterable[str], asked: list[str] | None
) -> list[str]:
    """A label for each setting, no two alike.

    Args:
        settings: Those of one environment.
        keys: Keys that tell them apart.
        leaders: Those of them that follow no other key.
        asked: Keys of ``--group-by``, always said; None where it isn't given.
    """
    typed = _as_typed(settings) if asked is None else None
    configs = [setting.config for setting in settings]
    if typed is None:
        return _labels(configs, keys, asked or [])
    apart = _apart(leaders, settings)
    return [f"{label} {_text(config, apart)}" for label, config in zip(typed, configs, strict=True)] if apart else typed


def _as_typed(settings: list[Setting]) -> list[str] | None:
    """``alpha=fixed_0.05``: what was swept tells them apart, if all of them come from sweeps over the same keys."""
    runs = [run for setting in settings for run in setting.runs]
    swept = {id(run): {key: x for key, x in (run.setting or {}).items() if key not in _ENV} for run in runs}
    if any(run.setting is None for run in runs) or len({tuple(own) for own in swept.values()}) > 1:
        return None
    firsts = [swept[id(setting.runs[0])] for setting in settings]
    labels = [" ".join(f"{key}={value}" for key, value in own.items()) or "all runs" for own in firsts]
    return labels if len(set(labels)) == len(labels) else None


def _apart(keys: Iterable[str], settings: list[Setting]) -> list[str]:
    """Those of ``keys`` that tell whole sweeps apart, as no setting says: each sweep has one value of them."""
    values: dict[tuple[str, Path], set[Any]] = {}
    for setting in settings:
        for run, config in zip(setting.runs, setting.configs, strict=True):
            for key in keys:
                values.setdefault((key, run.path.absolute().parent.parent), set()).add(value_of(config, key))
    return [key for key in keys if all(len(seen) == 1 for (of, _), seen in values.items() if of == key)]


def _labels(configs: list[dict[str, Any]], keys: Sequence[str], always: Iterable[str]) -> list[str]:
    """``alpha=auto`` and ``alpha=fixed alpha.value=0.05``: as few of ``keys`` as tell all groups apart.

    The usual value of a key of the evaluation is not said.
    """
    shown = list(always)
    for key in sorted(keys, key=lambda key: not key.endswith(".mode")):
        if _count(configs, [*shown, key]) > _count(configs, shown):
            shown.append(key)
    ordered = [key for key in keys if key in shown]
    usual = {k: _most_common([value_of(own, k) for own in configs]) for k in ordered if k.startswith("eval.")}
    texts = [_text(own, [k for k in ordered if k not in usual or value_of(own, k) != usual[k]]) for own in configs]
    if len(set(texts)) < len(texts) or "" in texts:
        texts = [_text(own, ordered) for own in configs]
    return _unique([text or ("default" if shown else "all runs") for text in texts])


def _unique(texts: list[str]) -> list[str]:
    """``texts``, a later equal one with its number: values of different types may be written alike."""
    return [f"{x} ({texts[:i].count(x) + 1})" if x in texts[:i] else x for i, x in enumerate(texts)]


def _text(config: dict[str, Any], keys: list[str]) -> str:
    return " ".join(f"{key.removesuffix('.mode')}={written(config[key])}" for key in keys if key in config)


def _most_common(values: list[Any]) -> Any:
    return max(values, key=values.count)


def _count(configs: list[dict[str, Any]], keys: list[str]) -> int:
    """How many groups ``keys`` tell apart."""
    return len({tuple(value_of(config, key) for key in keys) for config in configs})
