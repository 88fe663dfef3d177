"""Which checkpoint a run goes on from, and what was left lying about where it ended."""

from sac_runner.errors import Damaged, warn
from sac_runner.storage import checkpoints
from sac_runner.storage.checkpoints import Checkpoint
from sac_runner.storage.files import clean_up
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.storage.segments import Segment, verify_segments


def newest_whole(run: RunDirectory) -> Checkpoint:
    """The newest checkpoint of ``run`` that is whole; damaged ones after it are set aside, and said so.

    Raises:
        Damaged: None is whole; all are as they were.
        WrongInput: The newest is of a newer format.
        DiskFailed: One can't be read.
    """
    for folder in (run.checkpoints, run.replay):
        clean_up(folder)
    damaged: list[tuple[Checkpoint, Damaged]] = []
    for checkpoint in reversed(checkpoints.find(run.checkpoints, "latest")):
        try:
            checkpoint.verify()
            verify_segments(run.replay, listed_segments(checkpoint))
        except Damaged as e:
            damaged.append((checkpoint, e))
            continue
        for bad, why in damaged:
            aside = bad.set_aside(why.message)
            warn(f"{why.message}; set aside as {aside.name}, going on from {checkpoint.env_steps:,} env steps")
        return checkpoint
    raise damaged[0][1]


def listed_segments(checkpoint: Checkpoint) -> list[Segment]:
    """The segments that ``checkpoint`` needs."""
    return [Segment(*entry) for entry in checkpoint.plain("state")["replay"] or []]
