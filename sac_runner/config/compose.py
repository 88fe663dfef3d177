"""The only home of Hydra and OmegaConf (launchers aside): from the command line to a ``Config``, and on to its YAML.

Hydra composes and does nothing else: it makes no directory, changes none, logs nothing.
"""

import contextlib
import math
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from sac_runner.config.command_line import CommandLine
from sac_runner.config.convert import by_key, convert, key_of, to_plain
from sac_runner.config.origin import Groups, find_groups, foreign_env
from sac_runner.config.rewrite import as_settings, config_folders, prints, rewrite, split
from sac_runner.config.schema import Config
from sac_runner.config.validate import validate
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
    """All of ``hydra.launcher``."""
    of_hydra: dict[str, str]
    """Key -> override of Hydra's own that was typed, such as ``hydra/launcher`` and ``hydra.launcher.at_a_time``."""


def from_command_line(arguments: list[str], run: Callable[[Job], float], sweep: Callable[[], Path | None]) -> None:
    """Hand ``arguments`` to Hydra, which composes each job for ``run``, or answers by itself (``--help``).

    Args:
        arguments: Of the command line.
        run: Called for a single run.
        sweep: The folder of the sweep that has begun, by which all its jobs were composed; it gets what the sweeper
            writes of its own.

    Raises:
        WrongInput: The arguments don't compose.
        RunnerError: From ``run``.
    """
    meant, unknown = as_settings(arguments)
    if unknown:
        raise _command_line(meant).of_options(unknown)
    _check_options(arguments)
    typed, arguments = arguments, rewrite(arguments)
    failures: list[Exception] = []
    started = False

    def task(cfg: DictConfig) -> float:
        """What Hydra calls for a job; of a failure that we expect it would print lines of its own."""
        nonlocal started
        started = True
        try:
            return run(_job(cfg))
        except (RunnerError, BrokenPipeError) as e:  # the latter as in `dry_run=true | head`
            failures.append(e)
            return math.nan

    os.environ["SAC_COMMANDS"] = command("")  # for the help page
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors reach us instead of Hydra's own report
    options, _ = split(arguments)
    for folder in config_folders(options):
        if not folder.is_dir():
            raise WrongInput(f"--config-dir {folder} is not a folder")
    own = find_groups(config_folders(options)).get("experiment", {})
    os.environ["SAC_TRAIN_EXPERIMENTS"] = "".join(f" {name}" for name in own)
    with contextlib.ExitStack() as at_the_end:
        at_the_end.enter_context(_explaining(typed, lambda: started or sweep() is not None))
        sys.argv = [sys.argv[0], *arguments]
        if not prints(options):  # a file may ask for a sweep too
            sys.argv.append(at_the_end.enter_context(_sweepers_folder(sweep)))
        hydra.main(config_path=str(CONF), config_name="config", version_base="1.3")(task)()
    if failures:
        raise _command_line(typed).explained(failures[0]) if isinstance(failures[0], WrongInput) else failures[0]


def _check_options(typed: list[str]) -> None:
    """Refuse what Hydra's own parser would, at which it prints all that it knows."""
    parser = get_args_parser()

    def refuse(message: str) -> NoReturn:
        raise WrongInput(message.removeprefix("argument "), train_command("--help"))

    parser.error = refuse  # type: ignore[method-assign]
    options, _ = parser.parse_known_args(typed)  # settings may stand between options
    if options.experimental_rerun is not None:  # a pickle
        raise WrongInput("--experimental-rerun would run code from a file", train_command("resume=RUN"))


