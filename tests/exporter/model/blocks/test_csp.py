"""Convolutions, bottlenecks and their cross-stage blocks against their equations."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from y12.exporter.model.blocks.conv import Conv, depthwise_conv
from y12.exporter.model.blocks.csp import Bottleneck, C2f, C3k, C3k2

X = torch.randn(2, 16, 5, 6, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def _same_weights():
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("options", "hw"),
    [
        ({}, (5, 6)),
        ({"k": 3}, (5, 6)),
        ({"k": 3, "s": 2}, (3, 3)),
        ({"k": 3, "g": 4}, (5, 6)),
        ({"k": 2, "s": 2, "p": 0}, (2, 3)),
    ],
)
def test_conv(options, hw):
    conv = Conv(16, 8, **options).eval()
    conv.bn.running_mean.fill_(0.1)
    conv.bn.running_var.fill_(0.5)
    c = conv.conv
    assert (c.bias, conv.bn.eps, conv.bn.momentum) == (None, 1e-3, 0.03)
    normed = (F.conv2d(X, c.weight, None, c.stride, c.padding, 1, c.groups) - 0.1) / (0.5 + 1e-3) ** 0.5
    torch.testing.assert_close(conv(X), normed * normed.sigmoid())
    assert conv(X).shape == (2, 8, *hw)


def test_conv_without_activation():
    conv = Conv(16, 8, act=False).eval()
    assert torch.equal(conv(X), conv.bn(conv.conv(X)))


@pytest.mark.parametrize(("c1", "c2", "groups"), [(16, 16, 16), (16, 24, 8), (8, 80, 8), (7, 5, 1)])
def test_depthwise(c1, c2, groups):
    assert depthwise_conv(c1, c2, 3).conv.groups == groups


@pytest.mark.parametrize(("c2", "shortcut", "adds"), [(16, True, True), (16, False, False), (8, True, False)])
def test_bottleneck(c2, shortcut, adds):
    block = Bottleneck(16, c2, shortcut).eval()
    y = block.cv2(block.cv1(X))
    assert torch.equal(block(X), X + y if adds else y)
    assert block.cv1.conv.out_channels == c2 // 2


def test_c3k():
    block = C3k(16, 24, 2).eval()
    y = block.cv1(X)
    for bottleneck in block.m:
        y = y + bottleneck.cv2(bottleneck.cv1(y))
    assert torch.equal(block(X), block.cv3(torch.cat((y, block.cv2(X)), 1)))
    assert [b.cv1.conv.out_channels for b in block.m] == [12, 12]


@pytest.mark.parametrize(
    ("block", "inner"),
    [
        (lambda: C2f(16, 24, n=2), Bottleneck),
        (lambda: C2f(16, 24, n=2, shortcut=True), Bottleneck),
        (lambda: C3k2(16, 24, n=2, e=0.25), Bottleneck),
        (lambda: C3k2(16, 24, n=2, c3k=True), C3k),
    ],
)
def test_c2f(block, inner):
    block = block().eval()
    y0, y1 = block.cv1(X).chunk(2, 1)
    y2 = block.m[0](y1)
    y3 = block.m[1](y2)
    assert torch.equal(block(X), block.cv2(torch.cat((y0, y1, y2, y3), 1)))
    assert {type(part) for part in block.m} == {inner}


def test_defaults_of_the_two_families():
    """C2f: no shortcut, inner width whole. C3k2: shortcut, its bottlenecks half as wide."""
    c2f, c3k2 = C2f(16, 16), C3k2(16, 16)
    assert (c2f.m[0].add, c2f.m[0].cv1.conv.out_channels) == (False, 8)
    assert (c3k2.m[0].add, c3k2.m[0].cv1.conv.out_channels) == (True, 4)
    assert C3k2(16, 16, c3k=True).m[0].m[0].add


def test_activation_does_not_change_the_input():
    before = X.clone()
    nn.Sequential(C3k2(16, 16), C3k(16, 16)).eval()(X)
    assert torch.equal(X, before)
