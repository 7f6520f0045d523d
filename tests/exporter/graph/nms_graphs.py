"""Graphs that give as raw predictions what they are fed, and what greedy NMS in numpy makes of these."""

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from text_models import model_of, run

from y12.exporter.graph.nms.nms import with_nms
from y12.runtime.artefact.nms_settings import NmsSettings
from y12.runtime.artefact.output_layout import OutputLayout
from y12.runtime.options import DetectOptions
from y12.runtime.postprocess.candidates import xyxy_from_xywh
from y12.runtime.postprocess.nms import nms, rotated_nms

MASKS, KPT_SHAPE = 4, (2, 3)
KEYPOINT_VALUES = 6
EXTRAS = {
    "detect": 0,
    "segment": MASKS,
    "pose": KEYPOINT_VALUES,
    "obb": 1,
    "multitask": MASKS + KEYPOINT_VALUES,
}
_APART = {"boxes": 4, "scores": 0, "mask_coefficients": MASKS, "keypoints": KEYPOINT_VALUES}

Outputs = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Raw:
    """A raw graph that is fed its own predictions as images (B, 4 + nc + extras, 1, A).

    Attributes:
        task: of the graph.
        classes: nc.
        batch, anchors: of the graph's outputs; a symbol where free.
        opset: of the graph.
    """

    task: str = "detect"
    classes: int = 3
    batch: int | str = 1
    anchors: int | str = 60
    opset: int = 20

    @property
    def rows(self) -> int:
        return 4 + self.classes + EXTRAS[self.task]

    @property
    def model(self) -> onnx.ModelProto:
        b, a = self.batch, self.anchors
        outputs = {"output0": self.rows}
        if self.task == "multitask":
            outputs = {**_APART, "scores": self.classes}
        texts = [f"float[{b}, {rows}, {a}] {name}" for name, rows in outputs.items()]
        cut = "[cut] output0 = Identity(rows)"
        if self.task == "multitask":
            cut = f"[cut] {', '.join(outputs)} = Split<axis=1>(rows, sizes)"
        if self.task in ("segment", "multitask"):
            texts.append(f"float[{b}, {MASKS}, 1, {a}] protos")
            cut += " [protos] protos = Slice(images, zero, masks, one)"
        model = model_of(
            f"(float[{b}, {self.rows}, 1, {a}] images) => ({', '.join(texts)}) "
            f"{{ [flat] rows = Squeeze(images, two) {cut} }}",
            two=np.array([2]),
            one=np.array([1]),
            zero=np.array([0]),
            masks=np.array([MASKS]),
            sizes=np.array(list(outputs.values())),
        )
        read = {name for node in model.graph.node for name in node.input}
        for weight in [weight for weight in model.graph.initializer if weight.name not in read]:
            model.graph.initializer.remove(weight)
        model.opset_import[0].version = self.opset
        return model

    def with_nms(self, settings: NmsSettings) -> onnx.ModelProto:
        return with_nms(self.model, settings, layout_of(self.task, self.classes))


def layout_of(task: str, classes: int) -> OutputLayout:
    """Return the layout of a task's outputs; of those with keypoints, of two."""
    return OutputLayout(task, classes, KPT_SHAPE if task in ("pose", "multitask") else None)


def packed(candidates: int = 60, **options: object) -> NmsSettings:
    """Settings of the form packed."""
    return NmsSettings("packed", candidates, DetectOptions(**{"max_det": 20, **options}))


def split(candidates: int = 60, **options: object) -> NmsSettings:
    """Settings of the form split."""
    return NmsSettings("split", candidates, DetectOptions(**{"max_det": 20, **options}))


def found(raw: Raw, settings: NmsSettings, rows: NDArray[np.float32]) -> Outputs:
    """Run the graph with NMS on predictions (B, rows, A)."""
    return run(raw.with_nms(settings), rows[:, :, None].astype(np.float32))


def expected(raw: Raw, settings: NmsSettings, rows: NDArray[np.float32]) -> Outputs:
    """Return the packed outputs by numpy, for predictions (B, rows, A)."""
    images = [_one(raw, settings, image) for image in rows]
    detections = np.zeros((len(images), settings.options.max_det, 2 + raw.rows - raw.classes), np.float32)
    for table, (kept, _) in zip(detections, images, strict=True):
        table[: len(kept)] = kept
    return {
        "detections": detections,
        "num": np.array([[len(kept)] for kept, _ in images], np.float32),
        "truncated": np.array([[passing > settings.candidates] for _, passing in images], np.float32),
    }


