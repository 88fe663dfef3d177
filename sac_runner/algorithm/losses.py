"""The equations of SAC, and nothing else.

Numbered after *Soft Actor-Critic Algorithms and Applications* (arXiv 1812.05905v2); "line n" is a line of Spinning
Up's SAC pseudocode. Like Spinning Up and the tutorial, the critic loss has no factor 1/2.
"""

import torch
from torch import Tensor


def soft_q_target(
    reward: Tensor, terminated: Tensor, next_q: Tensor, next_log_prob: Tensor, alpha: Tensor, gamma: float
) -> Tensor:
    """Target y = r + gamma (1 - d) (min_i Q_target,i(s', a') - alpha log pi(a'|s')): Eq. 2, 3 and 5, line 12.

    Args:
        reward: (B,).
        terminated: (B,), 1.0 where no value follows.
        next_q: (n_critics, B), of the target critics.
        next_log_prob: (B,), of the current policy.
        alpha: (), the temperature.
        gamma: discount per env step, in [0, 1].

    Returns:
        (B,).
    """
    assert reward.shape == terminated.shape == next_log_prob.shape == next_q.shape[1:], "per-sample tensors are (B,)"
    next_value = next_q.amin(dim=0) - alpha * next_log_prob
    return reward + gamma * (1.0 - terminated) * next_value


def critic_loss(q: Tensor, target: Tensor) -> Tensor:
    """Sum over critics of the mean squared error to one shared target: Eq. 5, line 13.

    Args:
        q: (n_critics, B).
        target: (B,), without gradient.

    Returns:
        ().
    """
    assert q.shape[1:] == target.shape and not target.requires_grad, "q is (n_critics, B), target (B,) and constant"
    return (q - target).square().mean(dim=1).sum()


def actor_loss(q: Tensor, log_prob: Tensor, alpha: Tensor) -> Tensor:
    """E[alpha log pi(a|s) - min_i Q_i(s, a)] with a reparameterised: Eq. 9, line 14 (there as an ascent).

    Args:
        q: (n_critics, B), of the current critics at the new actions.
        log_prob: (B,), of the new actions.
        alpha: (), without gradient.

    Returns:
        ().
    """
    assert q.shape[1:] == log_prob.shape, "q is (n_critics, B), log_prob (B,)"
    return (alpha * log_prob - q.amin(dim=0)).mean()


def alpha_loss(log_alpha: Tensor, log_prob: Tensor, target_entropy: float) -> Tensor:
    """-log(alpha) E[log pi(a|s) + target entropy]: Eq. 18 with log(alpha) for alpha, as the authors' own code has it.

    Both forms move alpha the same way; this one keeps the step size independent of alpha.

    Args:
        log_alpha: ().
        log_prob: (B,), without gradient.
        target_entropy: nats, of the action in [-1, 1].

    Returns:
        ().
    """
    assert log_prob.dim() == 1 and not log_prob.requires_grad, "log_prob is (B,) and constant"
    return -(log_alpha * (log_prob + target_entropy)).mean()


def soft_update(target: list[Tensor], online: list[Tensor], tau: float) -> None:
    """In place: target <- (1 - tau) target + tau online, line 15 (its rho is 1 - tau)."""
    with torch.no_grad():
        torch._foreach_lerp_(target, online, tau)
