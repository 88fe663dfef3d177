import math

import pytest
import torch

from sac_runner.algorithm.alpha import make_alpha
from tests.support import ANNEALED, AUTO, CPU, FIXED, config


def make(plain, action_dim=3):
    return make_alpha(config(alpha=plain).alpha, action_dim, CPU)


def log_probs_of_entropy(entropy):
    return torch.tensor([-entropy - 1.0, -entropy + 1.0])


def test_auto_rises_below_its_target_entropy_falls_above_it_and_rests_on_it():
    for entropy, direction in ((-4.0, 1), (-2.0, -1), (-3.0, 0)):
        alpha = make(AUTO)
        alpha.update(log_probs_of_entropy(entropy))
        moved = alpha.value.item() - 1.0
        assert (moved > 1e-5) - (moved < -1e-5) == direction


def test_auto_steps_by_its_own_learning_rate_on_the_logarithm():
    alpha = make(AUTO | {"initial": 0.5, "lr": 0.01})
    alpha.update(log_probs_of_entropy(-9.0))
    # Adam's first step is its step size, whatever the slope
    assert alpha.value.item() == pytest.approx(0.5 * math.exp(0.01), rel=1e-5)


def test_auto_loss_is_reported_without_gradient():
    loss = make(AUTO | {"initial": 2.0}).update(log_probs_of_entropy(-4.0))["alpha_loss"]
    assert loss.item() == pytest.approx(-math.log(2.0) * (4.0 - 3.0))
    assert not loss.requires_grad


def test_target_entropy_is_a_number_or_a_multiple_of_the_action_dimension():
    assert make(AUTO).target_entropy == -3.0
    assert make(AUTO | {"target_entropy_per_action_dim": -0.5}, action_dim=4).target_entropy == -2.0
    assert make(AUTO | {"target_entropy": 1.25}, action_dim=4).target_entropy == 1.25
    assert make(AUTO | {"target_entropy": 0.0}, action_dim=4).target_entropy == 0.0


@pytest.mark.parametrize("plain", [FIXED, ANNEALED, AUTO], ids=lambda p: p["mode"])
def test_alpha_starts_at_its_configured_value_and_gives_no_gradient(plain):
    alpha = make(plain)
    start = {"fixed": 0.2, "annealed": 0.5, "auto": 1.0}[plain["mode"]]
    assert alpha.value.item() == pytest.approx(start)
    assert alpha.value.shape == () and not alpha.value.requires_grad


def test_fixed_moves_neither_by_step_nor_by_update():
    alpha = make(FIXED)
    alpha.set_env_step(10**6)
    assert alpha.update(log_probs_of_entropy(-9.0)) == {}
    assert alpha.value.item() == pytest.approx(0.2)


def test_annealed_is_a_function_of_the_absolute_step():
    alpha = make(ANNEALED)
    for env_step, expected in ((0, 0.5), (25, 0.4), (50, 0.3), (100, 0.1), (10**6, 0.1), (25, 0.4)):
        alpha.set_env_step(env_step)
        assert alpha.update(log_probs_of_entropy(-9.0)) == {}
        assert alpha.value.item() == pytest.approx(expected)


def test_auto_ignores_the_step():
    alpha = make(AUTO)
    alpha.set_env_step(10**6)
    assert alpha.value.item() == 1.0
