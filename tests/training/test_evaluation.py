import itertools

import numpy as np
import pytest
import torch

from sac_runner.training.evaluation import Evaluation, Protocol, evaluate
from sac_runner.training.metrics import METRICS
from sac_runner.training.randomness import evaluation_noise
from tests.scripted import countdown_length, countdown_reward, countdown_success
from tests.support import sac, vector_env

COUNTDOWN = "tests.scripted:Countdown-v0"
SEED = 1000


def standard_normal_policy():
    """Acts with tanh(0 + 1 * noise)."""
    policy = sac(3, 1).policy
    with torch.no_grad():
        for p in policy.actor.parameters():
            p.zero_()
    return policy


def impatient(envs):
    """``envs`` that fail an evaluation which never finds its last episode."""
    step, taken = envs.step, itertools.count()

    def step_or_fail(action):
        assert next(taken) < 1000, "the evaluation does not end"
        return step(action)

    envs.step = step_or_fail
    return envs


def run(policy=None, num_envs=1, episodes=6, deterministic=True, seed=SEED, env_id=COUNTDOWN, **options):
    envs = options.pop("envs", None) or vector_env(env_id, num_envs)
    policy = policy or standard_normal_policy()
    return evaluate(policy, impatient(envs), Protocol(episodes, deterministic, seed, envs.num_envs), **options)


def countdown_rewards(seed):
    """Of the deterministic policy, whose action is 0."""
    return [countdown_reward(seed, t) for t in range(1, countdown_length(seed) + 1)]


@pytest.mark.parametrize("num_envs", [1, 2, 4, 9])
@pytest.mark.parametrize("episodes", [1, 4, 6])
def test_episode_i_is_the_one_of_seed_plus_i_whatever_num_envs(num_envs, episodes):
    evaluation = run(num_envs=num_envs, episodes=episodes)
    seeds = range(SEED, SEED + episodes)
    assert evaluation.returns.tolist() == [sum(countdown_rewards(seed)) for seed in seeds]
    assert evaluation.lengths.tolist() == [countdown_length(seed) for seed in seeds]
    assert evaluation.successes == [s for s in map(countdown_success, seeds) if s is not None]


@pytest.mark.parametrize("num_envs", [1, 2, 4, 9])
def test_episode_i_has_noise_of_its_own_whatever_num_envs(num_envs):
    evaluation = run(num_envs=num_envs, deterministic=False)
    for i, actual in enumerate(evaluation.returns):
        rewards = countdown_rewards(SEED + i)
        noise = evaluation_noise(SEED + i).standard_normal(len(rewards), np.float32)
        assert actual - sum(rewards) == pytest.approx(np.tanh(noise).sum(), abs=2e-3)


def test_equal_weights_give_bit_equal_results_whatever_was_evaluated_before():
    policy, envs = sac(3, 1).policy, vector_env("Pendulum-v1", 2, max_episode_steps=20)
    options = {"envs": envs, "episodes": 3, "deterministic": False}
    first = run(policy, **options)
    run(sac(3, 1, seed=1).policy, **options, seed=5)
    again = run(policy, **options)
    fresh = run(policy, **options | {"envs": vector_env("Pendulum-v1", 2, max_episode_steps=20)})
    assert first.returns.tolist() == again.returns.tolist() == fresh.returns.tolist()
    assert len(set(first.returns.tolist())) == 3


def test_deterministic_acts_with_the_mode():
    policy = sac(3, 1).policy
    envs = vector_env("Pendulum-v1", 1, max_episode_steps=10)
    env, total = vector_env("Pendulum-v1", 1, max_episode_steps=10).envs[0], 0.0
    obs, _ = env.reset(seed=SEED)
    for _ in range(10):
        obs, reward, *_ = env.step(policy.act(obs[None])[0])
        total += reward
    assert run(policy, envs=envs, episodes=1).returns[0] == pytest.approx(total, rel=1e-6)


@pytest.mark.parametrize("num_envs", [1, 2, 4])
def test_q_bias_is_the_value_promised_at_the_start_minus_the_discounted_return(num_envs):
    def q_value(obs, action):
        return 10_000.0 + obs[:, 0] + 500.0 * obs[:, 1] + 77.0 * action[:, 0]  # of (seed, t) and the action, 0

    evaluation = run(num_envs=num_envs, episodes=5, q_value=q_value, gamma=0.9)
    biases = []
    for seed in range(SEED, SEED + 5):
        discounted = sum(0.9**t * reward for t, reward in enumerate(countdown_rewards(seed)))
        biases.append(10_000.0 + seed % 1000 - discounted)
    assert evaluation.q_bias == pytest.approx(np.mean(biases), rel=1e-6)


def test_q_bias_is_asked_with_the_action_that_is_taken():
    evaluation = run(episodes=1, deterministic=False, q_value=lambda obs, action: 1000.0 * action[:, 0], gamma=0.0)
    action = np.tanh(evaluation_noise(SEED).standard_normal(1, np.float32)[0])
    assert evaluation.q_bias == pytest.approx(1000.0 * action - countdown_reward(SEED, 1) - action, rel=1e-4)


def test_without_a_q_value_there_is_no_bias():
    assert run().q_bias is None


def test_finished_episodes_are_told_one_by_one():
    told = []
    run(num_envs=4, episodes=6, on_episode=told.append)
    assert told == [1, 2, 3, 4, 5, 6]


def test_scores_are_the_numbers_of_the_contract():
    returns, lengths = np.array([1.0, 3.0, 8.0]), np.array([2, 2, 5])
    scores = Evaluation(returns, lengths, [True, False, False], q_bias=0.5).scores()
    expected = {"return_mean": 4.0, "return_std": (26 / 3) ** 0.5, "return_min": 1.0, "return_max": 8.0}
    expected |= {"length_mean": 3.0, "success_rate": 1 / 3, "q_bias": 0.5}
    assert scores == pytest.approx(expected)
    assert {f"eval/{name}" for name in scores} == {tag for tag in METRICS if tag.startswith("eval/")}
    assert Evaluation(returns, lengths, [], None).scores().keys() == expected.keys() - {"success_rate", "q_bias"}


def test_an_evaluation_moves_no_weight_no_statistic_and_no_global_generator():
    agent = sac(3, 1, normalization={"obs": True, "reward": True})
    before = {name: x.clone() for name, x in agent.state_dict().items()}
    global_states = torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()
    run(agent.policy, deterministic=False, q_value=agent.q_value)
    assert all(torch.equal(x, before[name]) for name, x in agent.state_dict().items())
    assert (torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()) == global_states
