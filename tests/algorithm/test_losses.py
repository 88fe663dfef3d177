import math

import pytest
import torch

from sac_runner.algorithm.losses import actor_loss, alpha_loss, critic_loss, soft_q_target, soft_update

t = torch.tensor


def test_target_by_hand():
    next_q = t([[5.0, 1.0, 7.0], [4.0, 2.0, 6.0]])
    y = soft_q_target(t([1.0, 2.0, 3.0]), t([0.0, 0.0, 1.0]), next_q, t([-1.0, 2.0, 9.0]), t(0.5), gamma=0.9)
    # 1 + 0.9 (4 + 0.5), 2 + 0.9 (1 - 1), and the reward alone where the world ended
    torch.testing.assert_close(y, t([5.05, 2.0, 3.0]))


def test_critic_loss_is_the_sum_over_critics_of_the_mean_square_without_a_half():
    loss = critic_loss(t([[1.0, 2.0], [4.0, 0.0]]), t([1.0, 4.0]))
    torch.testing.assert_close(loss, t((0.0 + 4.0) / 2 + (9.0 + 16.0) / 2))


def test_actor_loss_by_hand():
    loss = actor_loss(t([[3.0, -1.0], [2.0, 0.0]]), t([-2.0, 1.0]), t(0.5))
    torch.testing.assert_close(loss, t(((-1.0 - 2.0) + (0.5 + 1.0)) / 2))


def test_actor_loss_sends_each_sample_to_its_smallest_critic():
    q = t([[3.0, -1.0], [2.0, 0.0]], requires_grad=True)
    actor_loss(q, t([0.0, 0.0]), t(0.5)).backward()
    torch.testing.assert_close(q.grad, t([[0.0, -0.5], [-0.5, 0.0]]))


def test_alpha_loss_by_hand_and_its_slope_is_minus_the_excess_of_log_prob():
    log_alpha = t(math.log(2.0), requires_grad=True)
    loss = alpha_loss(log_alpha, t([1.0, 4.0]), target_entropy=-2.0)
    loss.backward()
    torch.testing.assert_close(loss, t(-math.log(2.0) * 0.5))
    torch.testing.assert_close(log_alpha.grad, t(-0.5))


def test_soft_update_takes_tau_of_the_online_weights_in_place():
    target, online = [t([1.0]), t([[2.0]])], [t([11.0]), t([[-8.0]])]
    kept = [x.data_ptr() for x in target]
    soft_update(target, online, tau=0.1)
    torch.testing.assert_close(target, [t([2.0]), t([[1.0]])])
    torch.testing.assert_close(online, [t([11.0]), t([[-8.0]])])
    assert [x.data_ptr() for x in target] == kept


def test_shapes_that_would_broadcast_are_refused():
    q, column, per_sample = torch.zeros(2, 4), torch.zeros(4, 1), torch.zeros(4)
    with pytest.raises(AssertionError):
        soft_q_target(column, per_sample, q, per_sample, t(0.1), 0.99)
    with pytest.raises(AssertionError):
        soft_q_target(per_sample, column, q, per_sample, t(0.1), 0.99)
    with pytest.raises(AssertionError):
        soft_q_target(per_sample, per_sample, q.T, per_sample, t(0.1), 0.99)
    with pytest.raises(AssertionError):
        soft_q_target(per_sample, per_sample, q, column, t(0.1), 0.99)
    with pytest.raises(AssertionError):
        critic_loss(q, column)
    with pytest.raises(AssertionError):
        actor_loss(q, column, t(0.1))
    with pytest.raises(AssertionError):
        alpha_loss(t(0.0), column, -1.0)


def test_a_target_or_log_prob_that_carries_gradient_is_refused():
    live = torch.zeros(4, requires_grad=True)
    with pytest.raises(AssertionError):
        critic_loss(torch.zeros(2, 4), live)
    with pytest.raises(AssertionError):
        alpha_loss(t(0.0), live, -1.0)
