from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sac_runner.interaction import device_replay
from sac_runner.interaction import replay as replay_module
from sac_runner.interaction.device_replay import DeviceReplay, Outbox
from sac_runner.interaction.replay import ReplayBuffer
from sac_runner.types import Batch
from tests.pretended_gpu import pretend_to_send
from tests.support import CPU

OBS_DIM, ACTION_DIM = 2, 1


@pytest.fixture(autouse=True, scope="module")
def little_goes_to_a_gpu_at_once():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device_replay, "_AT_ONCE", 3)
        patch.setattr(device_replay, "_FINALS_AT_FIRST", 0)  # so that more room is made
        pretend_to_send(patch)
        yield


class Twins:
    """A buffer and its copy for a GPU, which is on the CPU here. The batches of both are the same."""

    def __init__(self, *sizes):
        self.plain = ReplayBuffer(*sizes)
        self.copied = DeviceReplay(self.plain, CPU)

    def __getattr__(self, name):
        return getattr(self.plain, name)

    def __len__(self):
        return len(self.plain)

    def sample(self, size, generator):
        return self.batch(self.plain.draw(size, generator))

    def batch(self, at):
        copied, batch = self.copied.stage(at), self.plain.batch(at)
        self.copied.gather()
        for x, y in zip(copied, batch, strict=True):
            assert x.shape == y.shape and x.dtype == y.dtype and (x == y).all()
        return Batch(*(x.clone() for x in batch))


class EachOnce:
    """Stands for the generator: every draw that is allowed, once."""

    def integers(self, high, size):
        assert size == high, "asked for as many as are held"
        return np.arange(high)


class Transition(NamedTuple):
    """The model: what a plain list would hold."""

    obs: tuple
    action: float
    reward: float
    next_obs: tuple
    terminated: bool
    truncated: bool


class World:
    """Feeds a buffer observations that are all different, and keeps every transition in a list for each env."""

    def __init__(self, capacity, num_envs, bootstrap=True):
        self.buffer = Twins(capacity, num_envs, OBS_DIM, ACTION_DIM, bootstrap)
        self.num_envs, self.bootstrap, self.made = num_envs, bootstrap, 0
        self.lists = [[] for _ in range(num_envs)]
        self.obs = self.fresh()
        self.buffer.start(self.obs.copy())

    def fresh(self):
        """Observations that were never seen, from 1 up: a zero can only come from an unwritten place."""
        numbers = 1 + self.made + np.arange(self.num_envs)
        self.made += self.num_envs
        return np.stack([numbers, -numbers], axis=1).astype(np.float32)

    def step(self, terminated, truncated):
        """``terminated`` and ``truncated``: one flag for each env."""
        terminated, truncated = np.array(terminated, np.bool_), np.array(truncated, np.bool_)
        done = terminated | truncated
        next_obs, resets = self.fresh(), self.fresh()
        following = np.where(done[:, None], resets, next_obs)
        action, reward = self.obs[:, :1] / 2, self.obs[:, 0].astype(np.float64) * 3
        for env in range(self.num_envs):
            values = (tuple(self.obs[env]), action[env, 0], reward[env], tuple(next_obs[env]))
            self.lists[env].append(Transition(*values, terminated[env], truncated[env]))
        self.buffer.add(action, reward, terminated, truncated, next_obs, following)
        self.obs = following
        next_obs[:] = resets[:] = np.nan  # whoever kept a view instead of the numbers shows it

    def expected(self):
        rows = self.buffer.rows
        held = [t for transitions in self.lists for t in transitions[-rows:]]
        return sorted(t[:4] + (t.terminated or (t.truncated and not self.bootstrap),) for t in held)

    def sampled(self, generator=None, size=None):
        batch = self.buffer.sample(size or len(self.buffer), generator or EachOnce())
        assert all(x.dtype == torch.float32 for x in batch)
        obs, action, reward, next_obs, terminated = (x.numpy() for x in batch)
        columns = map(tuple, obs), action[:, 0], reward, map(tuple, next_obs), terminated.astype(bool)
        return sorted(zip(*columns, strict=True))


ENDINGS = st.sampled_from([(0, 0)] * 3 + [(1, 0), (0, 1), (1, 1)])


