"""On a machine with a CUDA GPU: ``scripts/test -m gpu``."""

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
    for made in range(5):
        for updater, device in zip(updaters, devices, strict=True):
            batch = Batch(*(x.to(device) for x in random_batch(seed=made)))
            noise = UpdateNoise(*(x.to(device) for x in random_noise(seed=made)))
            updater(batch, noise, made)
    assert updaters[1].compiles in (None, True), said
    for (name, x), y in zip(agents[0].state_dict().items(), agents[1].state_dict().values(), strict=True):
        torch.testing.assert_close(y.cpu(), x, rtol=1e-4, atol=1e-5, msg=name)
