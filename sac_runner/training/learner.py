"""What makes updates: transitions and noise are drawn, and the agent learns from them."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from sac_runner.algorithm.agent import SAC
from sac_runner.config.schema import Config
from sac_runner.interaction.device_replay import DeviceReplay, Outbox
from sac_runner.interaction.replay import ReplayBuffer
from sac_runner.training.compilation import Updater
from sac_runner.training.randomness import Streams
from sac_runner.types import Scalars, UpdateNoise


class Learner:
    """Lines 11 to 15: one update after the other, on the CPU or on a GPU."""

    def __init__(
        self,
        config: Config,
        streams: Streams,
        agent: SAC,
        replay: ReplayBuffer,
        device_replay: DeviceReplay | None,
        say: Callable[[str], None],
    ) -> None:
        """Nothing is drawn yet.

        Args:
            config: Of the run.
            streams: Which transitions and which noise come out of them.
            agent: Learns.
            replay: What from.
            device_replay: The same on a GPU, if the agent is there.
            say: Takes a line for the user.
        """
        self._batch_size, self._streams, self._replay = config.replay.batch_size, streams, replay
        noise = torch.zeros((2, self._batch_size, replay.action.shape[2]))
        self._outbox = None if device_replay is None else Outbox(noise, agent.device)
        self._noise_here = [x.numpy() for x in (self._outbox.here if self._outbox else [noise])]
        self._noise = UpdateNoise(*(self._outbox.there if self._outbox else noise))
        self._stage = replay.batch if device_replay is None else device_replay.stage
        gather = (lambda: None) if device_replay is None else device_replay.gather
        self.updater = Updater(agent, config.compile_after_updates, say, gather)
        normalizes = config.normalization.obs or config.normalization.reward
        self._drawn: NDArray[np.int64] | None = None
        self.works_ahead = device_replay is not None and not normalizes  # statistics take in a step before its updates
        """Whether a GPU updates while the environments step."""

    def draw(self) -> NDArray[np.int64]:
        """Places of the next update's transitions."""
        drawn, self._drawn = self._drawn, None
        return self._replay.draw(self._batch_size, self._streams.replay) if drawn is None else drawn

    def draw_ahead(self) -> NDArray[np.int64] | None:
        """The same before a step is taken; None if one of them is of that step, and the next ``draw`` has them."""
        drawn = self._replay.draw(self._batch_size, self._streams.replay, ahead=True)
        if self._replay.is_here(drawn):
            return drawn
        self._drawn = drawn
        return None

    def update(self, at: NDArray[np.int64], made: int) -> Scalars:
        """The update that follows ``made`` earlier ones, with the transitions at ``at``."""
        batch = self._stage(at)
        here = self._noise_here[self._outbox.open() if self._outbox else 0]
        self._streams.update.standard_normal(dtype=np.float32, out=here)
        if self._outbox:
            self._outbox.send()
        return self.updater(batch, self._noise, made)
