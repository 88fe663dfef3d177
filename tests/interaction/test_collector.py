import hashlib
import json
import struct

import numpy as np
import pytest

from sac_runner.errors import NotFinite
from sac_runner.interaction.collector import Collector
from tests.scripted import Shortens, countdown_length, countdown_reward, countdown_success, countdown_terminates
from tests.support import vector_env

COUNTDOWN = "tests.scripted:Countdown-v0"


def seed_of(env, episode, *_):
    """Distinct for each episode, of every length and ending; environments do not end in step."""
    return 101 * env + 7 * episode


def collector(num_envs, **env):
    return Collector(vector_env(COUNTDOWN, num_envs, **env), seed_of)


def actions(num_envs, n, action_dim=1):
    return np.random.default_rng(0).uniform(-1, 1, (n, num_envs, action_dim)).astype(np.float32)


def play_by_hand(env, actions):
    """What environment ``env`` must show: (action, reward, terminated, truncated, next_obs, following_obs) by step."""
    episode, t = 0, 0
    for action in actions:
        seed, t = seed_of(env, episode), t + 1
        ended = t == countdown_length(seed)
        next_obs = following = [seed, t, action]
        if ended:
            episode += 1
            following = [seed_of(env, episode), 0, 0.0]
        terminated = ended and countdown_terminates(seed)
        yield action, countdown_reward(seed, t) + action, terminated, ended and not terminated, next_obs, following
        t = 0 if ended else t


@pytest.mark.parametrize("num_envs", [1, 3])
def test_steps_are_those_of_each_environment_alone(num_envs):
    played = actions(num_envs, 30)
    collect = collector(num_envs)
    np.testing.assert_array_equal(collect.obs, [[seed_of(env, 0), 0, 0] for env in range(num_envs)])
    by_hand = zip(*(play_by_hand(env, played[:, env, 0]) for env in range(num_envs)), strict=True)
    kinds = set()
    for action, rows in zip(played, by_hand, strict=True):
        step = collect.step(action)
        _, reward, terminated, truncated, next_obs, following = zip(*rows, strict=True)
        np.testing.assert_array_equal(step.action, action)
        np.testing.assert_allclose(step.reward, reward, rtol=1e-7)
        np.testing.assert_array_equal(step.terminated, terminated)
        np.testing.assert_array_equal(step.truncated, truncated)
        np.testing.assert_array_equal(step.done, np.logical_or(terminated, truncated))
        np.testing.assert_array_equal(step.next_obs, np.float32(next_obs))
        np.testing.assert_array_equal(step.following_obs, np.float32(following))
        np.testing.assert_array_equal(collect.obs, np.float32(following))
        kinds |= set(zip(terminated, truncated, strict=True))
    assert kinds == {(True, False), (False, True), (False, False)}


def test_frames_hold_every_new_observation_once():
    collect = collector(3)
    for action in actions(3, 30):
        step = collect.step(action)
        expected = [*map(tuple, step.next_obs), *(tuple(x) for x in step.following_obs if x[1] == 0)]
        assert sorted(map(tuple, step.frames)) == sorted(expected)
        assert step.frames.dtype == np.float32


def test_episodes_report_their_own_return_length_and_success():
    collect = collector(3)
    finished = {env: [] for env in range(3)}
    played = actions(3, 40)
    for action in played:
        for episode in collect.step(action).episodes:
            finished[episode.env].append(episode)
    for env, episodes in finished.items():
        assert len(episodes) > 5
        begins = 0
        for k, episode in enumerate(episodes):
            seed, length = seed_of(env, k), countdown_length(seed_of(env, k))
            taken = played[begins : begins + length, env, 0].astype(float)
            assert episode.length == length
            assert episode.ret == pytest.approx(sum(countdown_reward(seed, t + 1) for t in range(length)) + taken.sum())
            assert episode.success is countdown_success(seed)
            begins += length


def test_success_is_unknown_where_the_environment_does_not_say():
    collect = Collector(vector_env("Pendulum-v1", 1, max_episode_steps=2), seed_of)
    collect.step(np.zeros((1, 1), np.float32))
    (episode,) = collect.step(np.zeros((1, 1), np.float32)).episodes
    assert episode.success is None and episode.length == 2


def test_what_was_heard_is_digested_in_the_form_that_checkpoints_have():
    collect = collector(3)
    expected = collect.transcript.digests()
    for action in actions(3, 3):
        step = collect.step(action)
        for env, heard in enumerate(expected):
            answer = struct.pack("=3fd2?", *step.next_obs[env], step.reward[env], False, False)
            said = step.following_obs[env].tobytes() if step.done[env] else heard + answer
            expected[env] = hashlib.sha256(said).digest()
    assert collect.transcript.digests() == expected and collect.episode_length.any()


