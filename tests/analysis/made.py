"""Runs and sweeps as training leaves them, written in a moment through the package's own writers."""

import csv
import io

import numpy as np

from sac_runner.storage.run_directory import RunDirectory
from sac_runner.storage.sweep_directory import SweepDirectory, SweepJob
from sac_runner.training.metrics import METRICS
from tests.support import plain

VERSIONS = {"python": "3.11.7", "sac-runner": "0.1.0", "torch": "2.13.0", "gymnasium": "1.4.0", "mujoco": "4.0.0"}
META = {
    "started": "2026-01-01T00:00:00+0000",
    "device": "cpu",
    "threads": 1,
    "precision": "highest",
    "versions": VERSIONS,
    "git": {"commit": "a" * 40, "dirty": False},
}


def yaml(config):
    """``config`` as YAML that needs no OmegaConf."""
    import yaml

    return yaml.safe_dump(config, sort_keys=False)


def rows(steps, values, seconds_per_step):
    """Rows as a training writes them: an evaluation, and one of means with the wall time."""
    for step, value in zip(steps, values, strict=True):
        yield {"env_steps": step, "round": 0, "eval/return_mean": value, "eval/return_std": 1.0}
        if step:
            yield {"env_steps": step, "round": 0, "train/alpha": 0.1, "perf/wall_time_s": step * seconds_per_step}


def make_run(
    folder,
    values,
    steps=None,
    seed=0,
    state="finished",
    cause=None,
    meta=None,
    seconds_per_step=0.006,
    **config,
):
    """A run whose evaluation was ``values`` at ``steps`` (every 1,000 env steps), its config that of ``support.plain``.

    ``state`` killed leaves the summary that a run has while it goes on.
    """
    steps = [1000 * i for i in range(len(values))] if steps is None else list(steps)
    folder.mkdir(parents=True)
    run = RunDirectory(folder)
    run.write_start(yaml(plain(seed=seed, **config)), META | (meta or {}))
    text = io.StringIO()
    writer = csv.DictWriter(text, ["env_steps", "round", *METRICS], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows(steps, values, seconds_per_step))
    run.write_bytes("metrics.csv", text.getvalue().encode())
    score = {"env_steps": steps[-1], "return_mean": values[-1], "return_std": 1.0}
    run.write_summary(
        {
            "status": "running" if state == "killed" else state,
            "cause": cause,
            "env_steps": steps[-1],
            "wall_time_s": steps[-1] * seconds_per_step,
            "scores": {"final": score, "best": score},
        }
    )
    return run


_OF_A_RUN = ("steps", "state", "cause", "meta", "seconds_per_step")


def make_sweep(folder, settings, seeds, curve, **common):
    """A sweep whose jobs are ``settings`` (typed -> config) x ``seeds``; ``curve(i, seed)`` gives the values of one.

    A job whose values are None has not begun.
    """
    sweep = SweepDirectory(folder)
    folder.mkdir(parents=True)
    jobs, frozen = [], []
    for i, (typed, config) in enumerate(settings.items()):
        for seed in range(seeds):
            setting = dict(part.split("=", 1) for part in typed.split()) if typed else {}
            path = f"{typed.replace('=', '-').replace(' ', '_') or 'default'}/s{seed}"
            jobs.append(SweepJob(len(jobs), path, setting, seed, None))
            frozen.append(
                {"config": plain(seed=seed, **{k: x for k, x in common.items() if k not in _OF_A_RUN}, **config)}
            )
            values = curve(i, seed)
            if values is not None:
                make_run(folder / path, values, seed=seed, **common, **config)
    sweep.write_plan({"name": folder.name, "started": "2026-01-02T00:00:00+0000"}, jobs, frozen)
    return sweep


def learning(level, seed, points=101, noise=20.0, speed=3.0):
    """Returns that rise from -200 to about ``level``."""
    rng = np.random.default_rng([seed, points])
    t = np.linspace(0, 1, points)
    return (
        -200 + (level + 200) * (1 - np.exp(-speed * (1 + 0.3 * rng.normal()) * t)) + noise * rng.normal(size=points)
    ).tolist()


ALPHAS = {
    "alpha=auto": {},
    "alpha=fixed_0.05": {"alpha": {"mode": "fixed", "value": 0.05}},
    "alpha=fixed": {"alpha": {"mode": "fixed", "value": 0.2}},
}


def alpha_sweep(folder, seeds=5, levels=(260, 265, 80), points=101, **common):
    """Three temperatures over some seeds: two of them alike, the third worse."""
    return make_sweep(folder, ALPHAS, seeds, lambda i, seed: learning(levels[i], seed + 10 * i, points), **common)
