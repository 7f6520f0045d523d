"""The distribution focal loss against equation 6, side by side."""

import math

import pytest
import torch

from y12.exporter.train.losses.terms.distribution import distribution_focal_loss

BINS = 7


def expected(logits, distances):
    """One object's: logits of four sides, and four distances."""
    losses = []
    for side, distance in zip(logits, distances, strict=True):
        y = min(max(distance, 0.0), BINS - 1 - 0.01)
        total = sum(math.exp(x) for x in side)
        s = [math.exp(x) / total for x in side]
        i = int(y)
        losses.append(-((i + 1 - y) * math.log(s[i]) + (y - i) * math.log(s[i + 1])))
    return sum(losses) / 4


@pytest.fixture
def logits():
    return torch.randn(3, 4, BINS, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2


DISTANCES = torch.tensor(
    [
        [0.0, 0.4, 1.0, 5.3],
        [5.99, 6.0, 7.5, 1e6],  # at and beyond the last bin
        [-0.1, -5.0, 2.5, 3.999],  # the place lies outside the box
    ],
    dtype=torch.float64,
)


def test_equals_the_paper(logits):
    found = distribution_focal_loss(logits, DISTANCES)
    wanted = [expected(*row) for row in zip(logits.tolist(), DISTANCES.tolist(), strict=True)]
    torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float64), rtol=1e-12, atol=0)


def test_gradient(logits):
    distances = torch.tensor([[0.3, 1.6, 2.2, 5.1]] * 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(distribution_focal_loss, (logits.requires_grad_(), distances))


def test_least_where_the_expectation_is_the_distance():
    # Two bins' probabilities in the proportion of the distances: eq. 6's minimum, where S_i = i + 1 - y.
    distances = torch.tensor([[0.25, 1.5, 3.1, 4.8]], dtype=torch.float64)
    s = torch.zeros(1, 4, BINS, dtype=torch.float64)
    for side, y in enumerate(distances[0].tolist()):
        s[0, side, int(y)], s[0, side, int(y) + 1] = int(y) + 1 - y, y - int(y)
    logits = s.clamp(min=1e-12).log().requires_grad_()
    distribution_focal_loss(logits, distances).sum().backward()
    assert logits.grad.abs().max() < 1e-9
