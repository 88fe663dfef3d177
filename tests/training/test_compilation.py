import os
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch

from sac_runner.training import compilation, tryout
from sac_runner.training.compilation import Updater, compiled
from sac_runner.types import Batch, UpdateNoise
from tests.algorithm.test_golden_update import CASES, assert_equal_numpy
from tests.pretended_gpu import pretend_a_gpu
from tests.runs import advance
from tests.support import AUTO, FIXED, config, needs_compiler, random_batch, random_noise, sac, sac_of
from tests.training.test_resume import as_written, left_behind, settings


def updater(after, monkeypatch, compiler, agent=None):
    """An updater whose compiler is ``compiler(agent)``, and the lines that it says."""
    said = []
    monkeypatch.setattr(compilation, "compiled", lambda agent, batch, noise: in_scalars(compiler(agent)))
    return Updater(agent or sac(), after, said.append), said


def in_scalars(update):
    return partial(tryout.as_written, SimpleNamespace(update=update))


def updates(agent, kind, calls):
    """``agent.update`` that notes its calls as ``kind``."""

    def update(batch, noise):
        calls.append(kind)
        return agent.update(batch, noise)

    return update


def test_what_is_made_after_so_many_updates_is_compiled(monkeypatch):
    calls = []
    ours, said = updater(2, monkeypatch, lambda agent: updates(agent, "compiled", calls))
    due = []
    for made in range(5):
        due.append(ours.is_due(made))
        ours(random_batch(), random_noise(), made)
    assert due == [False, False, True, False, False]
    assert calls == ["compiled"] * 4 and ours.compiles is True  # tried out once, then three
    assert said[0].startswith("compiling the update") and said[1].startswith("compiled in ") and len(said) == 2


def test_null_compiles_nothing(monkeypatch):
    ours, said = updater(None, monkeypatch, lambda agent: pytest.fail("compiled"))
    ours(random_batch(), random_noise(), 10**9)
    assert not said and ours.compiles is None


@pytest.mark.parametrize("after", [None, 3])
def test_on_a_gpu_updates_are_recorded_and_stay_the_same(after, monkeypatch):
    expected, ours = sac(alpha=AUTO), sac(alpha=AUTO)
    batches = [(random_batch(seed=made), random_noise(seed=made)) for made in range(6)]
    scalars = [list(expected.update(*given).values()) for given in batches]
    pretend_a_gpu(monkeypatch)
    record, records = compilation.recorded, []
    monkeypatch.setattr(compilation, "recorded", lambda *of: records.append(of) or record(*of))
    made_by, _ = updater(after, monkeypatch, lambda agent: agent.update, ours)
    memory = [x.clone() for x in (*batches[0][0], *batches[0][1])]
    same = Batch(*memory[:5]), UpdateNoise(*memory[5:])  # as a replay buffer gives it, each time
    for made, given in enumerate(batches):
        for into, x in zip(memory, (*given[0], *given[1]), strict=True):
            into.copy_(x)
        batch, noise = given[0] if made == 4 else same[0], given[1] if made == 1 else same[1]
        assert made_by(batch, noise, made).values.tolist() == scalars[made]
    assert len(records) == (5 if after is None else 6)  # anew where one lies elsewhere, and when they are compiled
    for (name, x), y in zip(expected.state_dict().items(), ours.state_dict().values(), strict=True):
        assert (x == y).all(), name


def test_trying_out_leaves_no_trace(monkeypatch):
    agents = [sac(alpha=AUTO), sac(alpha=AUTO)]
    plain, _ = updater(None, monkeypatch, raises, agents[0])
    tried, _ = updater(1, monkeypatch, lambda agent: agent.update, agents[1])
    for made in range(3):
        metrics = [each(random_batch(seed=made), random_noise(seed=made), made) for each in (plain, tried)]
        assert metrics[0].names == metrics[1].names and torch.equal(metrics[0].values, metrics[1].values)
    for (name, x), y in zip(agents[0].state_dict().items(), agents[1].state_dict().values(), strict=True):
        assert (x == y).all(), name


def raises(agent):
    def update(batch, noise):
        raise RuntimeError("no compiler\nat all")

    return update


def forgets_alpha(agent):
    def update(batch, noise):
        kept = agent.alpha.log_alpha.detach().clone()
        metrics = agent.update(batch, noise)
        agent.alpha.log_alpha.data.copy_(kept)
        return metrics

    return update


def gives_no_numbers(agent):
    def update(batch, noise):
        metrics = agent.update(batch, noise)
        agent.critic.out.bias.data.fill_(torch.nan)
        return metrics

    return update


def says_another_loss(agent):
    return lambda batch, noise: agent.update(batch, noise) | {"critic_loss": torch.tensor(-1.0)}


