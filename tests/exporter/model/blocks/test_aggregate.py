"""Each method of aggregation against its equation, cell by cell in float64."""

import pytest
import torch
from plain_layers import conv, double, randomised, unreached

from y12.exporter.model.blocks.aggregate import Aggregate

CHANNELS = (12, 32, 20)


def made(method, heads=None):
    torch.manual_seed(0)
    maps = [2 * torch.randn(2, c, 3, 4) for c in CHANNELS]
    return randomised(Aggregate(CHANNELS, 32, method, heads)), maps


def close(found, expected):
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_concat():
    block, maps = made("concat")
    close(block(maps), conv(block.by.cv, torch.cat([double(x) for x in maps], 1)))


@torch.no_grad()
def test_sum_is_of_activated_projections():
    block, maps = made("sum")
    close(block(maps), sum(conv(c, double(x)) for c, x in zip(block.by.cv, maps, strict=True)))


@pytest.mark.parametrize("heads", [1, 2, 4])
@torch.no_grad()
def test_attention_over_the_sources_of_each_cell(heads):
    block, maps = made("attention", heads)
    by, d = block.by, 32 // heads
    values = [conv(c, double(x)) for c, x in zip(by.values, maps, strict=True)]
    query = conv(by.query, values[0] + values[1] + values[2], silu=False)
    keys = [conv(c, v, silu=False) for c, v in zip(by.keys, values, strict=True)]
    expected = torch.zeros(2, 32, 3, 4, dtype=torch.float64)
    for b in range(2):
        for i in range(3):
            for j in range(4):
                for head in range(heads):
                    at = (b, slice(head * d, (head + 1) * d), i, j)
                    scores = torch.stack([query[at] @ k[at] / d**0.5 for k in keys])
                    weights = torch.exp(scores) / torch.exp(scores).sum()
                    expected[at] = sum(w * v[at] for w, v in zip(weights, values, strict=True))
    close(block(maps), expected)


def test_heads_of_32_channels_where_none_are_told():
    assert Aggregate((8, 8), 64, "attention").by.num_heads == 2


@pytest.mark.parametrize("method", ["attention", "concat", "sum"])
@pytest.mark.parametrize("channels", [(8, 32), CHANNELS])
def test_any_number_of_maps_and_every_parameter_learns(method, channels):
    torch.manual_seed(0)
    block = Aggregate(channels, 32, method)
    maps = [torch.randn(2, c, 3, 4) for c in channels]
    assert block(maps).shape == (2, 32, 3, 4)
    assert unreached(block, maps) == []
