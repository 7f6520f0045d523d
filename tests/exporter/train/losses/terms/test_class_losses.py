"""Class losses against the papers' equations, number by number."""

import itertools
import math

import pytest
import torch

from y12.exporter.train.losses.terms.classes import CLASS_LOSSES, binary_cross_entropy, focal_loss, varifocal_loss

LOGITS, TARGETS = (-6.0, -1.3, 0.0, 0.7, 4.0), (0.0, 0.2, 0.5, 1.0)


def bce(p, t):
    return -(t * math.log(p) + (1 - t) * math.log(1 - p))


def focal(p, t, alpha=0.25, gamma=2.0):
    if t in (0.0, 1.0):  # eq. 5 as printed
        p_t, alpha_t = (p, alpha) if t == 1.0 else (1 - p, 1 - alpha)
        return -alpha_t * (1 - p_t) ** gamma * math.log(p_t)
    q = p * t + (1 - p) * (1 - t)
    return (alpha * t + (1 - alpha) * (1 - t)) * (1 - q) ** gamma * bce(p, t)


def varifocal(p, q, alpha=0.75, gamma=2.0):
    if q > 0:
        return -q * (q * math.log(p) + (1 - q) * math.log(1 - p))
    return -alpha * p**gamma * math.log(1 - p)


@pytest.mark.parametrize(
    ("loss", "reference", "options"),
    [
        (binary_cross_entropy, bce, {}),
        (focal_loss, focal, {}),
        (focal_loss, focal, {"alpha": 0.6, "gamma": 1.5}),
        (varifocal_loss, varifocal, {}),
        (varifocal_loss, varifocal, {"alpha": 0.4, "gamma": 3.0}),
    ],
)
def test_equals_the_paper(loss, reference, options):
    pairs = torch.tensor(list(itertools.product(LOGITS, TARGETS)), dtype=torch.float64)
    wanted = [reference(1 / (1 + math.exp(-x)), t, **options) for x, t in pairs.tolist()]
    found = loss(*pairs.T, **options)
    torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float64), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("name", CLASS_LOSSES)
def test_gradient(name):
    pairs = torch.tensor(list(itertools.product(LOGITS, TARGETS)), dtype=torch.float64)
    logits, targets = pairs[:, 0].clone().requires_grad_(), pairs[:, 1].clone()
    assert torch.autograd.gradcheck(lambda x: CLASS_LOSSES[name](x, targets), (logits,))


@pytest.mark.parametrize("name", CLASS_LOSSES)
def test_finite_for_extreme_logits(name):
    logits = torch.tensor([-1e4, -90.0, 90.0, 1e4]).repeat(3, 1).requires_grad_()
    losses = CLASS_LOSSES[name](logits, torch.tensor([[0.0], [0.5], [1.0]]).expand(3, 4))
    losses.sum().backward()
    assert losses.isfinite().all()
    assert logits.grad.isfinite().all()
    assert losses[0, 3] > 1e3  # wrong and sure of it
    assert losses[2, 3] == 0


def test_table_names_each():
    assert {"bce": binary_cross_entropy, "focal": focal_loss, "varifocal": varifocal_loss} == CLASS_LOSSES