def test_each_episode_begins_with_the_seed_asked_for():
    asked, counted = [], []

    def seed_and_note(env, episode, of_all):
        asked.append((env, episode))
        counted.append(of_all)
        return seed_of(env, episode)

    collect = Collector(vector_env(COUNTDOWN, 2), seed_and_note)
    begun = {(env, tuple(obs)) for env, obs in enumerate(collect.obs)}
    for action in actions(2, 20):
        step = collect.step(action)
        begun |= {(env, tuple(step.following_obs[env])) for env in np.flatnonzero(step.done)}
    assert len(asked) == len(set(asked)) == len(begun)
    assert counted == list(range(len(asked)))
    assert begun == {(env, (seed_of(env, k), 0, 0)) for env, k in asked}
    for env in range(2):
        assert sorted(k for e, k in asked if e == env) == list(range(collect.begun[env]))


def test_one_seed_for_a_round_is_whatever_round_it_is_at_the_reset():
    now = {"round": 40}
    collect = Collector(vector_env(COUNTDOWN, 2), lambda *_: now["round"])  # 40: one step, 41: two
    assert collect.obs[:, 0].tolist() == [40, 40]
    now["round"] = 41
    assert collect.step(np.zeros((2, 1), np.float32)).following_obs[:, 0].tolist() == [41, 41]


@pytest.mark.parametrize(("env_id", "limit"), [(COUNTDOWN, None), ("Pendulum-v1", 5)])
def test_processes_give_the_same_steps_as_one_process(env_id, limit):
    env = {"max_episode_steps": limit}
    sync, parallel = (
        Collector(vector_env(env_id, 2, vectorization=kind, **env), seed_of) for kind in ("sync", "async")
    )
    try:
        np.testing.assert_array_equal(sync.obs, parallel.obs)
        for action in actions(2, 12):
            ours, theirs = sync.step(action), parallel.step(action)
            assert ours.episodes == theirs.episodes
            for name in ("action", "reward", "terminated", "truncated", "next_obs", "following_obs"):
                np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=name)
        assert sync.begun.min() > 1
    finally:
        parallel.envs.close()


