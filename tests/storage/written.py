"""Run and sweep directories as training writes them, without any training."""

from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from sac_runner.storage import checkpoints
from sac_runner.storage.metrics_file import MetricsFile, Written
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.storage.segments import write_segment
from sac_runner.storage.sweep_directory import SweepDirectory, SweepJob

TAGS = ["rollout/episode_return", "eval/return_mean", "perf/env_steps_per_s", "perf/updates_per_s", "perf/wall_time_s"]

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def write_run(
    folder, status="finished", cause=None, env_steps=1000, wall_time_s=10.0, total=1000, final=None, best=None, **meta
):
    """A run that has begun, without checkpoints; ``status`` None leaves no summary."""
    folder.mkdir(parents=True)
    run = RunDirectory(folder)
    run.write_start(f"env:\n  id: Pendulum-v1\ntotal_env_steps: {total}\n", meta)
    if status is not None:
        scores = {} if final is None else {"final": score(final), "best": score(final if best is None else best)}
        summary = {"env_steps": env_steps, "wall_time_s": wall_time_s, "scores": scores}
        run.write_summary({"status": status, "cause": cause, **summary})
    return run


def change_config(folder, old, new):
    """Have a stored config say ``new``, as if the run had been started so."""
    run = RunDirectory(folder)
    assert old in run.config_text()
    run.write_start(run.config_text().replace(old, new), run.read_meta())


def score(mean, env_steps=1000):
    """An evaluation as summary.json has it."""
    return {"env_steps": env_steps, "return_mean": mean, "return_std": 1.0, "episodes": 10}


def write_metrics(run, *rows):
    """Rows of (env steps, tag -> value)."""
    metrics = MetricsFile(run, TAGS, Written(-1, 0))
    for env_steps, values in rows:
        metrics.write(env_steps, 0, values)
    metrics.close()


def going_on(run, env_steps=420, seconds=4.2, speed=100.0, returned=-187.0, evaluated=-203.0):
    """The newest rows of a run that learns."""
    perf = {"perf/env_steps_per_s": speed, "perf/updates_per_s": speed, "perf/wall_time_s": seconds}
    earlier = (env_steps - 20, {"eval/return_mean": evaluated})
    write_metrics(run, earlier, (env_steps, {"rollout/episode_return": returned, **perf}))


def write_sweep(folder, *settings, seeds=1, total=1000, **plan):
    """A planned sweep, and its jobs; ``settings`` are texts like ``alpha=auto``."""
    folder.mkdir(parents=True, exist_ok=True)
    sweep, jobs = SweepDirectory(folder), []
    for setting in settings:
        key, _, value = setting.partition("=")
        for seed in range(seeds):
            path = f"{key.rsplit('.')[-1]}-{value}/s{seed}"
            jobs.append(SweepJob(len(jobs), path, {key: value}, seed, total))
    sweep.write_plan({"name": folder.name, "at_a_time": 2, **plan}, jobs, [{} for _ in jobs])
    return sweep, jobs


def write_checkpoints(run, env_steps=1000, rows=50):
    """A best and a latest checkpoint with a segment of replay."""
    policy = {"policy": {"w": np.zeros(4, np.float32)}}
    segment = write_segment(run.replay, 0, rows, {"obs": np.zeros((rows, 3), np.float32)})
    checkpoints.save(run.checkpoints, "best", env_steps, policy, {}, {})
    plain = {"state": {"replay": [segment], "record": {}, "counters": {"env_steps": env_steps}}}
    train = {"train": {"collector.obs": np.zeros((1, 3), np.float32)}}
    checkpoints.save(run.checkpoints, "latest", env_steps, policy | train, plain, {})


def tree(folder):
    """Every path below ``folder``, as texts."""
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*"))
