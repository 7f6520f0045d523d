"""The mask loss against a loop over objects and the pixels of their boxes."""

import math

import pytest
import torch

from y12.exporter.train.losses.terms.masks import mask_loss

B, MASKS, H, W = 3, 5, 9, 7
IMAGE_OF = torch.tensor([2, 0, 2, 0, 0, 2])  # not sorted, and nothing in image 1
BOXES = torch.tensor(
    [
        [1.0, 2.0, 4.0, 6.0],  # edges between pixels
        [1.3, 2.7, 3.2, 5.9],  # and across them
        [-3.0, -2.0, 2.5, 30.0],  # partly outside
        [3.4, 3.2, 3.6, 3.3],  # within one pixel
        [0.0, 0.0, 7.0, 9.0],  # the whole map
        [2.9, 8.1, 5.1, 8.4],
    ],
    dtype=torch.float64,
)


@pytest.fixture
def tensors():
    generator = torch.Generator().manual_seed(0)
    coefficients = torch.randn(len(BOXES), MASKS, generator=generator, dtype=torch.float64)
    protos = torch.randn(B, MASKS, H, W, generator=generator, dtype=torch.float64)
    return coefficients, protos, torch.rand(len(BOXES), H, W, generator=generator) > 0.5


def expected(coefficients, proto, mask, box):
    """One object's, of lists."""
    left, top, right, bottom = box
    losses = []
    for y in range(H):
        for x in range(W):
            if x + 1 <= left or x >= right or y + 1 <= top or y >= bottom:
                continue
            z = sum(c * p[y][x] for c, p in zip(coefficients, proto, strict=True))
            probability = 1 / (1 + math.exp(-z))
            losses.append(-math.log(probability if mask[y][x] else 1 - probability))
    return sum(losses) / len(losses)


def test_equals_the_paper(tensors):
    coefficients, protos, masks = tensors
    found = mask_loss(coefficients, protos, IMAGE_OF, masks, BOXES)
    wanted = [
        expected(coefficients[n].tolist(), protos[image].tolist(), masks[n].tolist(), BOXES[n].tolist())
        for n, image in enumerate(IMAGE_OF.tolist())
    ]
    torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float64), rtol=1e-10, atol=0)


def test_gradient(tensors):
    coefficients, protos, masks = tensors
    inputs = coefficients.requires_grad_(), protos.requires_grad_()
    assert torch.autograd.gradcheck(lambda c, p: mask_loss(c, p, IMAGE_OF, masks, BOXES), inputs, fast_mode=True)


@pytest.mark.parametrize(
    "box",
    [
        (3.0, 3.0, 3.0, 3.0),  # no size, between pixels
        (9.0, 1.0, 12.0, 5.0),  # right of the map
        (1.0, -8.0, 4.0, -2.0),  # above it
        (5.0, 5.0, 2.0, 2.0),  # inside out
    ],
)
def test_a_box_without_pixels_costs_nothing(tensors, box):
    coefficients, protos, masks = tensors
    coefficients.requires_grad_()
    loss = mask_loss(coefficients[:1], protos, IMAGE_OF[:1], masks[:1], torch.tensor([box]))
    loss.sum().backward()
    assert loss.tolist() == [0.0]
    assert coefficients.grad.abs().max() == 0


def test_no_objects(tensors):
    coefficients, protos, masks = tensors
    inputs = coefficients[:0].requires_grad_(), protos.requires_grad_()
    loss = mask_loss(*inputs, IMAGE_OF[:0], masks[:0], BOXES[:0])
    assert loss.shape == (0,)
    loss.sum().backward()
    assert protos.grad.abs().max() == 0


@pytest.mark.parametrize("sign", [1, -1])
def test_finite_for_extreme_coefficients(tensors, sign):
    coefficients, protos, masks = tensors
    coefficients = (sign * 1e4 * coefficients).float().requires_grad_()
    loss = mask_loss(coefficients, protos.float(), IMAGE_OF, masks, BOXES.float())
    loss.sum().backward()
    assert loss.isfinite().all()
    assert coefficients.grad.isfinite().all()
