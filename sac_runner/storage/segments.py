"""The replay buffer on disk: immutable segments of rows, written once, listed in the checkpoint that needs them."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.numpy

from sac_runner.errors import WrongInput
from sac_runner.storage.checkpoints import Arrays
from sac_runner.storage.files import write_atomically


class Segment(NamedTuple):
    """Rows ``first`` to ``last`` - 1, counted from the start of the run."""

    first: int
    last: int
    sha256: str

    @property
    def file(self) -> str:
        """Its name in the run's ``replay`` folder."""
        return f"rows-{self.first:012d}-{self.last:012d}.safetensors"


def write_segment(folder: Path, first: int, last: int, arrays: Arrays) -> Segment:
    """Write one segment.

    Raises:
        DiskFailed: Nothing was written.
    """
    data = safetensors.numpy.save(arrays)
    segment = Segment(first, last, hashlib.sha256(data).hexdigest())
    folder.mkdir(exist_ok=True)
    write_atomically(folder / segment.file, data)
    return segment


def read_segments(folder: Path, listed: list[list[Any]]) -> Iterator[tuple[Segment, Arrays]]:
    """The segments of a checkpoint's list, oldest first.

    Raises:
        WrongInput: One is missing or damaged.
    """
    for segment in (Segment(*entry) for entry in listed):
        try:
            data = (folder / segment.file).read_bytes()
        except OSError as e:
            raise WrongInput(f"{folder / segment.file} is missing: this run can't be continued") from e
        if hashlib.sha256(data).hexdigest() != segment.sha256:
            raise WrongInput(f"{folder / segment.file} is damaged: this run can't be continued")
        yield segment, safetensors.numpy.load(data)


def drop_segments(folder: Path, needed: list[Segment]) -> None:
    """Delete the segments that no checkpoint needs any more."""
    keep = {segment.file for segment in needed}
    for path in folder.glob("rows-*.safetensors"):
        if path.name not in keep:
            path.unlink(missing_ok=True)
