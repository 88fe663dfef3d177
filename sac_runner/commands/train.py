"""``sac-train``: launch, sweep or continue runs. Every setting is a ``key=value``."""

import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from sac_runner.config.compose import Job, from_command_line
from sac_runner.config.schema import Config
from sac_runner.errors import RunnerError
from sac_runner.storage.names import create_exclusively, run_path
from sac_runner.storage.run_directory import RunDirectory


def main() -> None:
    """Entry point of ``sac-train`` and ``scripts/train``."""
    try:
        from_command_line(sys.argv[1:], _train)
    except RunnerError as e:
        print(e, file=sys.stderr)
        sys.exit(e.exit_code)


def _train(job: Job) -> float:
    """One run; returns its final evaluation mean, for Hydra's sweepers."""
    from sac_runner.training.randomness import draw_root_seed
    from sac_runner.training.run import train

    config = job.config
    seed = draw_root_seed() if config.seed is None else config.seed
    config = replace(config, seed=seed)
    outcome = train(config, seed, job.overrides, job.tuned, partial(_make_directory, config, job.overrides))
    _draw_curve(outcome.run)
    if outcome.stop_signal is not None:
        sys.exit(128 + outcome.stop_signal)
    return outcome.final_return


def _make_directory(config: Config, overrides: list[str]) -> Path:
    if config.run.dir is not None:
        return create_exclusively(Path(config.run.dir))
    env = config.env.name or config.env.id
    assert env is not None and config.seed is not None
    now = time.strftime("%Y%m%d-%H%M%S")
    return create_exclusively(run_path(config.outputs, env, now, overrides, config.run.name, config.seed))


def _draw_curve(run: RunDirectory) -> None:
    """Write ``curve.png``; a picture that fails must not end a run as failed."""
    from sac_runner.analysis.figures import learning_curve

    try:
        picture = learning_curve(run.path)
        if picture is not None:
            run.write_bytes("curve.png", picture)
    except Exception as e:
        print(f"warning: no curve.png: {e}", file=sys.stderr)
