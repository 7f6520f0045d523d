"""Detections from a classifier's output: the best classes of the image as a whole."""

import numpy as np

from y12.errors import ArtefactError
from y12.runtime.artefact.output_layout import output
from y12.runtime.options import DetectOptions
from y12.runtime.postprocess.predictions import Outputs, check_finite, check_scores
from y12.runtime.preprocess.crop import CentreCrop
from y12.runtime.results.detections import Detections

TOP = 5  # classes listed at most


def decode_classes(outputs: Outputs, frame: CentreCrop, options: DetectOptions, names: tuple[str, ...]) -> Detections:
    """Return the `TOP` best classes (`max_det`, where that is fewer) as rows, best first.

    `conf` keeps the classes above it; 0 keeps all. Of the options, `classes` lists those only; the others have no
    meaning here.

    Args:
        outputs: `output0` (nc,), probabilities.
        frame: what the network saw of the image; the rows' `xyxy`.
        options: what to keep.
        names: the class names.

    Raises:
        ArtefactError: there are not as many probabilities as names.
        ExecutorError: one is NaN or infinite, or not from 0 to 1.
        InputError: `options.classes` names a class that the model does not have.
    """
    probabilities = output(outputs, "output0")
    if probabilities.shape != (len(names),):
        raise ArtefactError(
            f"expected an output ({len(names)},) for {len(names)} classes, found "
            f"{probabilities.shape}; the artefact's manifest does not fit its network"
        )
    check_finite(probabilities)
    check_scores(probabilities)
    options.check_classes(len(names))
    order = np.argsort(-probabilities, kind="stable")
    wanted = (probabilities > options.conf) | (options.conf == 0)
    if options.classes is not None:
        wanted &= np.isin(np.arange(len(probabilities)), options.classes)
    best = order[wanted[order]][: min(TOP, options.max_det)]
    return Detections(
        xyxy=np.tile(np.array(frame.region_xyxy, np.float32), (len(best), 1)),
        confidence=probabilities[best],
        class_id=best,
        names=names,
        image_hw=frame.image_hw,
        whole_image=True,
    )
