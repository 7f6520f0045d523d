"""The head's decoding against a plain loop over levels, rows, columns and sides."""

import math

import pytest
import torch
from torch import nn

from y12.exporter.model.heads.detect import Detect
from y12.exporter.model.heads.head import DFL, cell_centres

CHANNELS, STRIDES, SIZES = (16, 24, 32), (8, 16, 32), ((4, 6), (2, 3), (1, 2))


@pytest.fixture(scope="module")
def head():
    torch.manual_seed(0)
    head = Detect(3, CHANNELS).eval()
    head.strides = STRIDES
    for branch in (*head.cv2, *head.cv3):
        nn.init.normal_(branch[-1].weight, std=1.0)
        nn.init.normal_(branch[-1].bias, std=1.0)
    return head


@pytest.fixture(scope="module")
def maps():
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(2, c, *hw, generator=generator) for c, hw in zip(CHANNELS, SIZES, strict=True)]


def expectation(logits):
    weights = [math.exp(x) for x in logits]
    return sum(i * w for i, w in enumerate(weights)) / sum(weights)


def decoded(head, maps):
    """One column (x, y, w, h, scores) for each cell, in the published order."""
    columns = []
    for level, stride, boxes, classes in zip(maps, STRIDES, head.cv2, head.cv3, strict=True):
        box, cls = boxes(level).tolist(), classes(level).tolist()
        for y in range(level.shape[2]):
            for x in range(level.shape[3]):
                column = []
                for image in range(2):
                    sides = [expectation([box[image][16 * s + b][y][x] for b in range(16)]) for s in range(4)]
                    left, top, right, bottom = sides
                    x1, y1, x2, y2 = x + 0.5 - left, y + 0.5 - top, x + 0.5 + right, y + 0.5 + bottom
                    xywh = [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]
                    scores = [1 / (1 + math.exp(-cls[image][c][y][x])) for c in range(3)]
                    column.append([v * stride for v in xywh] + scores)
                columns.append(column)
    return torch.tensor(columns).permute(1, 2, 0)


def test_decode(head, maps):
    with torch.no_grad():
        predictions = head(maps)["output0"]
    assert predictions.shape == (2, 4 + 3, 24 + 6 + 2)
    torch.testing.assert_close(predictions, decoded(head, maps), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("logits", "expected"),
    [
        ([0.0] * 16, 7.5),
        ([100.0] + [0.0] * 15, 0.0),
        ([0.0] * 15 + [100.0], 15.0),
        ([50.0, 50.0] + [0.0] * 14, 0.5),
    ],
)
def test_expectation(logits, expected):
    sides = torch.tensor(logits).repeat(4).view(1, 64, 1)
    torch.testing.assert_close(DFL()(sides), torch.full((1, 4, 1), expected))


def test_the_four_sides_are_apart():
    logits = torch.zeros(1, 64, 1)
    logits[0, [3, 16 + 5, 32 + 7, 48 + 9]] = 100.0
    assert DFL()(logits).flatten().tolist() == [3, 5, 7, 9]


def test_weight_is_a_constant():
    weight = DFL().conv.weight
    assert not weight.requires_grad
    assert weight.flatten().tolist() == list(range(16))


def test_cell_centres():
    centres, strides = cell_centres([torch.zeros(1, 1, 2, 3), torch.zeros(1, 1, 1, 1)], (8, 16))
    assert centres.tolist() == [[0.5, 1.5, 2.5, 0.5, 1.5, 2.5, 0.5], [0.5, 0.5, 0.5, 1.5, 1.5, 1.5, 0.5]]
    assert strides.tolist() == [[8, 8, 8, 8, 8, 8, 16]]


@pytest.mark.parametrize(
    ("nc", "first", "box", "cls"),
    [(80, 64, 64, 80), (80, 128, 64, 128), (1, 64, 64, 64), (1000, 64, 64, 100), (80, 384, 96, 384), (80, 32, 64, 80)],
)
def test_widths_of_the_branches(nc, first, box, cls):
    head = Detect(nc, (first, 256))
    assert {branch[0].conv.out_channels for branch in head.cv2} == {box}
    assert {branch[0][1].conv.out_channels for branch in head.cv3} == {cls}
    assert [branch[0][0].conv.groups for branch in head.cv3] == [first, 256]
