"""On a machine with a CUDA GPU: ``scripts/test -m gpu``."""

import numpy as np
import pytest
import torch

from sac_runner.algorithm.agent import SAC
from sac_runner.interaction import device_replay
from sac_runner.interaction.device_replay import DeviceReplay
from sac_runner.interaction.replay import ReplayBuffer
from sac_runner.training.compilation import Updater
from sac_runner.training.tryout import as_written
from sac_runner.types import Batch, UpdateNoise
from tests.runs import advance
from tests.support import AUTO, CPU, config, random_batch, random_noise
from tests.training.test_resume import left_behind, settings

pytestmark = pytest.mark.gpu
GPU = torch.device("cuda")


def agent_on(device):
    chosen = config(alpha=AUTO, normalization={"obs": True, "reward": True}, agent={"max_grad_norm": 1.0})
    agent = SAC(chosen, 3, 2, torch.Generator().manual_seed(0), device)
    agent.begin([0], random_batch(seed=8).obs[:1].numpy())
    agent.observe(random_batch(seed=9).obs.numpy(), np.array([2.0]), np.array([False]))
    return agent


def drawn(device, seed):
    batch = Batch(*(x.to(device) for x in random_batch(seed=seed)))
    return batch, UpdateNoise(*(x.to(device) for x in random_noise(seed=seed)))


def after_updates(device, update, several=5):
    """An agent after ``several`` of ``update(agent)``, and what the last one returned."""
    agent = agent_on(device)
    make = update(agent)
    for made in range(several):
        scalars = make(*drawn(device, made), made)
    return agent, scalars.values.tolist()


@pytest.mark.parametrize("after", [None, 0])
def test_updates_on_the_gpu_agree_with_those_on_the_cpu(after):
    said = []
    ours, metrics = after_updates(GPU, lambda agent: Updater(agent, after, said.append))
    agent, expected = after_updates(CPU, lambda agent: Updater(agent, None, said.append))
    assert not any("warning" in line for line in said), said
    for (name, x), y in zip(agent.state_dict().items(), ours.state_dict().values(), strict=True):
        torch.testing.assert_close(y.cpu(), x, rtol=1e-4, atol=1e-5, msg=name)
    assert metrics == pytest.approx(expected, rel=1e-3, abs=1e-4)
    obs, noise = random_batch(seed=7).obs.numpy(), random_noise(seed=7).action.numpy()
    for ask in (lambda a: a.policy.act(obs), lambda a: a.policy.act(obs, noise), lambda a: a.q_value(obs, noise)):
        np.testing.assert_allclose(ask(ours), ask(agent), rtol=1e-3, atol=1e-4)


def test_a_recorded_update_is_the_one_as_written_to_the_bit():
    ours, metrics = after_updates(GPU, lambda agent: Updater(agent, None, print))
    agent, expected = after_updates(GPU, lambda agent: lambda batch, noise, _: as_written(agent, batch, noise))
    assert all(torch.equal(x, y) for x, y in zip(ours.state_dict().values(), agent.state_dict().values(), strict=True))
    assert metrics == expected


def test_recorded_acting_is_acting_to_the_bit_and_follows_the_weights():
    agent, seen = agent_on(GPU), []
    for step in range(8):
        obs, noise = random_batch(seed=step).obs.numpy()[: 1 + step % 2], random_noise(seed=step).action.numpy()
        for draw in (None, noise[: len(obs)]):
            there = None if draw is None else torch.from_numpy(draw).to(GPU)
            expected = agent.policy.choose(torch.from_numpy(obs).to(GPU), there).cpu().numpy()
            seen.append(agent.policy.act(obs, draw))
            np.testing.assert_array_equal(seen[-1], expected)
        agent.update(*drawn(GPU, step))
        agent.observe(obs, np.array([2.0]), np.array([False]))
    assert len({x.tobytes() for x in seen}) == len(seen) and len(agent.policy._acting._graphs) == 4


def test_the_same_transitions_are_drawn_on_the_gpu():
    generator = np.random.default_rng(0)
    buffer = ReplayBuffer(50, 2, 3, 1, True)
    there = DeviceReplay(buffer, GPU)
    buffer.start(generator.normal(size=(2, 3)).astype(np.float32))
    made = []
    for _ in range(70):
        obs, following = generator.normal(size=(2, 2, 3)).astype(np.float32)
        ends = generator.random((2, 2)) < 0.2
        step = generator.random((2, 1), np.float32), generator.normal(size=2), *ends, obs
        after = np.where((ends[0] | ends[1])[:, None], following, obs)
        buffer.add(*step, after)
        at = buffer.draw(32, generator)
        batch = there.stage(at)
        there.gather()
        made.append(([x.clone() for x in batch], [x.clone() for x in buffer.batch(at)]))
    for batch, expected in made:  # at the end, so that nothing waits for the GPU before
        assert all(torch.equal(x.cpu(), y) for x, y in zip(batch, expected, strict=True))


@pytest.mark.parametrize(
    ("after", "more"),
    [
        (None, {"normalization": "obs_and_reward"}),
        (15, {"normalization": "obs_and_reward"}),
        (None, {"num_envs": 2, "alpha": "annealed"}),  # ahead of its steps
        (15, {"agent": "other", "precision": "medium"}),
    ],
)
def test_a_run_on_the_gpu_continues_to_the_same_end(tmp_path, monkeypatch, after, more):
    monkeypatch.setattr(device_replay, "_FINALS_AT_FIRST", 0)  # so that more room is made
    run = settings(**more, device="cuda", compile_after_updates=after)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    expected = advance(run, whole)
    advance(run, parts, stop_at=20)
    advance(run, parts, stop_at=43, killed=True)
    assert advance(run, parts) == expected
    assert left_behind(parts) == left_behind(whole)
    assert expected["compiles"] is (None if after is None else True)
