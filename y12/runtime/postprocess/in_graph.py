"""Artefacts whose graph picks the objects: read its forms; refuse or tell of thresholds that cannot be changed."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from y12.errors import ArtefactError, ExecutorError, InputError
from y12.runtime.artefact.nms_settings import NmsSettings
from y12.runtime.artefact.output_layout import OutputLayout, output
from y12.runtime.options import DetectOptions
from y12.runtime.postprocess.candidates import Picked
from y12.runtime.postprocess.predictions import Outputs, check_finite, check_scores, protos_from

__all__ = ["check_against_graph", "notes_on_rows", "picked_from_graph"]


def notes_on_rows(options: DetectOptions, nms: NmsSettings) -> tuple[str, ...]:
    """Return which options have no effect on rows of another exporter's graph, as texts for the user."""
    own = nms.options
    by = "there is no NMS" if nms.is_end_to_end else f"NMS is in the graph, with iou {own.iou:g}"
    notes = {
        f"conf {options.conf:g}: the graph has left out all up to {own.conf:g}": options.conf < own.conf,
        f"max_det {options.max_det}: the graph gives {own.max_det} rows at most": options.max_det > own.max_det,
        f"iou {options.iou:g} has no effect: {by}": options.iou != own.iou,
        f"agnostic has no effect: {by}": options.agnostic and not own.agnostic,
        f"multi_label has no effect: {by}": options.multi_label and not own.multi_label,
    }
    return tuple(note for note, holds in notes.items() if holds)


def check_against_graph(options: DetectOptions, nms: NmsSettings) -> None:
    """Refuse options that y12's NMS in the graph has decided otherwise: they can be made stricter only.

    Raises:
        InputError: a lower conf, a larger max_det, classes that were left out, or another iou, agnostic or
            multi_label.
    """
    baked = nms.options
    left_out = set(options.classes or ()) - set(baked.classes or options.classes or ())
    refused = {
        "conf": (options.conf < baked.conf, f"{baked.conf} or more", options.conf),
        "max_det": (options.max_det > baked.max_det, f"{baked.max_det} or fewer", options.max_det),
        "classes": (bool(left_out), f"some of {baked.classes}", options.classes),
        "iou": (options.iou != baked.iou, baked.iou, options.iou),
        "agnostic": (options.agnostic != baked.agnostic, baked.agnostic, options.agnostic),
        "multi_label": (options.multi_label != baked.multi_label, baked.multi_label, options.multi_label),
    }
    for name, (wrong, expected, value) in refused.items():
        if wrong:
            raise InputError(
                f"{name}: expected {expected}, found {value}: NMS is part of this artefact's graph, with "
                f"{_words(baked)}; export again to change that, or start from Runtime.options"
            )


def picked_from_graph(outputs: Outputs, layout: OutputLayout, nms: NmsSettings, options: DetectOptions) -> Picked:
    """Read what the NMS in the graph left, and filter it further where the options are stricter.

    Raises:
        ArtefactError: an output is missing, or contradicts the manifest.
        ExecutorError: the outputs hold NaN, infinity or a score that is none, or a count that cannot be.
    """
    assert options.keep is None, "resolved by y12.runtime.tasks.resolved_options"
    protos = protos_from(outputs, layout)
    added = layout.added(0 if protos is None else len(protos))
    rows, truncated = _FORMS[nms.form](outputs, added, nms.options.max_det)
    check_finite(rows)
    labels = rows[:, 5]
    if not ((labels == np.floor(labels)) & (labels >= 0) & (labels < layout.class_count)).all():
        raise ArtefactError(
            f"expected class ids of 0 to {layout.class_count - 1}, found {labels.min():g} to "
            f"{labels.max():g}; the artefact's manifest does not fit its network"
        )
    check_scores(rows[:, 4])
    class_ids = labels.astype(np.intp)
    wanted = rows[:, 4] > options.conf
    if options.classes is not None:
        wanted &= np.isin(class_ids, options.classes)
    order = np.argsort(-rows[:, 4], kind="stable")
    order = order[wanted[order]][: options.max_det]
    coefficients, keypoints, angle = np.split(rows[order, 6:], np.cumsum([*added.values()])[:-1], axis=1)
    return Picked(
        boxes=np.concatenate([rows[order, :4], angle], axis=1),
        scores=rows[order, 4],
        class_ids=class_ids[order],
        coefficients=coefficients,
        keypoints=keypoints,
        protos=protos,
        truncated=truncated,
    )


def _packed(outputs: Outputs, added: Mapping[str, int], max_det: int) -> tuple[NDArray[np.float32], bool]:
    """Read detections (max_det, 6 + what the task adds), num (1,) and truncated (1,)."""
    detections = _shaped(outputs, "detections", (max_det, 6 + sum(added.values())))
    count = _count(outputs, "num", max_det)
    return detections[:count], bool(_shaped(outputs, "truncated", (1,))[0])


def _split(outputs: Outputs, added: Mapping[str, int], max_det: int) -> tuple[NDArray[np.float32], bool]:
    """Read num_dets (1,), det_boxes (max_det, 4), det_scores and det_classes (max_det,), and the task's own."""
    count = _count(outputs, "num_dets", max_det)
    columns = [
        _shaped(outputs, "det_boxes", (max_det, 4)),
        _shaped(outputs, "det_scores", (max_det,))[:, None],
        _shaped(outputs, "det_classes", (max_det,))[:, None],
    ]
    columns += [_shaped(outputs, f"det_{name}", (max_det, size)) for name, size in added.items() if size]
    return np.concatenate(columns, axis=1)[:count], False


def _rows(outputs: Outputs, added: Mapping[str, int], max_det: int) -> tuple[NDArray[np.float32], bool]:
    """Read output0 (max_det or fewer, 6 + what the task adds); what is padding has a score of 0."""
    rows = output(outputs, "output0")
    width = 6 + sum(added.values())
    if rows.ndim != 2 or rows.shape[1] != width or len(rows) > max_det:
        raise ArtefactError(
            f"expected an output output0 ({max_det} or fewer, {width}), found {rows.shape}; the artefact's manifest "
            "does not fit its network"
        )
    return rows, False


_FORMS: dict[str, Callable[[Outputs, Mapping[str, int], int], tuple[NDArray[np.float32], bool]]] = {
    "packed": _packed,
    "split": _split,
    "rows": _rows,
}


def _shaped(outputs: Outputs, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return an output that must have one shape."""
    array = output(outputs, name)
    if array.shape != shape:
        raise ArtefactError(
            f"expected an output {name} {shape}, found {array.shape}; the artefact's manifest does not fit its network"
        )
    return array


def _count(outputs: Outputs, name: str, max_det: int) -> int:
    """Return how many rows are valid."""
    count = float(_shaped(outputs, name, (1,))[0])
    if not (count.is_integer() and 0 <= count <= max_det):
        raise ExecutorError(
            f"expected a whole number from 0 to {max_det} in the output {name}, found {count}: export again"
        )
    return int(count)


def _words(options: DetectOptions) -> str:
    classes = "all classes" if options.classes is None else f"classes {options.classes}"
    words = f"conf {options.conf}, iou {options.iou}, max_det {options.max_det}, {classes}"
    return words + ", agnostic" * options.agnostic + ", multi_label" * options.multi_label
