"""The launchers that Hydra's sweepers hand their jobs to: each setting composed and checked, then frozen and run."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from sac_runner.config.compose import recipe, to_config
from sac_runner.config.convert import key_of
from sac_runner.config.schema import Config
from sac_runner.errors import WrongInput, say, train_command
from sac_runner.storage.sweep_directory import SweepDirectory, SweepJob
from sac_runner.sweep.board import Board
from sac_runner.sweep.plan import setting_of, values_of
from sac_runner.sweep.pool import Pool
from sac_runner.sweep.resources import Allotment
from sac_runner.sweep.session import Execute, Limits, Proposed, Session
from sac_runner.sweep.slurm import check
from sac_runner.sweep.submission import Submission

_PACKAGE = "hydra_plugins.sac_runner"
_WORTH_SAYING = 20  # settings, each of which takes a tenth of a second and more
_FOR_THE_LOWEST = {
    "direction": ("minimize", "maximize"),
    "optim.maximize": ("false", "true"),
    "ax_config.experiment.minimize": ("true", "false"),
}
"""Of Optuna's, Nevergrad's and Ax's sweepers: the usual value, and the one for the highest."""


class SweepLauncher(Launcher):
    """hydra/launcher=local, a process for each job on this machine, and hydra/launcher=slurm."""

    session: Session

    def __init__(self, **parameters: Any) -> None:
        """As ``conf/hydra/launcher/`` says; checked when it launches."""
        self.parameters = parameters

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra before ``launch``."""
        self.hydra_context, self.config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs; a sweeper may call this several times for one sweep.

        Returns:
            One for each job, completed and finite whatever became of it: a sweeper goes on, and the table has the rest.

        Raises:
            WrongInput: A job's config has faults, or its environment or device is not there, and the sweep is as it
                was; or the cluster refuses them.
        """
        setup_globals()
        self._refuse_batches()
        self._refuse_the_lowest()
        if not job_overrides:
            raise WrongInput("this sweep has no jobs: a glob or a range of it holds nothing")
        self._refuse_twice(job_overrides)
        if len(job_overrides) > _WORTH_SAYING:
            say(f"checking {len(job_overrides)} settings")
        fixed = _fixed(self.config)
        proposed = [self._propose(list(job), initial_job_idx + i, fixed) for i, job in enumerate(job_overrides)]
        refuse_own_directories([p.config for p in proposed])
        swept = list(dict.fromkeys(key for p in proposed for key in p.setting))
        if of_all := {"dry_run", "outputs"}.intersection(swept):
            raise WrongInput(f"{min(of_all)} is one for a whole sweep")
        Path(self.config.hydra.sweep.dir).mkdir(exist_ok=True)  # as Hydra's launchers do: sweepers write to it
        returns = self.session.run(proposed, swept, limits(self.parameters), executor(self.parameters))
        return [_returned(p.overrides, x) for p, x in zip(proposed, returns, strict=True)]

    def _refuse_batches(self) -> None:
        """Of a grid that comes in parts, a sweep that is stopped would not know the rest."""
        sweeper = self.config.hydra.sweeper
        if sweeper.get("max_batch_size") is not None and "BasicSweeper" in sweeper.get("_target_", ""):
            remedy = train_command("-m hydra.launcher.at_a_time=N ...   # so many jobs at a time")
            raise WrongInput("hydra.sweeper.max_batch_size would freeze a sweep in parts", remedy)

    def _refuse_the_lowest(self) -> None:
        """A job answers with its return."""
        for key, (lowest, highest) in _FOR_THE_LOWEST.items():
            found = OmegaConf.select(self.config.hydra.sweeper, key)
            if getattr(found, "name", str(found)).lower() == lowest:
                text = f"hydra.sweeper.{key}={lowest} looks for the lowest return"
                raise WrongInput(text, train_command(f"hydra.sweeper.{key}={highest}"))

    def _refuse_twice(self, jobs: Sequence[Sequence[str]]) -> None:
        """The same job again would count as another seed."""
        if "BasicSweeper" not in self.config.hydra.sweeper.get("_target_", ""):
            return
        named = _typed(self.config)
        keys = [key_of(override.get_key_element()) for override in named]
        for i, (key, override) in enumerate(zip(keys, named, strict=True)):
            if override.is_sweep_override() and key in keys[i + 1 :]:
                raise WrongInput(f"{override.input_line}: {key} is named once more after it, and only that would count")
        seen = set()
        for job in jobs:
            values = tuple(values_of(job).items())
            if values in seen:
                raise WrongInput(f"job {' '.join(job)} comes twice: name each value once, and each key")
            seen.add(values)

    def _propose(self, job: list[str], number: int, fixed: set[str]) -> Proposed:
        cfg = self.hydra_context.config_loader.load_sweep_config(self.config, job)
        choices = dict(cfg.hydra.runtime.choices)
        with open_dict(cfg):
            cfg.hydra.job.id = cfg.hydra.job.num = number
            bare = cfg.copy()
            del bare["hydra"]

        def of_seed(seed: int) -> Config:
            """What it composes to, with ``seed`` in place of its own."""
            with open_dict(bare):
                bare.seed = seed
            try:
                return to_config(bare, cfg.hydra)
            except WrongInput as e:
                raise e.of(job) from e

        first = bare.seed
        config = replace(of_seed(0 if first is None else first), seed=first)  # to be drawn
        return Proposed(job, setting_of(job, fixed), config, recipe(choices), of_seed)


