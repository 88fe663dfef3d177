"""The only home of Hydra and OmegaConf (launchers aside): from the command line to a ``Config``, and on to its YAML.

Hydra composes and does nothing else: it makes no directory, changes none, logs nothing.
"""

import contextlib
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import hydra
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from sac_runner.config.convert import Fault, convert, to_plain
from sac_runner.config.diagnose import find_faults, find_groups, key_of
from sac_runner.config.explain import explain, explain_options, find_mends, in_the_command, of_the_sweep
from sac_runner.config.origin import by_origin
from sac_runner.config.rewrite import as_settings, rewrite, split
from sac_runner.config.schema import Config
from sac_runner.config.validate import find_contradictions, validate
from sac_runner.errors import RunnerError, WrongInput, command, hears_ctrl_c, train_command

_PACKAGE = Path(__file__).resolve().parents[1]
CONF = _PACKAGE / "conf" if (_PACKAGE / "conf").is_dir() else _PACKAGE.parent / "conf"
"""The config groups: inside the package when installed from a wheel, at the top of a clone."""

_NOT_COMPOSED = (HydraException, OmegaConfBaseException, ValueError, YAMLError)
"""What Hydra raises; ``ValueError`` where a group is given a number."""


@dataclass(frozen=True)
class Job:
    """One run as the command line asks for it."""

    config: Config
    overrides: list[str]
    """As Hydra took them."""
    recipe: str | None
    """``experiment NAME`` or ``tuned for ENV``, if it follows one."""
    launcher: dict[str, Any]
    """What the command line says of ``hydra.launcher``; all of it where it chooses one."""


def from_command_line(arguments: list[str], run: Callable[[Job], float], sweep: Callable[[], Path | None]) -> None:
    """Hand ``arguments`` to Hydra, which composes each job for ``run``, or answers by itself (``--help``).

    Args:
        arguments: Of the command line.
        run: Called for a single run, and by launchers that are not ours.
        sweep: The folder of the sweep that has begun, by which all its jobs were composed; it gets what the sweeper
            writes of its own.

    Raises:
        WrongInput: The arguments don't compose.
        RunnerError: From ``run``; of another's launcher, once its other jobs are done.
    """
    _outcome.cache_clear()
    meant, unknown = as_settings(arguments)
    if unknown:
        raise explain_options(unknown, _faults(meant), meant)
    typed, arguments = arguments, rewrite(arguments)
    failures: list[RunnerError] = []
    started = False

    def task(cfg: DictConfig) -> float:
        """What Hydra calls for a job: an expected failure must not end the others of another's launcher."""
        nonlocal started
        started = True
        try:
            return run(_job(cfg))
        except RunnerError as e:
            failures.append(e)
            if HydraConfig.get().mode == RunMode.MULTIRUN:
                print(e, file=sys.stderr)
            return math.nan

    os.environ["SAC_TRAIN_COMMAND"] = command("train")  # for the help page
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors reach us instead of Hydra's own report
    options, settings = split(arguments)
    with contextlib.ExitStack() as at_the_end:
        if _sweeps(options):
            arguments.append(at_the_end.enter_context(_sweepers_folder(sweep)))
        at_the_end.enter_context(_explaining(typed, lambda: started or sweep() is not None))
        sys.argv = [sys.argv[0], *arguments]
        if options or any("hydra" in setting for setting in settings) or not _run_at_once(task, settings):
            hydra.main(config_path=str(CONF), config_name="config", version_base="1.3")(task)()
    if failures:
        raise _explained(typed, failures[0]) if isinstance(failures[0], WrongInput) else failures[0]


@contextmanager
def _sweepers_folder(sweep: Callable[[], Path | None]) -> Iterator[str]:
    """A folder for what Hydra's sweeper writes, as an override; in the end the sweep has it."""
    with tempfile.TemporaryDirectory(prefix="sac-train-") as scratch:
        yield f"hydra.sweep.dir={scratch}"
        if (folder := sweep()) is not None:
            for file in set(Path(scratch).iterdir()) - {Path(scratch, "multirun.yaml")}:  # which sweep.json says better
                shutil.copy(file, folder)


@contextmanager
def _explaining(typed: list[str], has_begun: Callable[[], bool]) -> Iterator[None]:
    """What Hydra and OmegaConf raise before a run or a sweep has begun is said as what is wrong with ``typed``."""
    try:
        with hears_ctrl_c(lambda: not has_begun()):
            yield
    except (*_NOT_COMPOSED, WrongInput) as e:
        if not isinstance(e, WrongInput) and has_begun():
            raise
        raise _explained(typed, e) from e
    except (AssertionError, AttributeError) as e:  # of OmegaConf, which can't put a key into Hydra's null
        if has_begun() or not any("hydra.sweeper.params" in word for word in typed):
            raise
        text = "hydra.sweeper.params can only be set in a file, such as conf/sweep/alpha.yaml"
        raise WrongInput(text, train_command("-m alpha=auto,fixed")) from e


def _run_at_once(task: Callable[[DictConfig], float], settings: list[str]) -> bool:
    """Have Hydra run ``task`` on a config that is composed once; ``hydra.main`` does so twice, to see the mode first.

    Returns:
        False where a file asks for a multirun: then nothing was run.
    """
    with _initialized():
        app = GlobalHydra.instance().hydra
        assert app is not None
        cfg = app.compose_config("config", settings, RunMode.RUN, with_log_configuration=True)
        if cfg.hydra.mode == RunMode.MULTIRUN:
            return False
        app.compose_config = lambda **_: cfg  # type: ignore[method-assign]
        app.run("config", task, settings)
        return True


