"""The SAC agent: acting, observing, and one update that reads like the pseudocode."""

import copy
from collections.abc import Callable
from functools import wraps
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sac_runner.algorithm.alpha import AutoAlpha, make_alpha
from sac_runner.algorithm.losses import actor_loss, critic_loss, soft_q_target, soft_update
from sac_runner.algorithm.networks import CriticStack
from sac_runner.algorithm.normalization import RewardNormalizer, make_reward_normalizer
from sac_runner.algorithm.optimizer import Adam, clip_global_norm
from sac_runner.algorithm.policy import Policy
from sac_runner.config.schema import Config
from sac_runner.types import Batch, Metrics, UpdateNoise

T = TypeVar("T")
Method = Callable[["SAC", Batch, UpdateNoise], Metrics]


def _in_configured_precision(update: Method) -> Method:
    """With ``precision=medium``, products of wide layers and what lies between in bfloat16, by PyTorch's autocast.

    Losses, weights, moments and statistics stay float32. ``torch.set_float32_matmul_precision("medium")`` would be
    the same idea, but reaches bfloat16 on a CPU only where it has AMX; autocast does on one with AVX512-BF16 too. It
    must keep no bfloat16 copies of weights: the actor's step would use those of the critics from before their own step.
    """

    @wraps(update)
    def inside(agent: "SAC", batch: Batch, noise: UpdateNoise) -> Metrics:
        with torch.autocast(batch.obs.device.type, torch.bfloat16, agent.precision == "medium", cache_enabled=False):
            return update(agent, batch, noise)

    return inside


