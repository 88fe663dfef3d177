"""What no single key can tell: contradictions between them."""

import re
from collections.abc import Iterator, Sequence

from sac_runner.config.schema import Config, PerRoundConfig, PerStepConfig
from sac_runner.errors import WrongInput


def validate(config: Config, faults: Sequence[str] = ()) -> None:
    """Check ``config`` as a whole, before any file is made.

    With ``resume`` it is no whole yet: what this command's overrides were composed with is not the run's own.

    Args:
        config: All of it; what has ``faults`` is NaN there.
        faults: Known already.

    Raises:
        WrongInput: With those and every contradiction at once.
    """
    faults = [*faults, *_start_faults(config)]
    if config.resume is None:
        faults += [*_agent_faults(config), *_schedule_faults(config), *_run_faults(config)]
    if faults:
        raise WrongInput("; ".join(faults))


def _start_faults(config: Config) -> Iterator[str]:
    if config.resume is not None and config.init_from is not None:
        yield "resume continues a run, init_from starts a new one: give one of them"
    if config.resume is not None and config.run.dir is not None:
        yield "resume names the run already: leave run.dir out"


def _agent_faults(config: Config) -> Iterator[str]:
    agent, replay = config.agent, config.replay
    if agent.log_std_min >= agent.log_std_max:
        yield f"agent.log_std_min={agent.log_std_min:g} must be below agent.log_std_max={agent.log_std_max:g}"
    if agent.lr_schedule == "linear" and agent.lr_decay_env_steps is None:
        yield "agent.lr_schedule=linear needs agent.lr_decay_env_steps, as there is no total_env_steps"
    if replay.capacity < max(replay.batch_size, config.env.num_envs):
        yield f"replay.capacity={replay.capacity} must hold replay.batch_size={replay.batch_size} and env.num_envs"


def _schedule_faults(config: Config) -> Iterator[str]:
    schedule, total = config.schedule, config.total_env_steps
    if isinstance(schedule, PerStepConfig):
        if total is None:
            yield "total_env_steps=null needs schedule=per_round; schedule=per_step ends by env steps"
        elif schedule.warmup_env_steps >= total:
            yield (
                f"schedule.warmup_env_steps={schedule.warmup_env_steps} must be below total_env_steps={total}, "
                "or nothing is learned"
            )
        if config.env.episode_seed == "per_round":
            yield "env.episode_seed=per_round needs schedule=per_round"
        if config.eval.every_rounds is not None:
            yield "eval.every_rounds needs schedule=per_round; here it is eval.every_env_steps"
    if isinstance(schedule, PerRoundConfig) and config.seed is not None and config.seed + schedule.rounds >= 2**32:
        yield f"seed={config.seed} plus the rounds must be below 2^32"


def _run_faults(config: Config) -> Iterator[str]:
    if isinstance(config.device, str) and not re.fullmatch(r"auto|cpu|cuda(:\d+)?", config.device):
        yield f"device={config.device} must be auto, cpu, cuda or cuda:N"
    if config.env.id is None:
        yield "env=custom needs env.id, such as env.id=my_package:MyEnv-v0"
