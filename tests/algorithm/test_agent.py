import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sac_runner.algorithm.agent import SAC
from tests.support import ANNEALED, AUTO, FIXED, config, random_batch, random_noise, sac, weights

FIXED_AT_ONE = FIXED | {"value": 1.0}  # where AUTO starts


def updated(agent, n=1, **batch):
    """The agent after ``n`` updates, and the metrics of the last."""
    for i in range(n):
        metrics = agent.update(random_batch(seed=i, **batch), random_noise(seed=i))
    return agent, metrics


def assert_same(module, other):
    ours, theirs = weights(module), weights(other)
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


def all_different(module, before):
    return all(not np.array_equal(x, before[name]) for name, x in weights(module).items())


def test_an_update_moves_every_weight_of_actor_critics_and_targets():
    agent = sac(agent={"critic_layer_norm": True})
    parts = (agent.policy.actor, agent.critic, agent.critic_target, agent.alpha)
    before = [weights(part) for part in parts]
    updated(agent)
    assert all(all_different(part, b) for part, b in zip(parts, before, strict=True))


def test_the_critics_move_through_the_critic_loss_alone():
    agent, held = sac(), sac()
    held.actor_optimizer.lr.fill_(0.0)
    start = weights(held.policy.actor)
    updated(agent), updated(held)
    assert_same(agent.critic, held.critic)
    np.testing.assert_equal(weights(held.policy.actor), start)
    assert all_different(agent.policy.actor, start)


def test_the_actor_moves_through_the_actor_loss_alone():
    # A reward changes the critics' targets; with the critics held still it can't reach the actor.
    agents = sac(), sac()
    for i, agent in enumerate(agents):
        agent.critic_optimizer.lr.fill_(0.0)
        batch = random_batch()
        agent.update(batch._replace(reward=batch.reward + 100.0 * i), random_noise())
    assert_same(agents[0].policy.actor, agents[1].policy.actor)


def test_the_actors_step_looks_at_the_critics_after_theirs():
    still, moving = sac(alpha=FIXED), sac(alpha=FIXED, agent={"critic_layer_norm": False, "critic_lr": 1e-1})
    still.critic_optimizer.lr.fill_(0.0)
    losses = [updated(agent)[1]["actor_loss"].item() for agent in (still, moving)]
    assert abs(losses[0] - losses[1]) > 0.1


def test_learning_alpha_sends_no_gradient_to_actor_or_critics():
    learned, fixed = sac(alpha=AUTO), sac(alpha=FIXED_AT_ONE)
    updated(learned), updated(fixed)
    assert_same(learned.policy, fixed.policy)
    assert_same(learned.critic, fixed.critic)
    assert learned.alpha.value.item() != 1.0


def test_actor_and_targets_of_an_update_use_alpha_from_before_its_step():
    quick, slow = (sac(alpha=AUTO | {"lr": lr}) for lr in (1.0, 1e-9))
    metrics = [updated(agent)[1] for agent in (quick, slow)]
    assert all(m["alpha"].item() == 1.0 for m in metrics)
    assert metrics[0]["actor_loss"].item() == metrics[1]["actor_loss"].item()
    assert abs(quick.alpha.value.item() - 1.0) > 0.5


def test_targets_have_no_gradient_and_follow_the_critics_by_tau():
    agent = sac(agent={"tau": 0.25})
    before = weights(agent.critic_target)
    updated(agent)
    assert all(not p.requires_grad and p.grad is None for p in agent.critic_target.parameters())
    online = weights(agent.critic)
    for name, x in weights(agent.critic_target).items():
        np.testing.assert_allclose(x, 0.75 * before[name] + 0.25 * online[name], rtol=1e-5, atol=1e-7)


def test_targets_start_as_copies_that_share_no_memory():
    agent = sac()
    assert_same(agent.critic, agent.critic_target)
    pairs = zip(agent.critic.parameters(), agent.critic_target.parameters(), strict=True)
    assert all(a.data_ptr() != b.data_ptr() for a, b in pairs)


