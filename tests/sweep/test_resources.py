import pytest
from hypothesis import given
from hypothesis import strategies as st

from sac_runner.sweep.resources import Allotment, Machine, allot, most_threads
from tests.support import config

GB = 10**9


def shared(jobs=10, at_a_time=None, threads=None, each=GB, cores=8, memory=64 * GB, gpus=0, visible=None):
    return allot(jobs, at_a_time, threads, each, Machine(cores, memory, gpus), visible)


@pytest.mark.parametrize(
    ("asked", "at_a_time", "threads"),
    [
        ({}, 8, 1),
        ({"jobs": 3}, 3, 2),
        ({"jobs": 1}, 1, 4),
        ({"cores": 2}, 2, 1),
        ({"threads": 3}, 2, 3),
        ({"threads": 99}, 1, 99),
        ({"at_a_time": 2}, 2, 4),
        ({"at_a_time": 20, "jobs": 5}, 5, 1),
        ({"at_a_time": 16, "jobs": 20}, 16, 1),
        ({"each": 30 * GB}, 2, 4),
        ({"each": 100 * GB}, 1, 4),
        ({"each": 30 * GB, "memory": None}, 8, 1),
        ({"each": 30 * GB, "at_a_time": 4}, 4, 2),
    ],
)
def test_cores_and_memory_are_shared_out(asked, at_a_time, threads):
    allotment = shared(**asked)
    assert (allotment.at_a_time, allotment.threads, allotment.gpus) == (at_a_time, threads, [])
    assert allotment.environment(0) == {"OMP_NUM_THREADS": str(threads)}


def test_gpus_go_round():
    allotment = shared(gpus=2, cores=16)
    assert allotment == Allotment(2, 4, ["0", "1"])
    assert shared(gpus=2, at_a_time=5).gpus == ["0", "1"]
    assert [shared(gpus=2, at_a_time=5).environment(slot)["CUDA_VISIBLE_DEVICES"] for slot in range(5)] == [*"01010"]


def test_no_gpu_is_taken_that_is_not_ours_to_see():
    assert shared(gpus=2, visible="3,5").gpus == ["3", "5"]
    assert shared(gpus=1, visible="GPU-7a").environment(0)["CUDA_VISIBLE_DEVICES"] == "GPU-7a"
    assert shared(gpus=0, visible="").gpus == []


@given(
    st.integers(1, 50),
    st.none() | st.integers(1, 9),
    st.none() | st.integers(1, 9),
    st.integers(1, 64),
    st.integers(0, 100 * GB),
)
def test_left_to_itself_it_never_takes_more_than_there_is(jobs, at_a_time, threads, cores, each):
    allotment = shared(jobs, at_a_time, threads, each, cores)
    assert 1 <= allotment.at_a_time <= jobs and allotment.threads >= 1
    if at_a_time is None and (threads or 1) <= cores:
        assert allotment.at_a_time * allotment.threads <= cores
        assert allotment.at_a_time == 1 or allotment.at_a_time * each <= 64 * GB


def test_jobs_that_name_their_threads_get_them():
    assert most_threads([config(threads="auto"), config(threads="auto")]) is None
    assert most_threads([config(threads="auto"), config(threads=3), config(threads=2)]) == 3
