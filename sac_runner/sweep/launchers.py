"""The launcher that Hydra's sweepers hand their jobs to."""

import secrets
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from sac_runner.config.compose import to_config
from sac_runner.config.schema import Config
from sac_runner.errors import WrongInput
from sac_runner.storage.names import create_exclusively
from sac_runner.sweep.plan import job_paths, settings, sweep_path


class LocalLauncher(Launcher):
    """Runs jobs one after another in this process, once all of them are composed and checked."""

    try_out: Callable[[Config], None]

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra before ``launch``."""
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config
        self.sweep: Path | None = None

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs; a sweeper may call this several times for one sweep.

        Raises:
            WrongInput: A job's config has faults, or its environment or device is not there; no job has started and no
                file was made.
        """
        setup_globals()
        jobs = [list(job) for job in job_overrides]
        composed = [self._compose(job, initial_job_idx + i) for i, job in enumerate(jobs)]
        configs = [config for _, config in composed]
        if any(config.resume is not None or config.run.dir is not None for config in configs):
            raise WrongInput("a sweep makes its own runs: leave resume and run.dir out, or leave -m out")
        for config in {repr((config.env, config.device)): config for config in configs}.values():
            type(self).try_out(config)
        if not configs[0].dry_run:
            self._make_sweep(jobs, configs[0])
        _announce(jobs)
        seeds = [secrets.randbits(32) if config.seed is None else config.seed for config in configs]
        places = zip(seeds, job_paths(jobs, seeds), strict=True)
        return [self._run(cfg, seed, path) for (cfg, _), (seed, path) in zip(composed, places, strict=True)]

    def _compose(self, job: list[str], number: int) -> tuple[DictConfig, Config]:
        cfg = self.hydra_context.config_loader.load_sweep_config(self.config, job)
        with open_dict(cfg):
            cfg.hydra.job.id = cfg.hydra.job.num = number
            bare = cfg.copy()
            del bare["hydra"]
        try:
            return cfg, to_config(bare)
        except WrongInput as e:
            raise WrongInput(f"job {' '.join(job)}: {e.message}", e.remedy) from e

    def _make_sweep(self, jobs: list[list[str]], config: Config) -> None:
        if self.sweep is None:
            now = time.strftime("%Y%m%d-%H%M%S")
            self.sweep = create_exclusively(sweep_path(config.outputs, now, jobs, config.run.name))
            shutil.copy(Path(self.config.hydra.sweep.dir) / "multirun.yaml", self.sweep)

    def _run(self, cfg: DictConfig, seed: int, path: Path) -> JobReturn:
        if self.sweep is not None:
            with open_dict(cfg):
                cfg.seed, cfg.run.dir = seed, str(self.sweep / path)
        return run_job(
            task_function=self.task_function,
            config=cfg,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
            hydra_context=self.hydra_context,
            configure_logging=False,
        )


def register(try_out: Callable[[Config], None]) -> None:
    """Make the launcher known to Hydra, which takes plugins from a package ``hydra_plugins`` and no other.

    Args:
        try_out: Raises ``WrongInput`` where what a config names is not there.
    """
    LocalLauncher.try_out = staticmethod(try_out)
    plugins = Plugins.instance()  # imports the true hydra_plugins, where one is installed
    sys.modules.setdefault("hydra_plugins", ModuleType("hydra_plugins"))
    sys.modules["hydra_plugins.sac_runner"] = sys.modules[__name__]
    LocalLauncher.__module__ = "hydra_plugins.sac_runner"
    plugins.register(LocalLauncher)


def _announce(jobs: list[list[str]]) -> None:
    distinct = settings(jobs)
    seeds = len(jobs) // distinct
    print(
        f"{len(jobs)} runs: {distinct} setting{'s'[: distinct > 1]} x {seeds} seed{'s'[: seeds > 1]}", file=sys.stderr
    )
