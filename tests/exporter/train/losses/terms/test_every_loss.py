"""What all losses have in common: they compute in float32, in autocast and of half-precision input too."""

import pytest
import torch

from y12.exporter.train.losses.terms.classes import CLASS_LOSSES
from y12.exporter.train.losses.terms.distribution import distribution_focal_loss
from y12.exporter.train.losses.terms.heatmap import gaussian_focal_loss
from y12.exporter.train.losses.terms.iou import IOU_KINDS, box_iou
from y12.exporter.train.losses.terms.keypoints import oks_loss, sigmas_of, visibility_loss
from y12.exporter.train.losses.terms.masks import mask_loss
from y12.exporter.train.losses.terms.oriented import probiou

N = 6


def rand(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(sum(shape)))


BOXES = torch.cat((rand(N, 2) * 8, rand(N, 2) * 8 + 9), 1)
KEYPOINTS = torch.cat((rand(N, 5, 2) * 20, torch.ones(N, 5, 1)), 2)
PROTOS, IMAGE_OF, MASKS = rand(2, 32, 16, 16) - 0.5, torch.arange(N) % 2, rand(N, 16, 16) > 0.5

# By name: of a predicted tensor, and that tensor.
LOSSES = {
    **{kind: (lambda x, kind=kind: 1 - box_iou(x, BOXES, kind), BOXES + 2 * rand(N, 4)) for kind in IOU_KINDS},
    **{name: (lambda x, loss=loss: loss(x, rand(N, 7)), 4 * rand(N, 7)) for name, loss in CLASS_LOSSES.items()},
    "dfl": (lambda x: distribution_focal_loss(x, 6 * rand(N, 4)), rand(N, 4, 8)),
    "mask": (lambda x: mask_loss(x, PROTOS.to(x.dtype), IMAGE_OF, MASKS, BOXES), 3 * rand(N, 32)),
    "oks": (lambda x: oks_loss(x, KEYPOINTS, torch.full((N,), 400.0), sigmas_of(5)), KEYPOINTS[..., :2] + 3),
    "visibility": (lambda x: visibility_loss(x, KEYPOINTS), rand(N, 5)),
    "probiou": (lambda x: 1 - probiou(x, torch.cat((BOXES, rand(N, 1)), 1)), torch.cat((BOXES + 1, rand(N, 1)), 1)),
    "heatmap": (lambda x: gaussian_focal_loss(x, rand(1, 2, 6, 6)), rand(1, 2, 6, 6)),
}


@pytest.mark.parametrize("name", LOSSES)
def test_float32_in_autocast_and_of_bfloat16(name):
    loss, x = LOSSES[name]
    x = x.bfloat16()
    wanted = loss(x.double() if name != "mask" else x.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        of_half, of_single = loss(x), loss(x.float())
    assert of_half.dtype == of_single.dtype == torch.float32
    # bfloat16 has 8 bits: a single rounding to it would be off by up to 4e-3.
    torch.testing.assert_close(of_single.double(), wanted.double(), rtol=2e-5, atol=1e-6)
    if name != "mask":  # whose prototypes are rounded then, as they come
        torch.testing.assert_close(of_half, of_single, rtol=0, atol=0)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_reach_half_precision(name):
    loss, x = LOSSES[name]
    x = x.bfloat16().requires_grad_()
    loss(x).sum().backward()
    assert x.grad.dtype == torch.bfloat16
    assert x.grad.isfinite().all()
    assert x.grad.any()
