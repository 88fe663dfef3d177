"""A training run from its config to its last words: directory, lock, signals, trainer."""

import contextlib
import math
import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from shlex import quote

from sac_runner.config.compose import to_yaml
from sac_runner.config.convert import flat
from sac_runner.config.schema import Config
from sac_runner.errors import EnvironmentFailed, Interrupted, NotFinite, RunnerError, train_command, warn
from sac_runner.interaction.envs import is_endless
from sac_runner.interaction.spaces import EnvSpaces, spaces_of
from sac_runner.signals import StopRequest, stop_on_signals
from sac_runner.storage.checkpoints import find
from sac_runner.storage.crash import crash_traces, how_it_died
from sac_runner.storage.files import Appended
from sac_runner.storage.find import find_run
from sac_runner.storage.lock import RunLock
from sac_runner.storage.names import shown
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.text import plural
from sac_runner.training.console import Console
from sac_runner.training.device import set_up_torch
from sac_runner.training.preflight import at_a_glance, least_seconds, preflight, require_fit, warn_of_disk
from sac_runner.training.provenance import provenance
from sac_runner.training.record import Record
from sac_runner.training.recovery import newest_whole
from sac_runner.training.report import closing, header, stopped
from sac_runner.training.resume import initialize, require_same_spaces
from sac_runner.training.schedule import Ending
from sac_runner.training.trainer import Trainer


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    run: RunDirectory
    final_return: float
    """Mean return of the last evaluation."""
    stop_signal: int | None
    """The signal that stopped it, or that came as it finished: the command then exits with that signal's code."""


def train(
    config: Config,
    overrides: list[str],
    recipe: str | None,
    own_directory: Callable[[], AbstractContextManager[RunLock]],
    continued: bool = False,
    swept: dict[str, str] | None = None,
) -> Outcome:
    """Train from the start in a new directory, or go on in an old one.

    Args:
        config: Validated, with a seed.
        overrides: As typed.
        recipe: What it follows, for the header.
        own_directory: Gives the run directory, locked; called once everything else is known to be right.
        continued: The directory holds a run to go on with.
        swept: Of a sweep's job, key -> value, as Hydra writes it, of what differs between jobs, the seed aside.

    Raises:
        RunnerError: Once the run's config is written, with its ``summary.json`` saying why, if the disk takes that.
            Before, a run to go on with is as it was (a damaged checkpoint is set aside), and a new one is none yet.
    """
    device, threads = set_up_torch(config)
    console, here = Console(config), Path.cwd()
    with Trainer(config, device, console) as trainer, contextlib.ExitStack() as owned:
        env_spaces = spaces_of(config.env)
        with contextlib.chdir(here):  # environments may go elsewhere, to their own files
            if not continued:
                config = _begin_from_another(config, trainer, overrides)
            require_fit(trainer, continued)
            least_s = 0.0 if continued else least_seconds(trainer)
            _warn_of_no_end(config)
            glance = at_a_glance(trainer, env_spaces.action)
            lock = owned.enter_context(own_directory())
            run = RunDirectory(lock.run.absolute())
        with stop_on_signals() as stop, contextlib.ExitStack() as at_the_end:
            heed = partial(_asked, lock, stop)
            record = Record(config, run, hyperparameters(config, swept))
            try:
                cut = _restored(record, trainer, env_spaces, heed, overrides) if continued else []
            except Interrupted:
                console.say("stopped before it went on; the run is as it was")
                return Outcome(run, record.last_return, stop.signal)
            died_of = how_it_died(run)
            meta = provenance(overrides, config, device, threads)
            run.write_start(to_yaml(config), meta | {"spaces": env_spaces.to_plain()})
            with crash_traces(run.path), _summarized(trainer, record, console):
                console.keep_in(at_the_end.enter_context(contextlib.closing(Appended(run.path / "train.log", "ab"))))
                if died_of is not None:
                    console.say(f"the last start of this run ended without saving: {died_of}")
                console.say(header(config, overrides, recipe, trainer.action_dim, least_s))
                console.say(f"{device}, {plural(threads, 'thread')}, {glance} -> {shown(run.path)}")
                if continued:
                    warn_of_disk(trainer, run)
                    console.say(f"continuing at {trainer.counters.env_steps:,} env steps{_cut_short(cut)}")
                ending = _run(trainer, record, heed, stop)
            is_stopped, now = ending is Ending.STOPPED, trainer.counters
            console.say(stopped(record, now, trainer.state.turn) if is_stopped else closing(record, now, ending.value))
    return Outcome(run, record.last_return, stop.signal)