@contextmanager
def _sweepers_folder(sweep: Callable[[], Path | None]) -> Iterator[str]:
    """A folder for what Hydra's sweeper writes, made by our launcher, as an override; in the end the sweep has it."""
    scratch = Path(tempfile.gettempdir(), f"sac-train-{secrets.token_hex(8)}")  # a plain run makes none
    try:
        yield f"hydra.sweep.dir='{scratch}'"
        if (folder := sweep()) is not None:
            for file in set(scratch.glob("*")) - {scratch / "multirun.yaml"}:  # which sweep.json says better
                shutil.copy(file, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def _explaining(typed: list[str], has_begun: Callable[[], bool]) -> Iterator[None]:
    """Turn what Hydra and OmegaConf raise before a run or a sweep has begun into a ``WrongInput`` about ``typed``."""
    try:
        with hears_ctrl_c(lambda: not has_begun()):
            yield
    except (*_NOT_COMPOSED, WrongInput) as e:
        if not isinstance(e, WrongInput) and has_begun():
            raise
        raise _command_line(typed).explained(e) from e
    except (AssertionError, AttributeError) as e:  # of OmegaConf, which can't put a key into Hydra's null
        if has_begun() or not any("hydra.sweeper.params" in word for word in typed):
            raise
        text = "hydra.sweeper.params can only be set in a file, such as conf/sweep/alpha.yaml"
        raise WrongInput(text, train_command("-m alpha=auto,fixed")) from e


def _command_line(typed: list[str]) -> CommandLine:
    return CommandLine(typed, CONF, cache(_outcome), _sources)


def _outcome(*overrides: str) -> tuple[dict[str, Any], dict[str, str]]:
    """What ``overrides`` compose to, and group -> choice; nothing where they don't.

    A command line keeps them: each is 0.1 s, and to explain what is wrong asks for some several times.
    """
    plain: Any = {}
    choices: dict[str, str] = {}
    with contextlib.suppress(*_NOT_COMPOSED):
        cfg = _composed(list(overrides))
        OmegaConf.set_struct(cfg, False)
        choices = dict(cfg.pop("hydra").runtime.choices)
        plain = OmegaConf.to_container(cfg, resolve=True)
    return plain, choices


def _sources(*overrides: str) -> list[tuple[str, str]]:
    """The files that ``overrides`` compose, in the order in which they are put together, each with its package."""
    with hears_ctrl_c(lambda: True), _initialized():
        loader = GlobalHydra.instance().config_loader()
        found = loader.compute_defaults_list("config", list(overrides), RunMode.RUN).defaults
    return [(file.config_path or "", file.package or "") for file in found if file.package != "hydra"]


def _job(cfg: DictConfig) -> Job:
    hydra_config = HydraConfig.get()
    if hydra_config.mode == RunMode.MULTIRUN:  # our own launchers compose each job by themselves
        text = f"hydra/launcher={hydra_config.runtime.choices['hydra/launcher']} would neither plan nor watch the jobs"
        raise WrongInput(f"{text}: here it is local or slurm", train_command("hydra/launcher=local"))
    launcher: Any = OmegaConf.to_container(hydra_config.launcher, resolve=True)
    of_hydra = by_key(hydra_config.overrides.hydra)
    chosen = recipe(dict(hydra_config.runtime.choices))
    return Job(to_config(cfg, hydra_config), list(hydra_config.overrides.task), chosen, launcher, of_hydra)


def recipe(choices: dict[str, str | None]) -> str | None:
    """``experiment NAME`` or ``tuned for ENV``, if a run with these choices of groups follows one."""
    if choices.get("experiment") is not None:
        return f"experiment {choices['experiment']}"
    tuned = choices.get("tuned")
    return f"tuned for {tuned}" if tuned is not None and (CONF / "tuned" / f"{tuned}.yaml").is_file() else None


def to_config(cfg: DictConfig, of_hydra: Any) -> Config:
    """The composed config as dataclasses, checked.

    Args:
        cfg: Without ``hydra``.
        of_hydra: That, by which the environment is checked to be the one of the chosen file.

    Raises:
        WrongInput: With every fault at once.
    """
    try:
        plain: Any = OmegaConf.to_container(cfg, resolve=True)
    except OmegaConfBaseException as e:
        raise WrongInput(f"{e.full_key}: {str(e).strip().splitlines()[0]}") from e
    groups = find_groups([Path(source.path) for source in of_hydra.runtime.config_sources if source.schema == "file"])
    _check_choices(dict(of_hydra.runtime.choices), list(of_hydra.overrides.task), groups)
    config, faults = convert(plain)
    faults += foreign_env(config, of_hydra.runtime.choices.get("env"), groups)
    validate(config, faults)
    # A shell leaves outputs=~/x as it is, and SAC_OUTPUTS may be empty.
    run = replace(config.run, dir=config.run.dir and os.path.expanduser(config.run.dir))
    return replace(config, outputs=os.path.expanduser(config.outputs) or "outputs", run=run)


def _check_choices(choices: dict[str, str | None], overrides: list[str], groups: Groups) -> None:
    """Refuse what Hydra takes and what would train with other values than it says."""
    for group, choice in choices.items():
        if choice is not None and choice.endswith(".yaml"):  # tuned values are looked up by this name
            name = choice.removesuffix(".yaml")
            raise WrongInput(f"{group}={choice}: a choice is named without .yaml", train_command(f"{group}={name}"))
    for override in overrides:
        group, choice = key_of(override), override.partition("=")[2]
        if group.partition("/")[0] == "tuned" and choice not in groups.get(group, {}):  # which are optional
            text = f"{group}={choice} does not exist; {group} can be {', '.join(groups.get(group, {}))}"
            raise WrongInput(text)


def compose_config(overrides: list[str]) -> Config:
    """A ``Config`` for use from Python: ``compose_config(["env=pendulum", "agent.lr=1e-3"])``.

    Raises:
        WrongInput: It does not compose, or has faults.
    """
    try:
        cfg = _composed(split(rewrite(overrides))[1])
        OmegaConf.set_struct(cfg, False)
        of_hydra = cfg.pop("hydra")
        return to_config(cfg, of_hydra)
    except (*_NOT_COMPOSED, WrongInput) as e:
        raise _command_line(overrides).explained(e) from e


def _composed(overrides: list[str]) -> DictConfig:
    with hears_ctrl_c(lambda: True), _initialized():
        return compose("config", overrides=overrides, return_hydra_config=True)


def _initialized() -> initialize_config_dir:
    GlobalHydra.instance().clear()
    return initialize_config_dir(str(CONF), job_name=Path(__file__).stem, version_base="1.3")  # as hydra.main names it


def own_folders(command: list[str]) -> list[Path]:
    """Of config files of one's own that ``command`` names, by ``--config-dir``."""
    return config_folders(split(command)[0])


def to_yaml(config: Config) -> str:
    """The resolved config as YAML."""
    return OmegaConf.to_yaml(OmegaConf.create(to_plain(config)))
