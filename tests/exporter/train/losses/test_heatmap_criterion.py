"""Losses of heatmaps against a loop over images, objects and cells, in float64."""

import math
from dataclasses import replace

import pytest
import torch

from tests.exporter.train.batches import batch_of
from y12.exporter.model.heads.heatmap import HeatmapDetect
from y12.exporter.train.batch import Targets
from y12.exporter.train.losses.build import LossOptions, criterion_for
from y12.exporter.train.losses.centre_heatmap import HeatmapCriterion

CHANNELS, STRIDES, SIZES = (16, 24, 32), (4, 8, 16), ((16, 16), (8, 8), (4, 4))
NC = 3


def head_of(masks=0):
    torch.manual_seed(0)
    head = HeatmapDetect(NC, CHANNELS, masks=masks, hidden=8)
    head.strides = STRIDES
    return head


def maps_of(batch=2):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(batch, c, *hw, generator=generator) for c, hw in zip(CHANNELS, SIZES, strict=True)]


def targets_of(*objects):
    """Targets of one image from (label, left, top, right, bottom)."""
    labels = torch.tensor([[label for label, *_ in objects]])
    boxes = torch.tensor([[box for _, *box in objects]], dtype=torch.float32)
    return Targets(labels, boxes, torch.ones_like(labels, dtype=torch.bool))


# Longest sides of 30, 32, 33 and 70 pixels: up to 8 strides, so levels 0, 0, 1 and 2.
OBJECTS = [(0, 3, 5, 33, 20), (2, 30, 20, 50, 52), (1, 10, 40, 43, 60), (1, -6, -10, 60, 60)]
LEVELS = [0, 0, 1, 2]


def radius(w, h):
    """The r of (w - 2r)(h - 2r) = 0.7 w h."""
    return (w + h - math.sqrt((w + h) ** 2 - 4 * 0.3 * w * h)) / 4


def drawn(label, box, stride, hw):
    """{(class, y, x): value} of one object."""
    left, top, right, bottom = (side / stride for side in box)
    r = radius(right - left, bottom - top)
    column, row = int((left + right) / 2), int((top + bottom) / 2)
    values = {}
    for y in range(hw[0]):
        for x in range(hw[1]):
            dx, dy = x - column, y - row
            if max(abs(dx), abs(dy)) <= r:
                values[label, y, x] = math.exp(-(dx**2 + dy**2) / (2 * (r / 3) ** 2))
    return values, (row, column)