def dry_run(config: Config, overrides: list[str], recipe: str | None, run: RunDirectory | None = None) -> None:
    """Print what would run and what it would need, if it goes on that of ``run``; write nothing.

    Raises:
        RunnerError: It could not start.
    """
    device, threads = set_up_torch(config)
    here = Path.cwd()
    with Trainer(config, device, Console(config)) as trainer:
        done, env_spaces = None, spaces_of(config.env)
        os.chdir(here)  # environments may go elsewhere, as in ``train``
        if run is None:
            _begin_from_another(config, trainer, overrides)
        else:
            require_same_spaces(run, env_spaces)
            done = find(run.checkpoints, "latest")[-1].env_steps
        print(header(config, overrides, recipe, trainer.action_dim))
        print(f"{device}, {plural(threads, 'thread')}; a dry run: nothing is written")
        if done is not None:
            print(f"continuing at {done:,} env steps")
        print(preflight(trainer, env_spaces.action, done))
        _warn_of_no_end(config)
        require_fit(trainer, continued=run is not None)
        if run is not None:
            warn_of_disk(trainer, run)


def _begin_from_another(config: Config, trainer: Trainer, overrides: list[str]) -> Config:
    """``init_from``, whose path is kept: ``last`` would soon mean another run."""
    if config.init_from is None:
        return config
    source = find_run(config.init_from, config.outputs)
    initialize(trainer.agent, RunDirectory(source), overrides)
    trainer.agent.begin(list(range(config.env.num_envs)), trainer.collector.obs)  # the other's statistics lack these
    return replace(config, init_from=str(source.resolve()))


def _restored(
    record: Record, trainer: Trainer, spaces: EnvSpaces, heed: Callable[[], bool], overrides: list[str]
) -> list[int]:
    """Go on from the newest checkpoint; the environments whose episode had to be cut short."""
    require_same_spaces(record.run, spaces)
    return record.restore(newest_whole(record.run, overrides), trainer.state, heed, overrides)


def _warn_of_no_end(config: Config) -> None:
    if is_endless(config.env):
        text = "has no time limit: an episode that it does not end itself goes on for ever"
        warn(f"{config.env.id} {text}; env.max_episode_steps=1000 sets one")


def _cut_short(cut: list[int]) -> str:
    if not cut:
        return ""
    return f"; the episode of env {', '.join(map(str, cut))} could not be replayed exactly and was cut short"


def _asked(lock: RunLock, stop: StopRequest) -> bool:
    """What the trainer asks at every turn; that it asks is its sign of life."""
    lock.beat()
    return stop()


def _run(trainer: Trainer, record: Record, stop_requested: Callable[[], bool], stop: StopRequest) -> Ending:
    record.open()
    record.summarize("running", None, trainer.counters)
    ending = trainer.run(record, stop_requested)
    status, cause = ("stopped", stop.cause) if ending is Ending.STOPPED else ("finished", ending.value)
    record.summarize(status, cause, trainer.counters)
    record.close(succeeded=ending is not Ending.STOPPED)
    return ending


@contextmanager
def _summarized(trainer: Trainer, record: Record, console: Console) -> Iterator[None]:
    """A run that fails within says why in its summary."""
    try:
        yield
    except BaseException as e:
        console.clear()
        if isinstance(e, NotFinite):
            e.message += _what_leads_there(record.run, trainer)
        if isinstance(e, EnvironmentFailed):
            console.note("".join(traceback.format_exception(e)))  # for whoever wrote the environment
        if isinstance(e, Exception):
            status, cause = "failed", e.message if isinstance(e, RunnerError) else repr(e)
        else:  # of an environment that raises it, or that took Ctrl-C for itself a moment ago
            status, cause = "stopped", f"{type(e).__name__}, not saved"
            saved = find(record.run.checkpoints, "latest")
            resume = train_command(f"resume={quote(str(shown(record.run.path)))}")
            goes_on = f"go on at {saved[-1].env_steps:,}: {resume}" if saved else "there is no checkpoint"
            console.say(f"stopped by {cause}; {goes_on}")
        record.abandon(status, cause, trainer.counters)
        raise


def _what_leads_there(run: RunDirectory, trainer: Trainer) -> str:
    """Continuing is exact, so a fault of the numbers comes back when it is looked for."""
    saved = find(run.checkpoints, "latest")
    at = f", by {trainer.counters.env_steps:,} env steps and {trainer.counters.updates:,} updates"
    return at + (f"; the checkpoint at {saved[-1].env_steps:,} leads there again" if saved else "")


def hyperparameters(config: Config, swept: dict[str, str] | None = None) -> dict[str, bool | float | str]:
    """For the HParams tab: what ``swept`` says and the seed; of a single run all that a user may sweep.

    Lists are texts, and nulls of a single run are left out.
    """
    if swept is not None:
        assert config.seed is not None
        return {key: _scalar(value) for key, value in swept.items()} | {"seed": config.seed}
    groups = (
        "seed",
        "agent.",
        "alpha.",
        "normalization.",
        "schedule.",
        "replay.",
        "env.id",
        "env.num_envs",
        "total_env_steps",
    )
    chosen = {key: x for key, x in flat(config).items() if key.startswith(groups) and x is not None}
    return {key: str(x) if isinstance(x, list) else x for key, x in chosen.items()}


def _scalar(typed: str) -> bool | float | str:
    """The number or truth value that ``typed`` is, else the text; TensorBoard shows no number that is not finite."""
    if typed.lower() in ("true", "false"):
        return typed.lower() == "true"
    try:
        number = float(typed)
    except ValueError:
        return typed
    return number if math.isfinite(number) else typed
