"""YOLOv10's cheaper blocks, and what YOLO26 adds to known ones, against their equations in float64."""

import copy

import pytest
import torch
from plain_layers import conv, randomised
from torch.nn import functional as F

from y12.exporter.model.blocks.compact import CIB, C2fCIB, DepthwisePair, SCDown
from y12.exporter.model.blocks.csp import C3k2
from y12.exporter.model.blocks.psa import PSA
from y12.exporter.model.blocks.sppf import SPPF
from y12.exporter.trace.deploy import deploy_from_detector

X = torch.randn(2, 16, 8, 10, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def _same_weights():
    torch.manual_seed(0)


def close(block, x, expected):
    with torch.no_grad():
        torch.testing.assert_close(block(x).double(), expected, rtol=1e-5, atol=1e-5)


def pair(block, x):
    summed = conv(block.conv, x, silu=False) + conv(block.conv1, x, silu=False)
    return summed * summed.sigmoid()


def cib(block, x):
    first, widen, middle, narrow, last = block.cv1
    y = conv(widen, conv(first, x))
    y = pair(middle, y) if isinstance(middle, DepthwisePair) else conv(middle, y)
    y = conv(last, conv(narrow, y))
    return x + y if block.add else y


@pytest.mark.parametrize("stride", [1, 2])
def test_downsampling_widens_first_and_the_depthwise_one_has_no_activation(stride):
    block = randomised(SCDown(16, 24, 3, stride))
    assert block.cv2.conv.groups == 24
    close(block, X, conv(block.cv2, conv(block.cv1, X.double()), silu=False))


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("shortcut", [False, True])
def test_compact_inverted_block(wide, shortcut):
    block = randomised(CIB(16, shortcut, wide))
    assert {m.conv.groups for m in (block.cv1[0], block.cv1[4])} == {16}
    close(block, X, cib(block, X.double()))


def test_the_blocks_are_chained_in_a_c2f():
    block = randomised(C2fCIB(16, 24, 2, True, True))
    assert [b.add for b in block.m] == [True, True]
    y = list(conv(block.cv1, X.double()).chunk(2, 1))
    for inner in block.m:
        y.append(cib(inner, y[-1]))
    close(block, X, conv(block.cv2, torch.cat(y, 1)))


def test_a_pair_is_exported_as_one_convolution():
    block = randomised(CIB(16, True, True))
    before = copy.deepcopy(block.state_dict())
    # `deploy_from_detector` takes whatever has modules inside.
    deploy = deploy_from_detector(block)
    assert all(torch.equal(value, block.state_dict()[key]) for key, value in before.items())
    assert [m.kernel_size for m in deploy.modules() if isinstance(m, torch.nn.Conv2d)].count((7, 7)) == 1
    assert not any(isinstance(m, DepthwisePair) for m in deploy.modules())
    close(deploy, X, cib(block, X.double()))


def test_pooling_with_a_shortcut_has_no_activation_before_it():
    block = randomised(SPPF(16, 16, 5, 2, True))
    y = conv(block.cv1, X.double(), silu=False)
    windows = [y, F.max_pool2d(y, 5, 1, 2), F.max_pool2d(y, 9, 1, 4)]
    close(block, X, X.double() + conv(block.cv2, torch.cat(windows, 1)))


def test_attention_follows_each_bottleneck_where_it_is_asked_for():
    block = randomised(C3k2(16, 128, 1, False, 0.5, True))
    bottleneck, psa = block.m[0]
    a, b = block.cv1(X).chunk(2, 1)
    narrow = bottleneck(b)
    assert bottleneck.add
    assert not torch.equal(narrow, b)
    torch.testing.assert_close(block(X), block.cv2(torch.cat((a, b, psa(narrow)), 1)))


def test_partial_attention_passes_one_half_on():
    block = randomised(PSA(128, 128))
    x = torch.randn(1, 128, 4, 4, generator=torch.Generator().manual_seed(1))
    a, b = block.cv1(x).chunk(2, 1)
    b = b + block.attn(b)
    b = b + block.ffn(b)
    torch.testing.assert_close(block(x), block.cv2(torch.cat((a, b), 1)))
