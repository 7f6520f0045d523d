"""YOLO11's attention block and the pooling before it, against plain float64."""

import numpy as np
import pytest
import torch

from y12.exporter.model.blocks.attention import PartialSelfAttention
from y12.exporter.model.blocks.psa import C2PSA
from y12.exporter.model.blocks.sppf import SPPF
from y12.exporter.trace.deploy import DeployAttention


def randomised(module):
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        if parameter.ndim > 1:
            parameter.data.normal_(0, parameter[0].numel() ** -0.5 * 2, generator=generator)
    return module.eval().requires_grad_(False)


def conv(module, x):
    """A Conv without activation, in float64."""
    folded = module.bn.weight / torch.sqrt(module.bn.running_var + module.bn.eps)
    weight = module.conv.weight.double() * folded.double().view(-1, 1, 1, 1)
    bias = (module.bn.bias - module.bn.running_mean * folded).double()
    return torch.nn.functional.conv2d(x, weight, bias, padding=module.conv.padding, groups=module.conv.groups)


@pytest.mark.parametrize("dim", [64, 128])
def test_attention_head_by_head(dim):
    attention = randomised(PartialSelfAttention(dim))
    x = torch.randn(2, dim, 3, 5, generator=torch.Generator().manual_seed(1))
    qkv = conv(attention.qkv, x.double()).flatten(2).numpy()  # (B, 2 dim, N)
    attended = np.zeros((2, dim, 15))
    for head in range(dim // 64):
        q, k, v = np.split(qkv[:, head * 128 : head * 128 + 128], (32, 64), 1)
        logits = np.einsum("bdi,bdj->bij", q, k) / np.sqrt(32)
        weights = np.exp(logits - logits.max(2, keepdims=True))
        weights /= weights.sum(2, keepdims=True)
        attended[:, head * 64 : head * 64 + 64] = np.einsum("bij,bdj->bdi", weights, v)
    v_map = np.concatenate([qkv[:, h * 128 + 64 : h * 128 + 128] for h in range(dim // 64)], 1).reshape(2, dim, 3, 5)
    summed = torch.from_numpy(attended.reshape(2, dim, 3, 5)) + conv(attention.pe, torch.from_numpy(v_map))
    expected = conv(attention.proj, summed)
    torch.testing.assert_close(attention(x).double(), expected, rtol=1e-4, atol=1e-4)
    deploy = DeployAttention(attention)
    assert deploy.qkv.out_channels == 3 * dim  # q and k filled up to v's width
    torch.testing.assert_close(deploy(x), attention(x), rtol=1e-4, atol=1e-4)


def test_c2psa_passes_one_half_on():
    block = randomised(C2PSA(128, 128, n=2))
    x = torch.randn(1, 128, 4, 4, generator=torch.Generator().manual_seed(1))
    a, b = block.cv1(x).chunk(2, 1)
    for stage in block.m:
        b = b + stage.attn(b)
        b = b + stage.ffn(b)
    torch.testing.assert_close(block(x), block.cv2(torch.cat((a, b), 1)))


def test_sppf_sees_ever_larger_windows():
    block = randomised(SPPF(16, 8, 5))
    x = torch.randn(1, 16, 20, 20, generator=torch.Generator().manual_seed(1))
    y = block.cv1(x)
    windows = [y] + [torch.nn.functional.max_pool2d(y, k, 1, k // 2) for k in (5, 9, 13)]
    torch.testing.assert_close(block(x), block.cv2(torch.cat(windows, 1)))