def diou(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    common = max(width, 0) * max(height, 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common
    between = ((a[0] + a[2] - b[0] - b[2]) / 2) ** 2 + ((a[1] + a[3] - b[1] - b[3]) / 2) ** 2
    diagonal = (max(a[2], b[2]) - min(a[0], b[0])) ** 2 + (max(a[3], b[3]) - min(a[1], b[1])) ** 2
    return common / union - between / diagonal


def written_out(head, maps):
    focal = box_loss = offset = 0.0
    for i, (stride, hw) in enumerate(zip(STRIDES, SIZES, strict=True)):
        box, cls = head.cv2[i](maps[i]).detach()[0].double(), head.cv3[i](maps[i]).detach()[0].double()
        heatmap: dict = {}
        for (label, *corners), level in zip(OBJECTS, LEVELS, strict=True):
            values, (row, column) = drawn(label, corners, stride, hw)
            if level == i:
                heatmap = {key: max(heatmap.get(key, 0), values.get(key, 0)) for key in heatmap | values}
            weight = 1.0 if level == i else 0.1
            tx, ty, tw, th = box[:, row, column].tolist()
            x, y, w, h = (
                (column + 0.5 + tx) * stride,
                (row + 0.5 + ty) * stride,
                math.exp(tw) * stride,
                math.exp(th) * stride,
            )
            box_loss += weight * (1 - diou((x - w / 2, y - h / 2, x + w / 2, y + h / 2), corners))
            left, top, right, bottom = (side / stride for side in corners)
            wanted = (left + right) / 2 - column - 0.5, (top + bottom) / 2 - row - 0.5
            off = abs(tx - wanted[0]) + abs(ty - wanted[1])
            offset += weight * (off + abs(tw - math.log(right - left)) + abs(th - math.log(bottom - top)))
        for c in range(NC):
            for y in range(hw[0]):
                for x in range(hw[1]):
                    p, Y = 1 / (1 + math.exp(-float(cls[c, y, x]))), heatmap.get((c, y, x), 0.0)
                    focal -= (1 - p) ** 2 * math.log(p) if Y == 1 else (1 - Y) ** 4 * p**2 * math.log(1 - p)
    return {"class": focal / 4, "box": box_loss / 4.8, "offset": offset / 4.8}


def test_equals_a_loop_over_cells():
    head, maps = head_of().eval(), maps_of(1)
    for conv in (branch[-1] for branch in (*head.cv2, *head.cv3)):
        torch.nn.init.normal_(conv.weight, std=0.3)
        torch.nn.init.normal_(conv.bias, std=0.3)
    losses = HeatmapCriterion(head, LossOptions(iou="diou", classes=1, box=1, offset=1))(maps, targets_of(*OBJECTS))
    assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(written_out(head, maps), rel=1e-4)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_the_smallest_of_objects_that_share_a_centre_gets_its_cell(order):
    head, maps = head_of().eval(), maps_of(1)
    objects = [(0, 10, 10, 26, 26), (1, 12, 12, 24, 25), (2, 8, 8, 28, 28)]  # centres 18, 18 and 18.5: cell 4, 4
    together = criterion_for(head, LossOptions(iou="iou"))(maps, targets_of(*(objects[i] for i in order)))
    alone = criterion_for(head, LossOptions(iou="iou"))(maps, targets_of(objects[1]))
    assert together["box"].item() == pytest.approx(alone["box"].item())
    assert together["offset"].item() == pytest.approx(alone["offset"].item())


def test_what_the_losses_want_is_what_the_head_decodes():
    head, maps, targets = head_of().eval(), maps_of(1), targets_of((1, -6, -10, 60, 58))  # centre 27, 24
    for branch, stride in zip(head.cv2, STRIDES, strict=True):
        torch.nn.init.zeros_(branch[-1].weight)
        offset = 27 / stride - 27 // stride - 0.5, 24 / stride - 24 // stride - 0.5
        branch[-1].bias.data[:] = torch.tensor([*offset, math.log(66 / stride), math.log(68 / stride)])
    losses = criterion_for(head, LossOptions())(maps, targets)
    assert (losses["box"].item(), losses["offset"].item()) == pytest.approx((0, 0), abs=1e-5)


def large(masks):
    """A head of strides 8, 16 and 32, maps of 256 x 256 pixels, and objects of every level's size."""
    head, generator = head_of(masks), torch.Generator().manual_seed(1)
    head.strides = (8, 16, 32)
    sides = zip(CHANNELS, (32, 16, 8), strict=True)
    maps = [torch.randn(2, c, side, side, generator=generator) for c, side in sides]
    targets = batch_of(256).targets
    targets.boxes[0] = torch.tensor([[4.0, 6, 150, 180], [100, 80, 150, 130]])
    targets.boxes[1, 0] = torch.tensor([20.0, 20, 120, 100])
    return head, maps, targets


@pytest.mark.parametrize("masks", [0, 4])
def test_every_parameter_learns(masks):
    head, maps, targets = large(masks)
    losses = criterion_for(head, LossOptions())(maps, targets)
    assert set(losses) == {"class", "box", "offset"} | ({"mask"} if masks else set())
    torch.stack(list(losses.values())).sum().backward()
    assert [k for k, p in head.named_parameters() if p.grad is None or not p.grad.any()] == []
    assert all(p.grad.isfinite().all() for p in head.parameters())


def test_every_parameter_learns_where_all_objects_are_small():
    head, maps, _ = large(0)
    losses = criterion_for(head, LossOptions())(maps, batch_of().targets)
    torch.stack(list(losses.values())).sum().backward()
    assert [k for k, p in head.named_parameters() if not p.grad.any()] == []


def test_images_without_objects_teach_background_only():
    head, maps, targets = large(4)
    losses = criterion_for(head, LossOptions())(maps, replace(targets, present=torch.zeros_like(targets.present)))
    assert losses.pop("class") > 0
    assert all(loss == 0 for loss in losses.values())
    none = replace(targets, **{k: v[:, :0] for k, v in vars(targets).items()})
    assert criterion_for(head, LossOptions())(maps, none)["class"] > 0


def test_the_heads_own_overlap_unless_the_user_names_one():
    head, targets = head_of().eval(), batch_of().targets
    named, own = (criterion_for(head, LossOptions(iou=iou))(maps_of(), targets)["box"].item() for iou in ("iou", None))
    assert own != named
    head.iou_loss = "iou"
    assert criterion_for(head, LossOptions())(maps_of(), targets)["box"].item() == named