def test_the_target_comes_from_target_critics_and_the_current_policy():
    agent, batch, noise = sac(alpha=FIXED), random_batch(), random_noise()
    with torch.no_grad():
        for p in agent.critic_target.parameters():
            p.mul_(3.0)
        next_action, next_log_prob = agent.policy.actor.sample(batch.next_obs, noise.next_action)
        value = agent.critic_target(batch.next_obs, next_action).amin(0) - 0.2 * next_log_prob
        y = batch.reward + 0.99 * (1.0 - batch.terminated) * value
        q = agent.critic(batch.obs, batch.action)
        action, log_prob = agent.policy.actor.sample(batch.obs, noise.action)
    metrics = agent.update(batch, noise)
    torch.testing.assert_close(metrics["q_target_mean"], y.mean())
    torch.testing.assert_close(metrics["q_mean"], q.mean())
    torch.testing.assert_close(metrics["td_error_abs_mean"], (q - y).abs().mean())
    torch.testing.assert_close(metrics["critic_loss"], (q - y).square().mean(1).sum())
    torch.testing.assert_close(metrics["entropy"], -log_prob.mean())
    torch.testing.assert_close(metrics["action_saturation"], (action.abs() > 0.99).float().mean())


@pytest.mark.parametrize("alpha", [AUTO, FIXED, ANNEALED], ids=lambda p: p["mode"])
def test_metrics_are_detached_scalars_under_the_names_of_the_contract(alpha):
    names = {"critic_loss", "actor_loss", "alpha", "entropy", "q_mean", "q_target_mean", "td_error_abs_mean"}
    names |= {"action_saturation"} | ({"alpha_loss", "target_entropy"} if alpha is AUTO else set())
    _, metrics = updated(sac(alpha=alpha))
    assert metrics.keys() == names
    assert all(x.shape == () and not x.requires_grad and x.dtype == torch.float32 for x in metrics.values())


@pytest.mark.parametrize("alpha", [AUTO, FIXED, ANNEALED], ids=lambda p: p["mode"])
def test_metrics_keep_their_values_when_the_agent_goes_on(alpha):
    agent, metrics = updated(sac(alpha=alpha))
    before = {name: x.item() for name, x in metrics.items()}
    agent.set_env_step(50)
    agent.update(random_batch(seed=9), random_noise(seed=9))
    assert {name: x.item() for name, x in metrics.items()} == before


def test_saturation_counts_action_components_beyond_099():
    agent = sac(action_dim=1, alpha=FIXED)
    with torch.no_grad():
        for p in agent.policy.actor.parameters():
            p.zero_()  # a = tanh(noise), and tanh(2.6) = 0.989, tanh(2.7) = 0.991
    noise = random_noise(4, 1)._replace(action=torch.tensor([[2.6], [2.7], [-2.7], [-9.0]]))
    assert agent.update(random_batch(4, action_dim=1), noise)["action_saturation"].item() == 0.75


def test_an_update_is_a_function_of_state_batch_and_noise():
    agents = [updated(sac(), n=3)[0] for _ in range(2)]
    states = [agent.state_dict() for agent in agents]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    batch, noise = random_batch(), random_noise()
    other = agents[0].update(batch, noise._replace(action=-noise.action))
    assert other["actor_loss"].item() != agents[1].update(batch, noise)["actor_loss"].item()