@given(st.data(), st.integers(1, 3), st.booleans())
def test_exactly_the_newest_transitions_can_be_sampled(data, num_envs, bootstrap):
    capacity = data.draw(st.integers(num_envs, 14))
    endings = data.draw(st.lists(st.lists(ENDINGS, min_size=num_envs, max_size=num_envs), min_size=1, max_size=30))
    world = World(capacity, num_envs, bootstrap)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replay_module, "_CHUNK", 2)  # so that the final table grows often
        for row in endings:
            world.step(*zip(*row, strict=True))
            assert len(world.buffer) == len(world.expected())
            assert world.sampled() == world.expected()


@given(st.data(), st.integers(1, 3))
def test_what_is_drawn_ahead_of_a_step_is_what_is_drawn_after_it(data, num_envs):
    capacity = data.draw(st.integers(num_envs, 14))
    endings = data.draw(st.lists(st.lists(ENDINGS, min_size=num_envs, max_size=num_envs), min_size=1, max_size=30))
    world = World(capacity, num_envs)
    for seed, row in enumerate(endings):
        at = world.buffer.draw(4, np.random.default_rng(seed), ahead=True)
        here = world.buffer.is_here(at)
        early = world.buffer.batch(at) if here else ()
        world.step(*zip(*row, strict=True))
        newest = (world.buffer.added - 1) % len(world.buffer.obs) * num_envs + np.arange(num_envs)
        assert here != np.isin(at, newest).any()
        assert (world.buffer.draw(4, np.random.default_rng(seed)) == at).all()
        assert all((x == y).all() for x, y in zip(early, world.buffer.batch(at), strict=False))


@pytest.mark.parametrize(("capacity", "num_envs", "held"), [(12, 1, 12), (14, 3, 12), (3, 3, 3), (5, 3, 3)])
def test_capacity_is_rounded_down_to_whole_rows(capacity, num_envs, held):
    world = World(capacity, num_envs)
    lengths = []
    for _ in range(10):
        world.step([False] * num_envs, [False] * num_envs)
        lengths.append(len(world.buffer))
    assert lengths == [min(num_envs * n, held) for n in range(1, 11)]


@pytest.mark.parametrize("num_envs", [1, 3])
def test_a_real_generator_reaches_every_transition_across_the_rings_head_and_none_else(num_envs):
    world = World(8 * num_envs, num_envs)
    rng = np.random.default_rng(0)
    for _ in range(20):
        world.step(rng.random(num_envs) < 0.2, rng.random(num_envs) < 0.2)
        assert set(world.sampled(rng, size=600)) == set(world.expected())


def test_sampling_is_uniform():
    world = World(12, 3)
    rng = np.random.default_rng(0)
    for _ in range(7):
        world.step(rng.random(3) < 0.3, [False] * 3)
    draws = 12_000
    _, counts = np.unique([t[0][0] for t in world.sampled(rng, size=draws)], return_counts=True)
    chi_square = np.sum((counts - draws / 12) ** 2) / (draws / 12)
    assert len(counts) == 12 and chi_square < 31.3  # 0.1 % of uniform draws exceed it at 11 degrees of freedom


