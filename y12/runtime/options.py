"""The thresholds a user may choose, refused at construction."""

from dataclasses import dataclass

from y12.errors import InputError
from y12.runtime.thresholds import check_keep

MAX_DETECTIONS = 30_000


@dataclass(frozen=True)
class DetectOptions:
    """What to keep of a network's output.

    Attributes:
        conf: keep boxes whose score is above this, 0-1.
        iou: of two boxes of one class whose intersection over union is above this, 0-1, keep the better.
        max_det: keep at most this many boxes per image.
        classes: keep these class ids only; None keeps all.
        agnostic: let boxes suppress each other across classes.
        multi_label: a box may carry several labels: each class above `conf` makes a candidate of its own, as
            COCO's evaluation counts; otherwise a box has its best class only.
        keep: "precision" or "recall": `conf` is meant as for the model that the artefact was made of; take the
            confidence that keeps its precision or its recall, by the table in the artefact. None takes `conf` as
            it is.

    Raises:
        InputError: a value is out of range.
    """

    conf: float = 0.25
    iou: float = 0.7
    max_det: int = 300
    classes: tuple[int, ...] | None = None
    agnostic: bool = False
    multi_label: bool = False
    keep: str | None = None

    def __post_init__(self) -> None:
        for name in ("conf", "iou"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 <= value <= 1:
                raise InputError(f"{name}: expected a number from 0 to 1, found {value!r}")
        if not _is_whole(self.max_det) or not 1 <= self.max_det <= MAX_DETECTIONS:
            raise InputError(f"max_det: expected a whole number from 1 to {MAX_DETECTIONS}, found {self.max_det!r}")
        if self.keep is not None:
            check_keep(self.keep)
        if self.classes is None:
            return
        if not isinstance(self.classes, tuple) or not self.classes or not all(map(_is_whole, self.classes)):
            raise InputError(f"classes: expected None or a tuple of one or more class ids, found {self.classes!r}")
        if min(self.classes) < 0:
            raise InputError(f"classes: expected ids of 0 or more, found {min(self.classes)}")

    def check_classes(self, count: int) -> None:
        """Refuse class ids that a model with `count` classes does not have.

        Raises:
            InputError: there is one.
        """
        if self.classes is not None and max(self.classes) >= count:
            raise InputError(f"classes: expected ids of 0 to {count - 1}, found {max(self.classes)}")


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
