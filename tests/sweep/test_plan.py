import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sac_runner.errors import WrongInput
from sac_runner.storage.sweep_directory import SweepJob
from sac_runner.sweep.plan import folder_name, number_jobs, seeds_of, setting_of, sweep_path


def paths(settings, seeds, earlier=()):
    asked = [(setting, seed, None) for setting, seed in zip(settings, seeds, strict=True)]
    return [job.path for job in number_jobs(list(earlier), asked)]


def test_a_setting_is_what_is_not_the_same_for_every_job():
    job = ["env=pendulum", "alpha=fixed_0.05", "++env.kwargs.g=5", "seed=1"]
    assert setting_of(job, {"env=pendulum"}) == {"alpha": "fixed_0.05", "env.kwargs.g": "5"}
    assert setting_of(job, {"env=pendulum", "alpha=fixed_0.05", "env.kwargs.g=5"}) == {}
    assert setting_of(job, {"env=pendulum", "alpha=auto", "env.kwargs.g=5"}) == {"alpha": "fixed_0.05"}


def test_of_several_values_for_a_key_the_last_one_is_its_setting():
    assert setting_of(["agent.lr=1", "seed=1", "++agent.lr=2"], {"agent.lr=1"}) == {"agent.lr": "2"}
    assert setting_of(["agent.lr=1", "++agent.lr=2"], {"agent.lr=2"}) == {}


def test_a_sweep_is_named_by_when_and_by_what_is_swept():
    assert str(sweep_path("outputs", "20260101-120000", ["alpha"], None)) == "outputs/sweeps/20260101-120000_alpha"
    assert sweep_path("outputs", "T", [], None).name == "T_seeds"
    assert sweep_path("outputs", "T", ["alpha"], "my temperatures").name == "T_my-temperatures"
    assert sweep_path("outputs", "T", ["agent.lr", "agent.tau"], None).name == "T_lr_tau"


def test_each_setting_has_a_folder_and_each_seed_one_in_it():
    settings = [{"alpha": alpha} for alpha in ("auto", "fixed_0.05") for _ in (0, 1)]
    assert paths(settings[:3], [0, 1, 0]) == ["alpha-auto/s0", "alpha-auto/s1", "alpha-fixed_0.05/s0"]
    assert paths([{}], [7]) == ["default/s7"]


def test_environments_name_themselves():
    assert folder_name({"env": "pendulum", "agent.lr": "1e-3"}) == "pendulum_lr-1e-3"


def test_a_folder_is_named_by_whole_parts_of_its_setting():
    assert folder_name({"init_from": "x/20261127-182324_s0", "agent.lr": "1"}) == "init_from-20261127-182324_s0_lr-1"
    assert folder_name({"env": 99 * "x", "agent.lr": "1"}) == 99 * "x"
    assert folder_name({"env": 200 * "x", "agent.lr": "1"}) == 100 * "x"


def test_names_that_are_cut_to_the_same_length_stay_apart():
    settings = [{"env.kwargs.text": "x" * 150 + end} for end in "abc"]
    found = paths(settings, [0, 0, 0])
    assert len(set(found)) == 3 and Path(found[1]).parts[0] == Path(found[0]).parts[0] + "-2"


def test_settings_of_one_folder_name_keep_their_seeds_together():
    settings = [{"env.kwargs.x": x} for x in ("a b", "a-b") for _ in range(2)]
    assert paths(settings, [0, 1, 0, 1]) == ["x-a-b/s0", "x-a-b/s1", "x-a-b-2/s0", "x-a-b-2/s1"]


def test_a_setting_that_a_sweeper_tries_again_has_a_run_of_its_own():
    first = number_jobs([], [({"agent.lr": "1e-3"}, 0, 100)])
    (again,) = number_jobs(first, [({"agent.lr": "1e-3"}, 0, 100)])
    assert again == SweepJob(1, "lr-1e-3-2/s0", {"agent.lr": "1e-3"}, 0, 100)


def test_a_later_batch_of_a_setting_joins_its_folder():
    first = number_jobs([], [({"agent.lr": "1e-3"}, 0, None)])
    assert paths([{"agent.lr": "1e-3"}], [1], first) == ["lr-1e-3/s1"]


def test_seeds_count_from_the_first_one():
    assert seeds_of(3, None, swept=True) == [3]
    assert seeds_of(0, 3, swept=False) == [0, 1, 2]
    assert seeds_of(10, 2, swept=False) == [10, 11]
    assert seeds_of(None, 2, swept=False) == [None, None]


def test_seed_and_seeds_do_not_both_name_the_seeds():
    with pytest.raises(WrongInput, match="both name the seeds") as refused:
        seeds_of(0, 3, swept=True)
    assert refused.value.remedy == "sac-train hydra.launcher.seeds=null"


@given(st.lists(st.tuples(st.text(max_size=12), st.integers(0, 3)), min_size=1, max_size=8))
def test_no_two_jobs_share_a_folder_whatever_is_swept(values):
    settings = [{"env.kwargs.x": text} for text, _ in values]
    found = paths(settings, [seed for _, seed in values])
    assert len(set(found)) == len(values)
    for path, (_, seed) in zip(found, values, strict=True):
        setting, name = path.split("/")
        assert name == f"s{seed}" and re.fullmatch(r"[A-Za-z0-9._-]+", setting) and setting not in (".", "..")


@given(st.lists(st.tuples(st.sampled_from("ab-"), st.integers(0, 2)), max_size=6), st.integers(0, 6))
def test_it_makes_no_difference_in_how_many_batches_jobs_come(values, cut):
    asked = [({"env.kwargs.x": x}, seed, None) for x, seed in values]
    first = number_jobs([], asked[:cut])
    assert [*first, *number_jobs(first, asked[cut:])] == number_jobs([], asked)
