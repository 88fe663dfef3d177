"""Everything a run needs to continue as if it had never stopped: out of its parts, and back into them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sac_runner.algorithm.agent import SAC, under
from sac_runner.interaction.collector import Collector
from sac_runner.interaction.replay import ReplayBuffer
from sac_runner.storage.checkpoints import Arrays
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.storage.segments import Segment, drop_segments, read_segments, write_segment
from sac_runner.training.compilation import Updater
from sac_runner.training.randomness import Streams
from sac_runner.training.schedule import Counters


@dataclass
class TrainingState:
    """The parts of a run that change as it goes."""

    counters: Counters
    streams: Streams
    collector: Collector
    agent: SAC
    replay: ReplayBuffer
    updater: Updater
    turn: Counters | None = None
    """What the counters were before the turn of the loop that is not through yet, if any."""

    def capture(self) -> tuple[Arrays, dict[str, Any]]:
        """Tensors by part and name, and plain data for JSON; the replay buffer is not in them."""
        arrays, collector = self.collector.state_dict()
        named = {f"collector.{name}": x for name, x in arrays.items()}
        named |= {f"agent.{name}": x.cpu().numpy() for name, x in self.agent.state_dict().items()}
        return named, {
            "counters": vars(self.counters),
            "turn": None if self.turn is None else vars(self.turn),
            "compiles": self.updater.compiles,
            "streams": self.streams.state_dict(),
            "collector": collector,
        }

    def restore(
        self,
        arrays: Arrays,
        plain: dict[str, Any],
        stop_requested: Callable[[], bool] = lambda: False,
    ) -> list[int]:
        """Continue where ``capture`` was taken, the replay buffer being filled already.

        Returns:
            Environments whose episode could not be replayed exactly and was cut short.

        Raises:
            Interrupted: A stop was requested meanwhile.
        """
        vars(self.counters).update(plain["counters"])
        self.turn = None if plain["turn"] is None else Counters(**plain["turn"])
        self.updater.compiles = plain["compiles"]
        self.streams.load_state_dict(plain["streams"])
        tensors = {name: torch.from_numpy(x).to(self.agent.device) for name, x in under("agent.", arrays).items()}
        self.agent.load_state_dict(tensors)
        cut = self.collector.load_state_dict(under("collector.", arrays), plain["collector"], stop_requested)
        for env in cut:
            self.replay.truncate_last(env)
        if cut:
            self.replay.start(self.collector.obs)
            self.agent.begin(cut, self.collector.obs[cut])
        return cut


class ReplayOnDisk:
    """The segments of one run's replay buffer: each row is written once, at the first checkpoint after it."""

    def __init__(self, run: RunDirectory) -> None:
        """Nothing is written yet."""
        self.folder = run.replay
        self.segments: list[Segment] = []

    def save(self, replay: ReplayBuffer) -> list[Segment]:
        """Write the rows that are new; returns what a checkpoint must list."""
        oldest = max(replay.added - replay.rows, 0)
        first = max(self.segments[-1].last if self.segments else 0, oldest)
        if first < replay.added:
            self.segments.append(
                write_segment(self.folder, first, replay.added, replay.rows_between(first, replay.added))
            )
        self.segments = [segment for segment in self.segments if segment.last > oldest]
        return list(self.segments)

    def forget(self) -> None:
        """No checkpoint needs any row from here on."""
        self.segments = []

    def collect(self, needed: set[Segment]) -> None:
        """Delete what neither ``needed`` nor the next checkpoint lists."""
        drop_segments(self.folder, needed | set(self.segments))

    def forget_newest(self) -> None:
        """Have the newest rows written again, as they have changed."""
        self.segments = self.segments[:-1]

    def load(self, segments: list[Segment], obs: NDArray[np.float32], replay: ReplayBuffer) -> None:
        """Fill an empty buffer with what a checkpoint listed."""
        replay.restore(((s.first, rows) for s, rows in read_segments(self.folder, segments)), obs)
        self.segments = segments
