"""Weights whose BatchNorm was folded away, made fit for training again."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from y12.exporter.model.detector import Detector

__all__ = ["are_folded", "unfold"]


def are_folded(detector: Detector) -> bool:
    """Return whether every BatchNorm's statistics are those of a fresh one or of one folded into its convolution.

    In evaluation such a network computes what it should; in training BatchNorm takes the batch's own statistics, with
    which these weights mean something else.
    """
    norms = [module for module in detector.modules() if isinstance(module, nn.BatchNorm2d)]
    return all(_is_identity(norm) for norm in norms)


def _is_identity(norm: nn.BatchNorm2d) -> bool:
    assert isinstance(norm.running_mean, Tensor)
    assert isinstance(norm.running_var, Tensor)
    return not norm.running_mean.any() and bool((norm.running_var == norm.running_var[0]).all())


@torch.no_grad()
def unfold(detector: Detector, batches: Iterable[Tensor]) -> int:
    """Set BatchNorms' statistics to those of their inputs, and undo that in their weights: they compute the same.

    With y = g (x - m) / s + b before, s = sqrt(v + eps), and the measured mean m' and variance v':

        g' = g s' / s,    b' = b + g (m' - m) / s

    Args:
        detector: of plain modules, in evaluation mode afterwards.
        batches: images (B, 3, H, W), RGB in 0-1.

    Returns:
        How many images it was measured on.
    """
    detector.eval()
    norms = [module for module in detector.modules() if isinstance(module, nn.BatchNorm2d)]
    sums = {norm: torch.zeros(3, norm.num_features, dtype=torch.float64) for norm in norms}

    def add(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, nn.BatchNorm2d)
        x = inputs[0].double()
        count = torch.full((x.shape[1],), x.numel() / x.shape[1], dtype=torch.float64)
        sums[norm] += torch.stack((x.sum((0, 2, 3)), x.square().sum((0, 2, 3)), count))

    hooks = [norm.register_forward_pre_hook(add) for norm in norms]
    images = 0
    for batch in batches:
        detector(batch)
        images += len(batch)
    for hook in hooks:
        hook.remove()
    for norm, (total, squares, count) in sums.items():
        mean = total / count
        _set_statistics(norm, mean, squares / count - mean.square())
    return images


def _set_statistics(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    assert isinstance(norm.running_mean, Tensor)
    assert isinstance(norm.running_var, Tensor)
    variance = variance.clamp(min=0)
    slope = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    norm.bias.add_((slope * (mean - norm.running_mean)).float())
    norm.weight.copy_(slope * (variance + norm.eps).sqrt())
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
