"""When to act at random, how many updates follow a step, and when a run ends: functions of the counters alone."""

from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from functools import cache

from sac_runner.config.schema import Config, PerRoundConfig, PerStepConfig, ScheduleConfig


class Ending(Enum):
    """Why a run came to its end."""

    FINISHED = "finished"
    AT_RETURN = "reached stop.at_return"
    MAX_MINUTES = "reached stop.max_minutes"
    STOPPED = "stopped"


@dataclass
class Counters:
    """How far a run has come."""

    env_steps: int = 0
    """Of all environments together."""
    episodes: int = 0
    """Finished."""
    updates: int = 0
    rounds: int = 0
    """Finished, with schedule=per_round."""


@cache
def _exactly(ratio: float) -> Fraction:
    """The decimal number that was typed."""
    return Fraction(repr(ratio))


def warmup_env_steps(schedule: ScheduleConfig) -> int:
    """Env steps before the policy acts and updates begin."""
    return schedule.warmup_env_steps if isinstance(schedule, PerStepConfig) else 0


def acts_randomly(schedule: ScheduleConfig, counters: Counters) -> bool:
    """Whether the next action is drawn uniformly from [-1, 1]."""
    return counters.env_steps < warmup_env_steps(schedule)


def updates_due(schedule: ScheduleConfig, counters: Counters) -> int:
    """Updates to make now. The ratio is kept exactly: what is owed is counted from the start, in whole numbers."""
    match schedule:
        case PerStepConfig(warmup_env_steps=warmup, updates_per_env_step=ratio):
            exact = _exactly(ratio)
            owed = max(0, counters.env_steps - warmup) * exact.numerator // exact.denominator
            return owed - counters.updates
        case PerRoundConfig():
            by_its_end = (counters.rounds + 1) * schedule.updates_per_round
            return by_its_end - counters.updates if ends_round(schedule, counters) else 0


def ends_round(schedule: ScheduleConfig, counters: Counters) -> bool:
    """Whether the episodes of the current round are all collected."""
    return (
        isinstance(schedule, PerRoundConfig)
        and counters.episodes >= (counters.rounds + 1) * schedule.episodes_per_round
    )


def is_finished(config: Config, counters: Counters) -> bool:
    """Whether the budget of env steps, or of rounds, is used up."""
    if config.total_env_steps is not None and counters.env_steps >= config.total_env_steps:
        return True
    return isinstance(config.schedule, PerRoundConfig) and counters.rounds >= config.schedule.rounds


def is_good_enough(config: Config, evaluated_at: int, mean_return: float) -> bool:
    """Whether the newest evaluation has reached ``stop.at_return``; one within the warm-up ends no run."""
    level = config.stop.at_return
    return level is not None and evaluated_at > warmup_env_steps(config.schedule) and mean_return >= level


def ending(config: Config, counters: Counters, evaluated_at: int, mean_return: float) -> Ending | None:
    """Why nothing is left to do but what comes at the end; None while there is."""
    if is_good_enough(config, evaluated_at, mean_return):
        return Ending.AT_RETURN
    return Ending.FINISHED if is_finished(config, counters) else None


def owes_updates(config: Config, counters: Counters, turn: Counters | None) -> bool:
    """Whether a stop came within ``turn``, which began at those counters, before all of its updates were made."""
    return turn is not None and turn.rounds == counters.rounds and updates_due(config.schedule, counters) > 0


def falls_due(before: int, now: int, every: int | None) -> bool:
    """Whether a multiple of ``every`` lies in (before, now]: no state to save, and no step is skipped."""
    return every is not None and now // every > before // every