def _explained(typed: list[str], error: Exception) -> WrongInput:
    """All that is wrong with arguments that were refused with ``error``: their keys, and the values of others."""
    (options, settings), composed = split(typed), isinstance(error, WrongInput)
    plain = partial(_plain, options)
    faulty = {} if composed and not any(".mode=" in setting for setting in settings) else _faults(typed)
    job = error.job if isinstance(error, WrongInput) else None
    keys = {key_of(setting) for setting in faulty}
    others = [setting for setting in job or settings if key_of(setting) not in keys]
    values: list[Fault] = []
    if (job or not _sweeps(split(rewrite(typed))[0])) and (found := plain(others)):
        config, values = convert(found)
        values = by_origin(values, others, _folders(options), _choices(options, others)) if values else []
        values += [] if faulty else find_contradictions(config)
    if isinstance(error, WrongInput) and not faulty and not values:
        return WrongInput(error.message, in_the_command(error.remedy, typed))
    mends = find_mends(values, others, plain)
    if job is None:
        return explain(faulty, typed, values, mends, error)
    return explain(faulty, typed, values, of_the_sweep(mends, others, typed, plain), error).of(job)


def _plain(options: list[str], settings: list[str]) -> dict[str, Any]:
    """What ``settings`` compose to; nothing where they don't."""
    return _outcome(*_search_path(options), *split(rewrite(settings))[1])[0]


@cache
def _outcome(*overrides: str) -> tuple[dict[str, Any], dict[str, str]]:
    """What ``overrides`` compose to, and group -> choice; nothing where they don't.

    Kept for one command line: each is 0.1 s, and to explain what is wrong asks for some several times.
    """
    plain: Any = {}
    choices: dict[str, str] = {}
    with contextlib.suppress(*_NOT_COMPOSED):
        cfg = _composed(list(overrides), return_hydra_config=True)
        OmegaConf.set_struct(cfg, False)
        choices = dict(cfg.pop("hydra").runtime.choices)
        plain = OmegaConf.to_container(cfg, resolve=True)
    return plain, choices


def _faults(typed: list[str]) -> dict[str, WrongInput]:
    options, overrides = split(rewrite(typed))
    return find_faults(find_groups(_folders(options)), overrides, _choices(options, overrides), _sweeps(options))


def _sweeps(options: list[str]) -> bool:
    return bool({"-m", "--multirun"} & set(options))


def _folders(options: list[str]) -> list[Path]:
    """Of config groups: ours, and that of ``--config-dir``."""
    words = [word for option in options for word in option.split("=", 1)]
    return [CONF, *(Path(value).absolute() for option, value in pairwise(words) if option in ("--config-dir", "-cd"))]


def _search_path(options: list[str]) -> list[str]:
    """``--config-dir`` as an override."""
    return [f"hydra.searchpath=[{str(folder)!r}]" for folder in _folders(options)[1:] if folder.is_dir()]


def _job(cfg: DictConfig) -> Job:
    hydra_config = HydraConfig.get()
    launcher: Any = OmegaConf.to_container(hydra_config.launcher, resolve=True)
    given = {o.lstrip("+").partition("=")[0] for o in hydra_config.overrides.hydra}
    if "hydra/launcher" not in given:
        launcher = {key: value for key, value in launcher.items() if f"hydra.launcher.{key}" in given}
    chosen = recipe(dict(hydra_config.runtime.choices))
    return Job(to_config(cfg), list(hydra_config.overrides.task), chosen, launcher)


def recipe(choices: dict[str, str | None]) -> str | None:
    """``experiment NAME`` or ``tuned for ENV``, if a run with these choices of groups follows one."""
    if choices.get("experiment") is not None:
        return f"experiment {choices['experiment']}"
    tuned = choices.get("tuned")
    return f"tuned for {tuned}" if tuned is not None and (CONF / "tuned" / f"{tuned}.yaml").is_file() else None


def to_config(cfg: DictConfig) -> Config:
    """The composed config as dataclasses, checked.

    Raises:
        WrongInput: With every fault at once.
    """
    try:
        plain: Any = OmegaConf.to_container(cfg, resolve=True)
    except OmegaConfBaseException as e:
        raise WrongInput(f"{e.full_key}: {str(e).strip().splitlines()[0]}") from e
    config, faults = convert(plain)
    validate(config, faults)
    run = replace(config.run, dir=config.run.dir and os.path.expanduser(config.run.dir))
    return replace(config, outputs=os.path.expanduser(config.outputs), run=run)  # a shell leaves outputs=~/x as it is


def compose_config(overrides: list[str]) -> Config:
    """A ``Config`` for use from Python: ``compose_config(["env=pendulum", "agent.lr=1e-3"])``.

    Raises:
        WrongInput: It does not compose, or has faults.
    """
    _outcome.cache_clear()
    try:
        return to_config(_composed(split(rewrite(overrides))[1]))
    except (*_NOT_COMPOSED, WrongInput) as e:
        raise _explained(overrides, e) from e


def _choices(options: list[str], overrides: list[str]) -> dict[str, str]:
    """Group -> choice, as the group overrides alone compose; empty if they don't."""
    known = find_groups(_folders(options))
    return _outcome(*_search_path(options), *(o for o in overrides if o.partition("=")[0] in known))[1]


def _composed(overrides: list[str], return_hydra_config: bool = False) -> DictConfig:
    with hears_ctrl_c(lambda: True), _initialized():
        return compose("config", overrides=overrides, return_hydra_config=return_hydra_config)


def _initialized() -> initialize_config_dir:
    GlobalHydra.instance().clear()
    return initialize_config_dir(str(CONF), job_name=Path(__file__).stem, version_base="1.3")  # as hydra.main names it


def to_yaml(config: Config) -> str:
    """The resolved config as YAML."""
    return OmegaConf.to_yaml(OmegaConf.create(to_plain(config)))
