"""Boxes from centres and sizes against a plain loop over levels, rows and columns."""

import math

import pytest
import torch
from torch import nn

from y12.exporter.model.heads.heatmap import HeatmapDetect

CHANNELS, STRIDES, SIZES = (16, 24), (8, 16), ((4, 6), (2, 3))


def head_of(masks=0):
    torch.manual_seed(0)
    head = HeatmapDetect(2, CHANNELS, masks=masks, hidden=8).eval()
    head.strides = STRIDES
    for branches in head.branches():
        for branch in branches:
            nn.init.normal_(branch[-1].weight, std=1.0)
            nn.init.normal_(branch[-1].bias, std=1.0)
    return head


def maps_of():
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(2, c, *hw, generator=generator) for c, hw in zip(CHANNELS, SIZES, strict=True)]


def decoded(head, maps, masks):
    columns = []
    for i, (level, stride) in enumerate(zip(maps, STRIDES, strict=True)):
        box, cls = head.cv2[i](level).tolist(), head.cv3[i](level).tolist()
        extra = head.cv4[i](level).tolist() if masks else None
        for y in range(level.shape[2]):
            for x in range(level.shape[3]):
                column = []
                for b in range(2):
                    tx, ty, tw, th = (box[b][v][y][x] for v in range(4))
                    xywh = [x + 0.5 + tx, y + 0.5 + ty, math.exp(tw), math.exp(th)]
                    scores = [1 / (1 + math.exp(-cls[b][c][y][x])) for c in range(2)]
                    column.append([v * stride for v in xywh] + scores + [extra[b][m][y][x] for m in range(masks)])
                columns.append(column)
    return torch.tensor(columns).permute(1, 2, 0)


@pytest.mark.parametrize("masks", [0, 4])
def test_decode(masks):
    head, maps = head_of(masks), maps_of()
    with torch.no_grad():
        outputs = head(maps)
    assert outputs["output0"].shape == (2, 4 + 2 + masks, 24 + 6)
    torch.testing.assert_close(outputs["output0"], decoded(head, maps, masks), rtol=1e-5, atol=1e-4)
    assert [(name, output.shape[1]) for name, output in outputs.items()] == [(n, a[1]) for n, a in head.axes.items()]


def test_sides_are_finite_whatever_the_network_says():
    head, maps = head_of(), maps_of()
    boxes = head.boxes(torch.full((1, 4, 30), 1e4), head.grid(maps))
    assert boxes[0, 2, 0].item() == pytest.approx(8 * math.exp(9))
    assert head.boxes(torch.full((1, 4, 30), -1e4), head.grid(maps))[0, 2:].max() == 0


def test_a_new_head_gives_boxes_of_its_levels_size_and_low_scores():
    head = HeatmapDetect(2, CHANNELS)
    head.strides = STRIDES
    for branch in (*head.cv2, *head.cv3):
        nn.init.zeros_(branch[-1].weight)
    head.start_scores_at(0.01)
    with torch.no_grad():
        predictions = head(maps_of())["output0"][0]
    centres, strides = head.grid(maps_of())
    torch.testing.assert_close(predictions[:2], centres * strides)
    torch.testing.assert_close(predictions[2:4], 4 * strides.expand(2, -1))
    torch.testing.assert_close(predictions[4:], torch.full_like(predictions[4:], 0.01))
