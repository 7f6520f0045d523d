"""The optimiser, its learning rate at every step, and the average of the weights."""

import copy
import math

import torch
from torch import Tensor, nn

from y12.exporter.train.options import OptimizerOptions

__all__ = ["Ema", "learning_rate", "optimizer_for"]

_EMA_RAMP = 500.0  # steps: an average over more steps than there were would hold on to random weights


def optimizer_for(network: nn.Module, options: OptimizerOptions) -> torch.optim.AdamW:
    """Return AdamW over what is trained; only weights of more than one axis decay."""
    trained = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": options.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=options.lr)


def learning_rate(step: int, steps: int, options: OptimizerOptions) -> float:
    """Return the learning rate of a step, 0 to steps - 1: linear warm-up, then half a cosine down to the final one.

    SGDR, arXiv 1608.03983, eq. 5, without restarts.
    """
    warmup = min(options.warmup, steps // 2)
    if step < warmup:
        return options.lr * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - 1 - warmup)
    final = options.lr * options.final
    return final + (options.lr - final) * (1 + math.cos(math.pi * progress)) / 2


class Ema:
    """Exponential moving average of a network's weights and BatchNorm statistics (arXiv 1803.05407 averages equally).

    Attributes:
        network: the averaged copy, in evaluation mode.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Take in the weights after a step, counted from 0."""
        decay = self._decay * (1 - math.exp(-(step + 1) / _EMA_RAMP))
        new = network.state_dict()
        averages: list[Tensor] = []
        values: list[Tensor] = []
        for name, average in self.network.state_dict().items():
            if average.is_floating_point():
                averages.append(average)
                values.append(new[name])
            else:
                average.copy_(new[name])
        torch._foreach_lerp_(averages, values, 1 - decay)