def assert_same_steps(ours, theirs, played):
    for action in played:
        a, b = ours.step(action), theirs.step(action)
        assert a.episodes == b.episodes
        for name in ("reward", "terminated", "truncated", "next_obs", "following_obs"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


@pytest.mark.parametrize("steps", range(8))
def test_a_restored_collector_stands_inside_its_episodes_and_goes_on(steps):
    played = actions(3, 20)
    collect, restored = collector(3), collector(3)
    for action in played[:steps]:
        collect.step(action)
    for action in played[:3]:  # wherever it was, it is put where the other stands
        restored.step(action)
    arrays, plain = collect.state_dict()
    assert restored.load_state_dict(arrays, json.loads(json.dumps(plain))) == []
    np.testing.assert_array_equal(restored.obs, collect.obs)
    assert_same_steps(collect, restored, played[steps:])


def test_a_restored_collector_plays_real_physics_to_the_same_bit():
    collect, restored = (Collector(vector_env("Pendulum-v1", 2, max_episode_steps=7), seed_of) for _ in range(2))
    played = actions(2, 30)
    for action in played[:10]:
        collect.step(action)
    assert restored.load_state_dict(*collect.state_dict()) == []
    assert_same_steps(collect, restored, played[10:])


def test_an_episode_that_cannot_be_replayed_is_named_and_begun_anew():
    collect, restored = collector(2), collector(2)
    collect.step(np.zeros((2, 1), np.float32))
    arrays, plain = collect.state_dict()
    plain["heard"][1] = plain["heard"][0]  # as if environment 1 had answered otherwise
    assert restored.load_state_dict(arrays, plain) == [1]
    assert restored.begun.tolist() == collect.begun.tolist()  # in the place of the other one, with its seed
    np.testing.assert_array_equal(restored.obs, [collect.obs[0], [seed_of(1, collect.begun[1] - 1), 0, 0]])
    assert (restored.episode_length[1], restored.episode_return[1]) == (0, 0.0)
    assert restored.episode_length[0] == collect.episode_length[0]


@pytest.mark.parametrize("answer", ["obs", "reward", "terminated"])
def test_any_other_answer_on_the_way_is_noticed(answer, monkeypatch):
    """Whatever the last observation is."""
    collect, restored = (Collector(vector_env("Pendulum-v1", 2), seed_of) for _ in range(2))
    for action in actions(2, 5):
        collect.step(action)
    steps, ask = [], restored.envs.step

    def answers_otherwise(action):
        said = dict(zip(["obs", "reward", "terminated", "truncated", "info"], ask(action), strict=True))
        steps.append(action)
        if len(steps) == 2:
            changed = said[answer].copy()
            changed[1] = True if answer == "terminated" else np.nextafter(changed[1], np.inf)
            said[answer] = changed
        return tuple(said.values())

    monkeypatch.setattr(restored.envs, "step", answers_otherwise)
    assert restored.load_state_dict(*collect.state_dict()) == [1]


def test_an_episode_that_is_too_long_to_be_played_again_is_begun_anew(monkeypatch):
    monkeypatch.setattr("sac_runner.interaction.transcript.LONGEST_REPLAY", 3)
    collect, restored = (Collector(vector_env("Pendulum-v1", 2, max_episode_steps=100), seed_of) for _ in range(2))
    for steps, cut in ((3, []), (1, [0, 1])):
        for action in actions(2, steps):
            collect.step(action)
        assert restored.load_state_dict(*collect.state_dict()) == cut
    assert [len(collect.transcript.actions(env)) for env in range(2)] == [0, 0]


def test_an_episode_that_is_cut_is_begun_anew_from_its_own_seed():
    """Also where seeds count the episodes of all environments, of which another has begun one since."""
    collect, restored = (Collector(vector_env("Pendulum-v1", 2), lambda env, own, of_all: of_all) for _ in range(2))
    collect._reset(np.array([True, False]))
    arrays, plain = collect.state_dict()
    assert restored.load_state_dict(arrays, plain | {"heard": [plain["heard"][0], ""]}) == [1]
    assert restored.seeds == plain["seeds"] == [2, 1] and restored.begun.tolist() == [2, 1]


def test_a_step_keeps_its_numbers_when_the_next_is_taken():
    for kind in ("sync", "async"):
        collect = Collector(vector_env("Pendulum-v1", 1, vectorization=kind), seed_of)
        step = collect.step(np.zeros((1, 1), np.float32))
        before = [np.copy(x) for x in step[:6]]
        for _ in range(3):
            collect.step(np.ones((1, 1), np.float32))
        for x, kept in zip(step[:6], before, strict=True):
            np.testing.assert_array_equal(x, kept)
        collect.envs.close()


@pytest.mark.parametrize("length", [1, 2, 3])
def test_an_episode_that_comes_to_an_end_when_played_again_is_begun_anew(length, monkeypatch):
    played = Collector(vector_env("tests.scripted:Shortens-v0", 2), seed_of)
    for _ in range(3):
        played.step(np.zeros((2, 1), np.float32))
    arrays, plain = played.state_dict()
    monkeypatch.setattr(Shortens, "length", length)  # what it shows is the same as before
    restored = Collector(vector_env("tests.scripted:Shortens-v0", 2), seed_of)
    assert restored.load_state_dict(arrays, plain) == [0, 1]
    assert restored.episode_length.tolist() == [0, 0] and restored.begun.tolist() == [1, 1]
    assert len(restored.step(np.zeros((2, 1), np.float32)).episodes) == (2 if length == 1 else 0)


@pytest.mark.parametrize(("where", "step"), [("reset", 0), ("step", 2)])
def test_an_observation_that_is_no_number_is_refused_with_its_episode(where, step):
    collect = Collector(vector_env("tests.scripted:Faulty-v0", 1, kwargs={"what": "nan", "where": where}), seed_of)
    with pytest.raises(NotFinite, match=rf"observation or reward \(env 0 at step {step} of seed "):
        for _ in range(9):
            collect.step(np.zeros((1, 1), np.float32))


@pytest.mark.parametrize("reward", [np.nan, np.inf, -np.inf, 1e39])  # the last is infinite in float32
def test_a_reward_that_the_replay_buffer_can_not_hold_is_refused_with_its_episode(reward, monkeypatch):
    collect = Collector(vector_env("Pendulum-v1", 2), seed_of)
    step = collect.envs.step

    def rewards(action):
        obs, _, *rest = step(action)
        return obs, np.array([3e38, reward]), *rest

    monkeypatch.setattr(collect.envs, "step", rewards)
    with pytest.raises(NotFinite, match=r"observation or reward \(env 1 at step 1 of seed 101\)$"):
        collect.step(np.zeros((2, 1), np.float32))
