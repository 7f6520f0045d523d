"""Layers written out in float64, to hold blocks against; and weights under which none of their terms can be missed."""

import torch
from torch import nn
from torch.nn import functional as F


def randomised(module):
    """Return norms other statistics and weights, and convolutions other biases, than those they are made with."""
    generator = torch.Generator().manual_seed(1)
    for part in module.modules():
        if hasattr(part, "bias") and isinstance(part.bias, nn.Parameter):
            part.bias.data.uniform_(-0.5, 0.5, generator=generator)
            if part.weight.ndim == 1:
                part.weight.data.uniform_(0.5, 1.5, generator=generator)
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.uniform_(-0.5, 0.5, generator=generator)
            part.running_var.uniform_(0.5, 1.5, generator=generator)
    return module.eval()


def double(t):
    """A tensor as float64, apart from the network it belongs to."""
    return t.detach().double()


def conv(module, x, silu=True):
    """A Conv: convolution, (y - mean) / sqrt(var + 1e-3) * weight + bias, and SiLU where it is to have one."""
    assert isinstance(module.act, nn.SiLU if silu else nn.Identity)
    c, bn = module.conv, module.bn
    y = F.conv2d(x, double(c.weight), None, c.stride, c.padding, 1, c.groups)
    mean, var, weight, bias = (double(t).view(-1, 1, 1) for t in (bn.running_mean, bn.running_var, bn.weight, bn.bias))
    y = (y - mean) / torch.sqrt(var + 1e-3) * weight + bias
    return y / (1 + torch.exp(-y)) if silu else y


def linear(module, vector):
    """An nn.Linear: W v + b."""
    return double(module.weight) @ vector + double(module.bias)


def unreached(module, *inputs):
    """Names of the parameters without a gradient, in training, of a sum that weighs every output differently."""
    module.train()
    out = module(*inputs)
    (out * torch.randn(out.shape, generator=torch.Generator().manual_seed(2))).sum().backward()
    return [name for name, p in module.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
