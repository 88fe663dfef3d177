import json
import random

import numpy as np
import pytest
import torch

from sac_runner.interaction.collector import Collector
from sac_runner.training.randomness import (
    Streams,
    episode_seed,
    evaluation_noise,
    weights_generator,
)
from tests.support import random_batch, random_noise, sac, vector_env

NAMES = {"acting", "update", "replay", "warmup"}


def first_draws(root):
    return {name: stream.standard_normal(4).tolist() for name, stream in vars(Streams(root)).items()}


def test_streams_are_functions_of_the_root_seed():
    assert first_draws(3) == first_draws(3)
    assert first_draws(3).keys() == NAMES
    assert all(first_draws(3)[name] != first_draws(4)[name] for name in NAMES)


def test_every_use_of_randomness_has_a_stream_of_its_own():
    draws = [*first_draws(0).values(), evaluation_noise(0).standard_normal(4).tolist()]
    assert len({tuple(d) for d in draws}) == 5
    assert abs(np.corrcoef([s.standard_normal(20_000) for s in vars(Streams(0)).values()]) - np.eye(4)).max() < 0.03


def test_drawing_from_one_stream_moves_no_other():
    drawn = Streams(0)
    drawn.replay.integers(100, size=1000)
    drawn.acting.standard_normal(7)
    assert drawn.update.standard_normal(4).tolist() == first_draws(0)["update"]


@pytest.mark.parametrize(
    "draw",
    [
        lambda g, n: g.standard_normal((n, 3), np.float32),
        lambda g, n: g.uniform(-1.0, 1.0, (n, 3)),
        lambda g, n: g.integers(12_345, size=n),
    ],
    ids=["standard_normal_float32", "uniform", "integers"],
)
def test_drawing_in_bulk_gives_the_numbers_of_drawing_one_by_one(draw):
    bulk, single = Streams(1).acting, Streams(1).acting
    np.testing.assert_array_equal(draw(bulk, 1001), np.concatenate([draw(single, 1) for _ in range(1001)]))
    assert bulk.bit_generator.state == single.bit_generator.state


def test_state_continues_after_a_trip_through_json():
    streams, restored = Streams(5), Streams(6)
    for stream in vars(streams).values():
        stream.standard_normal(3, np.float32)  # an odd number of halves: the generator keeps one back
    restored.load_state_dict(json.loads(json.dumps(streams.state_dict())))
    for name in NAMES:
        ours, theirs = (getattr(s, name).standard_normal(5, np.float32) for s in (streams, restored))
        np.testing.assert_array_equal(ours, theirs)


def test_initial_weights_are_a_function_of_the_root_seed():
    first, again, other = (torch.rand(4, generator=weights_generator(root)).tolist() for root in (7, 7, 8))
    assert first == again != other


def test_episode_seeds_are_reproducible_and_all_different():
    seeds = {(root, env, k): episode_seed(root, env, k) for root in (0, 1) for env in range(10) for k in range(50)}
    assert all(episode_seed(*key) == seed and 0 <= seed < 2**32 for key, seed in seeds.items())
    assert len(set(seeds.values())) == len(seeds)


def test_evaluation_noise_depends_on_its_own_seed_alone():
    first, again, other = (evaluation_noise(seed).standard_normal(4).tolist() for seed in (1000, 1000, 1001))
    assert first == again != other


def test_no_global_generator_is_drawn_from():
    def state():
        kind, keys, *rest = np.random.get_state()
        return torch.get_rng_state().tolist(), kind, keys.tolist(), rest, random.getstate()

    before = state()
    agent = sac(normalization={"obs": True, "reward": True})
    collect = Collector(vector_env("Pendulum-v1", 2, max_episode_steps=2), lambda env, k, _: episode_seed(0, env, k))
    for _ in range(3):
        collect.step(Streams(0).warmup.uniform(-1, 1, (2, 1)).astype(np.float32))
    agent.policy.act(random_batch().obs.numpy(), random_noise().action.numpy())
    agent.update(random_batch(), random_noise())
    assert state() == before
