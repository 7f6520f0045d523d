"""The distance of a box side, learnt as a distribution over whole numbers of cells."""

from torch import Tensor

from y12.exporter.train.losses.terms.precise import precise

__all__ = ["distribution_focal_loss"]

_MARGIN = 0.01  # keeps the bin above a distance within the bins


def distribution_focal_loss(logits: Tensor, distances: Tensor) -> Tensor:
    """Return the distribution focal loss (Generalized Focal Loss, arXiv 2006.04388, eq. 6), the mean over four sides.

        DFL = -((i + 1 - y) log S_i + (y - i) log S_{i+1}),  S = softmax(logits),  i = floor(y)

    Args:
        logits: (N, 4, bins).
        distances: (N, 4) in cells, y; brought into 0 to bins - 1.01, beyond which no bins lie on both sides.

    Returns:
        (N,)
    """
    log_s = precise(logits).log_softmax(-1)  # (N, 4, bins)
    y = precise(distances).clamp(0, logits.shape[-1] - 1 - _MARGIN)
    i = y.detach().floor()
    below, above = (log_s.gather(-1, (i.long() + k).unsqueeze(-1)).squeeze(-1) for k in (0, 1))
    return -((i + 1 - y) * below + (y - i) * above).mean(-1)
