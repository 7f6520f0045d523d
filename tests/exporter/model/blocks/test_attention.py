"""Area attention and R-ELAN against the published equations, written out in float64."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from y12.exporter.model.blocks.attention import AreaAttention, TurboAreaAttention, V1AreaAttention
from y12.exporter.model.blocks.conv import Conv
from y12.exporter.model.blocks.relan import RELAN, A2C2f, ABlock, AreaAttn
from y12.exporter.model.blocks.separable import SepConv7x7

DIM, HEADS, D = 64, 2, 32


def OwnAreaAttention(dim, area=1):
    return AreaAttention(dim, HEADS, area)


LAYOUTS = [TurboAreaAttention, V1AreaAttention, OwnAreaAttention]


def randomised(module):
    """Return every BatchNorm other statistics, so that none of its terms can be left out unseen."""
    generator = torch.Generator().manual_seed(1)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.weight.data.uniform_(0.5, 1.5, generator=generator)
            part.bias.data.uniform_(-0.5, 0.5, generator=generator)
            part.running_mean.uniform_(-0.5, 0.5, generator=generator)
            part.running_var.uniform_(0.5, 1.5, generator=generator)
    return module.eval()


def conv(module: Conv, x):
    """A Conv without activation in float64: conv, then (y - mean) / sqrt(var + 1e-3) * weight + bias."""
    c, bn = module.conv, module.bn
    y = F.conv2d(x, c.weight.double(), None, c.stride, c.padding, 1, c.groups)
    mean, var, weight, bias = (t.double().view(-1, 1, 1) for t in (bn.running_mean, bn.running_var, bn.weight, bn.bias))
    return (y - mean) / torch.sqrt(var + 1e-3) * weight + bias


def projections(attention, x):
    """q, k and v as (heads, d, H, W) of one image."""
    H, W = x.shape[2:]
    if isinstance(attention, TurboAreaAttention):  # [all q | all k], each head by head; v apart
        qk = conv(attention.qk, x)[0]
        v = conv(attention.v, x)[0]
        return [t.reshape(HEADS, D, H, W) for t in (qk[:DIM], qk[DIM:], v)]
    if isinstance(attention, AreaAttention):  # [all q | all k | all v], each head by head
        return [t.reshape(HEADS, D, H, W) for t in conv(attention.qkv, x)[0].chunk(3)]
    grouped = conv(attention.qkv, x)[0].reshape(HEADS, 3 * D, H, W)  # per head [q | k | v]
    return [grouped[:, :D], grouped[:, D : 2 * D], grouped[:, 2 * D :]]


def areas_of(area, H, W):
    """The tokens of each area: bands of consecutive ones, or the fields of a grid."""
    if isinstance(area, int):
        return [list(band) for band in np.split(np.arange(H * W), area)]
    rows, columns = (np.split(np.arange(n), parts) for n, parts in zip((H, W), area, strict=True))
    return [[y * W + x for y in row for x in column] for row in rows for column in columns]


@torch.no_grad()
def reference(attention, x, area):
    """The published equation, token by token: area, head, softmax(q k / sqrt(d)) v; then proj(· + pe(v))."""
    H, W = x.shape[2:]
    q, k, v = projections(attention, x)
    attended = torch.zeros(HEADS, D, H * W, dtype=torch.float64)
    for tokens in areas_of(area, H, W):
        for head in range(HEADS):
            qh, kh, vh = (t[head].reshape(D, H * W)[:, tokens] for t in (q, k, v))
            for i, token in enumerate(tokens):
                logits = [float(qh[:, i] @ kh[:, j]) / D**0.5 for j in range(len(tokens))]
                weights = torch.exp(torch.tensor(logits).double())
                attended[head, :, token] = (vh * (weights / weights.sum())).sum(1)
    out = attended.reshape(1, DIM, H, W) + conv(attention.pe, v.reshape(1, DIM, H, W))
    return conv(attention.proj, out)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("area", "hw"),
    [(1, (3, 5)), (4, (4, 2)), (4, (2, 6)), (4, (8, 3)), ((2, 3), (4, 6)), ((1, 2), (3, 4)), ((3, 1), (3, 2))],
)
def test_area_attention(layout, area, hw):
    torch.manual_seed(0)
    attention = randomised(layout(DIM, area))
    x = 2 * torch.randn(1, DIM, *hw)
    torch.testing.assert_close(attention(x).double(), reference(attention, x.double(), area), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("area", [4, (2, 3)])
def test_images_of_a_batch_do_not_meet(layout, area):
    torch.manual_seed(0)
    attention = randomised(layout(DIM, area))
    x = torch.randn(3, DIM, 4, 6)
    alone = torch.cat([attention(image[None]) for image in x])
    torch.testing.assert_close(attention(x), alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("layout", "kernel"), [(TurboAreaAttention, 5), (V1AreaAttention, 7), (OwnAreaAttention, 5)])
def test_kernel_of_the_positional_convolution(layout, kernel):
    conv = layout(DIM).pe.conv
    assert (conv.kernel_size, conv.groups, conv.bias) == ((kernel, kernel), DIM, None)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_of_the_weights_are_those_of_the_maps(layout):
    """What the export concatenates: rows q, k and v of all projections' outputs."""
    torch.manual_seed(0)
    attention = randomised(layout(DIM))
    x = torch.randn(2, DIM, 3, 4)
    convs, rows = attention.qkv_weights()
    outputs = torch.cat([c(x) for c in convs], 1)
    for index, expected in zip(rows, attention.qkv_maps(x), strict=True):
        assert torch.equal(outputs[:, index], expected)


