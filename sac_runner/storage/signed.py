"""JSON that ends with a digest of what it says, so that damage shows."""

import hashlib
import json
from pathlib import Path
from typing import Any

from sac_runner.errors import Damaged
from sac_runner.storage.files import json_bytes, read_whole


def digest(data: bytes) -> str:
    """Its SHA-256."""
    return hashlib.sha256(data).hexdigest()


def signed(value: dict[str, Any]) -> bytes:
    """``value`` as JSON, with a digest of it as its last key."""
    return json_bytes({**value, "sha256": digest(json_bytes(value))})


def parse_signed(data: bytes, path: Path) -> dict[str, Any]:
    """What ``signed`` was given.

    Args:
        data: What it made of that.
        path: Where ``data`` was found, for the message.

    Raises:
        Damaged: ``data`` is not what it made.
    """
    try:
        value: dict[str, Any] = json.loads(data)
        intact = value.pop("sha256") == digest(json_bytes(value))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        intact = False
    if not intact:
        raise Damaged(f"{path} is damaged, or was changed")
    return value


def read_signed(path: Path) -> dict[str, Any]:
    """What the file at ``path`` says.

    Raises:
        Damaged: It is not there, or is not what was written.
        DiskFailed: It can't be read.
    """
    return parse_signed(read_whole(path), path)
