"""On a machine with a CUDA GPU: ``scripts/test -m gpu``."""

import numpy as np
import pytest
import torch

from sac_runner.algorithm.agent import SAC
from sac_runner.training.compilation import Updater
from sac_runner.types import Batch, UpdateNoise
from tests.support import AUTO, CPU, config, random_batch, random_noise

pytestmark = pytest.mark.gpu


def agent_on(device):
    chosen = config(alpha=AUTO, normalization={"obs": True, "reward": True}, agent={"max_grad_norm": 1.0})
    return SAC(chosen, 3, 2, torch.Generator().manual_seed(0), device)


@pytest.mark.parametrize("after", [None, 0])
def test_updates_on_the_gpu_agree_with_those_on_the_cpu(after):
    said, devices = [], (CPU, torch.device("cuda"))
    agents = [agent_on(device) for device in devices]
    updaters = [Updater(agents[0], None, said.append), Updater(agents[1], after, said.append)]
    for agent in agents:
        agent.begin([0], random_batch(seed=8).obs[:1].numpy())
        agent.observe(random_batch(seed=9).obs.numpy(), np.array([2.0]), np.array([False]))
    for made in range(5):
        for updater, device in zip(updaters, devices, strict=True):
            batch = Batch(*(x.to(device) for x in random_batch(seed=made)))
            noise = UpdateNoise(*(x.to(device) for x in random_noise(seed=made)))
            updater(batch, noise, made)
    assert updaters[1].compiles in (None, True), said
    for (name, x), y in zip(agents[0].state_dict().items(), agents[1].state_dict().values(), strict=True):
        torch.testing.assert_close(y.cpu(), x, rtol=1e-4, atol=1e-5, msg=name)
    obs, noise = random_batch(seed=7).obs.numpy(), random_noise(seed=7).action.numpy()
    for ask in (lambda a: a.policy.act(obs), lambda a: a.policy.act(obs, noise), lambda a: a.q_value(obs, noise)):
        np.testing.assert_allclose(ask(agents[1]), ask(agents[0]), rtol=1e-3, atol=1e-4)