class Calls(TorchFunctionMode):
    """Notes the torch functions that are called within it."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.names.append(getattr(function, "__name__", str(function)))
        return function(*args, **(kwargs or {}))


def test_torchs_own_attention_runs():
    with Calls() as calls:
        TurboAreaAttention(DIM, 4)(torch.zeros(1, DIM, 4, 4))
    assert calls.names.count("scaled_dot_product_attention") == 1
    assert "softmax" not in calls.names


def test_ablock_adds_twice():
    torch.manual_seed(0)
    block = randomised(ABlock(DIM, 1.5, TurboAreaAttention(DIM)))
    assert block.mlp[0].conv.out_channels == 96
    assert isinstance(block.mlp[0].act, nn.SiLU)
    assert isinstance(block.mlp[1].act, nn.Identity)
    x = torch.randn(1, DIM, 3, 4)
    y = x + block.attn(x)
    assert torch.equal(block(x), y + block.mlp(y))


@pytest.mark.parametrize(
    ("dim", "ratio", "hidden"), [(64, 1.2, 76), (128, 1.2, 153), (256, 1.2, 307), (384, 1.2, 460), (64, 2.0, 128)]
)
def test_mlp_width_is_cut_off_as_published(dim, ratio, hidden):
    assert ABlock(dim, ratio, V1AreaAttention(dim)).mlp[0].conv.out_channels == hidden


def test_relan_chains_and_concatenates():
    torch.manual_seed(0)
    block = randomised(A2C2f(32, 128, n=2, area=4))
    x = torch.randn(1, 32, 4, 4)
    y0 = block.cv1(x)
    y1 = block.m[0](y0)
    y2 = block.m[1](y1)
    assert torch.equal(block(x), block.cv2(torch.cat((y0, y1, y2), 1)))
    assert {type(part) for part in block.m[0]} == {ABlock}
    assert block.m[0][0].attn.num_heads == 2  # of 32 channels: 128 / 2 / 32


def test_gamma_scales_the_residual():
    torch.manual_seed(0)
    block = randomised(A2C2f(128, 128, n=1, residual=True))
    plain = randomised(A2C2f(128, 128, n=1))
    assert torch.equal(block.gamma, torch.full((128,), 0.01))
    block.gamma.data = torch.linspace(-1, 1, 128)
    plain.load_state_dict({k: v for k, v in block.state_dict().items() if k != "gamma"})
    x = torch.randn(2, 128, 3, 4)
    torch.testing.assert_close(block(x), x + torch.linspace(-1, 1, 128).view(1, -1, 1, 1) * plain(x))


def test_without_attention_there_is_no_residual():
    block = A2C2f(128, 128, a2=False, residual=True)
    assert block.gamma is None
    assert "gamma" not in block.state_dict()


@pytest.mark.parametrize(("c1", "stride"), [(16, 1), (8, 1), (16, 2)])
@torch.no_grad()
def test_dense_relan(c1, stride):
    torch.manual_seed(0)
    block = randomised(RELAN(c1, 16, n=3, s=stride))
    assert block.gamma.tolist() == pytest.approx([0.01] * 16)
    block.gamma.data.uniform_(0.5, 1.5)
    x = torch.randn(2, c1, 6, 4)
    y = [block.cv1(x)]
    for i in range(3):
        assert block.m[i].conv.kernel_size == (3, 3)
        assert block.m[i].conv.groups == 1
        y.append(block.m[i](y[i]))
    shortcut = x if (c1, stride) == (16, 1) else block.shortcut(x)
    expected = shortcut + block.gamma[:, None, None] * block.cv2(torch.cat(y, 1))
    assert expected.shape == (2, 16, 6 // stride, 4 // stride)
    assert torch.equal(block(x), expected)


def test_the_shortcut_of_a_smaller_map_sees_every_cell():
    shortcut = RELAN(4, 8, s=2).shortcut
    x = torch.randn(1, 4, 6, 6, requires_grad=True)
    shortcut(x).sum().backward()
    assert (x.grad != 0).all()


@pytest.mark.parametrize("stride", [1, 2])
def test_separable_convolution(stride):
    block = SepConv7x7(12, 20, stride)
    assert [p.conv.kernel_size for p in (block.depthwise, block.pointwise)] == [(7, 7), (1, 1)]
    assert (block.depthwise.conv.groups, block.pointwise.conv.groups) == (12, 1)
    assert block(torch.zeros(2, 12, 8, 6)).shape == (2, 20, 8 // stride, 6 // stride)


@pytest.mark.parametrize(("c1", "heads", "expected"), [(64, None, 2), (32, None, 2), (64, 4, 4)])
def test_area_attn_projects_where_the_width_changes(c1, heads, expected):
    torch.manual_seed(0)
    block = randomised(AreaAttn(c1, 64, n=2, area=(2, 1), num_heads=heads, mlp_ratio=1.5))
    assert [b.attn.num_heads for b in block.m] == [expected] * 2
    assert [b.attn.area for b in block.m] == [(2, 1)] * 2
    assert [b.mlp[0].conv.out_channels for b in block.m] == [96, 96]
    x = torch.randn(1, c1, 4, 4)
    inner = x if c1 == 64 else block.cv1(x)
    assert torch.equal(block(x), block.m[1](block.m[0](inner)))
