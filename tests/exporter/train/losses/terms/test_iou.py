"""Box overlaps against the papers' formulas, written out for one pair of boxes of Python numbers."""

import itertools
import math

import pytest
import torch

from y12.exporter.train.losses.terms.iou import IOU_KINDS, box_iou

PAIRS = {
    "overlapping": ((1.0, 2.0, 7.0, 5.0), (3.0, 1.0, 9.0, 11.0)),
    "equal": ((1.0, 2.0, 7.0, 5.0), (1.0, 2.0, 7.0, 5.0)),
    "one within the other": ((2.0, 3.0, 4.0, 4.0), (1.0, 2.0, 7.0, 5.0)),
    "crossing": ((0.0, 4.0, 10.0, 5.0), (4.0, 0.0, 5.0, 10.0)),
    "apart in x": ((0.0, 0.0, 2.0, 3.0), (5.0, 1.0, 9.0, 2.0)),
    "apart in x and y": ((0.0, 0.0, 2.0, 3.0), (5.0, 7.0, 9.0, 8.0)),
    "side by side": ((0.0, 0.0, 2.0, 3.0), (2.0, 0.0, 5.0, 3.0)),
    "below 0": ((-9.0, -4.0, -2.0, 3.0), (-5.0, -7.0, 1.0, -2.0)),
    "one without area": ((3.0, 3.0, 3.0, 3.0), (1.0, 2.0, 7.0, 5.0)),
    "both without area, apart": ((3.0, 3.0, 3.0, 3.0), (8.0, 8.0, 8.0, 8.0)),
}


def aspect(box):
    return math.atan((box[2] - box[0]) / (box[3] - box[1]))


def trade_off(a, b, iou):
    v = 4 / math.pi**2 * (aspect(b) - aspect(a)) ** 2
    return v, (v / (1 - iou + v) if v else 0.0)


def expected(a, b, kind, alpha=None):
    area_a, area_b = (a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1])
    inter = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = area_a + area_b - inter
    iou = inter / union if union else 0.0
    width, height = max(a[2], b[2]) - min(a[0], b[0]), max(a[3], b[3]) - min(a[1], b[1])
    if kind == "iou":
        return iou
    if kind == "giou":
        return iou - (width * height - union) / (width * height)
    rho2 = ((a[0] + a[2] - b[0] - b[2]) / 2) ** 2 + ((a[1] + a[3] - b[1] - b[3]) / 2) ** 2
    diou = iou - rho2 / (width**2 + height**2)
    if kind == "diou":
        return diou
    v, own_alpha = trade_off(a, b, iou)
    return diou - (own_alpha if alpha is None else alpha) * v


# The paper's aspect ratio of a box without height is 0 / 0.
CASES = [(kind, name) for kind in IOU_KINDS for name in PAIRS if kind != "ciou" or "without" not in name]


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_equals_the_paper(kind, name):
    pair = PAIRS[name]
    found = box_iou(*(torch.tensor(box, dtype=torch.float64) for box in pair), kind)
    assert found.item() == pytest.approx(expected(*pair, kind), abs=1e-12)


@pytest.mark.parametrize("kind", IOU_KINDS)
def test_broadcasts_pair_by_pair_in_float32(kind):
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(2, 4, 6, 4, generator=generator) * 50
    a, b = torch.cat((corners[..., :2], corners[..., :2] + corners[..., 2:] + 1), -1)
    a, b = a[:, :1], b[:1]  # (4, 1, 4) and (1, 6, 4)
    found = box_iou(a, b, kind)
    assert found.shape == (4, 6)
    for i, j in itertools.product(range(4), range(6)):
        wanted = expected(a[i, 0].double().tolist(), b[0, j].double().tolist(), kind)
        assert found[i, j].item() == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("kind", ["iou", "giou", "diou"])
def test_gradient(kind):
    pairs = [pair for name, pair in PAIRS.items() if name in {"overlapping", "below 0", "apart in x and y"}]
    a, b = (torch.tensor(boxes, dtype=torch.float64, requires_grad=True) for boxes in zip(*pairs, strict=True))
    assert torch.autograd.gradcheck(lambda a, b: box_iou(a, b, kind), (a, b))


@pytest.mark.parametrize("name", ["overlapping", "below 0", "apart in x and y"])
def test_gradient_of_ciou_holds_alpha_constant(name):
    a, b = PAIRS[name]
    box = torch.tensor(a, dtype=torch.float64, requires_grad=True)
    box_iou(box, torch.tensor(b, dtype=torch.float64), "ciou").backward()
    _, alpha = trade_off(a, b, expected(a, b, "iou"))
    assert alpha > 0
    for i, step in itertools.product(range(4), [1e-6]):
        more, less = (tuple(x + sign * step * (i == j) for j, x in enumerate(a)) for sign in (1, -1))
        slope = (expected(more, b, "ciou", alpha) - expected(less, b, "ciou", alpha)) / (2 * step)
        assert box.grad[i].item() == pytest.approx(slope, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("kind", IOU_KINDS)
@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((5.0, 5.0, 5.0, 5.0), (5.0, 5.0, 5.0, 5.0)),  # one point
        ((5.0, 5.0, 5.0, 5.0), (8.0, 9.0, 8.0, 9.0)),  # two points
        ((5.0, 5.0, 9.0, 5.0), (5.0, 5.0, 9.0, 5.0)),  # one line
        ((0.0, 0.0, 1e-20, 9.0), (0.0, 0.0, 2e-20, 9.0)),  # areas that are not 0, and no longer any use
        ((0.0, 0.0, 1e-6, 1e-6), (2.0, 2.0, 5.0, 9.0)),  # a ratio of sides that any rounding changes
        ((0.0, 0.0, 0.0, 0.0), (1e4, 1e4, 2e4, 2e4)),
        ((9.0, 9.0, 1.0, 1.0), (2.0, 2.0, 5.0, 5.0)),  # inside out
        ((2.0, 2.0, 5.0, 5.0), (2.0, 2.0, 5.0, 5.0)),  # equal: v and alpha's denominator are 0
    ],
)
def test_finite_for_degenerate_boxes(kind, a, b):
    box = torch.tensor(a, requires_grad=True)
    found = box_iou(box, torch.tensor(b), kind)
    found.backward()
    assert -2 <= found.item() <= 1
    assert box.grad.isfinite().all()
    assert box.grad.abs().max() < 100


def test_apart_boxes_are_pulled_together_by_all_but_iou():
    for kind in IOU_KINDS:
        box = torch.tensor([0.0, 0.0, 2.0, 2.0], requires_grad=True)
        box_iou(box, torch.tensor([6.0, 0.0, 8.0, 2.0]), kind).backward()
        assert (box.grad[2].item() > 0) == (kind != "iou")


def test_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="expected one of iou, giou, diou, ciou, found 'siou'"):
        box_iou(torch.zeros(4), torch.zeros(4), "siou")
