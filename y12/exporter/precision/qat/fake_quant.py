"""Rounding to a grid of integers, in floating point, with gradients: what INT8 will do, so that training can answer it.

    x^ = s clip(round(x / s), -Qn, Qp)

Values are those of QuantizeLinear and DequantizeLinear in FP32: the quotient is rounded half to even. Gradients of
activations are those of LSQ (arXiv 1902.08153); those of weights pass straight through, since a weight's step follows
from its channel's largest value, so that nothing is ever clipped.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from y12.exporter.precision.ranges import INT8_MAX

__all__ = ["ACTIVATION_BOUNDS", "fake_quantize", "half_step", "quantize_weight", "weight_steps"]

# QuantizeLinear saturates at -128; a weight's own scale keeps it from there, an activation's does not.
ACTIVATION_BOUNDS = (-INT8_MAX - 1, INT8_MAX)
# The exporter's, of y12/exporter/precision/ranges.py and quantize_weights.py.
_LEAST_STEP = 2.0**-14
_LEAST_WEIGHT_STEP = float(np.finfo(np.float16).smallest_subnormal)


class _FakeQuantize(torch.autograd.Function):
    """LSQ: equations 1 and 2 forward, 3 and 5 backward, with the gradient scale of section 2.2."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Tensor, lower: int, upper: int, gradient_scale: float) -> Tensor:
        ctx.save_for_backward(x, step)
        ctx.bounds, ctx.gradient_scale = (lower, upper), gradient_scale
        return (x / step).round_().clamp_(lower, upper).mul_(step)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor | None, None, None, None]:
        (gradient,) = gradients
        x, step = ctx.saved_tensors
        lower, upper = ctx.bounds
        steps = x / step
        inside = (steps > lower) & (steps < upper)
        of_step = None
        if ctx.needs_input_grad[1]:
            slope = torch.where(inside, steps.round() - steps, steps.clamp(lower, upper))
            of_step = (gradient * slope).sum().to(step.dtype) * ctx.gradient_scale
        return gradient * inside, of_step, None, None, None


def fake_quantize(x: Tensor, step: Tensor, bounds: tuple[int, int] = ACTIVATION_BOUNDS) -> Tensor:
    """Round x (B, ...) to multiples of a step.

    The gradient of x passes where -Qn < x/s < Qp. That of s is round(x/s) - x/s there, and -Qn or Qp where x is
    clipped, times 1 / sqrt(N Qp) with N the elements of one image (LSQ, arXiv 1902.08153, equations 3 and 5 and section
    2.2): without it the step's gradient, a sum over all of x, rules those of the weights.

    Args:
        x: float32 or float64.
        step: (), positive.
        bounds: (-Qn, Qp).
    """
    lower, upper = bounds
    return _FakeQuantize.apply(x, step, lower, upper, (max(1, x[0].numel()) * upper) ** -0.5)


class _StraightThrough(torch.autograd.Function):
    """The second tensor, with the gradient of the first one."""

    @staticmethod
    def forward(_ctx: Any, _x: Tensor, rounded: Tensor) -> Tensor:
        return rounded.clone()

    @staticmethod
    def backward(_ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def half_step(step: Tensor) -> Tensor:
    """Return the step that the exported graph has: an FP16 number, at least 2^-14; gradients pass straight through.

    Args:
        step: (), positive.
    """
    return _StraightThrough.apply(step, step.detach().clamp(min=_LEAST_STEP).half().to(step.dtype))


@torch.no_grad()
def weight_steps(weight: Tensor) -> Tensor:
    """Return each output channel's step (O,) for a weight (O, ...), as `y12.exporter.precision.qdq.weights` does.

    max|w| / 127, rounded up to an FP16 number so that the largest weight still fits.
    """
    exact = weight.abs().flatten(1).amax(1) / INT8_MAX
    half = exact.clamp(min=_LEAST_WEIGHT_STEP).half()
    up = (half.view(torch.int16) + 1).view(torch.float16)  # the next one: of positive numbers the bits are in order
    return torch.where(half.to(weight.dtype) < exact, up, half).to(weight.dtype)


def quantize_weight(weight: Tensor, rows: Tensor | None = None) -> Tensor:
    """Round a weight (O, ...) to the steps of its output channels; the gradient passes straight through.

    Args:
        weight: float32.
        rows: (O,), what the exported graph multiplies the rows with before it rounds them; None for 1. The result is
            without it.
    """
    wide = (-1, *[1] * (weight.ndim - 1))  # (O,) -> (O, 1, 1, 1)
    with torch.no_grad():
        scaled = weight if rows is None else weight * rows.view(wide)
        steps = weight_steps(scaled).view(wide)
        rounded = (scaled / steps).round_().clamp_(-INT8_MAX, INT8_MAX).mul_(steps)
        if rows is not None:
            rounded /= rows.view(wide)
    return _StraightThrough.apply(weight, rounded)