def _typed(config: DictConfig, more: Sequence[str] = ()) -> list[Override]:
    """The overrides of the command line, ``${seed}`` in them as it is, and ``more``."""
    typed: Any = OmegaConf.to_container(config.hydra.overrides.task, resolve=False)
    return OverridesParser.create().parse_overrides([*typed, *more])


def _fixed(config: DictConfig) -> set[str]:
    """``key=value`` of what has one value for all jobs, on the command line or in ``hydra.sweeper.params``."""
    params: Any = OmegaConf.to_container(config.hydra.sweeper.get("params") or OmegaConf.create({}))
    parsed = _typed(config, [f"{key}={value}" for key, value in params.items()])
    swept = {override.get_key_element().lstrip("+~") for override in parsed if override.is_sweep_override()}
    single = [override for override in parsed if override.get_key_element().lstrip("+~") not in swept]
    as_typed = {(override.input_line or "").lstrip("+~") for override in single}
    return as_typed | {f"{o.get_key_element().lstrip('+~')}={o.get_value_element_as_str()}" for o in single}


def refuse_own_directories(configs: list[Config]) -> None:
    """A sweep makes its own runs.

    Raises:
        WrongInput: A job names its directory, or a run to go on with.
    """
    sources = [config.resume for config in configs if config.resume is not None]
    if sources or any(config.run.dir is not None for config in configs):
        raise WrongInput(
            "a sweep makes its own runs: leave resume and run.dir out, or leave -m and seeds out",
            train_command(f"resume={shlex.quote(sources[0])}" if sources else "run.dir=null"),
        )


def _returned(overrides: list[str], value: float) -> JobReturn:
    returned = JobReturn(overrides=overrides, status=JobStatus.COMPLETED)
    returned.return_value = value
    return returned


def limits(parameters: dict[str, Any]) -> Limits:
    """Of ``hydra.launcher``.

    Raises:
        WrongInput: A value can't be.
    """
    cores = parameters.get("cpus_per_task") if parameters.get("cluster") == "slurm" else None
    return Limits(_count(parameters, "seeds"), _count(parameters, "at_a_time"), cores, parameters)


def _count(parameters: dict[str, Any], key: str) -> int | None:
    value = parameters.get(key)
    if value in (None, "auto"):
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        text = f"hydra.launcher.{key}={value} must be a whole number, at least 1, or auto"
        raise WrongInput(text, train_command(f"hydra.launcher.{key}=2"))
    return value


def executor(parameters: dict[str, Any]) -> Execute:
    """What runs the jobs of a launcher with these parameters.

    Raises:
        WrongInput: A value can't be.
    """
    hang = parameters.get("hang_minutes")
    if hang is not None and (isinstance(hang, bool) or not isinstance(hang, int | float) or not hang > 0):
        text = f"hydra.launcher.hang_minutes={hang} must be a number above 0, or null"
        raise WrongInput(text, train_command("hydra.launcher.hang_minutes=30"))
    hang_s = float("inf") if hang is None else 60 * hang
    of_a_cluster = "cluster" in parameters
    if of_a_cluster:
        check(parameters)
    elif unknown := parameters.keys() - {"_target_", "seeds", "at_a_time", "hang_minutes"}:
        text = f"hydra.launcher.{min(unknown)}: hydra/launcher=local has no such option"
        raise WrongInput(text, train_command("hydra/launcher=slurm ..., or without it"))

    def execute(sweep: SweepDirectory, jobs: list[SweepJob], allotment: Allotment) -> int | None:
        """On this machine, or a cluster."""
        board = Board(sweep)
        try:
            if of_a_cluster:
                return Submission(sweep, allotment, hang_s, board, parameters).run(jobs)
            return Pool(sweep, allotment, hang_s, board).run(jobs)
        finally:
            board.close()

    return execute


def register(session: Session) -> None:
    """Make the launcher known to Hydra, which takes plugins from a package ``hydra_plugins`` and no other."""
    SweepLauncher.session = session
    plugins = Plugins.instance()  # imports the true hydra_plugins, where one is installed
    sys.modules.setdefault("hydra_plugins", ModuleType("hydra_plugins"))
    sys.modules[_PACKAGE] = sys.modules[__name__]
    SweepLauncher.__module__ = _PACKAGE
    plugins.register(SweepLauncher)
