"""Losses of anchors against a loop over images, objects, levels and anchors, in float64."""

import math
from dataclasses import replace

import pytest
import torch

from tests.exporter.train.batches import batch_of
from y12.exporter.model.heads.anchors import AnchorDetect
from y12.exporter.train.losses.anchor_heads import AnchorCriterion
from y12.exporter.train.losses.build import LossOptions, criterion_for

CHANNELS, STRIDES, SIZES = (16, 24), (8, 16), ((8, 8), (4, 4))
ANCHORS = [[[10, 13], [33, 23]], [[30, 38], [50, 60]]]
NC = 3


def head_of(masks=0):
    torch.manual_seed(0)
    head = AnchorDetect(NC, CHANNELS, ANCHORS, masks=masks, hidden=8)
    head.strides = STRIDES
    return head


def maps_of():
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(2, c, *hw, generator=generator) for c, hw in zip(CHANNELS, SIZES, strict=True)]


def iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    common = max(width, 0) * max(height, 0)
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


def giou(a, b):
    hull = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    union = both / (1 + iou(a, b))
    return iou(a, b) - (hull - union) / hull


def bce(logit, target):
    p = 1 / (1 + math.exp(-logit))
    return -(target * math.log(p) + (1 - target) * math.log(1 - p))


def shape_iou(w, h, aw, ah):
    common = min(w, aw) * min(h, ah)
    return common / (w * h + aw * ah - common)


def learners(targets):
    """{(image, level, anchor, row, column): object}, of a batch in which no two objects claim one place."""
    places = {}
    for b, m in targets.present.nonzero().tolist():
        left, top, right, bottom = targets.boxes[b, m].tolist()
        like = {(i, a): shape_iou(right - left, bottom - top, *ANCHORS[i][a]) for i in range(2) for a in range(2)}
        for (i, a), value in like.items():
            if value >= 0.25 or value == max(like.values()):
                cell = int((top + bottom) / 2 // STRIDES[i]), int((left + right) / 2 // STRIDES[i])
                assert (b, i, a, *cell) not in places
                places[b, i, a, *cell] = m
    return places


def written_out(head, maps, targets):
    """The three losses, each divided by the number of places that learn an object."""
    places = learners(targets)
    sums = {"objectness": 0.0, "class": 0.0, "box": 0.0}
    ignored = 0
    for i, stride in enumerate(STRIDES):
        box, cls = head.cv2[i](maps[i]).detach().double(), head.cv3[i](maps[i]).detach().double()
        for b, a, y, x in (
            (b, a, y, x) for b in range(2) for a in range(2) for y in range(SIZES[i][0]) for x in range(SIZES[i][1])
        ):
            tx, ty, tw, th, to = (float(box[b, 2 * v + a, y, x]) for v in range(5))
            cx, cy = ((2 / (1 + math.exp(-t)) - 0.5 + k) * stride for t, k in ((tx, x), (ty, y)))
            w, h = ANCHORS[i][a][0] * math.exp(tw), ANCHORS[i][a][1] * math.exp(th)
            found = (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)
            thing = places.get((b, i, a, y, x))
            if thing is not None:
                sums["box"] += 1 - giou(found, targets.boxes[b, thing].tolist())
                label = int(targets.labels[b, thing])
                sums["class"] += sum(bce(float(cls[b, 2 * c + a, y, x]), c == label) for c in range(NC))
            objects = targets.boxes[b, targets.present[b]].tolist()
            if thing is not None or all(iou(found, other) <= 0.5 for other in objects):
                sums["objectness"] += bce(to, thing is not None)
            else:
                ignored += 1
    return {name: value / len(places) for name, value in sums.items()}, ignored


def test_equals_a_loop_over_places():
    head, maps, targets = head_of(), maps_of(), batch_of().targets
    head.eval()
    for conv in (branch[-1] for branch in (*head.cv2, *head.cv3)):
        torch.nn.init.normal_(conv.weight, std=0.1)
        torch.nn.init.normal_(conv.bias, std=0.2)
    losses = AnchorCriterion(head, LossOptions(iou="giou", classes=1, box=1, objectness=1))(maps, targets)
    expected, ignored = written_out(head, maps, targets)
    assert ignored > 3  # boxes that overlap an object without being asked to
    assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("masks", [0, 4])
def test_every_parameter_learns(masks):
    head = head_of(masks)
    losses = criterion_for(head, LossOptions())(maps_of(), batch_of().targets)
    assert set(losses) == {"objectness", "class", "box"} | ({"mask"} if masks else set())
    torch.stack(list(losses.values())).sum().backward()
    assert [k for k, p in head.named_parameters() if p.grad is None or not p.grad.any()] == []
    assert all(p.grad.isfinite().all() for p in head.parameters())


def test_images_without_objects_teach_objectness_only():
    head, targets = head_of(4), batch_of().targets
    losses = criterion_for(head, LossOptions())(maps_of(), replace(targets, present=torch.zeros_like(targets.present)))
    assert losses.pop("objectness") > 0
    assert all(loss == 0 for loss in losses.values())
    none = replace(targets, **{k: v[:, :0] for k, v in vars(targets).items()})
    assert criterion_for(head, LossOptions())(maps_of(), none)["objectness"] > 0


@pytest.mark.parametrize("kind", ["giou", "diou"])
def test_the_heads_own_overlap_unless_the_user_names_one(kind):
    head, targets = head_of().eval(), batch_of().targets
    named, own, other = (
        criterion_for(head, LossOptions(iou=iou))(maps_of(), targets)["box"].item() for iou in (kind, None, "ciou")
    )
    assert own == other != named
    head.iou_loss = kind
    assert criterion_for(head, LossOptions())(maps_of(), targets)["box"].item() == named


def test_weights_multiply_losses():
    head, targets = head_of(4).eval(), batch_of().targets
    once = criterion_for(head, LossOptions())(maps_of(), targets)
    other = criterion_for(head, LossOptions(classes=2, box=5, objectness=2, mask=3))(maps_of(), targets)
    assert [(other[k] / once[k]).item() for k in once] == pytest.approx([2.0] * 4, rel=1e-5)
