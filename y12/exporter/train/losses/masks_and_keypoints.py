"""What masks and keypoints add to the losses of boxes."""

import torch
from torch import Tensor

from y12.exporter.model.heads.detect import Grid
from y12.exporter.model.heads.pose import keypoints_from_logits
from y12.exporter.train.assign.positives import Positives
from y12.exporter.train.batch import MASK_STRIDE, Targets
from y12.exporter.train.losses.terms.keypoints import oks_loss, sigmas_of, visibility_loss
from y12.exporter.train.losses.terms.masks import mask_loss

__all__ = ["keypoint_losses", "mask_losses"]

_MOST_PIXELS = 1 << 23  # of all masks of a step: bounds its memory to some 32 MiB for each map the loss makes


def mask_losses(coefficients: Tensor, protos: Tensor, positives: Positives, targets: Targets) -> Tensor:
    """Return the mean mask loss of coefficients (B, m, A) and prototypes (B, m, H/4, W/4).

    Of more places than fit into `_MOST_PIXELS` those of largest weight stand for all.
    """
    assert targets.masks is not None  # refused where the data are matched with the network
    chosen = positives.heaviest(max(1, _MOST_PIXELS // protos[0, 0].numel()))
    losses = mask_loss(
        chosen.predicted(coefficients),
        protos,
        chosen.image,
        chosen.labelled(targets.masks),
        chosen.labelled(targets.boxes) / MASK_STRIDE,
    )
    return chosen.mean(losses)


def keypoint_losses(
    logits: Tensor, kpt_shape: tuple[int, int], grid: Grid, positives: Positives, targets: Targets
) -> tuple[Tensor, Tensor]:
    """Return the mean losses of where keypoints are and of whether they are seen, of logits (B, K*D, A)."""
    assert targets.keypoints is not None  # refused where the data are matched with the network
    K, D = kpt_shape
    labelled = positives.labelled(targets.keypoints)  # (N, K, 3)
    boxes = positives.labelled(targets.boxes)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    points = positives.predicted(keypoints_from_logits(logits, kpt_shape, grid)).unflatten(1, (K, D))[..., :2]
    where = positives.mean(oks_loss(points, labelled, areas, sigmas_of(K).to(points)))
    if D == 2:
        return where, torch.zeros_like(where)
    seen = positives.predicted(logits).unflatten(1, (K, D))[..., 2]
    return where, positives.mean(visibility_loss(seen, labelled))