def forgets_a_moment(agent):
    def update(batch, noise):
        kept = [x.clone() for x in agent.critic_optimizer.exp_avg_sq]
        metrics = agent.update(batch, noise)
        agent.critic_optimizer.exp_avg_sq[1].copy_(kept[1])
        return metrics

    return update


def turned_back(agent, *parts):
    """``agent.update``, but tensors whose names begin with one of ``parts`` move the other way."""

    def update(batch, noise):
        before = {name: x.clone() for name, x in agent.state_dict().items()}
        metrics = agent.update(batch, noise)
        for name, x in agent.state_dict().items():
            if name.startswith(parts):
                x.copy_(2 * before[name] - x)
        return metrics

    return update


def turns_the_policy_back(agent):
    return turned_back(agent, "policy.actor")


def turns_one_bias_back(agent):
    return turned_back(agent, "critic.hidden.1.bias")


def moves_the_targets_half_as_far(agent):
    def update(batch, noise):
        kept = [x.clone() for x in agent.critic_target.parameters()]
        metrics = agent.update(batch, noise)
        for x, y in zip(agent.critic_target.parameters(), kept, strict=True):
            x.copy_((x + y) / 2)
        return metrics

    return update


@pytest.mark.parametrize("precision", ["highest", "medium"])
@pytest.mark.parametrize(
    ("compiler", "cause"),
    [
        (raises, "RuntimeError: no compiler"),
        (forgets_alpha, "compiled, it gives another alpha.log_alpha"),
        (gives_no_numbers, "compiled, it gives another critic.out.bias"),
        (says_another_loss, "compiled, it gives another critic_loss"),
        (forgets_a_moment, "compiled, it gives another adam.critic.1.exp_avg_sq"),
        (moves_the_targets_half_as_far, "compiled, it gives another critic_target"),
        (turns_the_policy_back, "compiled, it gives another policy.actor"),
        (turns_one_bias_back, "compiled, it gives another critic.hidden.1.bias"),
    ],
)
@pytest.mark.parametrize("before", [None, True])
def test_an_update_that_does_not_compile_or_comes_out_wrong_goes_on_as_written(
    compiler, cause, before, precision, monkeypatch
):
    wide = {"hidden_sizes": [64, 64]}
    agents = [sac(alpha=AUTO, precision=precision, agent=wide, normalization={"obs": True}) for _ in range(2)]
    for agent in agents:  # great numbers that no update moves
        agent.policy.obs_normalizer.moments.count.fill_(1e6)
    ours, said = updater(0, monkeypatch, compiler, agents[0])
    ours.compiles = before
    for made in range(2):
        ours(random_batch(seed=made), random_noise(seed=made), made)
        agents[1].update(random_batch(seed=made), random_noise(seed=made))
    assert ours.compiles is False and len(said) == 2
    assert f"not compiled, which are slower ({cause}" in said[1]
    assert said[1].endswith("numbers differ in their last bits") == (before is True)
    for (name, x), y in zip(agents[0].state_dict().items(), agents[1].state_dict().values(), strict=True):
        assert (x == y).all(), name


def test_what_did_not_move_is_lost_however_coarse_the_rest_is():
    before, exact = torch.zeros(3), torch.ones(3)
    assert tryout._is_off("critic.out.bias", before, exact, exact, before, 1.0)
    assert not tryout._is_off("critic.out.bias", -exact, exact, exact, before, 1.0)
    assert not tryout._is_off("critic.out.bias", before, before, before, before, 1.0)
    count = torch.tensor(1e7)
    assert tryout._is_off("adam.critic.0.step", count, count + 1, count + 1, count, 0.0)


def test_what_could_not_be_compiled_is_not_tried_again(monkeypatch):
    ours, said = updater(0, monkeypatch, lambda agent: pytest.fail("compiled"))
    ours.compiles = False
    ours(random_batch(), random_noise(), 7)
    assert not said


def test_a_signal_to_stop_does_not_reach_the_compiler(monkeypatch):
    came = []
    before = signal.signal(signal.SIGTERM, lambda *_: came.append("signal"))

    def compiler(agent):
        code = "import os, signal; print(signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, []))"
        child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        os.kill(os.getpid(), signal.SIGTERM)
        came.append(f"compiled, children deaf: {child.stdout.strip()}")
        return agent.update

    try:
        ours, _ = updater(0, monkeypatch, compiler)
        ours(random_batch(), random_noise(), 0)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert sorted(came) == ["compiled, children deaf: True", "signal"] and ours.compiles is True


RUN = settings(compile_after_updates=30, agent="other")  # of medium precision


@pytest.fixture
def without_optimization():
    """g++ takes half as long; the slow tests leave it as it is."""
    from torch._inductor import config as compiler  # takes a second

    with compiler.patch({"aot_inductor.debug_compile": True}):
        yield


