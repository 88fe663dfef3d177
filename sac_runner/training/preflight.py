"""What a run would need: memory, disk and time, measured with its own environments and its own agent."""

import contextlib
import copy
import math
import resource
import shutil
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.spaces.utils import flatdim

from sac_runner.config.convert import written
from sac_runner.config.schema import AlphaConfig, AutoAlphaConfig, Config, PerRoundConfig, PerStepConfig
from sac_runner.errors import EnvironmentFailed, WrongInput, train_command, warn
from sac_runner.interaction.envs import make_env
from sac_runner.interaction.faults import close
from sac_runner.interaction.replay import ReplayBuffer
from sac_runner.machine import available_memory
from sac_runner.storage.files import folder_size
from sac_runner.storage.names import shown
from sac_runner.storage.new_folder import nearest_there
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.text import duration
from sac_runner.training.compilation import Updater
from sac_runner.training.console import Console
from sac_runner.training.device import configure_torch, resolve_device
from sac_runner.training.trainer import Trainer
from sac_runner.types import Batch, UpdateNoise

_PROBE_S = 0.7
_WORTH_TELLING = 1000  # updates
_COMPILED_AT_LEAST, _COMPILED = 0.4, 0.6  # of the time as written; measured: 0.43 (128 x 128) to 0.75 (Humanoid)
_COMPILER = 250_000_000  # bytes of memory that compiling takes and keeps
_LOGS = 500_000  # bytes: rows, events, texts, the picture


def preflight(trainer: Trainer, action: spaces.Box, done: int | None) -> str:
    """Lines that say what the run would need, and whether it fits. The trainer can't be used to train afterwards.

    Args:
        trainer: Made, not begun.
        action: The environment's own space of actions.
        done: Env steps that a run which goes on has already; None of a new one.
    """
    config = trainer.config
    env_s, obs_scale = _probe_steps(trainer)
    update_s = _update_seconds(trainer)
    memory = replay_bytes(trainer.replay, config.total_env_steps)
    there = available_memory()
    available = "" if there is None else f", {there / 1e9:,.1f} GB available"
    kept, free = _disk(config, memory)
    enough = " (too little)" if kept > free and done is None else ""  # else it is there already, or most of it
    speed = f"{1e3 * env_s:.2f} ms per env step, {1e3 * update_s:.2f} ms per update"
    lines = [
        f"memory   {memory / 1e6:,.0f} MB replay for {config.transitions:,} transitions{available}",
        f"disk     {(kept + _other_files(trainer)) / 1e6:,.0f} MB, {free / 1e9:,.1f} GB free{enough}",
        f"time     {_time(config, env_s, update_s, done or 0)}: {speed}",
        f"updates  {'in all ' if done else ''}{_updates(config)}",
        f"scale    observations {obs_scale}; actions [-1, 1] -> {_bounds(action)}",
    ]
    return "\n".join(lines)


def try_out(config: Config) -> None:
    """Make the environment once and look for the device; what only fails by itself is its run's affair.

    Raises:
        WrongInput: One is not there, or not of use, or the target entropy can't be reached there.
    """
    resolve_device(config.device)
    with contextlib.suppress(EnvironmentFailed):
        env = make_env(config.env)
        close(env)
        _require_reachable_entropy(config.alpha, flatdim(env.action_space))


def needs(config: Config) -> tuple[float, int, int, int]:
    """What a run of ``config`` needs: seconds without its evaluations, bytes of disk and memory, GPUs to choose from.

    Raises:
        WrongInput: Its device is not there.
    """
    device = resolve_device(config.device)
    configure_torch(config, device)
    gpus = torch.cuda.device_count() if device.type == "cuda" and device.index is None else 0
    try:
        with Trainer(config, device, Console(config)) as trainer:
            memory = replay_bytes(trainer.replay, config.total_env_steps)
            env_s, _ = _probe_steps(trainer)
            seconds = _seconds(config, env_s, _update_seconds(trainer)) or 0.0
            files = _other_files(trainer)
    except EnvironmentFailed:  # its run will say so
        return 0.0, 0, 0, gpus
    kept, _ = _disk(config, memory)
    process = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    compiler = _COMPILER if _compiled_updates(config) > 0 else 0
    return seconds, kept + files, memory + process + compiler, gpus


