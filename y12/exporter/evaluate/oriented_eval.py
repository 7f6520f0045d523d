"""COCO's evaluation with oriented boxes: the matching is pycocotools', only the overlap is ProbIoU."""

from typing import Any

import numpy as np
from pycocotools.cocoeval import COCOeval

from y12.runtime.results.oriented import probiou

__all__ = ["OrientedEval"]


class OrientedEval(COCOeval):  # type: ignore[misc]  # pycocotools has no types
    """COCOeval for annotations and results that carry "xywhr": centre, sides and the angle in radians."""

    def computeIoU(self, image_id: int, category_id: int) -> Any:  # pycocotools' name
        """Return the overlaps of an image's results, best first, with its labels of one category, (D, G)."""
        truth, results = self._gts[image_id, category_id], self._dts[image_id, category_id]
        if not truth or not results:
            return []
        order = np.argsort([-result["score"] for result in results], kind="mergesort")[: self.params.maxDets[-1]]
        boxes = np.array([results[i]["xywhr"] for i in order], np.float64)
        return probiou(boxes[:, None], np.array([label["xywhr"] for label in truth], np.float64)[None])
