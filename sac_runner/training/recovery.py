"""Which checkpoint a run goes on from, what was left lying about where it ended, and what it needs no more."""

import contextlib
from collections.abc import Sequence

from sac_runner.errors import Damaged, WrongInput, train_command, warn
from sac_runner.storage import checkpoints
from sac_runner.storage.checkpoints import Checkpoint
from sac_runner.storage.files import clean_up
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.storage.segments import Segment, verify_segments
from sac_runner.training.resume import from_its_weights
from sac_runner.training.state import ReplayOnDisk


def newest_whole(run: RunDirectory, overrides: Sequence[str] = ()) -> Checkpoint:
    """The newest checkpoint of ``run`` that is whole; damaged ones after it are set aside, and said so.

    Args:
        run: To go on with.
        overrides: As typed for that.

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
    newest, why = damaged[0]
    with contextlib.suppress(Damaged):
        newest.verify()  # then only its replay buffer is damaged
        why.remedy = train_command(from_its_weights(run, overrides))
    raise why


def listed_segments(checkpoint: Checkpoint) -> list[Segment]:
    """The segments that ``checkpoint`` needs."""
    return [Segment(*entry) for entry in checkpoint.plain("state")["replay"] or []]


def drop_older(run: RunDirectory, keep: int) -> None:
    """Drop all checkpoints to go on from but the newest ``keep``, at least 1.

    Raises:
        DiskFailed: Not all of them are dropped.
    """
    for older in checkpoints.find(run.checkpoints, "latest")[:-keep]:
        older.drop()
    clean_up(run.checkpoints)


def drop_outdated(run: RunDirectory, replay: ReplayOnDisk, bests: set[int]) -> None:
    """Drop what neither a checkpoint to go on from needs, nor the next one.

    Args:
        run: It has just saved one of them.
        replay: Its segments.
        bests: Env steps of the best policies that are needed.

    Raises:
        DiskFailed: Not all of it is dropped.
    """
    drop_other_bests(run, bests)
    with contextlib.suppress(Damaged, WrongInput):  # then nothing can be said to be needed no more
        whole = checkpoints.find(run.checkpoints, "latest")
        replay.collect({segment for checkpoint in whole for segment in listed_segments(checkpoint)})
    for folder in (run.checkpoints, run.replay):
        clean_up(folder)


def keep_best_of_an_end(run: RunDirectory, ended_at: int | None, needed: set[int]) -> None:
    """Where the run goes on from an end, whose evaluation it takes back, the best policy of then is kept for good.

    Raises:
        DiskFailed: It is the best one still.
    """
    for best in checkpoints.find(run.checkpoints, "best"):
        if best.env_steps == ended_at and ended_at not in needed:
            with contextlib.suppress(Damaged, WrongInput):
                note = {"score": best.manifest().get("score")}
                checkpoints.save(run.checkpoints, "kept", ended_at, {"policy": best.arrays("policy")}, {}, note)


def drop_other_bests(run: RunDirectory, needed: set[int]) -> None:
    """Drop the best policies of before, and those that a killed process saved after its last checkpoint.

    One of before goes only when a checkpoint that names another is on the disk, as a kill leads back to the one before.

    Raises:
        DiskFailed: Not all of them are dropped.
    """
    found = checkpoints.find(run.checkpoints, "best")
    if needed and needed <= {best.env_steps for best in found}:
        for best in found:
            if best.env_steps not in needed:
                best.drop()
