"""What many tests build: a whole Config, a small agent, a batch, vector environments of ``tests.scripted``."""

import contextlib
import copy
import errno
import os
from collections import defaultdict
from itertools import combinations, count, product
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sac_runner.algorithm.agent import SAC
from sac_runner.config.convert import from_plain
from sac_runner.interaction.envs import make_vector_env
from sac_runner.types import Batch, UpdateNoise

CPU = torch.device("cpu")
FIXED = {"mode": "fixed", "value": 0.2}
AUTO = {"mode": "auto", "initial": 1.0, "lr": 3e-4, "target_entropy": None, "target_entropy_per_action_dim": -1.0}
ANNEALED = {"mode": "annealed", "start": 0.5, "end": 0.1, "over_env_steps": 100}
PER_STEP = {"mode": "per_step", "warmup_env_steps": 10, "updates_per_env_step": 1.0}
PER_ROUND = {"mode": "per_round", "rounds": 3, "episodes_per_round": 2, "updates_per_round": 5}

PLAIN = {
    "env": {
        "name": None,
        "id": "Pendulum-v1",
        "kwargs": {},
        "max_episode_steps": None,
        "num_envs": 1,
        "vectorization": "sync",
        "timeout_s": 60.0,
        "episode_seed": "per_episode",
        "flatten_dict": False,
        "make_each_episode": False,
    },
    "agent": {
        "hidden_sizes": [16, 12],
        "activation": "relu",
        "log_std_min": -20.0,
        "log_std_max": 2.0,
        "n_critics": 2,
        "critic_layer_norm": False,
        "lr": 3e-4,
        "actor_lr": 3e-4,
        "critic_lr": 3e-4,
        "lr_schedule": "constant",
        "lr_final_share": 0.0,
        "lr_decay_env_steps": 1000,
        "max_grad_norm": None,
        "gamma": 0.99,
        "tau": 0.005,
        "bootstrap_at_time_limit": True,
        "log_prob_epsilon": None,
    },
    "alpha": AUTO,
    "normalization": {"obs": False, "reward": False, "obs_clip": None, "reward_clip": None},
    "schedule": PER_STEP,
    "replay": {"capacity": 1000, "batch_size": 32},
    "eval": {
        "every_env_steps": 100,
        "every_rounds": None,
        "episodes": 2,
        "deterministic": True,
        "seed": 1000,
        "num_envs": 1,
        "max_episode_steps": "as env",
    },
    "checkpoint": {
        "every_env_steps": 100,
        "every_minutes": None,
        "keep_every_env_steps": None,
        "keep_replay": "always",
    },
    "log": {"every_env_steps": 10},
    "stop": {"max_minutes": None, "at_return": None},
    "run": {"dir": None, "name": None},
    "seed": 0,
    "total_env_steps": 1000,
    "device": "cpu",
    "threads": 1,
    "compile_after_updates": None,
    "precision": "highest",
    "outputs": "outputs",
    "resume": None,
    "init_from": None,
    "dry_run": False,
}


def plain(**overrides):
    """The plain data of a run: ``plain(agent={"tau": 0.1}, alpha=FIXED, seed=3)``."""
    data = copy.deepcopy(PLAIN)
    for key, value in overrides.items():
        merges = isinstance(value, dict) and "mode" not in value  # a mode brings all keys of its group
        data[key] = data[key] | value if merges else value
    if data["eval"]["max_episode_steps"] == "as env":  # as conf/config.yaml has it
        data["eval"]["max_episode_steps"] = data["env"]["max_episode_steps"]
    return data


def config(**overrides):
    """``plain`` as a Config."""
    return from_plain(plain(**overrides))


needs_compiler = pytest.mark.skipif(" " in torch.__file__, reason="PyTorch's compiler takes no space in its path")


def sac(obs_dim=3, action_dim=2, seed=0, **overrides):
    """An agent on the CPU, its weights a function of ``seed``."""
    return sac_of(config(**overrides), obs_dim, action_dim, seed)


def sac_of(config, obs_dim, action_dim, seed=0):
    """The same, of a config that is made already."""
    return SAC(config, obs_dim, action_dim, torch.Generator().manual_seed(seed), CPU)


def in_float64(agent):
    """``agent`` itself with every weight in float64: an update is then exact enough to compare with NumPy."""
    for part in (agent.policy, agent.critic, agent.critic_target, agent.alpha, agent.reward_normalizer):
        part.double()
    for optimizer in agent._optimizers().values():
        for moments in (optimizer.exp_avg, optimizer.exp_avg_sq):
            moments[:] = [x.double() for x in moments]
    return agent


def random_batch(size=16, obs_dim=3, action_dim=2, seed=0, dtype=torch.float32):
    """Transitions from a generator, about a third of them terminated."""
    rng = np.random.default_rng(seed)
    arrays = (
        rng.normal(0.5, 2.0, (size, obs_dim)),
        rng.uniform(-1.0, 1.0, (size, action_dim)),
        rng.normal(1.0, 3.0, size),
        rng.normal(0.5, 2.0, (size, obs_dim)),
        (np.arange(size) % 3 == 0).astype(float),
    )
    return Batch(*(torch.tensor(x, dtype=dtype) for x in arrays))


def random_noise(size=16, action_dim=2, seed=0, dtype=torch.float32):
    """Noise for one update."""
    drawn = np.random.default_rng([seed, 1]).standard_normal((2, size, action_dim))
    return UpdateNoise(*torch.tensor(drawn, dtype=dtype))


def weights(module):
    """A copy of a module's parameters as NumPy arrays, by name."""
    return {name: p.detach().numpy().copy() for name, p in module.named_parameters()}


def vector_env(env_id, num_envs, **env):
    """``num_envs`` environments through the package's own door; ``tests.scripted`` has ids for it."""
    return make_vector_env(config(env={"id": env_id, **env}).env, num_envs)


def pairwise(*options):
    """Few cases, each with a value of every one of ``options``, in which any two values of any two of them meet."""
    bit = defaultdict(count().__next__)
    cases = {case: sum(1 << bit[pair] for pair in combinations(enumerate(case), 2)) for case in product(*options)}
    missing, chosen = (1 << len(bit)) - 1, []
    while missing:
        chosen.append(max(cases, key=lambda case: (cases[case] & missing).bit_count()))
        missing &= ~cases[chosen[-1]]
    return chosen


def short_of_room(monkeypatch, appended, size):
    """A disk that takes ``size`` more bytes of an ``Appended`` file; returns what is left of them, to be changed."""
    file, room = appended._file, [size]

    def write(data):
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = file.write(bytes(data[: room[0]]))
        room[0] -= taken
        return taken

    monkeypatch.setattr(appended, "_file", SimpleNamespace(write=write, fileno=file.fileno, close=file.close))
    return room


@contextlib.contextmanager
def as_nobody():
    """Without the rights of root, to whom nothing is read-only."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    if not os.access(__file__, os.R_OK, effective_ids=True):
        os.seteuid(0)
        pytest.skip("this clone lies where only root may read, as in /root")
    try:
        yield
    finally:
        os.seteuid(0)


def flip(path):
    """Change one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(bytes(data))
