"""Hybrid patch embedding: the stem's convolutions, and patches cut out one by one."""

import pytest
import torch
from plain_layers import conv, double, randomised, unreached

from y12.exporter.model.blocks.patch_embed import PatchEmbed


@pytest.mark.parametrize(("patch_size", "widths"), [(2, [24]), (4, [12, 24]), (8, [6, 12, 24])])
def test_the_stem_doubles_its_channels_at_every_step(patch_size, widths):
    embed = PatchEmbed(3, 24, patch_size)
    convs = [layer.conv for layer in embed.stem]
    assert [c.out_channels for c in convs] == widths
    assert {(c.kernel_size, c.stride) for c in convs} == {((3, 3), (2, 2))}
    assert embed(torch.zeros(2, 3, 16, 32)).shape == (2, 24, 16 // patch_size, 32 // patch_size)


@pytest.mark.parametrize("patch_size", [2, 4, 8])
@torch.no_grad()
def test_patches_are_projected_one_by_one(patch_size):
    """Equation 1 of arXiv 2010.11929: x_p E, x_p the pixels of one patch; BatchNorm is the bias."""
    torch.manual_seed(0)
    patches = randomised(PatchEmbed(3, 16, patch_size)).patches
    images = torch.randn(1, 3, 16, 24)
    found = patches(images).double()
    weight, bn = double(patches.conv.weight).flatten(1), patches.bn
    assert found.shape == (1, 16, 16 // patch_size, 24 // patch_size)
    for i in range(16 // patch_size):
        for j in range(24 // patch_size):
            rows, columns = (slice(n * patch_size, (n + 1) * patch_size) for n in (i, j))
            projected = weight @ double(images[0, :, rows, columns]).flatten()
            scale = double(bn.weight) / (double(bn.running_var) + 1e-3).sqrt()
            expected = (projected - double(bn.running_mean)) * scale + double(bn.bias)
            torch.testing.assert_close(found[0, :, i, j], expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_both_paths_are_fused():
    torch.manual_seed(0)
    embed = randomised(PatchEmbed(3, 16, 4))
    images = torch.randn(2, 3, 16, 16)
    x = double(images)
    for layer in embed.stem:
        x = conv(layer, x)
    expected = embed.fuse(x.float(), embed.patches(images))
    torch.testing.assert_close(embed(images), expected, rtol=1e-4, atol=1e-5)
    swapped = embed.fuse(embed.patches(images), x.float())
    assert not torch.allclose(swapped, expected, atol=1e-3)


def test_every_parameter_learns():
    torch.manual_seed(0)
    assert unreached(PatchEmbed(3, 16, 8), torch.randn(2, 3, 32, 32)) == []