def require_fit(trainer: Trainer, continued: bool) -> None:
    """Refuse a run whose replay buffer would not fit here when it is full, or whose entropy can't be what it is to be.

    Args:
        trainer: Made, not begun.
        continued: What it has on the disk already it does not need again, and of the rest ``warn_of_disk`` speaks.

    Raises:
        WrongInput: Too little memory or disk, or too much entropy.
    """
    config = trainer.config
    memory = replay_bytes(trainer.replay, config.total_env_steps)
    there = available_memory()
    fewer = train_command(f"replay.capacity={config.transitions // 10} ...")
    if there is not None and memory > there:
        text = f"the replay buffer will need {memory / 1e9:,.1f} GB of memory, {there / 1e9:,.1f} GB are available"
        raise WrongInput(text, fewer)
    if continued:
        return
    _require_reachable_entropy(config.alpha, trainer.action_dim)
    kept, free = _disk(config, memory)
    if kept > free:
        text = f"the replay buffer will need {kept / 1e6:,.1f} MB of disk, {free / 1e6:,.1f} MB are free"
        where = config.run.dir or config.outputs
        raise WrongInput(f"{text} under {where}", train_command("checkpoint.keep_replay=never ..."))


def warn_of_disk(trainer: Trainer, run: RunDirectory) -> None:
    """Where ``run`` goes on for longer than its disk has room for; on a full one it would end, and lose nothing."""
    config = trainer.config
    if config.checkpoint.keep_replay == "never":
        return
    more = replay_bytes(trainer.replay, config.total_env_steps) - folder_size(run.replay)
    with contextlib.suppress(OSError):  # a disk that can't say it just now
        if more > (free := shutil.disk_usage(run.path).free):
            text = f"the replay buffer of {shown(run.path)} will need {more / 1e6:,.1f} MB of disk more"
            warn(f"{text}, {free / 1e6:,.1f} MB are free")


def _require_reachable_entropy(alpha: AlphaConfig, action_dim: int) -> None:
    """No policy has more entropy than the uniform one: for more, alpha would grow for ever."""
    if not isinstance(alpha, AutoAlphaConfig):
        return
    key, target, dims = "alpha.target_entropy", alpha.target_entropy, action_dim
    if target is None:
        key, target, dims = f"{key}_per_action_dim", alpha.target_entropy_per_action_dim, 1
    most = dims * math.log(2.0)
    if target >= most:
        text = f"{key}={written(target)} can't be reached: uniform actions have {most:.3g} nats, all others less"
        raise WrongInput(text, train_command(f"{key}={-dims}"))


def at_a_glance(trainer: Trainer, action: spaces.Box) -> str:
    """What the header says of replay, actions and observations, without a step taken."""
    config, obs = trainer.config, trainer.collector.obs
    where = "memory" if config.checkpoint.keep_replay == "never" else "memory and on disk"
    replay = f"{replay_bytes(trainer.replay, config.total_env_steps) / 1e6:,.1f} MB replay in {where}"
    return f"{replay}; actions {_bounds(action)}, first observations {obs.min():.3g} to {obs.max():.3g}"


def least_seconds(trainer: Trainer) -> float:
    """Seconds that the updates of the whole run take; 0 where there may be few.

    Stepping the environments comes on top: trying that out here would show in their state.
    """
    config = trainer.config
    stop = config.stop
    may_end_sooner = stop.at_return is not None or stop.max_minutes is not None or _ends_by_either(config)
    if may_end_sooner or _planned_updates(config) < _WORTH_TELLING:
        return 0.0
    return _updates_seconds(config, _update_seconds(trainer), _COMPILED_AT_LEAST)


def _update_seconds(trainer: Trainer) -> float:
    """Seconds per update as written, drawing the batch aside, measured on a copy of the agent."""
    agent, size = copy.deepcopy(trainer.agent), trainer.config.replay.batch_size
    obs = torch.from_numpy(trainer.collector.obs[:1]).to(trainer.device).expand(size, -1)
    action, scalar = obs.new_zeros(size, trainer.action_dim), obs.new_zeros(size)
    batch, noise = Batch(obs, action, scalar, obs, scalar), UpdateNoise(action, action)
    update = Updater(agent, None, trainer.console.say)
    seconds = []
    for made in range(3 + 9):  # the first ones allocate
        begun = time.perf_counter()
        update(batch, noise, made).values.tolist()
        seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds[3:])


