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
            "backend='_inductor' raised:\nImportError: x\n\n  no C compiler\n",
            "backend='_inductor' raised: no C compiler",
        ),
        ("An exception occurred in a subprocess:", "An exception occurred in a subprocess:"),
    ],
)
def test_of_an_exception_that_only_announces_its_cause_the_cause_is_said_too(said, line):
    assert first_line(RuntimeError(said)) == line


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
