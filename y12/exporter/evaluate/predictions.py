"""What a model finds in labelled images, collected in COCO's form."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from y12.exporter.data.classes import ClassMap
from y12.exporter.data.dataset import Sample
from y12.runtime.results.detections import Detections

__all__ = ["CocoResults", "Wanted"]

Wanted = Mapping[int, Set[int]]  # an image's id → the ids of the categories that it has objects of

_NO_CATEGORY = -1  # of a class that the data does not know


@dataclass
class CocoResults:
    """The detections so far, in COCO's form, and the sizes of the images.

    Attributes:
        classes: the data's categories, by the model's classes.
        kinds: what results have to tell; masks are drawn for "segm" only.
        wanted: the objects that figures are about: results of categories that no image has any of are dropped, and of
            an image the masks of its own categories are drawn; others overlap nothing. None keeps and draws all.
        results, sizes_hw: so far.
        truncated: images in which the graph's NMS saw only the best of the candidates.
        without_masks: images for which the model gave no masks.
    """

    classes: ClassMap
    kinds: tuple[str, ...]
    wanted: Wanted | None = None
    results: list[dict[str, Any]] = field(default_factory=list)
    sizes_hw: dict[int, tuple[int, int]] = field(default_factory=dict)
    truncated: int = 0
    without_masks: int = 0

    def keep(self, sample: Sample, detections: Detections) -> None:
        """Add an image's detections."""
        sample.check_size(detections.image_hw)
        self.sizes_hw[sample.image_id] = detections.image_hw
        self.truncated += detections.truncated
        self.without_masks += detections.masks is None
        if "segm" not in self.kinds:
            detections = replace(detections, masks=None)  # they are drawn only when they are asked for
        ids = [_NO_CATEGORY if category is None else category for category in self.classes.category_ids]
        if self.wanted is not None:
            anywhere = frozenset().union(*self.wanted.values())
            detections = detections[[ids[class_id] in anywhere for class_id in detections.class_id]]
            own = self.wanted.get(sample.image_id, frozenset())
            far = np.array([ids[class_id] not in own for class_id in detections.class_id], np.bool_)
            if detections.masks is not None:
                detections = replace(detections, masks=detections.masks.emptied(far))
        results = detections.to_coco(sample.image_id, ids)
        if detections.xywhr is not None:
            for result, xywhr in zip(results, detections.xywhr.tolist(), strict=True):
                result["xywhr"] = [round(v, 6) for v in xywhr]
        self.results += (result for result in results if result["category_id"] != _NO_CATEGORY)

    def add(self, others: "CocoResults") -> None:
        """Add what was collected of other images."""
        self.results += others.results
        self.sizes_hw |= others.sizes_hw
        self.truncated += others.truncated
        self.without_masks += others.without_masks

    @property
    def kinds_to_evaluate(self) -> tuple[str, ...]:
        """The kinds to evaluate; a multi-task model need not have masks."""
        return tuple(kind for kind in self.kinds if kind != "segm" or not self.without_masks)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the figures has to know of the run."""
        notes = []
        if self.kinds_to_evaluate != self.kinds:
            notes.append("masks were not evaluated: the model gives none")
        if self.truncated:
            notes.append(f"in {self.truncated} images the graph's NMS saw only the best of the candidates")
        return tuple(notes)
