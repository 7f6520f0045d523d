"""Anchor matching against a loop over images, objects and anchors."""

import itertools

import pytest
import torch

from y12.exporter.train.assign.anchor_shapes import match_anchors

ANCHORS = torch.tensor(
    [
        [[10.0, 13.0], [16.0, 30.0], [33.0, 23.0]],
        [[30.0, 61.0], [62.0, 45.0], [59.0, 119.0]],
        [[116.0, 90.0], [156.0, 198.0], [250.0, 250.0]],
    ]
)
STRIDES, MAPS = torch.tensor([8.0, 16.0, 32.0]), [(32, 40), (16, 20), (8, 10)]  # 256 x 320 pixels


def slots(matches):
    rows = zip(*(getattr(matches, name).tolist() for name in matches.__dataclass_fields__), strict=True)
    return {(image, level, anchor, row, column): thing for image, thing, level, anchor, row, column in rows}


def shape_iou(w, h, aw, ah):
    common = min(w, aw) * min(h, ah)
    return common / (w * h + aw * ah - common)


def expected(boxes, present, threshold):
    """Which object each slot learns."""
    claims = {}
    for b, m in itertools.product(range(len(boxes)), range(len(boxes[0]))):
        if not present[b][m]:
            continue
        left, top, right, bottom = boxes[b][m]
        w, h = right - left, bottom - top
        like = {
            (level, anchor): shape_iou(w, h, *ANCHORS[level, anchor].tolist())
            for level, anchor in itertools.product(range(3), range(3))
        }
        chosen = [key for key, value in like.items() if value >= threshold] or [max(like, key=lambda key: like[key])]
        for level, anchor in chosen:
            stride, (rows, columns) = STRIDES[level].item(), MAPS[level]
            row = min(max(int((top + bottom) / 2 // stride), 0), rows - 1)
            column = min(max(int((left + right) / 2 // stride), 0), columns - 1)
            claims.setdefault((b, level, anchor, row, column), []).append((w * h, m))
    return {slot: min(claimants)[1] for slot, claimants in claims.items()}, sum(map(len, claims.values()))


@pytest.mark.parametrize("threshold", [0.25, 0.6, 1.0])
def test_equals_a_loop_over_objects(threshold):
    generator = torch.Generator().manual_seed(0)
    B, M = 3, 40
    centres = torch.rand(B, M, 2, generator=generator) * torch.tensor([320.0, 256.0])
    wh = torch.rand(B, M, 2, generator=generator) ** 2 * 200 + 2
    centres[0, ::2] = centres[0, 1::2] + 1  # pairs about one place
    boxes = torch.cat((centres - wh / 2, centres + wh / 2), -1)
    boxes[0, 1] = boxes[0, 0]  # equal ones
    boxes[1, 0] = torch.tensor([310.0, 250.0, 360.0, 290.0])  # centre outside, right of and below the image
    boxes[1, 1] = torch.tensor([-50.0, -40.0, 10.0, 20.0])
    present = torch.rand(B, M, generator=generator) > 0.2
    present[0, :2] = present[1, :2] = True
    wanted, claims = expected(boxes.tolist(), present.tolist(), threshold)
    matches = match_anchors(boxes, present, ANCHORS, STRIDES, MAPS, threshold)
    assert slots(matches) == wanted
    assert len(matches.image) == len(wanted) < claims or threshold == 1.0  # each slot once, and some contested
    assert all(getattr(matches, name).dtype == torch.int64 for name in matches.__dataclass_fields__)


def test_each_object_has_its_best_shape_at_least():
    boxes = torch.tensor([[[100.0, 100.0, 101.0, 180.0]]])  # like none: 1 x 80
    matches = match_anchors(boxes, torch.tensor([[True]]), ANCHORS, STRIDES, MAPS)
    assert slots(matches) == {(0, 0, 0, 17, 12): 0}  # 13 / 197, of the 10 x 13 one, is the most


def test_half_and_twice_the_size_are_alike_by_default():
    anchors = torch.tensor([[[20.0, 20.0], [80.0, 80.0], [19.0, 20.0], [81.0, 80.0]]])
    boxes = torch.tensor([[[0.0, 0.0, 40.0, 40.0]]])
    matches = match_anchors(boxes, torch.tensor([[True]]), anchors, STRIDES[:1], MAPS[:1])
    assert matches.anchor.tolist() == [0, 1]


def test_the_smaller_of_two_objects_gets_the_slot():
    boxes = torch.tensor([[[80.0, 80.0, 114.0, 104.0], [81.0, 81.0, 113.0, 103.0], [80.0, 80.0, 116.0, 104.0]]])
    matches = match_anchors(boxes, torch.ones(1, 3, dtype=torch.bool), ANCHORS, STRIDES, MAPS)
    assert slots(matches)[0, 0, 2, 11, 12] == 1


@pytest.mark.parametrize("M", [0, 4])
def test_no_objects(M):
    matches = match_anchors(torch.zeros(2, M, 4), torch.zeros(2, M, dtype=torch.bool), ANCHORS, STRIDES, MAPS)
    assert [getattr(matches, name).shape for name in matches.__dataclass_fields__] == [(0,)] * 6


def test_objects_without_size_get_a_slot():
    boxes = torch.tensor([[[50.0, 60.0, 50.0, 60.0]]])
    assert len(match_anchors(boxes, torch.tensor([[True]]), ANCHORS, STRIDES, MAPS).image) == 1
