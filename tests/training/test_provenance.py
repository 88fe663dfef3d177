import subprocess
from types import SimpleNamespace

import pytest
import torch

from sac_runner.training import provenance as module
from tests.support import config


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """The package seems to lie in a clone; sets what git says of its files."""
    (tmp_path / ".git").mkdir()
    monkeypatch.setattr(module, "__file__", str(tmp_path / "sac_runner/training/provenance.py"))

    def clone(said):
        def run(command, **_):
            assert command[:3] == ["git", "-C", tmp_path]
            if isinstance(said, Exception):
                raise said
            return SimpleNamespace(stdout="c0ffee\n" if "rev-parse" in command else said)

        monkeypatch.setattr(module.subprocess, "run", run)
        return module.git_state()

    return clone


@pytest.mark.parametrize(
    ("status", "dirty"), [("", False), ("\n", False), (" M sac_runner/algorithm/losses.py\n", True)]
)
def test_code_that_is_not_as_it_was_committed_is_known_by_it(clone, status, dirty):
    assert clone(status) == {"commit": "c0ffee", "dirty": dirty}


@pytest.mark.parametrize("fails", [FileNotFoundError("git"), subprocess.TimeoutExpired("git", 10)])
def test_without_an_answer_of_git_nothing_is_said_of_the_commit(clone, fails):
    assert clone(fails) is None


def test_the_gpu_that_rounds_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"the GPU of index {device.index}")
    gpus = [module.provenance([], config(), torch.device(x), 1)["host"]["gpu"] for x in ("cpu", "cuda", "cuda:1")]
    assert gpus == [None, "the GPU of index None", "the GPU of index 1"]
