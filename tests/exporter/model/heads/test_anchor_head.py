"""Boxes from anchors against a plain loop over levels, anchors, rows and columns."""

import math

import pytest
import torch
from torch import nn

from y12.errors import OptionsError
from y12.exporter.model.heads.anchors import AnchorDetect

CHANNELS, STRIDES, SIZES = (16, 24), (8, 16), ((4, 6), (2, 3))
ANCHORS = [[[10, 13], [16, 30], [33, 23]], [[30, 61], [62.5, 45], [59, 119]]]


def head_of(nc=2, masks=0, anchors=ANCHORS, **options):
    torch.manual_seed(0)
    head = AnchorDetect(nc, CHANNELS, anchors, masks=masks, **options).eval()
    head.strides = STRIDES
    for branches in head.branches():
        for branch in branches:
            nn.init.normal_(branch[-1].weight, std=1.0)
            nn.init.normal_(branch[-1].bias, std=1.0)
    return head


def maps_of(sizes=SIZES, batch=2):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(batch, c, *hw, generator=generator) for c, hw in zip(CHANNELS, sizes, strict=True)]


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


@torch.no_grad()
def decoded(head, maps, nc, masks):
    """One column for each place: level, then anchor, then row, then column."""
    columns = []
    n = len(head.anchors[0])
    for i, (level, stride) in enumerate(zip(maps, STRIDES, strict=True)):
        box, cls = head.cv2[i](level).double(), head.cv3[i](level).double()
        extra = head.cv4[i](level).double() if masks else None
        for a, (aw, ah) in enumerate(ANCHORS[i]):
            for y in range(level.shape[2]):
                for x in range(level.shape[3]):
                    column = []
                    for b in range(len(level)):
                        tx, ty, tw, th, to = (float(box[b, v * n + a, y, x]) for v in range(5))
                        values = [
                            (2 * sigmoid(tx) - 0.5 + x) * stride,
                            (2 * sigmoid(ty) - 0.5 + y) * stride,
                            aw * math.exp(tw),
                            ah * math.exp(th),
                            sigmoid(to),
                            *(sigmoid(float(cls[b, c * n + a, y, x])) for c in range(nc)),
                            *(float(extra[b, m * n + a, y, x]) for m in range(masks)),
                        ]
                        column.append(values)
                    columns.append(column)
    return torch.tensor(columns).permute(1, 2, 0)


@pytest.mark.parametrize("masks", [0, 4])
def test_decode(masks):
    head, maps = head_of(masks=masks, hidden=8), maps_of()
    with torch.no_grad():
        outputs = head(maps)
    assert outputs["output0"].shape == (2, 5 + 2 + masks, 3 * (24 + 6))
    torch.testing.assert_close(outputs["output0"], decoded(head, maps, 2, masks), rtol=1e-5, atol=1e-4)
    assert list(outputs) == list(head.axes)
    assert [outputs[name].shape[1] for name in outputs] == [axes[1] for axes in head.axes.values()]
    if masks:
        assert outputs["protos"].shape == (2, 4, 8, 12)


def test_one_anchor_a_cell():
    head = head_of(anchors=[level[:1] for level in ANCHORS])
    with torch.no_grad():
        assert head(maps_of())["output0"].shape == (2, 7, 30)


def test_a_centre_reaches_half_a_cell_beyond_its_own():
    head = head_of()
    grid = head.grid(maps_of())
    box = torch.zeros(1, 4, grid.strides.shape[1])
    lowest, highest = (head.boxes(box + sign * 50, grid)[0, :2] / grid.strides - grid.corners for sign in (-1, 1))
    torch.testing.assert_close(lowest, torch.full_like(lowest, -0.5))
    torch.testing.assert_close(highest, torch.full_like(highest, 1.5))


def test_sides_are_bounded_whatever_the_network_says():
    head = head_of()
    grid = head.grid(maps_of())
    for sign, factor in ((-1, 16 / 1000), (1, 1000 / 16)):
        boxes = head.boxes(torch.full((1, 4, grid.strides.shape[1]), sign * 1e4), grid)
        torch.testing.assert_close(boxes[0, 2:], grid.sizes * factor)


def test_new_scores_start_low_where_background_learns():
    head = head_of()
    for branches in head.branches():
        for branch in branches:
            nn.init.zeros_(branch[-1].weight)
            nn.init.zeros_(branch[-1].bias)
    head.start_scores_at(0.01)
    with torch.no_grad():
        predictions = head(maps_of())["output0"]
    torch.testing.assert_close(predictions[:, 4], torch.full_like(predictions[:, 4], 0.01))
    torch.testing.assert_close(predictions[:, 5:], torch.full_like(predictions[:, 5:], 0.5))
    torch.testing.assert_close(predictions[0, 2:4], head.grid(maps_of()).sizes)  # the other biases stay


def test_anchors_are_no_weights():
    """Weights that are taken from another network's file must not bring its anchors."""
    assert not any("anchor" in name for name in head_of().state_dict())


@pytest.mark.parametrize("image_hw", [(119, 63), (640, 640)])
def test_images_that_hold_every_anchor(image_hw):
    head_of().check_image_size(image_hw)


@pytest.mark.parametrize(
    ("image_hw", "found"),
    [
        ((118, 640), "up to the image's 640 x 118 pixels, found 2 of level 1 (59 x 119); take a larger --imgsz"),
        ((640, 60), "60 x 640 pixels, found 1 of level 1 (62.5 x 45); "),
        ((44, 640), "found 0 of level 1 (30 x 61), 1 of level 1 (62.5 x 45), 2 of level 1 (59 x 119); "),
        ((29, 32), "found 1 of level 0 (16 x 30), 2 of level 0 (33 x 23), 0 of level 1"),
    ],
)
def test_images_smaller_than_an_anchor_are_refused(image_hw, found):
    with pytest.raises(OptionsError, match="anchors: expected sides above 0 and up to the image's") as error:
        head_of().check_image_size(image_hw)
    assert found in str(error.value)
