"""Adam, and the limit on gradients before it: both take gradients as arguments, so that an update stays a function."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8


class Adam:
    """Adam (arXiv 1412.6980v9, Algorithm 1) with the constants of the paper, in one call for all parameters.

    The same numbers as ``torch.optim.Adam(fused=True)`` with its learning rate in a float32 tensor. That one's Python
    takes three times as long as the kernel itself for networks of this size.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float) -> None:
        """Start with moments of zero; ``lr``, > 0, becomes a tensor, () float32, beside the parameters."""
        self.parameters: list[Tensor] = list(parameters)
        self.lr = torch.tensor(lr, device=self.parameters[0].device)
        self.step_count = torch.zeros((), device=self.parameters[0].device)
        self.exp_avg = [torch.zeros_like(x, requires_grad=False) for x in self.parameters]
        self.exp_avg_sq = [torch.zeros_like(x, requires_grad=False) for x in self.parameters]

    @torch.no_grad()
    def step(self, gradients: list[Tensor]) -> None:
        """Move the parameters, one gradient for each, in their order."""
        self.step_count.add_(1)
        if torch.compiler.is_compiling():  # which can't look into the fused kernel, and makes as good a one itself
            self._step_spelled_out(gradients)
            return
        torch._fused_adam_(
            self.parameters,
            gradients,
            self.exp_avg,
            self.exp_avg_sq,
            [],
            [self.step_count] * len(self.parameters),
            lr=self.lr,
            beta1=_BETA1,
            beta2=_BETA2,
            weight_decay=0.0,
            eps=_EPSILON,
            amsgrad=False,
            maximize=False,
        )

    def _step_spelled_out(self, gradients: list[Tensor]) -> None:
        # In the order of the paper's end of section 2: one division for each element. Powers as exp, whose value the
        # compiler keeps; it would take a power anew for every 16 elements, a tenth of an update.
        count = self.step_count.double()  # as the kernel does
        root_of_correction = (1.0 - torch.exp(count * math.log(_BETA2))).sqrt()
        step_size = self.lr.double() * root_of_correction / (1.0 - torch.exp(count * math.log(_BETA1)))
        epsilon = _EPSILON * root_of_correction
        for x, g, m, v in zip(self.parameters, gradients, self.exp_avg, self.exp_avg_sq, strict=True):
            m.lerp_(g, 1.0 - _BETA1)
            v.mul_(_BETA2).addcmul_(g, g, value=1.0 - _BETA2)
            x.sub_(step_size * m / (v.sqrt() + epsilon))

    def state_dict(self) -> dict[str, Tensor]:
        """``{i}.step``, ``{i}.exp_avg`` and ``{i}.exp_avg_sq`` of the i-th parameter."""
        moments = zip(self.exp_avg, self.exp_avg_sq, strict=True)
        named = ({"step": self.step_count, "exp_avg": m, "exp_avg_sq": v} for m, v in moments)
        return {f"{i}.{name}": x for i, state in enumerate(named) for name, x in state.items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue where ``state_dict`` was taken."""
        for name, x in self.state_dict().items():
            x.copy_(state[name])


def clip_global_norm(gradients: list[Tensor], greatest: float) -> None:
    """Scale ``gradients`` in place so that the norm of all together is at most ``greatest``, > 0.

    As ``torch.nn.utils.clip_grad_norm_`` does it.
    """
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(x) for x in gradients]))
    torch._foreach_mul_(gradients, (greatest / (norm + 1e-6)).clamp(max=1.0))
