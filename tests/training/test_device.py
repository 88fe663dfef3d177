import os
import platform
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from sac_runner.config.compose import to_yaml
from sac_runner.playback.play import trusted_config
from sac_runner.storage.run_directory import RunDirectory
from sac_runner.training import device
from tests.support import CPU, config


def stored(folder):
    """A run of which there is the config alone."""
    run = RunDirectory(folder)
    run.write_start(to_yaml(config()), {})
    return run


@pytest.fixture(autouse=True)
def as_before():
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    yield
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision(precision)


GLIBC = platform.libc_ver()[0] == "glibc"
CODE = """
import resource, torch
from sac_runner.training.device import _keep_freed_memory
def update():
    blocks = [torch.ones(2**18) for _ in range(8)]  # 1 MB each, as an update's activations and gradients
def faults():
    update()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        update()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
given_back = faults()
_keep_freed_memory()
print(given_back, faults())
"""


@pytest.mark.skipif(not GLIBC, reason="glibc's malloc alone is told anything")
def test_memory_that_was_freed_is_there_for_the_next_update():
    # glibc moves its limits with what a program frees, unless they are set: then what it frees is given back for sure.
    limits = {f"MALLOC_{name}_THRESHOLD_": "131072" for name in ("TRIM", "MMAP")}
    answer = subprocess.run(
        [sys.executable, "-c", CODE], env=os.environ | limits, capture_output=True, text=True, check=True
    )
    given_back, kept = map(int, answer.stdout.split())
    assert 5 * kept < given_back


@pytest.mark.parametrize(("asked", "cores", "threads"), [("", 1, 1), ("", 3, 3), ("", 64, 4), ("7", 2, 7), ("0", 2, 2)])
def test_auto_takes_the_cores_that_there_are_up_to_four_or_what_the_environment_says(
    asked, cores, threads, monkeypatch
):
    monkeypatch.setitem(os.environ, "OMP_NUM_THREADS", asked)
    monkeypatch.setattr(device, "available_cores", lambda: cores)
    assert device.own_threads() == threads


@pytest.mark.parametrize("threads", [1, 2])
def test_pytorch_computes_on_the_threads_that_were_asked_for(threads):
    assert device.set_up_torch(config(threads=threads)) == (CPU, threads)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    "one_thread",
    [lambda _: device.configure_torch(config(), CPU), lambda folder: trusted_config(stored(folder), False)],
    ids=["train and evaluate", "watch and record"],
)
def test_products_of_numpy_are_made_on_one_thread(one_thread, tmp_path):
    def threads():
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    if not threads():
        pytest.skip("threadpoolctl does not know NumPy's library")
    with threadpool_limits(2, user_api="blas"):
        assert threads() == {2}
        one_thread(tmp_path)
        assert threads() == {1}


@pytest.mark.parametrize(
    ("machine", "avx512", "amx", "slow"),
    [
        ("x86_64", False, False, True),
        ("x86_64", True, False, False),
        ("x86_64", False, True, False),
        ("aarch64", False, False, False),
    ],
)
def test_medium_precision_where_it_makes_updates_slower_is_warned_of(machine, avx512, amx, slow, monkeypatch, capsys):
    monkeypatch.setattr(device.platform, "machine", lambda: machine)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert device.set_up_torch(config(precision="medium")) == (CPU, 1)
    assert ("precision=medium makes updates slower here" in capsys.readouterr().err) == slow
    assert not device._slow_in_bfloat16(torch.device("cuda"))
    device.set_up_torch(config(precision="highest"))
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    ("cores", "busy", "said"),
    [
        (2, 2.0, "other processes keep 2.0 of 2 cores busy; threads=1 is likely faster beside them"),
        (2, 0.6, "keep 0.6 of 2 cores busy; threads=1 "),
        (2, 0.4, ""),
        (4, 1.3, "keep 1.3 of 4 cores busy; threads=3 "),
        (8, 3.0, ""),  # four of them are enough
        (2, None, ""),
        (1, 1.0, ""),  # fewer than one there are not
    ],
)
def test_other_processes_that_threads_would_fight_with_are_warned_of(cores, busy, said, monkeypatch, capsys):
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(device, "available_cores", lambda: cores)
    monkeypatch.setattr(device, "busy_cores", lambda over_s: busy)
    device.set_up_torch(config(device="cpu", threads="auto"))
    heard = capsys.readouterr().err
    assert said in heard and bool(heard) == bool(said)
    device.set_up_torch(config(device="cpu", threads=2))  # as asked for
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    device.set_up_torch(config(device="cpu", threads="auto"))
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    ("place", "float32", "sizes", "more", "way"),
    [
        ("cpu", True, (64, 256), {}, "medium"),
        ("cpu", False, (64, 256), {}, "highest"),
        ("cuda", True, (64, 256), {}, "highest"),
        ("cpu", True, (128, 255), {}, "highest"),
        ("cpu", True, (), {}, "highest"),
        ("cpu", True, (64, 256), {"threads": 2}, "highest"),
        ("cpu", True, (64, 256), {"precision": "medium"}, "highest"),
    ],
)
def test_onednn_multiplies_where_it_is_faster_and_keeps_float32_accuracy(place, float32, sizes, more, way, monkeypatch):
    monkeypatch.setattr(device, "_multiplies_in_float32", lambda: float32)
    changed = config(**{"threads": 1} | more)
    changed = replace(changed, agent=replace(changed.agent, hidden_sizes=sizes))
    device.configure_torch(changed, torch.device(place))
    assert torch.get_float32_matmul_precision() == way