def _one(raw: Raw, settings: NmsSettings, rows: NDArray[np.float32]) -> tuple[NDArray[np.float32], int]:
    """Return the rows of one image, and how many anchors pass the threshold and the filter."""
    options, nc = settings.options, raw.classes
    scores = rows[4 : 4 + nc]
    best, labels = scores.max(axis=0), scores.argmax(axis=0)
    passing = best > options.conf
    if options.classes is not None:
        passing &= np.isin(labels, options.classes)
    anchors = np.flatnonzero(passing)
    anchors = anchors[np.argsort(-best[anchors], kind="stable")[: settings.candidates]]
    boxes, extras = rows[:4, anchors].T, rows[4 + nc :, anchors].T
    judge = best[anchors], labels[anchors], options.iou, options.max_det, options.agnostic
    if raw.task == "obb":
        kept = rotated_nms(np.concatenate([boxes, extras], axis=1), *judge)
    else:
        boxes = xyxy_from_xywh(boxes)
        kept = nms(boxes, *judge)
    table = np.concatenate([boxes, best[anchors, None], labels[anchors, None], extras], axis=1)[kept]
    return table.astype(np.float32), int(passing.sum())


def clustered(raw: Raw, settings: NmsSettings, batch: int = 1, anchors: int = 60, seed: int = 0) -> NDArray[np.float32]:
    """Predictions (B, rows, A) of boxes in clusters, none of which overlap by almost exactly the threshold.

    float32 and float64 may judge such pairs differently; a box of each gets no score.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    rows = rng.random((batch, raw.rows, anchors), dtype=np.float32)
    centres = rng.random((batch, 2, max(1, anchors // 12))) * 600
    members = rng.integers(0, centres.shape[2], (batch, 1, anchors))
    rows[:, :2] = np.take_along_axis(centres, members, axis=2) + rng.normal(0, 5, (batch, 2, anchors))
    rows[:, 2:4] = 90 + 20 * rows[:, 2:4]
    if raw.task == "obb":
        rows[:, 2] *= 3
        rows[:, -1] = members[:, 0] % 3 + rng.normal(0, 0.1, (batch, anchors))
    for image in rows:
        image[4 : 4 + raw.classes, _close_calls(raw, settings, image)] = 0
    return rows


def _close_calls(raw: Raw, settings: NmsSettings, rows: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return the boxes that overlap an earlier one by almost exactly the threshold."""
    return np.flatnonzero(np.triu(np.abs(overlaps(raw, rows) - settings.options.iou) < 1e-4, k=1).any(axis=0))


def overlaps(raw: Raw, rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the IoU, of rotated boxes the ProbIoU, of all pairs of an image's boxes, in float64 and spelled out."""
    x, y, w, h = rows[:4].astype(np.float64)
    if raw.task == "obb":
        return _probiou(x, y, w, h, rows[-1].astype(np.float64))
    width = np.minimum.outer(x + w / 2, x + w / 2) - np.maximum.outer(x - w / 2, x - w / 2)
    height = np.minimum.outer(y + h / 2, y + h / 2) - np.maximum.outer(y - h / 2, y - h / 2)
    intersection = np.maximum(width, 0) * np.maximum(height, 0)
    return intersection / (np.add.outer(w * h, w * h) - intersection)


def _probiou(x, y, w, h, r) -> NDArray[np.float64]:
    """arXiv 2106.06072, equations as printed there; not the form that graph and runtime compute."""
    a, b = w**2 / 12, h**2 / 12
    A = a * np.cos(r) ** 2 + b * np.sin(r) ** 2
    B = a * np.sin(r) ** 2 + b * np.cos(r) ** 2
    C = (a - b) * np.cos(r) * np.sin(r)
    dx, dy = np.subtract.outer(x, x), np.subtract.outer(y, y)
    AA, BB, CC = (np.add.outer(v, v) for v in (A, B, C))
    D = AA * BB - CC**2
    t1 = (AA * dy**2 + BB * dx**2) / D / 4
    t2 = -CC * dx * dy / D / 2
    t3 = np.log(D / (4 * np.sqrt(np.multiply.outer(A * B - C**2, A * B - C**2)))) / 2
    return 1 - np.sqrt(1 - np.exp(-np.maximum(t1 + t2 + t3, 0)))
