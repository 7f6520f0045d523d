"""Channel gates against their equations, written out in float64."""

import pytest
import torch
from plain_layers import double, linear, randomised, unreached

from y12.exporter.model.blocks.fusion import ChannelAttn, ChannelFusion


@torch.no_grad()
def test_fusion_is_selective_kernels_of_two_paths():
    """Equations 1 to 6 of arXiv 1903.06586: a softmax over two logits, of which the second is 0."""
    torch.manual_seed(0)
    fuse = randomised(ChannelFusion(40))
    a, b = torch.randn(2, 40, 3, 5) + 1, 2 * torch.randn(2, 40, 3, 5)
    expected = torch.zeros(a.shape, dtype=torch.float64)
    for i in range(2):
        mean = (double(a[i]) + double(b[i])).sum((1, 2)) / 15
        logits = linear(fuse.gate[2], linear(fuse.gate[0], mean).clamp(min=0))
        weights = torch.exp(logits) / (torch.exp(logits) + 1)
        for c in range(40):
            expected[i, c] = weights[c] * double(a[i, c]) + (1 - weights[c]) * double(b[i, c])
    torch.testing.assert_close(fuse(a, b).double(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("channels", "hidden"), [(16, 32), (512, 32), (1024, 64)])
def test_width_of_the_gate(channels, hidden):
    assert ChannelFusion(channels).gate[0].out_features == hidden


@pytest.mark.parametrize(("logit", "chosen"), [(60.0, 0), (-60.0, 1)])
def test_a_gate_can_choose_one_path(logit, chosen):
    fuse = ChannelFusion(8)
    fuse.gate[2].weight.data.zero_()
    fuse.gate[2].bias.data.fill_(logit)
    maps = torch.randn(2, 2, 8, 3, 3)
    torch.testing.assert_close(fuse(*maps), maps[chosen])


@pytest.mark.parametrize(("ratio", "hidden"), [(4, 6), (16, 1), (64, 1)])
@torch.no_grad()
def test_channel_attention(ratio, hidden):
    """Equation 2 of arXiv 1807.06521, whose shared MLP has one bias at its end here."""
    torch.manual_seed(0)
    attention = randomised(ChannelAttn(24, ratio))
    assert attention.reduce[0].out_features == hidden
    x = 2 * torch.randn(2, 24, 4, 3)
    expected = torch.zeros(x.shape, dtype=torch.float64)
    for i in range(2):
        mean, largest = double(x[i]).sum((1, 2)) / 12, double(x[i]).flatten(1).max(1).values
        parts = [linear(attention.reduce[0], pooled).clamp(min=0) for pooled in (mean, largest)]
        gate = 1 / (1 + torch.exp(-linear(attention.expand, parts[0] + parts[1])))
        expected[i] = double(x[i]) * gate[:, None, None]
    torch.testing.assert_close(attention(x).double(), expected, rtol=1e-4, atol=1e-5)


def test_every_parameter_learns_from_one_image():
    torch.manual_seed(0)
    assert unreached(ChannelFusion(16), torch.randn(1, 16, 4, 4), torch.randn(1, 16, 4, 4)) == []
    assert unreached(ChannelAttn(16, 2), torch.randn(1, 16, 4, 4)) == []
