"""Detections from the outputs of every task that finds boxes."""

import numpy as np
from numpy.typing import NDArray

from y12.runtime.artefact.nms_settings import NmsSettings
from y12.runtime.artefact.output_layout import OutputLayout
from y12.runtime.options import DetectOptions
from y12.runtime.postprocess.candidates import Picked, picked_from_predictions
from y12.runtime.postprocess.in_graph import picked_from_graph
from y12.runtime.postprocess.predictions import Outputs, check_scores, predictions_from
from y12.runtime.preprocess.letterbox import Letterbox, boxes_to_original, points_to_original
from y12.runtime.results.detections import Detections
from y12.runtime.results.masks import Masks
from y12.runtime.results.oriented import corners_from_xywhr, rotated_to_original, upright_from_corners


def decode_boxes(
    outputs: Outputs,
    frame: Letterbox,
    options: DetectOptions,
    layout: OutputLayout,
    names: tuple[str, ...],
    nms_in_graph: NmsSettings | None = None,
) -> Detections:
    """Decode one image's outputs.

    Args:
        outputs: by name, without the batch axis.
        frame: where the image lies in the network's input.
        options: what to keep.
        layout: what the outputs hold, before any NMS.
        names: the class names.
        nms_in_graph: the NMS that the graph ends in; None where it gives raw predictions.

    Raises:
        ArtefactError: the outputs contradict each other or the layout.
        ExecutorError: they hold NaN, infinity, or a score that is none.
        InputError: `options.classes` names a class that the model does not have.
    """
    options.check_classes(len(names))
    if nms_in_graph is not None:
        picked = picked_from_graph(outputs, layout, nms_in_graph, options)
    else:
        predictions = predictions_from(outputs, layout, frame.input_hw)
        if predictions.best is None:
            check_scores(predictions.scores)
        picked = picked_from_predictions(predictions, options)
    return detections_from_picked(picked, frame, names, layout.kpt_shape)


def detections_from_picked(
    picked: Picked,
    frame: Letterbox,
    names: tuple[str, ...],
    kpt_shape: tuple[int, int] | None,
    masks: Masks | None = None,
) -> Detections:
    """Take what was picked back to the original image.

    Args:
        picked: in pixels of the network's input.
        frame: where the image lies in it.
        names: the classes' names.
        kpt_shape: K keypoints of D values each; None where there are none.
        masks: where they are drawn already; else they are made of what was picked, when asked for.
    """
    xywhr = None
    if picked.boxes.shape[1] == 5:
        xywhr = rotated_to_original(picked.boxes, frame)
        height, width = frame.image_hw
        limit = np.array([width, height] * 2, dtype=np.float32)
        xyxy = np.clip(upright_from_corners(corners_from_xywhr(xywhr)), np.float32(0), limit)
    else:
        xyxy = boxes_to_original(picked.boxes, frame)
    if picked.protos is not None:
        masks = Masks.from_prototypes(picked.coefficients, picked.protos, xyxy, frame)
    return Detections(
        xyxy=xyxy,
        confidence=picked.scores,
        class_id=picked.class_ids,
        names=names,
        image_hw=frame.image_hw,
        masks=masks,
        keypoints=_keypoints(picked.keypoints, frame, kpt_shape) if picked.keypoints.shape[1] else None,
        xywhr=xywhr,
        truncated=picked.truncated,
    )


def _keypoints(values: NDArray[np.float32], frame: Letterbox, kpt_shape: tuple[int, int] | None) -> NDArray[np.float32]:
    """Return (N, K, 3) in the original image from (N, K*D); points without a visibility of their own get 1."""
    assert kpt_shape is not None
    points = values.reshape(len(values), *kpt_shape)  # (N, K*D) -> (N, K, D)
    keypoints = np.ones((*points.shape[:2], 3), dtype=np.float32)
    keypoints[..., 2:] = points[..., 2:] if kpt_shape[1] == 3 else 1
    keypoints[..., :2] = points_to_original(points[..., :2], frame)
    return keypoints
