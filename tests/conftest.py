import os
from types import SimpleNamespace

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: small products are slower on more threads

settings.register_profile("same_every_time", derandomize=True, deadline=None, database=None)
settings.load_profile("same_every_time")


@pytest.fixture(autouse=True, scope="session")
def no_waiting_for_the_disk():
    """Nothing here outlives a power cut, and on a busy disk most of the time would go into it."""
    patch = pytest.MonkeyPatch()
    patch.setattr(os, "fsync", lambda descriptor: None)
    yield
    patch.undo()


@pytest.fixture
def nothing_goes_on(monkeypatch):
    """No run is trained meanwhile: a checkpoint that is damaged or not there stays so, and is not waited for."""
    monkeypatch.setattr("sac_runner.playback.stored.time", SimpleNamespace(sleep=lambda seconds: None))
