"""The trainer: the loop of Spinning Up's SAC pseudocode, and what falls due between its turns."""

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from sac_runner.algorithm.agent import SAC
from sac_runner.config.convert import written
from sac_runner.config.schema import Config, PerRoundConfig
from sac_runner.errors import DiskFailed, Interrupted
from sac_runner.interaction.collector import Collector
from sac_runner.interaction.device_replay import DeviceReplay
from sac_runner.interaction.envs import evaluation_env, make_vector_env
from sac_runner.interaction.faults import close
from sac_runner.interaction.replay import ReplayBuffer
from sac_runner.training.console import Console
from sac_runner.training.device import room_for
from sac_runner.training.evaluation import Protocol, evaluate
from sac_runner.training.learner import Learner
from sac_runner.training.randomness import Streams, episode_seed, round_seed, weights_generator
from sac_runner.training.record import Record
from sac_runner.training.schedule import (
    Counters,
    Ending,
    acts_randomly,
    ends_round,
    falls_due,
    is_finished,
    updates_due,
)
from sac_runner.training.state import TrainingState

_RETRY_S = 10  # in which the user may free some space


class Trainer:
    """One run, from its first step to its end."""

    def __init__(self, config: Config, device: torch.device, console: Console) -> None:
        """Make the environments, the buffer and the agent; write nothing.

        Args:
            config: Validated, with a seed.
            device: Where the agent computes.
            console: Shows how far the run is.
        """
        assert config.seed is not None
        self.config, self.seed, self.device, self.console = config, config.seed, device, console
        self.record: Record
        self._failed_saves, self._policies_wait = 0, False
        self.counters = Counters()
        self.streams = Streams(self.seed)
        with contextlib.ExitStack() as undo:  # processes must not outlive a start that fails
            self.envs = make_vector_env(config.env, config.env.num_envs)
            undo.callback(self.envs.close)
            self.eval_envs = make_vector_env(evaluation_env(config), config.eval.num_envs)
            undo.callback(self.eval_envs.close)
            self._build()
            undo.pop_all()

    def _build(self) -> None:
        config = self.config
        self.collector = Collector(self.envs, self._episode_seed)
        obs_dim, (self.action_dim,) = self.collector.obs.shape[1], self.collector.action_shape
        sizes, n = written(config.agent.hidden_sizes), config.agent.n_critics
        smaller = "agent.n_critics=2 ..." if n > 10 else "'agent.hidden_sizes=[256,256]' ..."
        with room_for(f"agent.hidden_sizes={sizes} with agent.n_critics={n}", smaller):
            self.agent = SAC(config, obs_dim, self.action_dim, weights_generator(self.seed), self.device)
        replay, bootstraps = config.replay, config.agent.bootstrap_at_time_limit
        fewer = f"replay.capacity={min(replay.capacity // 1000, 1_000_000)} ..."
        with room_for(f"replay.capacity={replay.capacity:,}", fewer):
            self.replay = ReplayBuffer(replay.capacity, config.env.num_envs, obs_dim, self.action_dim, bootstraps)
            on_gpu = DeviceReplay(self.replay, self.device) if self.agent.is_on_gpu else None
        self.replay.start(self.collector.obs)
        self.learner = Learner(config, self.streams, self.agent, self.replay, on_gpu, self.console.say)
        updater = self.learner.updater
        self.state = TrainingState(self.counters, self.streams, self.collector, self.agent, self.replay, updater)
        self.agent.begin(list(range(config.env.num_envs)), self.collector.obs)

    def run(self, record: Record, stop_requested: Callable[[], bool]) -> Ending:
        """Train to the end of the budget, or until told to stop; then save.

        Args:
            record: Keeps what the run leaves.
            stop_requested: Asked after every step, before every one of an evaluation, and between updates.
        """
        self.record, self._stop_requested = record, stop_requested
        try:
            ending = self._to_the_end()
        except Interrupted:
            ending = Ending.STOPPED
        finished = ending in (Ending.FINISHED, Ending.AT_RETURN)
        self._failed_saves = 0  # no later checkpoint makes up for this one, so all three tries are its own
        while not self._save(everything=True, finished=finished, again=f"in {_RETRY_S} s"):
            time.sleep(_RETRY_S)
        return ending

    def _to_the_end(self) -> Ending:
        """The turns, after the evaluation of the first policy and before that of the last one."""
        if self.record.last_evaluation_at < 0:
            self._evaluate()
            self.record.checkpoint(self.state)
        self._saved_at = time.monotonic()
        ending = self._turns()
        if ending is not Ending.STOPPED:
            self.record.begin_end(self.counters)
            self._log()
            self._evaluate()
        return ending

    def _turns(self) -> Ending:
        minutes = self.config.stop.max_minutes
        deadline = None if minutes is None else time.monotonic() + 60 * minutes
        if self.state.turn is not None:  # a stop came in the middle of it
            self._finish(self.state.turn)
        while (ending := self.record.ending(self.counters)) is None:
            self.state.turn = replace(self.counters)
            self._collect()
            self._finish(self.state.turn)
            if self._stop_requested():
                return Ending.STOPPED
            if deadline is not None and time.monotonic() >= deadline:
                return self.record.ending(self.counters) or Ending.MAX_MINUTES
        return ending

    def _finish(self, before: Counters) -> None:
        """The rest of a turn, which may have been cut short by a stop and be continued by a resumed run."""
        if self.counters.rounds == before.rounds:  # else its updates are made
            self._learn()
        self._what_falls_due(before)

    def _collect(self) -> None:
        """Lines 4 to 8: act, step, store; episodes that end are reset."""
        action = self._act(self.collector.obs)
        if self.learner.works_ahead:
            self._update_ahead()
        step = self.collector.step(action)
        self.replay.add(step.action, step.reward, step.terminated, step.truncated, step.next_obs, step.following_obs)
        if self.config.normalization.obs or self.config.normalization.reward:
            self.agent.observe(step.frames, step.reward, step.done)
        self.counters.env_steps += len(step.reward)
        self.counters.episodes += len(step.episodes)
        for episode in step.episodes:
            self.record.episode(episode)

    def _act(self, obs: NDArray[np.float32]) -> NDArray[np.float32]:
        shape = (len(obs), self.action_dim)
        if acts_randomly(self.config.schedule, self.counters):
            return self.streams.warmup.uniform(-1.0, 1.0, shape).astype(np.float32)
        return self.agent.policy.act(obs, self.streams.acting.standard_normal(shape, np.float32))

    def _learn(self) -> None:
        """Lines 9 to 16: as many updates as the schedule owes."""
        if not self._make_updates(self.counters, self.learner.draw):
            raise Interrupted
        if ends_round(self.config.schedule, self.counters):
            self.counters.rounds += 1

    def _update_ahead(self) -> None:
        """Start the updates that the next step will owe before it is taken: the GPU computes while environments step.

        An update whose batch needs that step's own transitions waits, and those after it too. The numbers are the same:
        which transitions are drawn depends on counts alone, and the step's actions are chosen already.
        """
        env_steps = self.counters.env_steps + self.config.env.num_envs
        self._make_updates(replace(self.counters, env_steps=env_steps), self.learner.draw_ahead)

    def _make_updates(self, counters: Counters, draw: Callable[[], NDArray[np.int64] | None]) -> bool:
        """Those that are due at ``counters``, on what ``draw`` draws; whether all were made, and no stop came."""
        due = updates_due(self.config.schedule, counters)
        if due:
            self.agent.set_env_step(counters.env_steps)
        for i in range(due):
            if i > 0 and self._stop_requested():
                return False
            at = draw()
            if at is None:
                return False
            self._update(at)
        return True

    def _update(self, at: NDArray[np.int64]) -> None:
        made = self.counters.updates
        with self.record.pace.paused() if self.learner.updater.is_due(made) else contextlib.nullcontext():
            scalars = self.learner.update(at, made)
        self.record.update(scalars)
        self.counters.updates += 1

    def _what_falls_due(self, before: Counters) -> None:
        """A row, an evaluation, a policy to keep, a checkpoint: in this order, whatever the step."""
        config, now = self.config, self.counters
        self.console.progress(now, self.record)
        if falls_due(before.env_steps, now.env_steps, config.log.every_env_steps):
            self._log()
        if falls_due(before.env_steps, now.env_steps, config.eval.every_env_steps) or falls_due(
            before.rounds, now.rounds, config.eval.every_rounds
        ):
            self._evaluate()
        if falls_due(before.env_steps, now.env_steps, config.checkpoint.keep_every_env_steps):
            self.record.keep(self.counters, self.agent)
        self.state.turn = None
        minutes = config.checkpoint.every_minutes  # by the clock too: saving changes no bit of the training
        overdue = minutes is not None and time.monotonic() >= self._saved_at + 60 * minutes
        due = overdue or falls_due(before.env_steps, now.env_steps, config.checkpoint.every_env_steps)
        self._save(everything=due and not is_finished(config, now))  # the last one is saved at the end

    def _log(self) -> None:
        if self.record.last_row_at != self.counters.env_steps:
            self.record.row(self.counters)

    def _evaluate(self) -> None:
        if self.record.last_evaluation_at == self.counters.env_steps:
            return
        with self.record.pace.paused():
            evaluation = evaluate(
                self.agent.policy,
                self.eval_envs,
                Protocol.in_training(self.config.eval),
                q_value=self.agent.q_value,
                gamma=self.config.agent.gamma,
                on_episode=self.console.evaluating,
                stop_requested=self._stop_requested,
            )
        self.record.evaluation(self.counters, evaluation, self.agent)

    def _save(self, everything: bool, finished: bool = False, again: str = "at the next one") -> bool:
        """Save what is due; returns whether the disk took it.

        One that is full is warned of and tried ``again``; the third time in a row is the end.
        """
        try:
            if everything:
                self._saved_at = time.monotonic()
                self.record.checkpoint(self.state, finished)
                self._failed_saves, self._policies_wait = 0, False
            elif not self._policies_wait:
                self.record.save_policies()
        except DiskFailed as e:
            self._failed_saves += everything
            self._policies_wait = True  # for the next checkpoint
            if self._failed_saves == 3:
                raise
            self.console.say(f"warning: {e.message}; the checkpoints before are good, trying again {again}")
            return False
        return True

    def _episode_seed(self, env: int, episode: int, of_all: int) -> int:
        if self.config.env.episode_seed == "per_round" and isinstance(schedule := self.config.schedule, PerRoundConfig):
            return round_seed(self.seed, of_all // schedule.episodes_per_round)
        return episode_seed(self.seed, env, episode)

    def __enter__(self) -> "Trainer":
        return self

    def __exit__(self, *_: object) -> None:
        """Close the environments."""
        for envs in (self.envs, self.eval_envs):
            close(envs)
