"""select.cu in numpy: what the kernels must give for one image, bit for bit."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.decode.select import xyxy_from_xywh
from runtime.kernels.layouts import SelectShape
from runtime.options import DetectOptions

__all__ = ["Selected", "selected"]


@dataclass(frozen=True)
class Selected:
    """The N best candidates of one image by falling score; of equal scores by rising anchor, then class.

    Attributes:
        boxes: (N, 4) x1 y1 x2 y2; or, of oriented boxes, (N, 5) centre, w, h, angle.
        scores: (N,).
        class_ids: (N,).
        anchors: (N,), where in the output they are.
        found: how many there are in all; more than N if the limit cut some off.
        nonfinite: a score, or the box of what would be a candidate, is NaN or infinite; it is left out.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int32]
    anchors: NDArray[np.int32]
    found: int
    nonfinite: bool


def selected(output: NDArray[np.float32], shape: SelectShape, options: DetectOptions, limit: int) -> Selected:
    """Select the best `limit` candidates of an output (rows, A) above `conf`, of the classes asked for.

    Without `multi_label` a box has one label, its best class, and `classes` filters after that choice.
    """
    first = 4 + shape.objectness
    with np.errstate(over="ignore", invalid="ignore"):  # infinity * 0
        scores = output[first : first + shape.classes] * (output[4] if shape.objectness else np.float32(1))
    nonfinite = not np.isfinite(scores).all()
    scores = np.where(np.isfinite(scores), scores, np.float32(-1))  # (nc, A)
    is_candidate = scores > np.float32(options.conf)
    if not options.multi_label:
        is_candidate &= np.arange(shape.classes)[:, None] == scores.argmax(axis=0)
    if options.classes is not None:
        is_candidate &= np.isin(np.arange(shape.classes), options.classes)[:, None]

    rows = [0, 1, 2, 3] + ([] if shape.angle_row is None else [shape.angle_row])
    broken = ~np.isfinite(output[rows]).all(axis=0)
    nonfinite |= bool((is_candidate & broken).any())
    anchors, class_ids = np.nonzero((is_candidate & ~broken).T)
    candidates = scores[class_ids, anchors]
    best = np.argsort(-candidates, kind="stable")[:limit]
    boxes = output[rows][:, anchors[best]].T  # (4 or 5, A) -> (N, 4 or 5)
    return Selected(
        boxes=xyxy_from_xywh(boxes) if shape.angle_row is None else boxes,
        scores=candidates[best],
        class_ids=class_ids[best].astype(np.int32),
        anchors=anchors[best].astype(np.int32),
        found=len(candidates),
        nonfinite=nonfinite,
    )
