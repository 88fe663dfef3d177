"""The replay buffer on disk: immutable segments of rows, written once, listed in the checkpoint that needs them."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import safetensors.numpy

from sac_runner.errors import Damaged
from sac_runner.storage.checkpoints import Arrays
from sac_runner.storage.files import make_folder, matching, read_inside, write_atomically
from sac_runner.storage.signed import digest


class Segment(NamedTuple):
    """Rows ``first`` to ``last`` - 1, counted from the start of the run."""

    first: int
    last: int
    sha256: str

    @property
    def file(self) -> str:
        """Its name in the run's ``replay`` folder; other content has another one."""
        return f"rows-{self.first:012d}-{self.last:012d}-{self.sha256[:8]}.safetensors"


def write_segment(folder: Path, first: int, last: int, arrays: Arrays) -> Segment:
    """Write one segment.

    Raises:
        DiskFailed: Nothing was written.
    """
    data = safetensors.numpy.save(arrays)
    segment = Segment(first, last, digest(data))
    make_folder(folder)
    write_atomically(folder / segment.file, data)
    return segment


def verify_segments(folder: Path, segments: list[Segment]) -> None:
    """Read and check ``segments``, and keep nothing of them.

    Raises:
        Damaged: One is missing or not what was written.
        DiskFailed: One can't be read.
    """
    for segment in segments:
        if digest(read_inside(folder, segment.file)) != segment.sha256:
            raise Damaged(f"{folder / segment.file} is damaged: it does not match its checkpoint")


def read_segments(folder: Path, segments: list[Segment]) -> Iterator[tuple[Segment, Arrays]]:
    """The rows of ``segments``, which ``verify_segments`` has checked: hashing gigabytes once is enough.

    Raises:
        Damaged: One is missing.
        DiskFailed: One can't be read.
    """
    for segment in segments:
        yield segment, safetensors.numpy.load(read_inside(folder, segment.file))


def drop_segments(folder: Path, needed: set[Segment]) -> None:
    """Delete the segments that no checkpoint needs any more.

    Raises:
        DiskFailed: The folder can't be read.
    """
    keep = {segment.file for segment in needed}
    for path in matching(folder, "rows-*.safetensors"):
        if path.name not in keep:
            with contextlib.suppress(OSError):  # the next checkpoint tries again
                path.unlink(missing_ok=True)
