"""Transformer stages against their equations, with each part written out where it is this package's own."""

import pytest
import torch
from plain_layers import conv, double, randomised, unreached
from torch import nn

from y12.exporter.model.blocks.attention import AreaAttention
from y12.exporter.model.blocks.layer_norm import LayerNorm
from y12.exporter.model.blocks.transformer import SpatialAttn, TransformerBlock, TransformerStage


@pytest.mark.parametrize(("c1", "heads", "expected"), [(64, None, 2), (24, None, 2), (64, 4, 4)])
@torch.no_grad()
def test_spatial_attention_adds_to_its_input(c1, heads, expected):
    torch.manual_seed(0)
    block = randomised(SpatialAttn(c1, 64, heads, (2, 1)))
    assert (block.attn.num_heads, block.attn.area) == (expected, (2, 1))
    assert isinstance(block.cv1, nn.Identity) == (c1 == 64)
    x = torch.randn(1, c1, 4, 4)
    inner = x if c1 == 64 else block.cv1(x)
    assert torch.equal(block(x), inner + block.attn(block.norm(inner)))


@torch.no_grad()
def test_a_block_normalises_before_each_part_and_adds_after():
    torch.manual_seed(0)
    block = randomised(TransformerBlock(32, 2, 1, 1.5))
    assert [part.conv.out_channels for part in block.mlp] == [48, 32]
    x = 3 * torch.randn(2, 32, 3, 4)
    y = x + block.attn.attn(block.attn.norm(x))
    inner = conv(block.mlp[1], conv(block.mlp[0], double(block.norm(y))), silu=False)
    torch.testing.assert_close(block(x).double(), double(y) + inner, rtol=1e-4, atol=1e-5)


def stage(**args):
    torch.manual_seed(0)
    return randomised(TransformerStage(32, 64, n=2, num_heads=2, area=(2, 2), mlp_ratio=1.5, **args))


@pytest.mark.parametrize("s", [1, 2])
@torch.no_grad()
def test_a_stage_weighs_what_both_paths_add(s):
    block = stage(s=s)
    inputs = torch.randn(2, 32, 8, 4)
    x = conv(block.merge, double(inputs))
    assert x.shape == (2, 64, 8 // s, 4 // s)
    transformed = double(block.blocks(x.float()))
    local = conv(block.local[1], conv(block.local[0], x), silu=False)
    logits = block.fuse.gate((transformed + x + local).mean((2, 3)).float())
    g = 1 / (1 + torch.exp(-double(logits)))[:, :, None, None]
    expected = x + g * (transformed - x) + (1 - g) * local
    torch.testing.assert_close(block(inputs).double(), expected, rtol=1e-4, atol=1e-4)


def test_what_a_stage_is_made_of():
    block = stage(s=2)
    attentions = [m for m in block.modules() if isinstance(m, AreaAttention)]
    assert [(a.num_heads, a.area) for a in attentions] == [(2, (2, 2))] * 2
    assert sum(isinstance(m, LayerNorm) for m in block.modules()) == 4
    assert [b.mlp[0].conv.out_channels for b in block.blocks] == [96, 96]
    assert block.merge.conv.kernel_size == (3, 3)
    assert stage(s=1).merge.conv.kernel_size == (1, 1)
    assert block.local[0].conv.groups == 64
    same = TransformerStage(64, 64)
    assert isinstance(same.merge, nn.Identity)
    assert [b.attn.attn.num_heads for b in same.blocks] == [2]  # of 32 channels


def test_areas_do_not_meet_within_attention():
    """A pixel reaches its own field of the grid and, by the depthwise convolutions, a few cells around it."""
    torch.manual_seed(0)
    block = randomised(SpatialAttn(32, 32, 1, (2, 2)))
    x = torch.randn(1, 32, 16, 16, requires_grad=True)
    block(x)[0, :, 0, 0].sum().backward()
    reached = x.grad[0].abs().sum(0) > 0
    assert reached[:8, :8].all()
    assert not reached[8:].any()
    assert not reached[:, 8:].any()


@pytest.mark.parametrize(
    ("block", "side"), [(SpatialAttn(16, 32, 2), 4), (TransformerStage(16, 32, n=2, area=(2, 2), s=2), 8)]
)
def test_every_parameter_learns(block, side):
    torch.manual_seed(0)
    assert unreached(block, torch.randn(2, 16, side, side)) == []
