import pytest
import torch

from sac_runner.errors import WrongInput, first_line
from sac_runner.training.device import room_for


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("", ""),
        ("no such thing\nat line 3", "no such thing"),
        (
            "An exception occurred in a subprocess:\n\nTraceback (most recent call last):\n  File a\nOSError: no g++\n",
            "An exception occurred in a subprocess: OSError: no g++",
        ),
        (
            "Error(s) in loading for Policy:\n\tUnexpected key(s): x",
            "Error(s) in loading for Policy: Unexpected key(s): x",
        ),
        ("An exception occurred in a subprocess:", "An exception occurred in a subprocess:"),
    ],
)
def test_of_an_exception_that_only_announces_its_cause_the_cause_is_said_too(said, line):
    assert first_line(RuntimeError(said)) == line


def test_of_a_compiler_that_fails_the_cause_is_said_and_not_its_hints():
    def backend(*_):
        raise OSError("no C compiler\nanywhere")

    with pytest.raises(Exception, match="VERBOSE") as failed:
        torch.compile(lambda x: x + 1, backend=backend)(torch.ones(1))
    assert first_line(failed.value) == "backend='backend' raised: OSError: no C compiler"


@pytest.mark.parametrize(
    "fault", [MemoryError(), torch.OutOfMemoryError("CUDA"), RuntimeError("CUDA error: out of memory\nmore")]
)
def test_too_little_memory_is_said_to_be_that_whoever_lacks_it(fault):
    with (
        pytest.raises(WrongInput, match="replay.capacity=9 does not fit into memory"),
        room_for("replay.capacity=9", "x"),
    ):
        raise fault


def test_another_fault_stays_what_it_is():
    with pytest.raises(RuntimeError, match="shapes differ"), room_for("replay.capacity=9", "x"):
        raise RuntimeError("shapes differ")
