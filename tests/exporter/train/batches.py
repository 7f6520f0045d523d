"""Small labelled batches with every kind of label, for the tests of training."""

import math

import torch
from torch import Tensor

from y12.exporter.train.batch import Batch, Targets


def batch_of(side: int = 64, count: int = 2, nc: int = 3, points: int = 17) -> Batch:
    """Return images of noise with two, one, two, one … objects each, coloured by class."""
    generator = torch.Generator().manual_seed(3)
    images = torch.rand(count, 3, side, side, generator=generator) * 0.2
    boxes = torch.tensor([[4.0, 6, 36, 40], [30.0, 20, 62, 58]]).repeat(count, 1, 1) * (side / 64)
    labels = torch.arange(2 * count).reshape(count, 2) % nc
    present = torch.tensor([[True, i % 2 == 0] for i in range(count)])
    masks = torch.zeros(count, 2, side // 4, side // 4, dtype=torch.bool)
    for b in range(count):
        for m in range(2):
            if present[b, m]:
                left, top, right, bottom = boxes[b, m].int().tolist()
                images[b, labels[b, m], top:bottom, left:right] = 1.0
                masks[b, m, top // 4 : bottom // 4, left // 4 : right // 4] = True
    boxes, labels = boxes * present[..., None], labels * present
    keypoints = _points_in(boxes, points)
    angles = torch.full((count, 2), math.pi / 6) * present
    return Batch(images, Targets(labels, boxes, present, masks, keypoints, angles))


def _points_in(boxes: Tensor, points: int) -> Tensor:
    """Lay points along each box's diagonal, the first of them unlabelled."""
    share = torch.linspace(0.1, 0.9, points)[:, None]
    xy = boxes[..., None, :2] + share * (boxes[..., None, 2:] - boxes[..., None, :2])
    visibility = torch.full((*xy.shape[:-1], 1), 2.0)
    visibility[..., 0, :] = 0.0
    return torch.cat((xy, visibility), -1)
