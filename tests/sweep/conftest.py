import pytest


@pytest.fixture(autouse=True)
def quick_to_look(monkeypatch):
    """Processes that end within milliseconds are not waited for ten times as long."""
    for module in ("pool", "slurm_job", "submission"):
        monkeypatch.setattr(f"sac_runner.sweep.{module}._POLL_S", 0.01)
