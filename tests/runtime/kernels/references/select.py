"""select.cu in numpy: what the kernels must give for one image, bit for bit."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from y12.runtime.options import DetectOptions
from y12.runtime.postprocess.candidates import peaks_only, xyxy_from_xywh

__all__ = ["Given", "Selected", "selected"]


@dataclass(frozen=True)
class Given:
    """What the network gives of one image.

    Attributes:
        boxes: (4, A) centre x, y, w, h.
        scores: (nc, A).
        objectness: (A,), which multiplies all scores; None where there is none.
        angles: (A,) radians, of oriented boxes; else None.
        levels_hw: height and width of each level's heatmap, in which only peaks are scores; else None.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    objectness: NDArray[np.float32] | None = None
    angles: NDArray[np.float32] | None = None
    levels_hw: tuple[tuple[int, int], ...] | None = None


@dataclass(frozen=True)
class Selected:
    """The N best candidates of one image by falling score; of equal scores by rising anchor, then class.

    Attributes:
        boxes: (N, 4) x1 y1 x2 y2; or, of oriented boxes, (N, 5) centre, w, h, angle.
        scores: (N,).
        class_ids: (N,).
        anchors: (N,), where in the output they are.
        candidates: how many there are in all; more than N if the limit cut some off.
        nonfinite: a score, or the box of what would be a candidate, is NaN or infinite; it is left out.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int32]
    anchors: NDArray[np.int32]
    candidates: int
    nonfinite: bool


def selected(given: Given, options: DetectOptions, limit: int) -> Selected:
    """Select the best `limit` candidates above `conf`, of the classes asked for.

    Without `multi_label` a box has one label, its best class, and `classes` filters after that choice.
    """
    class_count = len(given.scores)
    objectness = np.float32(1) if given.objectness is None else given.objectness
    with np.errstate(over="ignore", invalid="ignore"):  # infinity * 0
        scores = given.scores * objectness
    nonfinite = not np.isfinite(scores).all()
    scores = np.where(np.isfinite(scores), scores, np.float32(-1))  # (nc, A)
    if given.levels_hw is not None:
        scores = peaks_only(scores, given.levels_hw, options.conf)
    is_candidate = scores > np.float32(options.conf)
    if not options.multi_label:
        is_candidate &= np.arange(class_count)[:, None] == scores.argmax(axis=0)
    if options.classes is not None:
        is_candidate &= np.isin(np.arange(class_count), options.classes)[:, None]

    rows = given.boxes if given.angles is None else np.concatenate([given.boxes, given.angles[None]])
    broken = ~np.isfinite(rows).all(axis=0)
    nonfinite |= bool((is_candidate & broken).any())
    anchors, class_ids = np.nonzero((is_candidate & ~broken).T)
    candidates = scores[class_ids, anchors]
    best = np.argsort(-candidates, kind="stable")[:limit]
    boxes = rows[:, anchors[best]].T  # (4 or 5, A) -> (N, 4 or 5)
    return Selected(
        boxes=xyxy_from_xywh(boxes) if given.angles is None else boxes,
        scores=candidates[best],
        class_ids=class_ids[best].astype(np.int32),
        anchors=anchors[best].astype(np.int32),
        candidates=len(candidates),
        nonfinite=nonfinite,
    )
