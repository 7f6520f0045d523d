"""Convolutions and linear layers of ternary weights and 8-bit activations: BitNet b1.58, on maps.

    T = round(clip(W / s, -1, 1)),  s = mean|W| + eps            (arXiv 2402.17764, equations 1-3)
    x^ = d round(x / d),            d = max|x| / 127 of a token  (arXiv 2310.11453, equations 4-5, with b = 8)
    y = (s T) x^ + b

One scale s serves a whole weight; a token of a map is a position, so that d is taken over its channels. There is no
SubLN: the detectors' BatchNorm stands behind every convolution. What is stored and trained is W, in FP32, under the
names that the plain layers have: checkpoints, averages of weights and optimizers need not know of any of this.

Gradients pass straight through both roundings, also where the clip cuts a weight off: its sign is learned on, and what
lies beyond it comes back as s grows. The scales s and d count as constants. x / d reaches 127 and never more, so that
the clip of the papers' activations has nothing to do and is left out.
"""

import copy
from collections.abc import Callable, Collection
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = [
    "BitConv2d",
    "BitLinear",
    "TokenRounding",
    "bit_form",
    "bit_layers",
    "plain_form",
    "round_tokens",
    "ternary",
]

_LEVELS = 127  # codes on each side of 0
_EPS = 1e-5
# FP16's least normal number, as of the steps of calibrated INT8: below it an FP16 graph would divide by numbers of few
# bits, and in the end by 0. A token so small keeps fewer of its 8 bits.
_LEAST_STEP = 2.0**-14
_CHANNELS, _FEATURES = -3, -1  # axes of a token's values: of maps ([B,] C, H, W), of rows (..., C)


def ternary(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return a weight's codes, -1, 0 or 1 in its own shape, and their scale (); no gradients."""
    weight = weight.detach()
    scale = weight.abs().mean() + _EPS
    return (weight / scale).clamp_(-1, 1).round_(), scale


def round_tokens(x: Tensor, dim: int) -> Tensor:
    """Round each token to 255 levels between its largest absolute value and the negative of it; no gradients.

    Half and bfloat16 are rounded in FP32: bfloat16 itself has two levels between 126 and 127.

    Args:
        x: of any shape.
        dim: axis of the values of one token.
    """
    narrow = x.dtype in (torch.float16, torch.bfloat16)
    wide = x.float() if narrow else x
    step = (wide.abs().amax(dim, keepdim=True) / _LEVELS).clamp(min=_LEAST_STEP)
    rounded = (wide / step).round_().mul_(step)
    return rounded.to(x.dtype) if narrow else rounded


class _StraightThrough(torch.autograd.Function):
    """Rounds; the gradient is that of the identity."""

    @staticmethod
    def forward(_ctx: Any, x: Tensor, rounding: Callable[[Tensor], Tensor]) -> Tensor:
        return rounding(x)

    @staticmethod
    def backward(_ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def _rounded_weight(weight: Tensor) -> Tensor:
    codes, scale = ternary(weight)
    return codes.mul_(scale)


def _rounded_map(x: Tensor) -> Tensor:
    return round_tokens(x, _CHANNELS)


def _rounded_rows(x: Tensor) -> Tensor:
    return round_tokens(x, _FEATURES)


class BitConv2d(nn.Conv2d):
    """A convolution of ternary weights, with a map's positions as tokens; zeros of the padding stay zeros."""

    def forward(self, input: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, O, H', W'), as nn.Conv2d does."""
        weight = _StraightThrough.apply(self.weight, _rounded_weight)
        return self._conv_forward(_StraightThrough.apply(input, _rounded_map), weight, self.bias)


class BitLinear(nn.Linear):
    """A linear layer of ternary weights, with rows as tokens."""

    def forward(self, input: Tensor) -> Tensor:
        """Map (..., C) to (..., O), as nn.Linear does."""
        weight = _StraightThrough.apply(self.weight, _rounded_weight)
        return functional.linear(_StraightThrough.apply(input, _rounded_rows), weight, self.bias)


_FORMS: dict[type[nn.Module], type[nn.Module]] = {nn.Conv2d: BitConv2d, nn.Linear: BitLinear}


class TokenRounding(nn.Module):
    """The rounding of activations in front of a `plain_form`, in operators that every exporter knows.

    Args:
        linear: tokens are rows (..., C), else the positions of maps (B, C, H, W).
    """

    def __init__(self, linear: bool = False) -> None:
        super().__init__()
        self.dim = _FEATURES if linear else 1  # a tracer writes the axis as it is given; ONNX readers want it positive

    def forward(self, x: Tensor) -> Tensor:
        """Round maps or rows in their own shape."""
        return round_tokens(x, self.dim)


def bit_form(module: nn.Module, leave: Collection[nn.Module] = ()) -> nn.Module:
    """Make the convolutions and linear layers of a module, and itself where it is one, those of ternary weights.

    They stay the same objects with the same parameters; what changes is their class. Transposed convolutions stay as
    they are, and so do constants, whose weights need no gradient.

    Args:
        module: changed in place.
        leave: layers in it that stay plain: BitNet keeps what makes the output in high precision.

    Returns:
        The module.
    """
    kept = set(leave)
    for layer in module.modules():
        form = _FORMS.get(type(layer))
        if form is not None and layer not in kept and layer.weight.requires_grad:
            _become(layer, form)
    return module


_Module = TypeVar("_Module", bound=nn.Module)


def plain_form(module: _Module) -> _Module:
    """Return a copy of a module in which Bit layers are plain ones, with the weights s T that they compute with.

    Behind a `TokenRounding` such a layer is what the Bit layer is; alone it leaves activations as they are.
    """
    plain = copy.deepcopy(module)
    for layer in bit_layers(plain):
        layer.weight.data = _rounded_weight(layer.weight)
        _become(layer, nn.Conv2d if isinstance(layer, BitConv2d) else nn.Linear)
    return plain


def bit_layers(module: nn.Module) -> list[BitConv2d | BitLinear]:
    """List the Bit layers of a module, itself included."""
    return [layer for layer in module.modules() if isinstance(layer, BitConv2d | BitLinear)]


def _become(layer: nn.Module, form: type[nn.Module]) -> None:
    layer.__class__ = form  # as torch's own parametrizations and lazy modules do
