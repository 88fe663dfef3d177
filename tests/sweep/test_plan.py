import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from sac_runner.sweep.plan import job_path, job_paths, settings, sweep_path, swept_keys

JOBS = [["env=pendulum", f"alpha={alpha}", f"seed={seed}"] for alpha in ("auto", "fixed_0.05") for seed in (0, 1)]


def test_swept_is_what_differs_between_jobs():
    assert swept_keys(JOBS) == ["alpha", "seed"]
    assert swept_keys(JOBS[:2]) == ["seed"] and swept_keys(JOBS[:1]) == []
    assert settings(JOBS) == 2 and settings(JOBS[:2]) == settings(JOBS[:1]) == 1


def test_a_sweep_is_named_by_when_and_by_what_is_swept():
    assert str(sweep_path("outputs", "20260101-120000", JOBS, None)) == "outputs/sweeps/20260101-120000_alpha"
    assert sweep_path("outputs", "T", JOBS[:2], None).name == "T_seeds"
    assert sweep_path("outputs", "T", JOBS, "my temperatures").name == "T_my-temperatures"
    rates = [[f"agent.lr={lr}", f"agent.tau={tau}"] for lr in (1, 2) for tau in (1, 2)]
    assert sweep_path("outputs", "T", rates, None).name == "T_lr_tau"


def test_each_setting_has_a_folder_and_each_seed_one_in_it():
    paths = [str(path) for path in job_paths(JOBS, [0, 1, 0, 1])]
    assert paths == ["alpha-auto/s0", "alpha-auto/s1", "alpha-fixed_0.05/s0", "alpha-fixed_0.05/s1"]
    assert str(job_path(JOBS[0], JOBS[:2], 7)) == "default/s7"


def test_environments_name_themselves():
    jobs = [[f"env={env}", f"agent.lr={lr}"] for env in ("pendulum", "hopper") for lr in ("1e-3", "1e-4")]
    assert str(job_path(jobs[1], jobs, 0)) == "pendulum_lr-1e-4/s0"


def test_what_usually_names_no_run_names_a_setting_where_it_is_swept():
    jobs = [[f"checkpoint.every_env_steps={n}", f"threads={threads}"] for n in (1, 2) for threads in (1, 2)]
    assert len({path.parent for path in job_paths(jobs, [0] * 4)}) == 4


def test_names_that_are_cut_to_the_same_length_stay_apart():
    jobs = [["env.kwargs.text=" + "x" * 150 + end] for end in "abc"]
    paths = job_paths(jobs, [0, 0, 0])
    assert len(set(paths)) == 3 and paths[1].parts[0] == paths[0].parts[0] + "-2"


@given(st.lists(st.tuples(st.text(max_size=12), st.integers(0, 3)), min_size=1, max_size=6))
def test_no_two_jobs_share_a_folder_whatever_is_swept(values):
    jobs = [[f"env.kwargs.x={text}", f"seed={seed}"] for text, seed in values]
    paths = job_paths(jobs, [seed for _, seed in values])
    assert len(set(paths)) == len(jobs)
    for path, (_, seed) in zip(paths, values, strict=True):
        assert len(path.parts) == 2 and path.name == f"s{seed}"
        assert re.fullmatch(r"[A-Za-z0-9._-]+", path.parts[0]) and Path(path.parts[0]).name == path.parts[0]
