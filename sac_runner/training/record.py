"""The record of a run: rows, evaluations and checkpoints go through here to its directory."""

import contextlib
import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

from sac_runner.algorithm.agent import SAC
from sac_runner.config.schema import Config
from sac_runner.errors import DiskFailed, WrongInput, train_command
from sac_runner.interaction.collector import Episode
from sac_runner.interaction.replay import ReplayBuffer
from sac_runner.storage import checkpoints
from sac_runner.storage.checkpoints import Checkpoint, Kind
from sac_runner.storage.events import EventLog
from sac_runner.storage.metrics_file import MetricsFile, Written, read_points
from sac_runner.storage.names import shown
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.storage.segments import Segment
from sac_runner.training import recovery
from sac_runner.training.evaluation import Evaluation, Protocol
from sac_runner.training.metrics import METRICS, RolloutMeans, TrainMeans, check_finite, end_scores
from sac_runner.training.pace import Pace
from sac_runner.training.policies import UnsavedPolicies, arrays_of, finite
from sac_runner.training.resume import from_its_weights
from sac_runner.training.schedule import Counters, Ending, ending, owes_updates, warmup_env_steps
from sac_runner.training.state import ReplayOnDisk, TrainingState
from sac_runner.types import Scalars


class Record:
    """What a run leaves behind, and what the console shows of it."""

    def __init__(self, config: Config, run: RunDirectory, hyperparameters: dict[str, Any]) -> None:
        """Nothing is written before ``open``.

        Args:
            config: Validated.
            run: Its directory, made.
            hyperparameters: Key -> value for TensorBoard's HParams tab.
        """
        self.config, self.run = config, run
        self.scores: dict[str, dict[str, Any]] = {}
        self.latest: dict[str, float] = {}
        self._train, self._rollout = TrainMeans(), RolloutMeans()
        self.pace = Pace()
        self._replay = ReplayOnDisk(run)
        self._unsaved = UnsavedPolicies(run)
        self._hyperparameters = hyperparameters
        self._before_the_end: dict[str, Any] | None = None
        """From the end on: the record without the row and the evaluation that the end alone brought."""
        self._ended_at: int | None = None  # env steps of the end that this start goes on from
        self._has_replay = True  # but after a restore from a checkpoint without one
        self._rows_digest: str | None = None
        """Of metrics.csv at the checkpoint that this start goes on from; older ones do not know it."""

    def open(self) -> None:
        """Open the metrics and the events; rows that earlier starts wrote after the checkpoint are removed."""
        with contextlib.suppress(DiskFailed):  # the next checkpoint tries again
            self._keep_best_of_an_end()
            recovery.drop_other_bests(self.run, self._needed_bests())
        written = self._written()
        self._csv = MetricsFile(self.run, list(METRICS), written)
        self._events = EventLog(self.run.path, written.env_steps)
        self._events.begin_session(self._hyperparameters)
        for values in self._csv.newest:
            self._events.scalars(written.env_steps, values)
        self.pace.begin()

    def _keep_best_of_an_end(self) -> None:
        recovery.keep_best_of_an_end(self.run, self._ended_at, self._needed_bests())
        self._ended_at = None

    def _written(self) -> Written:
        """Up to where the rows are known to belong to the run: of the newest step, means and an evaluation at most."""
        newest = max(self.last_row_at, self.last_evaluation_at)
        rows = (self.last_row_at == newest) + (self.last_evaluation_at == newest)
        return Written(newest, rows, self._rows_digest) if self.scores else Written(-1, 0)

    @property
    def last_return(self) -> float:
        """Mean return of the newest evaluation."""
        return float(self.scores["final"]["return_mean"]) if self.scores else -math.inf

    @property
    def last_evaluation_at(self) -> int:
        """Env steps at the newest evaluation, -1 before the first."""
        return int(self.scores["final"]["env_steps"]) if self.scores else -1

    @property
    def last_row_at(self) -> int:
        """Env steps at the newest row of means."""
        return self.pace.at.env_steps

    def episode(self, episode: Episode) -> None:
        """Take in a finished training episode."""
        self._rollout.add(episode)

    def update(self, scalars: Scalars) -> None:
        """Take in what one update returned, without reading it."""
        self._train.add(scalars)

    def row(self, counters: Counters) -> None:
        """Write the means since the last row."""
        values = self._rollout.take() | self._train.take()
        check_finite(values)
        self._write(counters, values | self.pace.take(counters, warmup_env_steps(self.config.schedule)))

    def _write(self, counters: Counters, values: dict[str, float]) -> None:
        self.latest |= values
        self._csv.write(counters.env_steps, counters.rounds, values)
        self._events.scalars(counters.env_steps, values)

    def evaluation(self, counters: Counters, evaluation: Evaluation, agent: SAC) -> None:
        """Write an evaluation; the policy with the best mean becomes the best checkpoint."""
        scores = evaluation.scores()
        self._write(counters, {f"eval/{name}": value for name, value in scores.items()})
        score = {"env_steps": counters.env_steps, **scores, **Protocol.in_training(self.config.eval)._asdict()}
        self.scores["final"] = score
        best = self.scores.get("best")
        if best is None or scores["return_mean"] > best["return_mean"]:
            self.scores["best"] = score
            if self._before_the_end is None:
                self._unsaved.forget_best()
            self._hold("best", counters, agent)

    def keep(self, counters: Counters, agent: SAC) -> None:
        """The policy is to be saved for good."""
        self._hold("kept", counters, agent)

    def _hold(self, kind: Kind, counters: Counters, agent: SAC) -> None:
        self._unsaved.hold(kind, counters.env_steps, agent.policy, self._note(counters))

    def save_policies(self) -> None:
        """Save the policies that are not on the disk yet.

        Raises:
            DiskFailed: Those that are left are saved with the next.
        """
        self._unsaved.save()

    def checkpoint(self, state: TrainingState, finished: bool = False) -> None:
        """Save everything that the run needs to continue, after what it rests on: rows and policies.

        Args:
            state: Of the run as it is.
            finished: Its budget or goal is reached, for ``checkpoint.keep_replay=until_finished``.

        Raises:
            DiskFailed: The checkpoints before are as they were.
            NotFinite: A weight, an action or an observation is not; no checkpoint to go on from was saved.
        """
        self._csv.sync()
        self._events.sync()
        self.save_policies()
        arrays, plain = state.capture()
        finite(arrays)
        plain |= {"record": self._to_go_on_from(), "replay": self._save_replay(state.replay, finished)}
        files, note = {"policy": arrays_of(state.agent.policy), "train": arrays}, self._note(state.counters)
        checkpoints.save(self.run.checkpoints, "latest", state.counters.env_steps, files, {"state": plain}, note)
        if self._before_the_end is not None and self.last_evaluation_at == state.counters.env_steps:
            self._score_the_end()
        with contextlib.suppress(DiskFailed):  # the checkpoint is there; the next one tries again
            keep = 1 if plain["replay"] is None else 2  # without its replay an older one is of no use
            recovery.drop_older(self.run, keep)
        with contextlib.suppress(DiskFailed):
            self._keep_best_of_an_end()
            recovery.drop_outdated(self.run, self._replay, self._needed_bests())
        with contextlib.suppress(DiskFailed):
            self.summarize("running", None, state.counters)

    def _save_replay(self, replay: ReplayBuffer, finished: bool) -> list[Segment] | None:
        """Save the rows that are new; what the checkpoint lists, None where none are kept."""
        keep = self.config.checkpoint.keep_replay
        if self._has_replay and (keep == "always" or (keep == "until_finished" and not finished)):
            return self._replay.save(replay)
        self._replay.forget()
        return None

    def _score_the_end(self) -> None:
        with contextlib.suppress(DiskFailed):  # as any curve; a run that goes on from here takes them back
            (curve,) = read_points(self.run, "eval/return_mean")
            self._events.scalars(self.last_evaluation_at, end_scores(self.scores, list(curve.items())))

    def begin_end(self, counters: Counters) -> None:
        """Remember the record as it is before the row and the evaluation that come only because the run ends here.

        Checkpoints hold it so: a run that is extended later equals the longer one made at once, which has neither.
        """
        self._before_the_end = copy.deepcopy(self._state_dict()) | {"ended_at": counters.env_steps}

    def _to_go_on_from(self) -> dict[str, Any]:
        """The record without what came only because the run ends here; its seconds count all the same."""
        return (self._before_the_end or self._state_dict()) | {"wall_time_s": self.pace.wall_time}

    def _needed_bests(self) -> set[int]:
        """Env steps of the best policies: of this run as it is, and as it goes on from its checkpoint."""
        known = [self.scores, (self._before_the_end or {}).get("scores", {})]
        return {scores["best"]["env_steps"] for scores in known if scores}

    def _state_dict(self) -> dict[str, Any]:
        return {
            "scores": self.scores,
            "latest": self.latest,
            "rows": self._csv.digest,
            "train": self._train.state_dict(),
            "rollout": self._rollout.state_dict(),
            **self.pace.state_dict(),
        }

    def restore(
        self,
        checkpoint: Checkpoint,
        state: TrainingState,
        stop_requested: Callable[[], bool] = lambda: False,
        overrides: Sequence[str] = (),
    ) -> list[int]:
        """Continue from ``checkpoint``; ``overrides`` are what was typed to go on with.

        Returns:
            Environments whose episode could not be replayed exactly and was cut short.

        Raises:
            Interrupted: A stop was requested meanwhile; nothing has changed on the disk.
            WrongInput: The replay buffer was not kept, or observations have another size now.
        """
        arrays, plain = checkpoint.arrays("train"), checkpoint.plain("state")
        kept, at = plain["record"], Counters(**plain["counters"])
        self.scores, self.latest, self._rows_digest = kept["scores"], kept["latest"], kept.get("rows")
        if plain["replay"] is None and self.needs_replay(at, plain["turn"] and Counters(**plain["turn"])):
            text = f"{shown(self.run.path)} did not keep its replay buffer, so it can't be continued exactly"
            raise WrongInput(text, train_command(from_its_weights(self.run, overrides)))
        if arrays["collector.obs"].shape != state.collector.obs.shape:
            raise WrongInput(f"{shown(self.run.path)} was trained on observations of another size than env.id has now")
        self._replay.load(recovery.listed_segments(checkpoint), arrays["collector.obs"], state.replay)
        self._train.load_state_dict(kept["train"], state.agent.device)
        self._rollout.load_state_dict(kept["rollout"])
        self.pace.load_state_dict(kept)
        self._has_replay = plain["replay"] is not None
        self._ended_at = None if self.ending(at) else kept.get("ended_at")
        cut = state.restore(arrays, plain, stop_requested)
        if cut:
            self._replay.forget_newest()
        return cut

    def ending(self, counters: Counters) -> Ending | None:
        """Why the run is over at ``counters``; None where it is not."""
        return ending(self.config, counters, self.last_evaluation_at, self.last_return)

    def needs_replay(self, counters: Counters, turn: Counters | None) -> bool:
        """Whether a run that is stopped there, within ``turn`` if any, has updates to make yet."""
        return self.ending(counters) is None or owes_updates(self.config, counters, turn)

    def _note(self, counters: Counters) -> dict[str, Any]:
        score = self.scores.get("final", {})
        return {"score": score if score.get("env_steps") == counters.env_steps else None}

    def summarize(self, status: str, cause: str | None, counters: Counters) -> None:
        """Write ``summary.json``."""
        seconds = round(self.pace.wall_time, 3)
        known = {"status": status, "cause": cause, **vars(counters), "wall_time_s": seconds, "scores": self.scores}
        self.run.write_summary(known)

    def close(self, succeeded: bool) -> None:
        """Close the files, and of a run that has come to its end the HParams session."""
        with contextlib.ExitStack() as files:
            files.callback(self._csv.close)
            files.callback(self._events.close)
            if succeeded:
                self._events.end_session()

    def abandon(self, status: str, cause: str, counters: Counters) -> None:
        """Say why the run ended and close the files, as far as the disk still takes it."""
        with contextlib.suppress(Exception):
            self.summarize(status, cause, counters)
        with contextlib.suppress(Exception):
            self.close(succeeded=False)
