"""What takes the place of the modules that INT8 computes: a convolution on rounded inputs with rounded weights."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from y12.exporter.model.blocks.conv import Conv
from y12.exporter.precision.qat.fake_quant import fake_quantize, half_step, quantize_weight

__all__ = ["ActivationQuantizer", "QuantConv"]


# AdamW changes every parameter by about its learning rate. One that fine-tunes weights hardly moves an exponent of 2;
# TQT's rate for exponents is 1e-2.
_RATE = 10.0


class ActivationQuantizer(nn.Module):
    """Rounds a tensor to int8 around 0.

    A learned step is `initial * 2^(10 shift)`: a step of the optimiser is then a relative change of it, whatever its
    size, and it stays positive (TQT, arXiv 1903.08066, section 3.2). The values are computed in FP32 where autocast is
    on, too, since BF16 has too few bits for 255 steps and what lies between them.

    Args:
        initial: the step to begin with.
        learned: False keeps it.
    """

    initial: Tensor

    def __init__(self, initial: float, *, learned: bool) -> None:
        super().__init__()
        self.register_buffer("initial", torch.tensor(initial))
        self.shift = nn.Parameter(torch.zeros(())) if learned else None

    @property
    def step(self) -> Tensor:
        """The step (), an FP16 number held as FP32."""
        return half_step(self.initial if self.shift is None else self.initial * (_RATE * self.shift).exp2())

    def forward(self, x: Tensor) -> Tensor:
        """Round (B, ...)."""
        return fake_quantize(x.float() if x.dtype in (torch.float16, torch.bfloat16) else x, self.step)


class QuantConv(nn.Module):
    """A `Conv` as INT8 computes it: act(conv(x^, w^) + beta - mean g / s), w^ from w g / s, s = sqrt(var + eps).

    BatchNorm keeps the statistics it came with, in training too: what is rounded is the product with them, and the
    exported graph has no others. Weights, g and beta are trained. The names in the state dict are those of `Conv`.

    Args:
        conv: the module whose parts it takes over.
        quantizer: of its input; kept by whoever built this, since other convolutions may read the same tensor.
        rows: (O,), what the export multiplies the rows of the weight with; None for 1.
    """

    rows: Tensor | None

    def __init__(self, conv: Conv, quantizer: ActivationQuantizer, rows: Tensor | None = None) -> None:
        super().__init__()
        self.conv, self.bn, self.act = conv.conv, conv.bn, conv.act
        self._quantizers = (quantizer,)  # in a tuple it is no submodule: it is in the state dict once
        self.register_buffer("rows", rows, persistent=False)

    def folded(self) -> tuple[Tensor, Tensor]:
        """Return the weight (O, I, k, k) and bias (O,) with BatchNorm in them, by the same operations as the export."""
        bn = self.bn
        assert bn.running_var is not None  # it tracks statistics
        assert bn.running_mean is not None
        factor = bn.weight / torch.sqrt(bn.running_var + bn.eps)
        return self.conv.weight * factor.view(-1, 1, 1, 1), bn.bias - bn.running_mean * factor

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, I, H, W) to (B, O, H/s, W/s)."""
        weight, bias = self.folded()
        conv, (quantizer,) = self.conv, self._quantizers
        assert isinstance(conv.padding, tuple)
        y = functional.conv2d(
            quantizer(x),
            quantize_weight(weight, self.rows),
            bias,
            conv.stride,
            conv.padding,
            conv.dilation,
            conv.groups,
        )
        return self.act(y)
