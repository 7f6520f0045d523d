"""How a graph picks objects itself: by an NMS in it, or of a network that needs none."""

from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from typing import Any

from y12.errors import ArtefactError
from y12.runtime.artefact import fields
from y12.runtime.options import MAX_DETECTIONS, DetectOptions

__all__ = ["MAX_NMS_CANDIDATES", "NMS_FORMS", "OWN_NMS_FORMS", "NmsSettings", "end_to_end", "nms_settings_from"]

OWN_NMS_FORMS = ("packed", "split")  # that y12 writes
NMS_FORMS = (*OWN_NMS_FORMS, "rows")
MAX_NMS_CANDIDATES = 3840  # TensorRT's TopK takes no more


@dataclass(frozen=True)
class NmsSettings:
    """How the graph picks objects itself, so that its outputs are rows of them.

    Attributes:
        form: "packed" (outputs `detections`, `num`, `truncated`) or "split" (`num_dets`, `det_boxes`, `det_scores`,
            `det_classes`, as Triton and DeepStream configurations expect): y12's own NMS. "rows" (`output0`, in which
            rows of score 0 are padding): another exporter's NMS, or a network that needs none.
        candidates: P, how many of the best-scored boxes it sees; of "rows" their number.
        options: its thresholds, which cannot be changed when the artefact is run.
    """

    form: str
    candidates: int
    options: DetectOptions

    def __post_init__(self) -> None:
        if self.form not in NMS_FORMS:
            raise ArtefactError(f"nms: form must be one of {', '.join(NMS_FORMS)}, found {self.form!r}")
        if self.options.keep is not None:  # what a graph compares scores with is a number of its own
            raise ArtefactError(f"nms: expected a conf of the artefact itself, found keep {self.options.keep!r}")
        most = MAX_DETECTIONS if self.is_rows else MAX_NMS_CANDIDATES
        if not 1 <= self.options.max_det <= self.candidates <= most:
            raise ArtefactError(
                f"nms: expected 1 <= max_det <= candidates <= {most}, "
                f"found max_det {self.options.max_det} and {self.candidates} candidates"
            )

    @property
    def is_rows(self) -> bool:
        """Whether the graph has rows that y12's own NMS did not write."""
        return self.form == "rows"

    @property
    def is_end_to_end(self) -> bool:
        """Whether the rows are the best scores, of a network that was trained to need no NMS."""
        return self.is_rows and self.options.iou == 1.0 and self.options.multi_label


def end_to_end(rows: int) -> NmsSettings:
    """Return how a network picks objects that needs no NMS: the best scores, a row each."""
    return NmsSettings("rows", rows, DetectOptions(conf=0.0, iou=1.0, max_det=rows, multi_label=True))


def nms_settings_from(value: object) -> NmsSettings | None:
    """Return the settings that a stranger's manifest has; None where it has none.

    Raises:
        ArtefactError: a field is missing, unknown, of another type or out of range.
    """
    if value is None:
        return None
    settings = fields.mapping(value, "nms", ("form", "candidates", "options"))
    names = [one.name for one in dataclass_fields(DetectOptions)]
    given = fields.mapping(settings["options"], "nms.options", (), names)
    options = {key: _option(key, option) for key, option in given.items()}
    candidates = fields.whole(settings["candidates"], "nms.candidates", 1, MAX_DETECTIONS)
    return NmsSettings(fields.text(settings["form"], "nms.form"), candidates, DetectOptions(**options))


def _option(key: str, value: object) -> Any:
    field = f"nms.options.{key}"
    if key in ("agnostic", "multi_label"):
        return fields.flag(value, field)
    if key in ("conf", "iou"):
        return fields.share(value, field)
    if key == "max_det":
        return fields.whole(value, field, 1, MAX_DETECTIONS)
    if key == "classes" and value is not None:
        return tuple(
            fields.whole(one, field, 0, fields.MAX_CLASSES)
            for one in fields.listed(value, field, 1, fields.MAX_CLASSES)
        )
    return None if value is None else fields.text(value, field)