@pytest.mark.parametrize("alpha", [AUTO, FIXED, ANNEALED], ids=lambda p: p["mode"])
def test_a_loaded_state_continues_bit_for_bit(alpha):
    overrides = {
        "alpha": alpha,
        "agent": {"critic_layer_norm": True, "hidden_sizes": [8] * 6},  # over ten tensors: adam.actor.1 and .10
        "normalization": {"obs": True, "reward": True},
    }
    agent, fresh = sac(**overrides), sac(seed=1, **overrides)
    agent.set_env_step(30)
    agent.observe(random_batch().obs.numpy(), np.array([3.0]), np.array([False]))
    updated(agent, n=2)
    fresh.load_state_dict({name: x.clone() for name, x in agent.state_dict().items()})
    for a in (agent, fresh):
        a.set_env_step(40)
        a.observe(random_batch(seed=5).obs.numpy(), np.array([-1.0]), np.array([True]))
        updated(a, n=3)
    ours, theirs = agent.state_dict(), fresh.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_state_of_no_updates_loads_and_then_learns_alike():
    agent, fresh = sac(), sac(seed=1)
    fresh.load_state_dict({name: x.clone() for name, x in agent.state_dict().items()})
    assert_same(updated(agent)[0].critic, updated(fresh)[0].critic)


def test_a_linear_learning_rate_falls_by_absolute_step_to_its_final_share():
    linear = {"lr_schedule": "linear", "lr_final_share": 0.2, "lr_decay_env_steps": 100, "actor_lr": 0.1}
    agent = sac(agent=linear | {"critic_lr": 0.01})
    for env_step, share in ((0, 1.0), (50, 0.6), (100, 0.2), (900, 0.2), (25, 0.8)):
        agent.set_env_step(env_step)
        for optimizer, lr in ((agent.actor_optimizer, 0.1), (agent.critic_optimizer, 0.01)):
            assert optimizer.lr.item() == pytest.approx(share * lr)


def test_a_constant_learning_rate_stays():
    agent = sac()
    agent.set_env_step(10**6)
    assert agent.actor_optimizer.lr.item() == pytest.approx(3e-4)


def test_gradients_are_scaled_to_max_grad_norm():
    agent = sac(agent={"max_grad_norm": 0.5})
    updated(agent)
    gradients = [m / (1.0 - 0.9) for m in agent.critic_optimizer.exp_avg]  # after one step
    assert torch.cat([g.flatten() for g in gradients]).norm().item() == pytest.approx(0.5, rel=1e-4)


def test_q_value_is_the_smallest_critic_in_units_of_the_raw_reward():
    agent = sac(normalization={"obs": True, "reward": True})
    batch = random_batch()
    agent.observe(batch.obs.numpy(), np.array([8.0]), np.array([False]))
    z = (batch.obs - batch.obs.mean(0)) / batch.obs.std(0, correction=0)
    smallest = agent.critic(z, batch.action).amin(dim=0)
    # the returns seen so far: 8 once, and the prior of weight 1e-4 on mean 0 and variance 1
    var = (1e-4 + 1e-4 * 8.0**2 / (1.0 + 1e-4)) / (1.0 + 1e-4)
    actual = agent.q_value(batch.obs.numpy(), batch.action.numpy())
    np.testing.assert_allclose(actual, smallest.detach() * var**0.5, rtol=1e-2, atol=1e-4)
    assert actual.shape == (16,)


def test_critics_fit_one_batch_when_nothing_is_bootstrapped():
    agent = sac(agent={"gamma": 0.0, "critic_lr": 3e-3, "hidden_sizes": [64]}, alpha=FIXED)
    batch, noise = random_batch(), random_noise()
    losses = [agent.update(batch, noise)["critic_loss"].item() for _ in range(400)]
    assert losses[0] > 10.0 and losses[-1] < 0.02


def test_critics_find_the_value_of_a_constant_reward():
    fast = {"gamma": 0.5, "critic_lr": 1e-2, "tau": 0.2, "hidden_sizes": [16]}
    agent = sac(agent=fast, alpha=FIXED | {"value": 0.0})
    batch = random_batch()
    batch = batch._replace(reward=torch.ones(16), terminated=torch.zeros(16), next_obs=batch.obs)
    for i in range(300):
        agent.update(batch, random_noise(seed=i))
    assert agent.q_value(batch.obs.numpy(), batch.action.numpy()).mean() == pytest.approx(1.0 / (1.0 - 0.5), abs=0.05)


