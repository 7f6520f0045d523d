"""Keypoint losses against the similarity written out for one object, and COCO's sigmas against COCO's own."""

import math

import pytest
import torch
from pycocotools.cocoeval import Params

from y12.exporter.train.losses.terms.keypoints import COCO_SIGMAS, oks_loss, sigmas_of, visibility_loss

K = 4
SIGMAS = torch.tensor([0.03, 0.08, 0.06, 0.25], dtype=torch.float64)
AREAS = torch.tensor([900.0, 40.0, 2500.0], dtype=torch.float64)


def expected(points, targets, area, sigmas):
    similarities = []
    for (x, y), (tx, ty, v), sigma in zip(points, targets, sigmas, strict=True):
        if v > 0:
            k = 2 * sigma
            similarities.append(math.exp(-((x - tx) ** 2 + (y - ty) ** 2) / (2 * area * k**2)))
    return 1 - sum(similarities) / len(similarities) if similarities else 0.0


@pytest.fixture
def targets():
    xy = torch.rand(3, K, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 50
    v = torch.tensor([[2, 1, 0, 2], [0, 0, 1, 0], [0, 0, 0, 0]], dtype=torch.float64)
    return torch.cat((xy, v.unsqueeze(2)), 2)


@pytest.fixture
def points(targets):
    shift = torch.randn(3, K, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return targets[..., :2] + 0.7 * shift


def test_oks_equals_the_paper(points, targets):
    found = oks_loss(points, targets, AREAS, SIGMAS)
    rows = zip(points.tolist(), targets.tolist(), AREAS.tolist(), strict=True)
    wanted = [expected(*row, SIGMAS.tolist()) for row in rows]
    torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float64), rtol=1e-12, atol=1e-15)
    assert found[2] == 0
    assert 0.01 < found[1] < 0.99  # neither end, where every formula is right


def test_oks_gradient(points, targets):
    assert torch.autograd.gradcheck(lambda p: oks_loss(p, targets, AREAS, SIGMAS), (points.requires_grad_(),))


def test_what_is_not_labelled_counts_nothing(points, targets):
    points[targets[..., 2] == 0] = math.inf
    points.requires_grad_()
    loss = oks_loss(points, targets, AREAS, SIGMAS)
    loss.sum().backward()
    assert loss.isfinite().all()
    assert (points.grad[targets[..., 2] == 0] == 0).all()


def test_finite_for_objects_without_area(points, targets):
    points = points.float().requires_grad_()
    loss = oks_loss(points, targets.float(), torch.zeros(3), SIGMAS.float())
    loss.sum().backward()
    assert loss.tolist() == oks_loss(points, targets.float(), torch.ones(3), SIGMAS.float()).tolist()
    assert points.grad.isfinite().all()


def test_visibility_equals_the_mean_cross_entropy(targets):
    logits = torch.tensor([[0.3, -2.0, 1.0, 4.0], [0.0, 5.0, -1.0, 0.5], [1.0, 2.0, 3.0, -4.0]], dtype=torch.float64)
    wanted = []
    for row, object_ in zip(logits.tolist(), targets.tolist(), strict=True):
        p = [1 / (1 + math.exp(-x)) for x in row]
        labelled = [v > 0 for _, _, v in object_]
        wanted.append(-sum(math.log(q if is_ else 1 - q) for q, is_ in zip(p, labelled, strict=True)) / K)
    torch.testing.assert_close(visibility_loss(logits, targets), torch.tensor(wanted, dtype=torch.float64))
    assert torch.autograd.gradcheck(lambda x: visibility_loss(x, targets), (logits.requires_grad_(),))


def test_no_objects(targets):
    points, logits = torch.zeros(0, K, 2, requires_grad=True), torch.zeros(0, K, requires_grad=True)
    (oks_loss(points, targets[:0], AREAS[:0], SIGMAS).sum() + visibility_loss(logits, targets[:0]).sum()).backward()
    assert points.grad.shape == (0, K, 2)


def test_sigmas():
    assert Params(iouType="keypoints").kpt_oks_sigmas.tolist() == pytest.approx(list(COCO_SIGMAS))
    assert sigmas_of(17).tolist() == pytest.approx(list(COCO_SIGMAS))
    assert sigmas_of(5).tolist() == pytest.approx([0.2] * 5)