def test_what_was_compiled_on_another_processor_is_not_known_again(monkeypatch):
    asked = []
    monkeypatch.setattr(
        "torch._inductor.compile_fx.compile_fx", lambda graph, *_, **__: asked.append(graph._backend_id)
    )
    for level, features in [("AVX512", {"avx512_bf16": True})] * 2 + [("AVX512", {"avx512_bf16": False}), ("AVX2", {})]:
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda level=level: level)
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda features=features: features)
        compilation._inductor(SimpleNamespace(), [], options={})
    assert asked[0] == asked[1] and len(set(asked)) == 3


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CASES if name != "auto_alpha_target_given"])
def test_every_compiled_update_equals_the_equations(name):
    """But with a learned alpha: in float64 PyTorch 2.13 loses what is written to a parameter without dimensions."""
    batch, noise = random_batch(dtype=torch.float64), random_noise(dtype=torch.float64)
    assert_equal_numpy({"alpha": FIXED, **CASES[name]}, lambda agent: in_metrics(compiled(agent, batch, noise)))


def in_metrics(update):
    return lambda batch, noise: dict(zip(*update(batch, noise), strict=True))


COMPILE = """
from tests.support import random_batch, random_noise, sac_of
from tests.training.test_compilation import RUN, known_again
from sac_runner.training.compilation import compiled
compiled(sac_of(RUN, 3, 1), random_batch(8, action_dim=1), random_noise(8, action_dim=1))
print(known_again())
"""


@needs_compiler
@pytest.mark.slow
def test_another_process_knows_compiled_code_again_and_the_compiler_is_silent(tmp_path):
    own_cache = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    for known in (0, 1):  # where it has no code of its own for an operator, it says so
        done = subprocess.run(
            [sys.executable, "-c", COMPILE], env=own_cache, capture_output=True, text=True, check=True
        )
        assert (done.stdout, done.stderr) == (f"{known}\n", "")


def known_again():
    """How often PyTorch's cache of compiled code had what was asked for."""
    from torch._dynamo.utils import counters  # takes a second

    return counters["aot_autograd"]["autograd_cache_hit"]


@needs_compiler
@pytest.mark.usefixtures("without_optimization")
def test_a_run_whose_updates_are_compiled_in_its_midst_continues_to_the_same_end(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    before = known_again()
    expected = advance(RUN, whole)
    advance(RUN, parts, stop_at=20)
    advance(RUN, parts, stop_at=43, killed=True)
    advance(RUN, parts, stop_at=55)  # compiled by now
    assert advance(RUN, parts) == expected
    assert left_behind(parts) == left_behind(whole)
    assert expected["compiles"] is True and expected["counters"]["updates"] > 45
    assert known_again() - before >= 3
    assert left_behind(whole)[0] != as_written(tmp_path, agent="other")[0]
    # No tests of their own: on another worker the compiler would be loaded and its code compiled once more.
    its_update_keeps_to_its_precision()
    a_compiled_update_is_the_one_as_written()


def a_compiled_update_is_the_one_as_written():
    """Two are compiled before one is called: each keeps to its own agent."""
    batch, noise = random_batch(8, action_dim=1), random_noise(8, action_dim=1)
    wide = config(alpha=AUTO | {"lr": 1e-2}, agent={"hidden_sizes": [64, 64]})
    ours, other, written = (sac_of(wide, 3, 1) for _ in range(3))
    scalars, _ = [update(batch, noise) for update in [compiled(agent, batch, noise) for agent in (ours, other)]]
    expected = written.update(batch, noise)
    for (name, x), y in zip(written.state_dict().items(), ours.state_dict().values(), strict=True):
        torch.testing.assert_close(y, x, rtol=1e-4, atol=1e-6, msg=name)
    for (name, x), y in zip(ours.state_dict().items(), other.state_dict().values(), strict=True):
        assert (x == y).all(), name
    assert scalars.names == tuple(expected)
    assert scalars.values.tolist() == pytest.approx([x.item() for x in expected.values()], rel=1e-4, abs=1e-6)


def its_update_keeps_to_its_precision():
    batch, noise = random_batch(8, action_dim=1), random_noise(8, action_dim=1)
    coarse, as_written = (sac_of(RUN, 3, 1) for _ in range(2))
    exact = sac_of(replace(RUN, precision="highest"), 3, 1)
    for update in (compiled(coarse, batch, noise), as_written.update, exact.update):
        update(batch, noise)
    moments = (agent.state_dict()["adam.critic.1.exp_avg"] for agent in (exact, coarse, as_written))
    exact, coarse, as_written = moments
    assert 1e-4 * exact.norm() < (coarse - exact).norm() < 0.03 * exact.norm()
    torch.testing.assert_close(coarse, as_written, rtol=0.03, atol=0.03 * float(exact.abs().max()))