def _ends_by_either(config: Config) -> bool:
    """Whether env steps may end it before its rounds are over."""
    return isinstance(config.schedule, PerRoundConfig) and config.total_env_steps is not None


def _planned_updates(config: Config) -> float:
    """All of them, or the most where env steps may end it sooner."""
    schedule = config.schedule
    if isinstance(schedule, PerRoundConfig):
        return schedule.rounds * schedule.updates_per_round
    assert config.total_env_steps is not None
    return (config.total_env_steps - schedule.warmup_env_steps) * schedule.updates_per_env_step


def _compiled_updates(config: Config) -> float:
    after = config.compile_after_updates
    return 0.0 if after is None else max(_planned_updates(config) - after, 0.0)


def _updates_seconds(config: Config, update_s: float, compiled: float = _COMPILED) -> float:
    """Of all updates, where one as it is written takes ``update_s`` and a compiled one that share of it."""
    return (_planned_updates(config) - (1.0 - compiled) * _compiled_updates(config)) * update_s


def _disk(config: Config, memory: int) -> tuple[int, int]:
    """Bytes that the replay buffer comes to take on disk, and those that are free."""
    folder = nearest_there(Path(config.run.dir or config.outputs))
    return memory if config.checkpoint.keep_replay != "never" else 0, shutil.disk_usage(folder).free


def _other_files(trainer: Trainer) -> int:
    """Bytes of what a run keeps beside its replay buffer: two checkpoints with their policies, the best one, logs."""
    return 3 * sum(x.nbytes for x in trainer.agent.state_dict().values()) + _LOGS


def replay_bytes(replay: ReplayBuffer, total_env_steps: int | None) -> int:
    """Bytes that the buffer comes to hold, final observations aside."""
    columns = (replay.obs, replay.taken, replay.terminated, replay.truncated, replay.final_index)
    rows = min(len(replay.obs), (total_env_steps or len(replay.obs) * replay.obs.shape[1]) // replay.obs.shape[1] + 1)
    return int(sum(column[0].nbytes for column in columns) * rows)


def _probe_steps(trainer: Trainer) -> tuple[float, str]:
    """Seconds per env step of acting and stepping, and the range of what was observed."""
    low, high = trainer.collector.obs.min(), trainer.collector.obs.max()
    begun, steps = time.perf_counter(), 0
    while time.perf_counter() - begun < _PROBE_S:
        shape = (len(trainer.collector.obs), trainer.action_dim)
        noise = trainer.streams.acting.standard_normal(shape, np.float32)
        step = trainer.collector.step(trainer.agent.policy.act(trainer.collector.obs, noise))
        trainer.replay.add(step.action, step.reward, step.terminated, step.truncated, step.next_obs, step.following_obs)
        low, high = min(low, step.next_obs.min()), max(high, step.next_obs.max())
        steps += len(step.reward)
    return (time.perf_counter() - begun) / steps, f"{low:.3g} to {high:.3g}"


def _time(config: Config, env_s: float, update_s: float, done: int) -> str:
    seconds = _seconds(config, env_s, update_s, done)
    if seconds is None:
        return "depends on episode lengths"
    return f"about {duration(seconds)}{' more' if done else ''}, evaluation aside"


def _seconds(config: Config, env_s: float, update_s: float, done: int = 0) -> float | None:
    """What is left of it after ``done`` env steps, at most what one start may take."""
    if not isinstance(config.schedule, PerStepConfig) or config.total_env_steps is None:
        return None
    whole = config.total_env_steps * env_s + _updates_seconds(config, update_s)
    left = max(1.0 - done / config.total_env_steps, 0.0) * whole
    return left if config.stop.max_minutes is None else min(left, 60 * config.stop.max_minutes)


def _updates(config: Config) -> str:
    updates = _planned_updates(config)
    if _ends_by_either(config):
        return f"at most {updates:,.0f}"
    if config.total_env_steps is None:
        return f"{updates:,.0f}"
    return f"{updates:,.0f}, {updates / config.total_env_steps:.3g} per env step with the warm-up counted in"


def _bounds(action: spaces.Box) -> str:
    ranges = sorted({f"[{low:g}, {high:g}]" for low, high in zip(action.low.flat, action.high.flat, strict=True)})
    return ", ".join(ranges[:4]) + (", ..." if len(ranges) > 4 else "")