def test_sampling_is_with_replacement_and_reproducible():
    world = World(4, 1)
    world.step([False], [False])
    assert len(world.sampled(np.random.default_rng(0), size=50)) == 50
    world.step([False], [True])
    first, again = (world.buffer.sample(9, np.random.default_rng(1)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize(
    ("terminated", "truncated", "bootstrap", "stored"),
    [(0, 0, True, 0), (1, 0, True, 1), (0, 1, True, 0), (1, 1, True, 1)]
    + [(0, 0, False, 0), (1, 0, False, 1), (0, 1, False, 1), (1, 1, False, 1)],
)
def test_a_time_limit_ends_the_world_only_where_it_is_asked_to(terminated, truncated, bootstrap, stored):
    world = World(4, 1, bootstrap)
    world.step([terminated], [truncated])
    assert world.buffer.sample(1, EachOnce()).terminated.tolist() == [stored]


def test_the_table_of_final_observations_grows_in_chunks_and_reuses_what_the_ring_dropped():
    world = World(capacity=2500, num_envs=1)
    for n in range(1, 2501):
        world.step([n % 2], [1 - n % 2])
        assert len(world.buffer.final_obs) == -(-n // 1024) * 1024
    assert world.sampled() == world.expected()
    for _ in range(3000):
        world.step([True], [False])
    assert len(world.buffer.final_obs) == 3 * 1024
    assert world.sampled() == world.expected()


@given(st.data(), st.integers(1, 3), st.integers(1, 6))
def test_rows_taken_to_disk_in_pieces_restore_the_buffer(data, num_envs, rows):
    endings = data.draw(st.lists(st.lists(ENDINGS, min_size=num_envs, max_size=num_envs), min_size=1, max_size=25))
    world, segments = World(rows * num_envs, num_envs), []
    for row in endings:
        world.step(*zip(*row, strict=True))
        if len(segments) == 0 or data.draw(st.booleans()):
            written = segments[-1][0] + len(segments[-1][1]["reward"]) if segments else 0
            first = max(written, world.buffer.added - rows)
            segments.append((first, world.buffer.rows_between(first, world.buffer.added)))
    at = segments[-1][0] + len(segments[-1][1]["reward"])
    if at < world.buffer.added:
        first = max(at, world.buffer.added - rows)
        segments.append((first, world.buffer.rows_between(first, world.buffer.added)))
    held = [s for s in segments if s[0] + len(s[1]["reward"]) > world.buffer.added - rows]

    restored = Twins(rows * num_envs, num_envs, OBS_DIM, ACTION_DIM, True)
    restored.restore(held, world.obs)
    world.buffer, expected = restored, world.expected()
    assert world.sampled() == expected
    for row in endings[: rows + 2]:  # and it goes on like the one that never stopped
        world.step(*zip(*row, strict=True))
        assert world.sampled() == world.expected()


@pytest.mark.parametrize("bootstrap", [True, False])
def test_an_episode_cut_short_ends_in_truncation_where_it_stood(bootstrap):
    world = World(6, 2, bootstrap)
    world.step([False, False], [False, False])
    assert world.sampled() == world.expected()
    world.buffer.truncate_last(0)
    last = world.lists[0][-1]
    world.lists[0][-1] = last._replace(truncated=True)
    world.obs = np.where([[True], [False]], world.fresh(), world.obs)
    world.buffer.start(world.obs)
    assert world.sampled() == world.expected()
    world.step([False, True], [False, False])
    world.buffer.truncate_last(1)  # it had ended by itself: nothing to cut
    assert world.sampled() == world.expected()


def test_where_room_is_made_on_a_gpu_its_batches_lie_elsewhere():
    """Or else whoever has recorded how they are made would not hear of it."""
    world, batches, tables = World(12, 1), [], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replay_module, "_CHUNK", 2)
        for _ in range(12):
            world.step([True], [False])
            batches.append(world.buffer.copied.stage(world.buffer.draw(4, np.random.default_rng(0))))
            tables.append(world.buffer.copied._obs)
    assert [a is b for a, b in pairwise(tables)] == [a is b for a, b in pairwise(batches)]
    assert len({id(table) for table in tables}) == 4


def test_an_observation_is_stored_once():
    world = World(1000, 2)
    stored = world.buffer.obs.nbytes + world.buffer.final_obs.nbytes
    assert stored == 501 * 2 * OBS_DIM * 4


def test_reward_and_observations_stay_raw_float32():
    buffer = Twins(2, 1, 1, 1, True)
    buffer.start(np.array([[1e6]], np.float32))
    no = np.array([False])
    buffer.add(np.array([[0.5]], np.float32), np.array([1 / 3]), no, no, *[np.array([[-1e6]], np.float32)] * 2)
    batch = buffer.sample(1, EachOnce())
    assert [x.item() for x in batch] == [1e6, 0.5, np.float32(1 / 3), -1e6, 0.0]


def test_what_goes_to_a_gpu_is_written_over_only_once_it_is_there(monkeypatch):
    """Copies are made as late as can be: when somebody waits."""
    asked, arrived = [], []

    class Event:
        after = 0

        def record(self, stream):
            self.after = len(asked)

        def synchronize(self):
            arrived.extend(int(asked[i][0]) for i in range(len(arrived), self.after))

    monkeypatch.setattr(torch.cuda, "Event", Event)
    outbox = Outbox(torch.zeros(1), CPU)
    monkeypatch.setattr(torch.Tensor, "copy_", lambda into, x, non_blocking: asked.append(x))
    for k in range(7):
        outbox.here[outbox.open()][0] = k
        outbox.send()
    assert arrived == list(range(5)) and [int(x[0]) for x in asked[5:]] == [5, 6]
