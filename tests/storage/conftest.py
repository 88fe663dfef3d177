import os
import sys
from pathlib import Path

import pytest


@pytest.fixture
def steps(monkeypatch):
    """What is made durable and what gets another name, in this order."""
    if sys.platform != "linux":
        pytest.skip("asks /proc which file a descriptor is")
    steps, replace = [], os.replace

    def on_disk(descriptor):
        steps.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)

    def renamed(source, target):
        steps.append(f"{Path(source).name} -> {Path(target).name}")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", on_disk)
    for name in ("rename", "replace"):
        monkeypatch.setattr(os, name, renamed)
    return steps
