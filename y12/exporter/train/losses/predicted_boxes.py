"""Upright and oriented boxes behind one face: how predicted ones overlap objects, and what they should have been."""

from dataclasses import dataclass

import torch
from torch import Tensor

from y12.exporter.model.heads.detect import Grid
from y12.exporter.train.assign.positives import Positives
from y12.exporter.train.assign.task_aligned import inside_boxes, inside_oriented
from y12.exporter.train.batch import Targets
from y12.exporter.train.losses.terms.iou import box_iou
from y12.exporter.train.losses.terms.oriented import probiou

__all__ = ["OrientedBoxes", "UprightBoxes"]


def _xyxy(xywh: Tensor) -> Tensor:
    """Map (..., 4) centre and size to corners."""
    xy, half = xywh[..., :2], xywh[..., 2:] / 2
    return torch.cat((xy - half, xy + half), -1)


def _xywh(xyxy: Tensor) -> Tensor:
    """Map (..., 4) corners to centre and size."""
    return torch.cat(((xyxy[..., :2] + xyxy[..., 2:]) / 2, xyxy[..., 2:] - xyxy[..., :2]), -1)


@dataclass(frozen=True)
class UprightBoxes:
    """Predicted boxes (B, 4, A), centre x, y, width, height in pixels, and the kind of IoU they learn by."""

    boxes: Tensor
    iou: str

    def overlaps(self, targets: Targets) -> Tensor:
        """Return the IoU of each object with each predicted box, (B, M, A)."""
        with torch.no_grad():
            predicted = _xyxy(self.boxes.transpose(1, 2))  # (B, A, 4)
            return box_iou(targets.boxes[:, :, None], predicted[:, None])

    @staticmethod
    def inside(points: Tensor, strides: Tensor, targets: Targets) -> Tensor:
        """Return which places (A, 2) lie in which objects, (B, M, A)."""
        return inside_boxes(points, targets.boxes, strides)

    def fit(self, positives: Positives, targets: Targets) -> Tensor:
        """Return how well the predicted boxes fit, (N,); 1 is exact."""
        predicted = _xyxy(positives.predicted(self.boxes))
        return box_iou(predicted, positives.labelled(targets.boxes), self.iou)

    @staticmethod
    def distances(positives: Positives, targets: Targets, grid: Grid) -> Tensor:
        """Return the distances left, top, right, bottom to predict, (N, 4), in cells."""
        centres, strides = (values.T[positives.place] for values in grid)  # (N, 2), (N, 1)
        boxes = positives.labelled(targets.boxes) / strides
        return torch.cat((centres - boxes[:, :2], boxes[:, 2:] - centres), 1)


@dataclass(frozen=True)
class OrientedBoxes:
    """Predicted boxes (B, 4, A), centre x, y, width along the angle, height in pixels; and angles (B, A), radians."""

    boxes: Tensor
    angles: Tensor

    def overlaps(self, targets: Targets) -> Tensor:
        """Return the ProbIoU of each object with each predicted box, (B, M, A)."""
        with torch.no_grad():
            predicted = torch.cat((self.boxes, self.angles[:, None]), 1).transpose(1, 2)  # (B, A, 5)
            return probiou(_xywhr(targets)[:, :, None], predicted[:, None])

    @staticmethod
    def inside(points: Tensor, strides: Tensor, targets: Targets) -> Tensor:
        """Return which places (A, 2) lie in which objects, (B, M, A)."""
        return inside_oriented(points, targets.boxes, _angles(targets), strides)

    def fit(self, positives: Positives, targets: Targets) -> Tensor:
        """Return how well the predicted boxes fit, (N,); 1 is exact."""
        predicted = positives.predicted(torch.cat((self.boxes, self.angles[:, None]), 1))
        return probiou(predicted, positives.labelled(_xywhr(targets)))

    @staticmethod
    def distances(positives: Positives, targets: Targets, grid: Grid) -> Tensor:
        """Return the distances along the box's own axes to predict, (N, 4), in cells."""
        centres, strides = (values.T[positives.place] for values in grid)
        x, y, w, h, angle = positives.labelled(_xywhr(targets)).unbind(1)
        dx, dy = (centres * strides - torch.stack((x, y), 1)).unbind(1)
        along, across = dx * angle.cos() + dy * angle.sin(), dy * angle.cos() - dx * angle.sin()
        sides = (w / 2 + along, h / 2 + across, w / 2 - along, h / 2 - across)
        return torch.stack(sides, 1) / strides


def _angles(targets: Targets) -> Tensor:
    assert targets.angles is not None  # refused where the data are matched with the network
    return targets.angles


def _xywhr(targets: Targets) -> Tensor:
    """Return the objects as (B, M, 5): centre x, y, width, height, angle."""
    return torch.cat((_xywh(targets.boxes), _angles(targets)[..., None]), -1)
