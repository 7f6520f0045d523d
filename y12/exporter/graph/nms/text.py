"""The graph of an NMS as ONNX text, put together from `y12.exporter.graph.nms.equations`, and its constants."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from y12.exporter.graph.nms import equations as equation
from y12.runtime.artefact.nms_settings import NmsSettings
from y12.runtime.results.oriented import MIN_SIDE

__all__ = ["STEPS", "Equations", "constants_of", "outputs_of", "text_of"]

# Steps between two looks at whether anything still changes. TensorRT decides on the host, which costs as much as a
# few steps; a step after the last change changes nothing.
STEPS = 2
# A Bhattacharyya distance whose ProbIoU, 1 - sqrt(1 - exp(-BD)), rounds to 0 in the float64 of `probiou`.
_NO_OVERLAP = 36.7


@dataclass(frozen=True)
class Equations:
    """What the text depends on.

    Attributes:
        settings: form, thresholds and rows.
        classes: nc.
        candidates: K, at least `settings.options.max_det`.
        padding: anchors without a score that are added so that there are K; 0 where there are always enough.
        extras: what is carried along for each box: {"coefficients" or "keypoints": values}.
        rotated: the boxes have angles.
        opset: of the graph; the axes of some reductions moved from an attribute to an input in 18.
        objectness: the scores are the product of it and of the classes' own.
        peaks_at: strides of the levels, of which only the peaks of the scores count; empty where all do.
    """

    settings: NmsSettings
    classes: int
    candidates: int
    padding: int
    extras: Mapping[str, int]
    rotated: bool
    opset: int
    objectness: bool = False
    peaks_at: tuple[int, ...] = ()

    @property
    def inputs(self) -> tuple[str, ...]:
        """The tensors it starts from, each (B, rows, A)."""
        scores = ("raw_scores",) if self.objectness or self.peaks_at else ("scores",)
        objectness = ("objectness",) if self.objectness else ()
        return ("boxes", *scores, *objectness, *(("angles",) if self.rotated else ()), *self.extras)

    @property
    def widths(self) -> dict[str, int]:
        """The columns of a row, in order; they add up to F."""
        return {"box": 4, "score": 1, "label": 1, **({"angle": 1} if self.rotated else {}), **self.extras}


def outputs_of(equations: Equations) -> dict[str, tuple[int, tuple[int, ...]]]:
    """Return the outputs by name, in order: the type, and the sizes after the batch."""
    rows, widths = equations.settings.options.max_det, equations.widths
    if equations.settings.form == "packed":
        detections = (TensorProto.FLOAT, (rows, sum(widths.values())))
        return {"detections": detections, "num": (TensorProto.INT32, (1,)), "truncated": (TensorProto.INT32, (1,))}
    beside = {equation.SPLIT_NAMES[name]: width for name, width in widths.items() if name not in ("score", "label")}
    return {
        "num_dets": (TensorProto.INT32, (1,)),
        "det_boxes": (TensorProto.FLOAT, (rows, beside.pop("det_boxes"))),
        "det_scores": (TensorProto.FLOAT, (rows,)),
        "det_classes": (TensorProto.INT32, (rows,)),
        **{name: (TensorProto.FLOAT, (rows, width)) for name, width in beside.items()},
    }


def text_of(equations: Equations, batch: int | None) -> str:
    """Return the graph as ONNX text: `equations.inputs` to `outputs_of`, with the constants of `constants_of`.

    Where there are peaks, `image_shape`, the shape of the network's input, is one input more.

    Args:
        equations: what it depends on.
        batch: B; None where it is free.
    """
    options = equations.settings.options
    size = "N" if batch is None else str(batch)
    over_classes = {"best": ("ReduceMax", "scores"), "label": ("ReduceMin", "best_ids")}
    parts = [
        equation.OBJECTNESS if equations.objectness else "",
        _peaks(len(equations.peaks_at)) if equations.peaks_at else "",
        equation.LABELS.format(**{name: _over_classes(*call, equations.opset) for name, call in over_classes.items()}),
        equation.ALL_CLASSES if options.classes is None else equation.SOME_CLASSES,
        equation.SCORES,
        equation.BEST_OF_PADDED if equations.padding else equation.BEST,
        equation.CANDIDATES,
        equation.ORDER,
        equation.ANY_CLASS if options.agnostic else equation.SAME_CLASS,
        _rotated() if equations.rotated else equation.UPRIGHT,
        _suppression(size, equations.candidates),
        equation.ROWS.format(angle=", angle" if equations.rotated else ""),
        *(equation.EXTRA.format(name=name) for name in equations.extras),
        equation.TABLE.format(columns=", ".join(["own_columns", *(f"row_{name}" for name in equations.extras)])),
        equation.PACKED if equations.settings.form == "packed" else _split(equations),
    ]
    inputs = ", ".join(f"float[{size}, {name}_rows, A] {name}" for name in equations.inputs)
    inputs += ", int64[4] image_shape" if equations.peaks_at else ""
    outputs = ", ".join(outputs_of(equations))
    return f'<ir_version: 9, opset_import: ["" : {equations.opset}]> nms ({inputs}) => ({outputs}) {{{"".join(parts)}}}'


def constants_of(equations: Equations) -> dict[str, NDArray[np.generic]]:
    """Return the constants the text names; some of them it may not use."""
    options, k = equations.settings.options, equations.candidates
    f32, i64 = np.float32, np.int64
    wanted = np.isin(np.arange(equations.classes), options.classes or ())
    column_count = sum(equations.widths.values()) - sum(equations.extras.values())
    return {
        "conf": np.array(options.conf, f32),
        "iou": np.array(options.iou, f32),
        "farthest": np.array(_farthest(options.iou), f32),
        "limit_count": np.array(equations.settings.candidates, f32),
        "k_float": np.array(k, f32),
        "ids": np.arange(equations.classes, dtype=f32).reshape(1, -1, 1),
        "last_id": np.array(equations.classes - 1, f32),
        "wanted": wanted.astype(f32),
        **{name: np.array(value, f32) for name, value in (("zero", 0), ("half", 0.5), ("four", 4), ("twelve", 12))},
        "min_side": np.array(MIN_SIDE, f32),
        "k": np.array([k], i64),
        "rows": np.array([options.max_det], i64),
        "bound": np.array(-(-k // STEPS), i64),
        "true": np.array(True),
        "whole_zero": np.array(0, i64),
        "axis1": np.array([1], i64),
        "axis2": np.array([2], i64),
        "padding": np.array([0, 0, 0, 0, 0, equations.padding], i64),
        "two_two": np.array([2, 2], i64),
        **{f"one_{n}": np.ones(n, i64) for n in (4, 7)},
        **{f"stride_{n}": np.array([stride], i64) for n, stride in enumerate(equations.peaks_at, 1)},
        "end_0": np.array([0], i64),
        "same_two": np.array([0, 0], i64),  # as it was, to Reshape
        "shape_flat": np.array([0, 0, -1], i64),
        "one_one": np.ones(2, i64),
        "widths": np.array(list(equations.widths.values()), i64),
        "shape_kept": np.array([-1, 1, k], i64),
        "shape4": np.array([1, 4, 1], i64),
        "shape_columns": np.array([1, column_count, 1], i64),
        **{f"shape_{name}": np.array([1, values, 1], i64) for name, values in equations.extras.items()},
    }


def _farthest(iou: float) -> float:
    """Return L: a ProbIoU above `iou` is a Bhattacharyya distance below L."""
    return _NO_OVERLAP if iou <= 0 else min(-math.log1p(-((1 - iou) ** 2)), _NO_OVERLAP)


def _over_classes(op: str, tensor: str, opset: int) -> str:
    return f"{op}({tensor}, axis1)" if opset >= 18 else f"{op}<axes=[1]>({tensor})"


def _peaks(levels: int) -> str:
    numbers = range(1, levels + 1)
    texts = [equation.LEVEL.format(n=n, m=n - 1) for n in numbers]
    return "".join([equation.IMAGE_SIZE, *texts, equation.PEAKS.format(levels=", ".join(f"flat_{n}" for n in numbers))])


def _rotated() -> str:
    return equation.ROTATED.format(
        spread_i=equation.SPREAD.replace("_N", "_i"), spread_j=equation.SPREAD.replace("_N", "_j")
    )


def _suppression(batch: str, candidates: int) -> str:
    steps = "".join(equation.STEP.format(n=n + 1, m=n) for n in range(STEPS))
    return equation.SUPPRESSION.format(batch=batch, k=candidates, steps=steps, last=STEPS, before_last=STEPS - 1)


def _split(equations: Equations) -> str:
    return equation.SPLIT.format(outputs=", ".join(equation.SPLIT_NAMES[name] for name in equations.widths))
