"""Centre heatmaps against loops over cells, and the radius against boxes whose corners are moved."""

import math

import pytest
import torch

from y12.exporter.train.losses.terms.heatmap import draw_heatmap, gaussian_focal_loss, gaussian_radius


def least_overlap(w, h, r):
    """The least IoU of a w x h box with those whose two corners are each moved by r in x and in y, or not moved."""
    moves = [(s * r, t * r) for s in (-1, 0, 1) for t in (-1, 0, 1)]
    least = 1.0
    for left, top in moves:
        for right, bottom in moves:
            inter = max(0, min(w, w + right) - max(0, left)) * max(0, min(h, h + bottom) - max(0, top))
            area = max(0, w + right - left) * max(0, h + bottom - top)
            least = min(least, inter / (w * h + area - inter))
    return least


@pytest.mark.parametrize("overlap", [0.3, 0.5, 0.7, 0.9])
@pytest.mark.parametrize(("w", "h"), [(10.0, 10.0), (40.0, 6.0), (3.0, 70.0), (1.0, 1.0)])
def test_radius_keeps_the_overlap_and_is_the_largest_that_does(w, h, overlap):
    r = gaussian_radius(torch.tensor([w, h], dtype=torch.float64), overlap).item()
    assert r > 0
    assert least_overlap(w, h, r) == pytest.approx(overlap, abs=1e-9)
    assert least_overlap(w, h, r * 1.01) < overlap


def test_radius_is_for_an_overlap_of_seven_tenths_by_default():
    wh = torch.tensor([10.0, 20.0])
    assert gaussian_radius(wh) == gaussian_radius(wh, 0.7)


def test_radius_of_nothing():
    assert gaussian_radius(torch.tensor([[0.0, 0.0], [5.0, 0.0], [-3.0, 4.0]])).tolist() == [0.0, 0.0, 0.0]


LABELS = torch.tensor([[0, 0, 2, 1], [1, 99, -1, 0]])  # what is not present may hold anything
BOXES = torch.tensor(
    [
        [[10.0, 8.0, 90.0, 60.0], [14.0, 8.0, 98.0, 64.0], [3.0, 90.0, 5.0, 92.0], [100.0, 60.0, 400.0, 260.0]],
        [[-20.0, 10.0, 30.0, 60.0], [0.0, 0.0, 99.0, 99.0], [0.0, 0.0, 0.0, 0.0], [17.0, 17.0, 17.0, 17.0]],
    ]
)
PRESENT = torch.tensor([[True, True, True, True], [True, False, False, True]])
NC, HW, STRIDE = 3, (24, 36), 4


def expected():
    heatmap = [[[[0.0] * HW[1] for _ in range(HW[0])] for _ in range(NC)] for _ in range(2)]
    for b in range(2):
        for label, box, present in zip(LABELS[b].tolist(), BOXES[b].tolist(), PRESENT[b].tolist(), strict=True):
            if not present:
                continue
            left, top, right, bottom = (side / STRIDE for side in box)
            r = gaussian_radius(torch.tensor([right - left, bottom - top], dtype=torch.float64)).item()
            cx = min(max(math.floor((left + right) / 2), 0), HW[1] - 1)
            cy = min(max(math.floor((top + bottom) / 2), 0), HW[0] - 1)
            for y in range(HW[0]):
                for x in range(HW[1]):
                    if (x, y) == (cx, cy):
                        value = 1.0
                    elif abs(x - cx) <= r and abs(y - cy) <= r:
                        value = math.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * (r / 3) ** 2))
                    else:
                        continue
                    row = heatmap[b][label][y]
                    row[x] = max(row[x], value)
    return torch.tensor(heatmap)


def test_drawing_equals_a_loop_over_cells():
    found = draw_heatmap(LABELS, BOXES, PRESENT, NC, HW, STRIDE)
    torch.testing.assert_close(found, expected(), rtol=1e-5, atol=1e-6)
    assert (found == 1).sum() == 6
    assert (found > 0).sum() > 40


@pytest.mark.parametrize("M", [0, 3])
def test_drawing_no_objects(M):
    nothing = torch.zeros(2, M, dtype=torch.bool)
    found = draw_heatmap(torch.zeros(2, M, dtype=torch.int64), torch.zeros(2, M, 4), nothing, NC, HW, STRIDE)
    assert found.shape == (2, NC, *HW)
    assert not found.any()


def focal(logits, heatmap, alpha, beta):
    total, peaks = 0.0, 0
    for x, y in zip(logits, heatmap, strict=True):
        p = 1 / (1 + math.exp(-x))
        if y == 1:
            total, peaks = total - (1 - p) ** alpha * math.log(p), peaks + 1
        else:
            total -= (1 - y) ** beta * p**alpha * math.log(1 - p)
    return total / max(peaks, 1)


@pytest.fixture
def logits():
    return torch.randn(1, 2, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2


@pytest.fixture
def heatmap():
    heatmap = torch.rand(1, 2, 4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    heatmap[0, 0, 1, 2] = heatmap[0, 1, 3, 3] = heatmap[0, 1, 0, 0] = 1
    return heatmap


@pytest.mark.parametrize(("alpha", "beta"), [(2.0, 4.0), (1.5, 3.0)])
def test_loss_equals_the_paper(logits, heatmap, alpha, beta):
    wanted = focal(logits.flatten().tolist(), heatmap.flatten().tolist(), alpha, beta)
    assert gaussian_focal_loss(logits, heatmap, alpha, beta).item() == pytest.approx(wanted, rel=1e-12)


def test_loss_gradient(logits, heatmap):
    assert torch.autograd.gradcheck(lambda x: gaussian_focal_loss(x, heatmap), (logits.requires_grad_(),))


def test_loss_without_peaks_is_the_background(logits):
    nothing = torch.zeros_like(logits)
    wanted = focal(logits.flatten().tolist(), nothing.flatten().tolist(), 2, 4)
    found = gaussian_focal_loss(logits.requires_grad_(), nothing)
    found.backward()
    assert found.item() == pytest.approx(wanted)
    assert (logits.grad > 0).all()


def test_loss_is_finite_for_extreme_logits(heatmap):
    logits = torch.tensor([-1e4, -90.0, 0.0, 90.0, 1e4]).repeat(8).view(1, 2, 4, 5).requires_grad_()
    loss = gaussian_focal_loss(logits, heatmap)
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()
