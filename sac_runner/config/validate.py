"""What no single key can tell: contradictions between them."""

import math
import re
from collections.abc import Iterator, Sequence

from sac_runner.config.convert import Fault, refuse, written
from sac_runner.config.schema import AnnealedAlphaConfig, Config, PerRoundConfig, PerStepConfig

_DEVICE = r"auto|cpu|cuda(:\d+)?"


def validate(config: Config, faults: Sequence[Fault] = ()) -> None:
    """Check ``config`` as a whole, before any file is made.

    Args:
        config: All of it; what has ``faults`` is NaN there.
        faults: Known already.

    Raises:
        WrongInput: With those and every contradiction at once.
    """
    refuse([*faults, *find_contradictions(config)])


def find_contradictions(config: Config) -> list[Fault]:
    """Every one between the keys of ``config``.

    With ``resume`` it is no whole yet: what this command's overrides were composed with is not the run's own.
    """
    if config.resume is not None:
        return [*_start_faults(config)]
    return [*_start_faults(config), *_agent_faults(config), *_schedule_faults(config), *_run_faults(config)]


def _start_faults(config: Config) -> Iterator[Fault]:
    if config.resume is not None and config.init_from is not None:
        yield Fault(("init_from",), "resume continues a run, init_from starts a new one: give one of them")
    if config.resume is not None and config.run.dir is not None:
        yield Fault(("run.dir",), "resume names the run already: leave run.dir out")


def _agent_faults(config: Config) -> Iterator[Fault]:
    agent, replay = config.agent, config.replay
    if agent.log_std_min >= agent.log_std_max:
        text = f"agent.log_std_min={agent.log_std_min:g} must be below agent.log_std_max={agent.log_std_max:g}"
        yield Fault(("agent.log_std_min", "agent.log_std_max"), text)
    if agent.lr_schedule == "linear" and agent.lr_decay_env_steps is None:
        text = "agent.lr_schedule=linear needs agent.lr_decay_env_steps, as there is no total_env_steps"
        yield Fault(("agent.lr_schedule",), text, ("agent.lr_schedule=constant",))
    if isinstance(config.alpha, AnnealedAlphaConfig) and config.alpha.over_env_steps is None:
        text = "alpha=annealed needs alpha.over_env_steps, as there is no total_env_steps"
        yield Fault(("alpha.over_env_steps",), text, ("alpha.over_env_steps=1000000",))
    if replay.capacity < max(replay.batch_size, config.env.num_envs):
        held = f"replay.batch_size={replay.batch_size} and env.num_envs={config.env.num_envs}"
        text = f"replay.capacity={replay.capacity} must hold {held}"
        yield Fault(("replay.capacity", "replay.batch_size", "env.num_envs"), text)


def _schedule_faults(config: Config) -> Iterator[Fault]:
    schedule, total = config.schedule, config.total_env_steps
    if isinstance(schedule, PerStepConfig):
        if total is None:
            text = "total_env_steps=null needs schedule=per_round; schedule=per_step ends by env steps"
            yield Fault(("total_env_steps",), text, ("schedule=per_round", "total_env_steps=null"))
        elif schedule.warmup_env_steps >= total:
            text = (
                f"schedule.warmup_env_steps={schedule.warmup_env_steps} must be below total_env_steps={total}, "
                "or nothing is learned"
            )
            yield Fault(("schedule.warmup_env_steps",), text, (f"schedule.warmup_env_steps={total // 10}",))
        if config.env.episode_seed == "per_round":
            text = "env.episode_seed=per_round needs schedule=per_round"
            yield Fault(("env.episode_seed",), text, ("schedule=per_round", "env.episode_seed=per_round"))
        if isinstance(config.eval.every_rounds, int):
            text = "eval.every_rounds needs schedule=per_round; here it is eval.every_env_steps"
            mends = "schedule=per_round", f"eval.every_rounds={config.eval.every_rounds}"
            yield Fault(("eval.every_rounds",), text, mends)
    if isinstance(schedule, PerRoundConfig) and config.env.episode_seed == "per_round" and config.seed is not None:
        text = f"seed={config.seed} plus schedule.rounds={schedule.rounds} must be below 2^32"
        if config.seed + schedule.rounds >= 2**32:
            yield Fault(("seed", "schedule.rounds"), text)


def _run_faults(config: Config) -> Iterator[Fault]:
    if isinstance(config.device, str) and not re.fullmatch(_DEVICE, config.device):
        meant = config.device.lower().replace("gpu", "cuda")
        mends = (f"device={meant}",) if re.fullmatch(_DEVICE, meant) else ()
        yield Fault(("device",), f"device={config.device} must be auto, cpu, cuda or cuda:N", mends)
    wanted, never = config.stop.at_return, config.eval.every_env_steps is None and config.eval.every_rounds is None
    if wanted is not None and math.isfinite(wanted) and never:
        text = f"stop.at_return={written(wanted)} ends nothing, as nothing is evaluated in training (null: no such end)"
        every = "eval.every_rounds=100" if isinstance(config.schedule, PerRoundConfig) else "eval.every_env_steps=10000"
        keys = "eval.every_env_steps", "eval.every_rounds", "stop.at_return"
        yield Fault(keys, text, (every, f"stop.at_return={written(wanted)}"))
    if config.env.id is None:
        yield Fault(("env.id",), "env=custom needs env.id, such as env.id=my_package:MyEnv-v0")