def test_critics_count_entropy_as_reward_of_the_next_step():
    # gamma = 1 and an end after the next step: Q = r + alpha * entropy, where the actor is held at a known entropy
    held_targets = {"gamma": 1.0, "critic_lr": 1e-2, "hidden_sizes": [16], "tau": 1e-12}
    agent = sac(agent=held_targets, alpha=FIXED | {"value": 0.7})
    agent.actor_optimizer.lr.fill_(0.0)
    with torch.no_grad():
        for p in agent.critic_target.parameters():
            p.zero_()
    batch, noise = random_batch(), random_noise()
    batch = batch._replace(reward=torch.ones(16), terminated=torch.zeros(16))
    with torch.no_grad():
        log_prob = agent.policy.actor.sample(batch.next_obs, noise.next_action)[1]
    for _ in range(300):
        metrics = agent.update(batch, noise)
    torch.testing.assert_close(metrics["q_mean"], 1.0 - 0.7 * log_prob.mean(), rtol=0.0, atol=0.02)


def test_adams_tensors_are_where_their_parameters_are():
    meta = torch.device("meta")
    agent = SAC(config(alpha=AUTO), 3, 2, torch.Generator().manual_seed(0), meta)
    for optimizer in agent._optimizers().values():
        for x in [*optimizer.parameters, optimizer.lr, optimizer.step_count, *optimizer.state_dict().values()]:
            assert x.device == meta


class Products(TorchDispatchMode):
    """Notes what the matrix products inside it multiply, and whether a matrix of theirs is narrow."""

    def __init__(self):
        super().__init__()
        self.types = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket.__name__ in ("mm", "addmm", "bmm", "baddbmm"):
            sizes = [size for x in args[-2:] for size in x.shape[-2:]]
            self.types |= {("narrow" if min(sizes) < 64 else "wide", x.dtype) for x in args}
        return func(*args, **(kwargs or {}))


BROAD = {"hidden_sizes": [64, 64]}


@pytest.mark.parametrize("obs_dim", [3, 70])
@pytest.mark.parametrize(("precision", "multiplies"), [("highest", torch.float32), ("medium", torch.bfloat16)])
def test_precision_says_what_wide_layers_multiply_in_an_update_and_nothing_else(precision, multiplies, obs_dim):
    agent = sac(obs_dim, alpha=AUTO, precision=precision, agent=BROAD | {"critic_layer_norm": True})
    batch, noise = random_batch(64, obs_dim), random_noise(64)
    obs, action = batch.obs.numpy(), noise.action.tanh().numpy()
    with Products() as judging:
        agent.q_value(obs, action)
    with Products() as updating:
        metrics = agent.update(batch, noise)
    assert judging.types == {(size, torch.float32) for size in (["wide", "narrow"] if obs_dim == 3 else ["wide"])}
    assert agent.policy.act(obs, noise.action.numpy()).dtype == np.float32
    assert updating.types == {("wide", multiplies), ("narrow", torch.float32)}
    assert {x.dtype for x in (*metrics.values(), *agent.state_dict().values())} <= {torch.float32, torch.int64}


@pytest.mark.parametrize("critic_lr", [3e-4, 0.1])  # a great step of the critics: the actor's sees them after it
def test_an_update_of_medium_precision_goes_almost_the_same_way(critic_lr):
    broad = BROAD | {"critic_lr": critic_lr}
    agents = [sac(seed=3, alpha=AUTO, precision=x, agent=broad) for x in ("highest", "medium")]
    exact, coarse = (agent.update(random_batch(256, seed=3), random_noise(256, seed=3)) for agent in agents)
    for name, x in exact.items():
        assert coarse[name].item() == pytest.approx(x.item(), rel=0.02, abs=0.01), name
    for (name, x), y in zip(agents[0].state_dict().items(), agents[1].state_dict().values(), strict=True):
        if name.endswith("exp_avg"):  # after one step: a tenth of the gradient
            assert 0.0 < (y - x).norm() < 0.03 * x.norm(), name