class SAC:
    """Soft Actor-Critic (arXiv 1812.05905v2) with clipped double Q and a fixed, annealed or learned temperature."""

    def __init__(
        self, config: Config, obs_dim: int, action_dim: int, generator: torch.Generator, device: torch.device
    ) -> None:
        """Build the networks on the CPU, so that equal generators give equal weights everywhere, then move them."""
        agent = config.agent
        self.config = agent
        self.precision = config.precision
        self.policy = Policy(agent, config.normalization, obs_dim, action_dim, generator).to(device)
        self.critic = CriticStack(
            obs_dim,
            action_dim,
            agent.hidden_sizes,
            agent.activation,
            agent.n_critics,
            agent.critic_layer_norm,
            generator,
        ).to(device)
        self.critic_target = copy.deepcopy(self.critic).requires_grad_(False)  # line 2
        self.alpha = make_alpha(config.alpha, action_dim, device)
        self.reward_normalizer = make_reward_normalizer(config.normalization, config.env.num_envs, agent.gamma)
        self.reward_normalizer.to(device)
        self.actor_optimizer = Adam(self.policy.actor.parameters(), agent.actor_lr)
        self.critic_optimizer = Adam(self.critic.parameters(), agent.critic_lr)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.critic.out.weight.device

    @property
    def is_on_gpu(self) -> bool:
        """Whether that is a GPU."""
        return self.critic.out.weight.is_cuda

    def observe(self, frames: NDArray[np.float32], reward: NDArray[np.float64], done: NDArray[np.bool_]) -> None:
        """Show the normalizers one environment step; nothing but this and ``begin`` moves their statistics.

        Args:
            frames: (M, obs_dim), every observation that is new, those of resets included.
            reward: (num_envs,), raw.
            done: (num_envs,), true where an episode ended.
        """
        self.policy.obs_normalizer.observe(frames)
        self.reward_normalizer.observe(reward, done)

    def begin(self, envs: list[int], frames: NDArray[np.float32]) -> None:
        """Episodes of ``envs`` begin outside a step, at ``frames`` (len(envs), obs_dim)."""
        self.policy.obs_normalizer.observe(frames)
        self.reward_normalizer.begin(envs)

    def set_env_step(self, env_step: int) -> None:
        """Set what changes with time: learning rates of a linear schedule, an annealed alpha."""
        self.alpha.set_env_step(env_step)
        decay = self.config.lr_decay_env_steps
        if self.config.lr_schedule == "linear" and decay is not None:
            done = min(env_step / decay, 1.0)
            share = 1.0 - done * (1.0 - self.config.lr_final_share)
            self.actor_optimizer.lr.fill_(share * self.config.actor_lr)
            self.critic_optimizer.lr.fill_(share * self.config.critic_lr)

    @_in_configured_precision
    def update(self, batch: Batch, noise: UpdateNoise) -> Metrics:
        """Lines 12 to 15 of Spinning Up's SAC pseudocode on the batch of line 11.

        A pure function of (state, batch, noise): where other code calls ``rsample``, the standard normal draw is an
        argument here. That makes golden tests, compilation and exact resume simple.

        Returns:
            Detached scalars on the agent's device: reading one is what costs a synchronisation, not this call.
        """
        obs = self.policy.obs_normalizer(batch.obs)
        next_obs = self.policy.obs_normalizer(batch.next_obs)
        reward = self.reward_normalizer(batch.reward)
        actor, alpha = self.policy.actor, self.alpha.value

        with torch.no_grad():  # line 12: the target y, with actions of the current policy
            next_action, next_log_prob = actor.sample(next_obs, noise.next_action)
            next_q = self.critic_target(next_obs, next_action)
            target = soft_q_target(reward, batch.terminated, next_q, next_log_prob, alpha, self.config.gamma)

        q = self.critic(obs, batch.action)  # line 13: one step down for every critic
        loss_q = critic_loss(q, target)
        self._descend(self.critic_optimizer, loss_q)

        action, log_prob = actor.sample(obs, noise.action)  # line 14: one step for the actor, critics held still
        loss_pi = actor_loss(self.critic(obs, action), log_prob, alpha)
        self._descend(self.actor_optimizer, loss_pi)

        alpha_metrics = self.alpha.update(log_prob.detach())  # one step for the temperature, arXiv 1812.05905v2, Eq. 18

        soft_update(list(self.critic_target.parameters()), list(self.critic.parameters()), self.config.tau)  # line 15
        return self._metrics(loss_q, loss_pi, q, target, action, log_prob, alpha) | alpha_metrics

    def _descend(self, optimizer: Adam, loss: Tensor) -> None:
        """One step on the optimizer's own parameters; no other network sees a gradient."""
        with torch.autocast(loss.device.type, enabled=False):  # which would make bfloat16 of narrow ones here
            gradients = list(torch.autograd.grad(loss, optimizer.parameters))
        if self.config.max_grad_norm is not None:
            clip_global_norm(gradients, self.config.max_grad_norm)
        optimizer.step(gradients)

    @torch.no_grad()
    def _metrics(
        self,
        loss_q: Tensor,
        loss_pi: Tensor,
        q: Tensor,
        target: Tensor,
        action: Tensor,
        log_prob: Tensor,
        alpha: Tensor,
    ) -> Metrics:
        return {
            "critic_loss": loss_q.detach(),
            "actor_loss": loss_pi.detach(),
            "alpha": alpha.clone(),
            "entropy": -log_prob.mean(),
            "q_mean": q.mean(),
            "q_target_mean": target.mean(),
            "td_error_abs_mean": (q - target).abs().mean(),
            "action_saturation": (action.abs() > 0.99).float().mean(),
        }

    @torch.no_grad()
    def q_value(self, obs: NDArray[np.float32], action: NDArray[np.float32]) -> NDArray[np.float32]:
        """min_i Q_i(s, a) in units of the raw reward: (B, obs_dim) raw, (B, action_dim) -> (B,)."""
        there, taken = (torch.from_numpy(x).to(self.device) for x in (obs, action))
        q: Tensor = self.critic(self.policy.obs_normalizer(there), taken).amin(dim=0)
        value: NDArray[np.float32] = (q * self.reward_normalizer.scale).cpu().numpy()
        return value

    def state_dict(self) -> dict[str, Tensor]:
        """What updates change, as flat named tensors: weights, statistics, alpha and Adam's moments.

        Learning rates are not of it: they follow from the config and the env step (``set_env_step``).
        """
        parts = self._parts().items()
        state = {f"{part}.{name}": x for part, module in parts for name, x in module.state_dict().items()}
        for name, optimizer in self._optimizers().items():
            state |= {f"adam.{name}.{key}": x for key, x in optimizer.state_dict().items()}
        return {name: x.detach() for name, x in state.items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue where ``state_dict`` was taken."""
        for part, module in self._parts().items():
            module.load_state_dict(under(f"{part}.", state))
        for name, optimizer in self._optimizers().items():
            optimizer.load_state_dict(under(f"adam.{name}.", state))

    def load_weights(self, state: dict[str, Tensor]) -> None:
        """Start from the networks and statistics of another agent's ``state_dict``; the rest stays new.

        Raises:
            RuntimeError: They have other shapes.
        """
        for part in ("policy", "critic", "critic_target"):
            self._parts()[part].load_state_dict(under(f"{part}.", state))
        moments = under("reward_normalizer.moments.", state)  # what the critics' values are counted in
        if isinstance(self.reward_normalizer, RewardNormalizer):
            self.reward_normalizer.moments.load_state_dict(moments)
        elif moments:
            raise RuntimeError("the critics' values are those of normalized rewards")

    def _parts(self) -> dict[str, nn.Module]:
        return {
            "policy": self.policy,
            "critic": self.critic,
            "critic_target": self.critic_target,
            "alpha": self.alpha,
            "reward_normalizer": self.reward_normalizer,
        }

    def _optimizers(self) -> dict[str, Adam]:
        optimizers = {"actor": self.actor_optimizer, "critic": self.critic_optimizer}
        return optimizers | ({"alpha": self.alpha.optimizer} if isinstance(self.alpha, AutoAlpha) else {})


def under(prefix: str, state: dict[str, T]) -> dict[str, T]:
    """What of ``state`` is named ``prefix`` and more, by the rest of its names."""
    return {name.removeprefix(prefix): x for name, x in state.items() if name.startswith(prefix)}
