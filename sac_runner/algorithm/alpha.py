"""The temperature alpha: what one nat of entropy is worth in reward. One class for each mode of the alpha group."""

import math

import torch
from torch import Tensor, nn

from sac_runner.algorithm.losses import alpha_loss
from sac_runner.algorithm.optimizer import Adam
from sac_runner.config.schema import AlphaConfig, AnnealedAlphaConfig, AutoAlphaConfig, FixedAlphaConfig
from sac_runner.types import Metrics


class FixedAlpha(nn.Module):
    """A constant temperature."""

    value: Tensor

    def __init__(self, config: FixedAlphaConfig) -> None:
        super().__init__()
        self.register_buffer("value", torch.tensor(config.value))

    def set_env_step(self, env_step: int) -> None:
        """Constant: nothing follows the step."""

    def update(self, log_prob: Tensor) -> Metrics:
        """Constant: nothing is learned."""
        return {}


class AnnealedAlpha(nn.Module):
    """A temperature that falls (or rises) linearly over absolute env steps, then stays."""

    value: Tensor

    def __init__(self, config: AnnealedAlphaConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("value", torch.tensor(config.start))

    def set_env_step(self, env_step: int) -> None:
        """Move alpha to its value at ``env_step``."""
        assert self.config.over_env_steps is not None
        done = min(env_step / self.config.over_env_steps, 1.0)
        self.value.fill_(self.config.start + done * (self.config.end - self.config.start))

    def update(self, log_prob: Tensor) -> Metrics:
        """Set by the step: nothing is learned."""
        return {}


class AutoAlpha(nn.Module):
    """A temperature learned so that the policy's entropy meets a target: arXiv 1812.05905v2, section 5."""

    def __init__(self, config: AutoAlphaConfig, action_dim: int, device: torch.device) -> None:
        super().__init__()
        self.log_alpha = nn.Parameter(torch.tensor(math.log(config.initial), device=device))
        self.target_entropy = config.target_entropy_per_action_dim * action_dim
        if config.target_entropy is not None:
            self.target_entropy = config.target_entropy
        self.optimizer = Adam([self.log_alpha], config.lr)

    @property
    def value(self) -> Tensor:
        """alpha, () without gradient."""
        return self.log_alpha.detach().exp()

    def set_env_step(self, env_step: int) -> None:
        """Learned: nothing follows the step."""

    def update(self, log_prob: Tensor) -> Metrics:
        """One descent step on the alpha loss for ``log_prob`` (B,) without gradient."""
        loss = alpha_loss(self.log_alpha, log_prob, self.target_entropy)
        self.optimizer.step(list(torch.autograd.grad(loss, [self.log_alpha])))
        return {"alpha_loss": loss.detach(), "target_entropy": torch.full_like(loss, self.target_entropy)}


Alpha = FixedAlpha | AutoAlpha | AnnealedAlpha


def make_alpha(config: AlphaConfig, action_dim: int, device: torch.device) -> Alpha:
    """The temperature that the alpha group chose, on ``device``."""
    match config:
        case FixedAlphaConfig():
            return FixedAlpha(config).to(device)
        case AutoAlphaConfig():
            return AutoAlpha(config, action_dim, device)
        case AnnealedAlphaConfig():
            return AnnealedAlpha(config).to(device)
