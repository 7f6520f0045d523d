"""The table of confidences for an artefact, from labels or from what FP32 finds.

Without labels FP32's own detections stand in for them, of two kinds, since by such labels FP32 is never wrong above
the conf they were taken from and misses nothing below it:

    recall     of detections above 0.025, half of the table's lowest conf: where the artefact finds as many of them.
    precision  of detections above 0.5, those FP32 is sure of: where as large a share of the artefact's are such ones.
"""

from y12.exporter.data.dataset import GroundTruth
from y12.exporter.evaluate.graph_results import USED_FLOOR, Outcome
from y12.exporter.evaluate.scoring import Truth
from y12.exporter.evaluate.thresholds import labels_from_results, shift_points
from y12.runtime.thresholds import ConfidenceTable, ShiftRow

__all__ = ["confidence_table_between"]

_FAINT, _SURE = 0.025, 0.5


def confidence_table_between(
    truth: Truth, reference: Outcome, candidate: Outcome, images: int
) -> ConfidenceTable | None:
    """Return the table, measured on results as used: one class to a box, and the usual NMS.

    Args:
        truth: labels, or what stands in for them.
        reference: of FP32.
        candidate: of the artefact.
        images: their number, for the table's words.

    Returns:
        The table; None of a classifier, whose best class has no threshold, and where too few detections tell it.
    """
    if not truth.kinds:
        return None
    of_recall = of_precision = truth.coco
    if truth.words != "labels":
        of_recall, of_precision = _labels_above(_FAINT, reference), _labels_above(_SURE, reference)
    recall, precision = (
        shift_points(coco, reference.used, candidate.used, floor=USED_FLOOR) for coco in (of_recall, of_precision)
    )
    rows = (
        ShiftRow(keeps.conf, other.keeps_precision, keeps.keeps_recall)
        for keeps, other in zip(recall, precision, strict=True)
    )
    known = tuple(row for row in rows if row.precision is not None or row.recall is not None)
    return ConfidenceTable("fp32", f"{images} images, {truth.words}", known) if known else None


def _labels_above(conf: float, reference: Outcome) -> GroundTruth:
    categories = [i for i in reference.category_ids if i is not None]
    return labels_from_results(reference.used, conf, list(reference.sizes_hw), categories)
