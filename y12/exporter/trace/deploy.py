"""The detector as it is traced: convolutions that carry their BatchNorm, and attention in the form TensorRT fuses."""

import copy

import torch
from torch import Tensor, nn

from y12.exporter.model.blocks.attention import MapAttention, map_of, tokens_of
from y12.exporter.model.blocks.bit import BitConv2d, BitLinear, TokenRounding, plain_form
from y12.exporter.model.blocks.compact import DepthwisePair, one_kernel
from y12.exporter.model.blocks.conv import Conv
from y12.exporter.model.detector import Detector
from y12.exporter.model.one_thread import one_thread

__all__ = ["DeployAttention", "deploy_from_detector"]


class DeployAttention(nn.Module):
    """Attention on a map with one convolution for q, k and v and `softmax(q k^T) v` on (B*areas, heads, L, d).

    This operand order is what TensorRT fuses into one kernel; `v @ attn^T` on (d, L), the published one, is not
    fused. One convolution and one permutation leave a single data-moving kernel before each fused attention, and
    one after it; that first kernel also writes v back as a map for `pe`, which a slice of the convolution's output
    would need a kernel of its own for. q and k narrower than v, as in C2PSA, are filled up with zeros to v's width:
    that is what TensorRT fuses, and it leaves q k^T as it is.

    Args:
        attention: the published form.
        tokens: of Bit convolutions, keep the rounding of activations in front of q, k and v.
    """

    def __init__(self, attention: MapAttention, tokens: bool = True) -> None:
        super().__init__()
        self.num_heads, self.head_dim, self.area = attention.num_heads, attention.head_dim, attention.area
        reads = attention.qkv_weights()[0][0].conv  # all of them read the same tokens
        self.qkv = _sequence(*_rounding_before(reads, tokens), _qkv_conv(attention))
        self.pe, self.proj = attention.pe, attention.proj

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        q, k, v = tokens_of(self.qkv(x), 3, self.num_heads, self.area)
        attended = (q @ k.transpose(-2, -1)).softmax(-1) @ v
        return self.proj(map_of(attended, x, self.area) + self.pe(map_of(v, x, self.area)))


@torch.no_grad()
def _qkv_conv(attention: MapAttention) -> nn.Conv2d:
    """Return the projections as one [all q | all k | all v], and fold the softmax scale into q's rows."""
    convs, rows = attention.qkv_weights()
    fused = [fuse_conv_bn(conv) for conv in convs]
    weight = torch.cat([c.weight for c in fused])
    bias = torch.cat([_bias(c) for c in fused])
    # One row of zeros at the end, for what q and k lack of v's width.
    weight, bias = torch.cat((weight, torch.zeros_like(weight[:1]))), torch.cat((bias, bias.new_zeros(1)))
    order = torch.cat([_padded(r, attention, zero=len(bias) - 1) for r in rows])
    weight, bias = weight[order], bias[order]
    dim = len(rows[2])
    weight[:dim] *= attention.key_dim**-0.5
    bias[:dim] *= attention.key_dim**-0.5
    qkv = nn.Conv2d(weight.shape[1], 3 * dim, 1)
    qkv.weight.data, qkv.bias = weight, nn.Parameter(bias)
    return qkv


def _padded(rows: Tensor, attention: MapAttention, zero: int) -> Tensor:
    """Return rows (heads * d,) filled up to (heads * head_dim,), head by head, with the index `zero`."""
    by_head = rows.reshape(attention.num_heads, -1)
    missing = attention.head_dim - by_head.shape[1]
    return nn.functional.pad(by_head, (0, missing), value=zero).flatten()


def _bias(conv: nn.Conv2d) -> Tensor:
    return torch.zeros(conv.out_channels) if conv.bias is None else conv.bias


@torch.no_grad()
def fuse_conv_bn(module: Conv) -> nn.Conv2d:
    """Return one convolution equal to `bn(conv(x))`.

    W' = W g / s and b' = beta - mean g / s, with s = sqrt(var + eps). Of a Bit convolution W is s T, and each output
    channel of W' has three values: 0, and one number with either sign.
    """
    conv, bn = module.conv, module.bn
    assert bn.running_var is not None  # it tracks statistics
    assert bn.running_mean is not None
    factor = bn.weight / torch.sqrt(bn.running_var + bn.eps)
    fused = plain_form(conv)
    fused.weight.data = fused.weight * factor.view(-1, 1, 1, 1) + 0.0  # not -0, which would be a fourth value
    fused.bias = nn.Parameter(bn.bias - bn.running_mean * factor)
    return fused


@one_thread()
def deploy_from_detector(detector: Detector, tokens: bool = True) -> Detector:
    """Return a copy of a detector in the form that is traced; the input is left as it is.

    It computes the same to FP32 rounding: attention becomes `DeployAttention`, every Conv one convolution and
    its activation. A Bit layer becomes a plain one of ternary weights behind a `TokenRounding`.

    Args:
        detector: of plain modules and Bit ones.
        tokens: round activations in front of Bit layers; False leaves it to INT8's own steps.
    """
    deploy = copy.deepcopy(detector).eval().requires_grad_(False)
    _replace(deploy, tokens)
    return deploy


def _replace(module: nn.Module, tokens: bool) -> None:
    for name, child in list(module.named_children()):
        if isinstance(child, MapAttention):
            child = DeployAttention(child, tokens)
            setattr(module, name, child)
        if isinstance(child, Conv):
            act = () if isinstance(child.act, nn.Identity) else (child.act,)
            setattr(module, name, _sequence(*_rounding_before(child.conv, tokens), fuse_conv_bn(child), *act))
        elif isinstance(child, DepthwisePair):
            together = one_kernel(fuse_conv_bn(child.conv), fuse_conv_bn(child.conv1))
            setattr(module, name, _sequence(together, child.act))
        elif isinstance(child, BitConv2d | BitLinear):
            setattr(module, name, _sequence(*_rounding_before(child, tokens), plain_form(child)))
        else:
            _replace(child, tokens)


def _rounding_before(layer: nn.Module, tokens: bool) -> tuple[nn.Module, ...]:
    return (TokenRounding(isinstance(layer, BitLinear)),) if tokens and isinstance(layer, BitConv2d | BitLinear) else ()


def _sequence(*modules: nn.Module) -> nn.Module:
    return nn.Sequential(*modules) if len(modules) > 1 else modules[0]
