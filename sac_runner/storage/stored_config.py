"""The config of a run as plain data, read fast: for those who look at many runs and train none."""

from typing import Any

import yaml

from sac_runner.errors import Damaged, first_line
from sac_runner.storage.run_directory import RunDirectory

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The one in C is ten times faster, and not in every build."""
_DEPTH = 20  # a config has 3; the C loader crashes the interpreter at some 10,000


def plain_config(run: RunDirectory) -> dict[str, Any]:
    """Nested plain data, which may be of any version: nothing is interpolated, imported, run or checked for its keys.

    Raises:
        WrongInput: This is not a run, or not all of it lies in its directory.
        Damaged: It is not what was written, or no config.
        DiskFailed: It can't be read.
    """
    text = run.config_text()
    try:
        _require_plain(text)
        loader = _Loader(text)
        try:
            plain = loader.get_single_data()
        finally:
            loader.dispose()
        if not isinstance(plain, dict):
            raise ValueError("it is not a group of keys")
    # AttributeError comes of a tag such as !!bool x
    except (yaml.YAMLError, ValueError, LookupError, AttributeError) as e:
        raise Damaged(f"{run.path / 'config.yaml'} can't be read as a config: {first_line(e)}") from e
    return plain


def _require_plain(text: str) -> None:
    if "${" in text:
        raise ValueError("it holds an interpolation")
    depth = 0
    for event in yaml.parse(text, _Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEPTH:
            raise ValueError("it is nested too deep")
        if isinstance(event, yaml.AliasEvent):  # a few lines of them stand for billions of values
            raise ValueError("it holds an alias")
