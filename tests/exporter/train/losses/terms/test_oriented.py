"""ProbIoU against matrices of 2 x 2 written out in Python, and against the runtime's."""

import math

import pytest
import torch

from y12.exporter.train.losses.terms.oriented import probiou
from y12.runtime.results.oriented import probiou as runtime_probiou

PAIRS = {
    "turned": ((10.0, 12.0, 8.0, 3.0, 0.3), (11.0, 11.5, 7.0, 4.0, 0.9)),
    "thin and crossing": ((10.0, 12.0, 40.0, 1.0, 0.2), (10.0, 12.0, 40.0, 1.0, 1.7)),
    "sides exchanged, turned by 90 degrees": ((5.0, 5.0, 9.0, 2.0, 0.1), (5.5, 5.0, 2.0, 9.0, 0.1 + math.pi / 2)),
    "angles off a half turn": ((5.0, 5.0, 9.0, 2.0, -0.7), (6.0, 5.0, 9.0, 2.5, -0.7 + math.pi)),
    "far apart": ((0.0, 0.0, 9.0, 2.0, 0.4), (70.0, -30.0, 5.0, 3.0, 1.0)),
    "small and large": ((5.0, 5.0, 90.0, 60.0, 0.4), (9.0, 5.0, 3.0, 2.0, 1.0)),
}


def covariance(w, h, r):
    a, b, cos, sin = w * w / 12, h * h / 12, math.cos(r), math.sin(r)
    return (a * cos**2 + b * sin**2, (a - b) * cos * sin, a * sin**2 + b * cos**2)  # xx, xy, yy


def determinant(s):
    return s[0] * s[2] - s[1] ** 2


def expected(one, other):
    s1, s2 = covariance(*one[2:]), covariance(*other[2:])
    s = [(p + q) / 2 for p, q in zip(s1, s2, strict=True)]
    dx, dy = one[0] - other[0], one[1] - other[1]
    mahalanobis = (s[2] * dx * dx - 2 * s[1] * dx * dy + s[0] * dy * dy) / determinant(s)
    bd = mahalanobis / 8 + math.log(determinant(s) / math.sqrt(determinant(s1) * determinant(s2))) / 2
    return 1 - math.sqrt(1 - math.exp(-bd))


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_equals_the_paper(pair):
    found = probiou(*(torch.tensor(box, dtype=torch.float64) for box in pair))
    assert found.item() == pytest.approx(expected(*pair), abs=1e-10)


def random_boxes(count, seed):
    x = torch.rand(count, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return x * torch.tensor([30, 30, 40, 40, 7]) + torch.tensor([0, 0, 1, 1, -3])


def test_equals_the_runtimes():
    a, b = random_boxes(400, 0).unsqueeze(1), random_boxes(9, 1)
    wanted = torch.from_numpy(runtime_probiou(a.numpy(), b.numpy()))
    assert (wanted > 0.1).sum() > 500
    torch.testing.assert_close(probiou(a, b), wanted, rtol=0, atol=1e-10)
    torch.testing.assert_close(probiou(a.float(), b.float()).double(), wanted, rtol=0, atol=1e-4)


def test_near_equality_differs_from_the_runtimes_as_documented():
    box = torch.tensor([20.0, 30.0, 12.0, 5.0, 0.6], dtype=torch.float64)
    near = box + torch.logspace(-7, 0, 200, dtype=torch.float64).unsqueeze(1) * torch.tensor([1, -1, 0.5, 0.5, 0.1])
    found, wanted = probiou(box, near), torch.from_numpy(runtime_probiou(box.numpy(), near.numpy()))
    assert 1e-4 < (found - wanted).abs().max() < 2.5e-4 + 1e-9
    torch.testing.assert_close(found[wanted < 0.999], wanted[wanted < 0.999], rtol=0, atol=1e-10)
    assert (found.diff() < 0).all()  # it still orders them


def test_gradient():
    a, b = (torch.tensor(boxes, dtype=torch.float64, requires_grad=True) for boxes in zip(*PAIRS.values(), strict=True))
    assert torch.autograd.gradcheck(probiou, (a, b))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((9.0, 9.0, 4.0, 2.0, 0.3), (9.0, 9.0, 4.0, 2.0, 0.3)),  # equal
        ((9.0, 9.0, 4.0, 4.0, 0.3), (9.0, 9.0, 4.0, 4.0, 1.3)),  # squares of which no angle is the right one
        ((9.0, 9.0, 0.0, 0.0, 0.3), (9.0, 9.0, 0.0, 0.0, 0.3)),
        ((9.0, 9.0, 0.0, 0.0, 0.3), (900.0, 9.0, 0.0, 0.0, 0.3)),
        ((9.0, 9.0, 400.0, 0.0, 0.3), (9.0, 9.0, 400.0, 0.0, 1.8)),
        ((9.0, 9.0, -5.0, 3.0, 0.3), (9.0, 9.0, 5.0, 3.0, 0.3)),
        ((0.0, 0.0, 1.0, 1.0, 0.0), (4e3, 4e3, 1.0, 1.0, 0.0)),
    ],
)
def test_finite_for_degenerate_boxes(a, b):
    box = torch.tensor(a, requires_grad=True)
    found = probiou(box, torch.tensor(b))
    found.backward()
    assert 0 <= found.item() <= 1
    assert box.grad.isfinite().all()


def test_equal_boxes_overlap_fully_and_do_not_move():
    box = random_boxes(20, 2).float().requires_grad_()
    found = probiou(box, box.detach().clone())
    found.sum().backward()
    assert found.min() > 1 - 1e-3
    assert box.grad.abs().max() < 1e-2


def test_no_objects():
    boxes = torch.zeros(0, 5, requires_grad=True)
    (1 - probiou(boxes, torch.zeros(0, 5))).sum().backward()
    assert boxes.grad.shape == (0, 5)
