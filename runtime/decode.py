"""The network's output as Detections: threshold, best class, corners, NMS, back to the original image."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from runtime.detections import Detections
from runtime.errors import ArtefactError, ExecutorError
from runtime.letterbox import Letterbox, boxes_to_original
from runtime.nms import nms
from runtime.options import DetectOptions

MAX_CANDIDATES = 30_000  # the best-scored boxes that NMS sees

Outputs = Mapping[str, NDArray[np.float32]]  # of one image, by name, without the batch axis
Decoder = Callable[[Outputs, Letterbox, tuple[str, ...], DetectOptions], Detections]


def decoder_for(task: str) -> Decoder:
    """Give the function that decodes a task's outputs.

    Raises:
        ArtefactError: y12 cannot decode that task.
    """
    if task not in _DECODERS:
        raise ArtefactError(f"expected a model for one of the tasks {', '.join(_DECODERS)}, found task {task!r}")
    return _DECODERS[task]


def detections_from_output(
    output0: NDArray[np.float32], frame: Letterbox, names: tuple[str, ...], options: DetectOptions
) -> Detections:
    """Decode one image's raw output.

    Args:
        output0: (4 + nc, A): centre x, y, width, height in pixels of the network's input, then the classes'
            scores, 0-1.
        frame: where the image lies in the network's input.
        names: the nc class names.
        options: what to keep. A box has one label, its best class; `classes` filters after that choice.

    Raises:
        ArtefactError: the output's shape does not fit the names.
        ExecutorError: the output holds NaN or infinity.
        InputError: `options.classes` names a class that the model does not have.
    """
    _check_output(output0, names, options)
    best_scores = output0[4:].max(axis=0)  # (nc, A) -> (A,)
    anchors = np.flatnonzero(best_scores > options.conf)
    class_ids = output0[4:, anchors].argmax(axis=0)
    if options.classes is not None:
        wanted = np.isin(class_ids, options.classes)
        anchors, class_ids = anchors[wanted], class_ids[wanted]
    scores = best_scores[anchors]
    if len(anchors) > MAX_CANDIDATES:
        best = np.argsort(-scores, kind="stable")[:MAX_CANDIDATES]
        anchors, class_ids, scores = anchors[best], class_ids[best], scores[best]
    xyxy = xyxy_from_xywh(output0[:4, anchors].T)
    kept = nms(xyxy, scores, class_ids, options.iou, options.max_det, options.agnostic)
    return Detections(
        xyxy=boxes_to_original(xyxy[kept], frame),
        confidence=scores[kept],
        class_id=class_ids[kept],
        names=names,
        image_hw=frame.image_hw,
    )


def _check_output(output0: NDArray[np.float32], names: tuple[str, ...], options: DetectOptions) -> None:
    if output0.ndim != 2 or len(output0) != 4 + len(names):
        raise ArtefactError(
            f"expected an output ({4 + len(names)}, A) for {len(names)} classes, found {output0.shape}; "
            "the artefact's manifest does not fit its network"
        )
    options.check_classes(len(names))
    if not np.isfinite(output0).all():
        raise ExecutorError(
            "expected finite numbers from the network, found NaN or infinity: an FP16 or INT8 artefact may "
            "have overflowed; export in FP32 and compare"
        )


def xyxy_from_xywh(xywh: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn (N, 4) centres and sizes into corners."""
    half = xywh[:, 2:] * np.float32(0.5)
    return np.concatenate([xywh[:, :2] - half, xywh[:, :2] + half], axis=1)


def _decode_detect(outputs: Outputs, frame: Letterbox, names: tuple[str, ...], options: DetectOptions) -> Detections:
    if "output0" not in outputs:
        raise ArtefactError(f"expected a network output named output0, found {', '.join(outputs) or 'none'}")
    return detections_from_output(outputs["output0"], frame, names, options)


_DECODERS: dict[str, Decoder] = {"detect": _decode_detect}
