"""Append greedy NMS to a raw graph, in operators every TensorRT builds.

Of each image the K best anchors are the candidates. Box i comes *before* j where its score is higher or, the scores
being equal, its anchor lower; S[j, i] says that i comes before j, is of its class and overlaps it with IoU > t. Then

    keep_0 = valid,    keep_n+1[j] = valid[j] and not any_i (keep_n[i] and S[j, i])    until keep_n+1 = keep_n

Why the end is the answer of greedy NMS: sorted by *before*, S is strictly triangular, so that a fixed point says of
each box: it is kept if it is valid and no kept box before it overlaps it. That is greedy NMS word for word, and it
leaves no freedom: box by box, it determines whether each is kept. Why the end is reached: by the same induction the
nth box is right from step n - 1 on, and stays right; more closely, a box is right from step d - 1 on if the longest
chain of boxes that ends with it, each overlapping the one before, has d boxes. As many steps as the longest chain has
boxes are enough, the one that sees that nothing changes included. No chain has more than K boxes, so that the loop's
bound of K steps cuts nothing off.

What it costs: S is (B, K, K) of one byte, 14.7 MB an image at K = 3840 and 1.05 MB at K = 1024. TensorRT-RTX computes
the overlaps in the kernel that writes S, and reads S once a step; no other matrix is ever written. ONNX Runtime
writes every matrix of the equations: about 0.6 GB an image at K = 3840, 50 MB at K = 1024. Everything is float32:
differences of coordinates near 1000 px need it.

TopK promises no order among equal scores in TensorRT. It is not relied on: *before* is computed, and the rows are
chosen by rank. Only which of several anchors with the same score is the last candidate, where there are more than K
(`truncated`), is TensorRT's choice.
"""

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from y12.errors import GraphError
from y12.exporter.graph.nms.text import Equations, constants_of, outputs_of, text_of
from y12.runtime.artefact.manifest import LOCALISATIONS, NmsSettings
from y12.runtime.tasks import TASKS

__all__ = ["PREFIX", "AnchorLayout", "Predictions", "Rows", "predictions_of", "with_nms"]

PREFIX = "nms/"  # of the names of all nodes and tensors that belong to the NMS
PROTOS = "protos"
OPSETS = range(17, 21)
# The outputs of a multitask graph, by the name of what they hold here.
_TENSORS = {"boxes": "boxes", "scores": "scores", "coefficients": "mask_coefficients", "keypoints": "keypoints"}


@dataclass(frozen=True)
class Rows:
    """Where one kind of prediction is: rows `first` to `first + count` of an output (B, rows, A)."""

    tensor: str
    first: int
    count: int


@dataclass(frozen=True)
class AnchorLayout:
    """How the places of a raw graph tell objects.

    Attributes:
        localisation: one of `y12.runtime.artefact.manifest.LOCALISATIONS`.
        strides: of the levels, in pixels of the input; needed where it is "heatmap".
    """

    localisation: str = LOCALISATIONS[0]
    strides: tuple[int, ...] = ()


@dataclass(frozen=True)
class Predictions:
    """Where a raw graph's outputs hold what NMS needs.

    Attributes:
        boxes: centre x, y, width, height in pixels of the input.
        scores: of each class, 0-1.
        angles: of the boxes, in radians; None where they are upright.
        coefficients: of the masks; the graph has an output `protos` then.
        keypoints: their values.
        objectness: what the scores are to be multiplied by; None where they are the scores.
        peaks_at: the strides of the levels, of which only the peaks of the scores count; empty where all do.
    """

    boxes: Rows
    scores: Rows
    angles: Rows | None = None
    coefficients: Rows | None = None
    keypoints: Rows | None = None
    objectness: Rows | None = None
    peaks_at: tuple[int, ...] = ()

    @property
    def by_name(self) -> dict[str, Rows]:
        """What there is, by the name the equations give it; `raw_scores` where the scores are made of them."""
        scores = "raw_scores" if self.objectness or self.peaks_at else "scores"
        named = {"boxes": self.boxes, scores: self.scores, "objectness": self.objectness, "angles": self.angles}
        named |= {"coefficients": self.coefficients, "keypoints": self.keypoints}
        return {name: rows for name, rows in named.items() if rows is not None}


def predictions_of(
    model: onnx.ModelProto,
    task: str,
    classes: int,
    keypoint_values: int = 0,
    places: AnchorLayout = AnchorLayout(),
) -> Predictions:
    """Return where the raw graph of a task has its predictions.

    Args:
        model: with the outputs of y12's graphs: `output0` with everything one below the other, and `protos`; for
            multitask one output for each kind of prediction. A number of rows that neither the graph states nor
            ONNX's inference finds is believed to be right.
        task: of `y12.runtime.artefact.manifest.TASKS`.
        classes: nc.
        keypoint_values: K * D; 0 where there are no keypoints.
        places: how they tell objects.

    Raises:
        GraphError: there is no NMS for that task, or an output is missing or has another number of rows.
    """
    heights = _heights(model)
    layout = TASKS[task].layout if task in TASKS else None
    if layout is None:
        possible = [name for name, known in TASKS.items() if known.layout is not None]
        raise GraphError(f"NMS: expected one of the tasks {', '.join(possible)}, found {task!r}")
    counts = {"boxes": 4} | ({"objectness": 1} if places.localisation == "anchors" else {}) | {"scores": classes}
    counts |= {"coefficients": heights.get(PROTOS) or 0} if layout.masks else {}
    counts |= {"keypoints": keypoint_values} if layout.keypoints else {}
    counts |= {"angles": 1} if layout.angle else {}
    below: dict[str, int] = {}  # tensor -> rows it has so far
    found: dict[str, Rows] = {}
    for name, count in counts.items():
        if not count and not layout.separate:
            raise GraphError(f"NMS: expected a graph for {task} with {name}; found none of them")
        if count:
            tensor = _TENSORS[name] if layout.separate else "output0"
            found[name] = Rows(tensor, below.get(tensor, 0), count)
            below[tensor] = found[name].first + count
    for tensor, count in below.items():
        if heights.get(tensor, 0) not in (count, None):
            raise GraphError(
                f"NMS: expected an output {tensor} (B, {count}, A) for {task} with {classes} classes, found "
                f"{', '.join(f'{name} of {height} rows' for name, height in heights.items()) or 'none'}"
            )
    return Predictions(**found, peaks_at=places.strides if places.localisation == "heatmap" else ())


def _heights(model: onnx.ModelProto) -> dict[str, int | None]:
    """Return the rows of each output; where the tracer left the number open, as ONNX's inference finds it."""
    heights = {output.name: dims[1] for output in model.graph.output if len(dims := _dims(output)) > 1}
    if None not in heights.values():
        return heights
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    for output in bare.graph.output:
        output.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(bare, data_prop=True).graph.output
    return {output.name: dims[1] for output in inferred if len(dims := _dims(output)) > 1}


def with_nms(model: onnx.ModelProto, settings: NmsSettings, predictions: Predictions) -> onnx.ModelProto:
    """Return a copy of a raw graph that ends in NMS.

    The outputs are those of the form, then `protos` where there are masks. R = max_det; rows after the last
    detection are zeros.

    - packed: `detections` (B, R, 6 + extras) float32: x1 y1 x2 y2 score class, mask coefficients, keypoint values; of
      rotated boxes cx cy w h score class angle. `num` (B, 1) int32, the rows that are detections. `truncated` (B, 1)
      int32: 1 where more anchors than `settings.candidates` scored above the threshold.
    - split: `num_dets` (B, 1) int32, `det_boxes` (B, R, 4) float32, `det_scores` (B, R) float32, `det_classes` (B, R)
      int32, and `det_angles` (B, R, 1), `det_coefficients` (B, R, M), `det_keypoints` (B, R, K*D) where there are any.

    Args:
        model: finished, its precision written in it; B and A may be free.
        settings: form, candidates and thresholds.
        predictions: where its outputs hold what.

    Raises:
        GraphError: the graph's opset or outputs are not what is expected, or it has an NMS already.
        InputError: a class id is asked for that there is not.
    """
    opset = _checked_opset(model)
    settings.options.check_classes(predictions.scores.count)
    batch, anchors = _checked_outputs(model, predictions)
    equations = _equations(settings, predictions, anchors, opset)
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    kept = [output for output in model.graph.output if output.name == PROTOS]
    _append(graph, equations, predictions, batch if isinstance(batch, int) else None)
    del graph.output[:]
    graph.output.extend(
        helper.make_tensor_value_info(name, element, [batch, *dims])
        for name, (element, dims) in outputs_of(equations).items()
    )
    graph.output.extend(kept)
    onnx.checker.check_model(result)
    return result


def _checked_opset(model: onnx.ModelProto) -> int:
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if opset not in OPSETS:
        raise GraphError(f"NMS: expected a graph of opset {OPSETS[0]} to {OPSETS[-1]}, found {opset}")
    return int(opset)


def _checked_outputs(model: onnx.ModelProto, predictions: Predictions) -> tuple[int | str, int | None]:
    """Return B, a number or a symbol, and A, None where it is free.

    Raises:
        GraphError: an output is missing, there is one that would be lost, or a name is taken.
    """
    outputs = {output.name: output for output in model.graph.output}
    read = {rows.tensor for rows in predictions.by_name.values()}
    passed_on = {PROTOS} if predictions.coefficients else set()
    if set(outputs) != read | passed_on:
        raise GraphError(
            f"NMS: expected a raw graph with the outputs {', '.join(sorted(read | passed_on))}, "
            f"found {', '.join(sorted(outputs)) or 'none'}"
        )
    for rows in predictions.by_name.values():
        found, dims = outputs[rows.tensor].type.tensor_type.elem_type, _dims(outputs[rows.tensor])
        fits = len(dims) == 3 and (dims[1] is None or rows.first + rows.count <= dims[1])
        if found != TensorProto.FLOAT or not fits:
            raise GraphError(
                f"NMS: expected {rows.tensor} as float32 (B, {rows.first + rows.count} or more, A), "
                f"found {TensorProto.DataType.Name(found)} {dims}"
            )
    if any(name.startswith(PREFIX) for node in model.graph.node for name in node.output):
        raise GraphError(f"NMS: the graph has tensors named {PREFIX}… already; pass the graph without NMS")
    batch, _, anchors = outputs[predictions.boxes.tensor].type.tensor_type.shape.dim
    return batch.dim_value or batch.dim_param or "batch", anchors.dim_value or None


def _dims(output: onnx.ValueInfoProto) -> tuple[int | None, ...]:
    """Return a tensor's sizes; None where one is free."""
    return tuple(dim.dim_value or None for dim in output.type.tensor_type.shape.dim)


def _equations(settings: NmsSettings, predictions: Predictions, anchors: int | None, opset: int) -> Equations:
    """Choose K, and how many anchors to add so that there are K however few the graph has."""
    wanted = settings.candidates
    candidates = wanted if anchors is None else min(wanted, max(anchors, settings.options.max_det))
    found = predictions.by_name
    return Equations(
        settings=settings,
        classes=predictions.scores.count,
        candidates=candidates,
        padding=candidates if anchors is None else max(0, candidates - anchors),
        extras={name: found[name].count for name in ("coefficients", "keypoints") if name in found},
        rotated=predictions.angles is not None,
        opset=opset,
        objectness=predictions.objectness is not None,
        peaks_at=predictions.peaks_at,
    )


def _append(graph: onnx.GraphProto, equations: Equations, predictions: Predictions, batch: int | None) -> None:
    """Add the nodes and constants to a graph; every node is named after its first output."""
    nms = onnx.parser.parse_model(text_of(equations, batch)).graph
    _prefix_names(nms, set(outputs_of(equations)))
    constants = {PREFIX + name: value for name, value in constants_of(equations).items()}
    for name, rows in predictions.by_name.items():
        name = PREFIX + name
        constants |= {f"{name}_start": np.array([rows.first]), f"{name}_end": np.array([rows.first + rows.count])}
        inputs = [rows.tensor, f"{name}_start", f"{name}_end", f"{PREFIX}axis1"]
        graph.node.append(helper.make_node("Slice", inputs, [name], name=name))
    if equations.peaks_at:
        name = f"{PREFIX}image_shape"
        graph.node.append(helper.make_node("Shape", [graph.input[0].name], [name], name=name))
    graph.node.extend(nms.node)
    read = _names_read(graph)
    graph.initializer.extend(numpy_helper.from_array(v, name) for name, v in constants.items() if name in read)


def _prefix_names(graph: onnx.GraphProto, kept: set[str]) -> None:
    """Put `PREFIX` before all names but those to be kept, and name the nodes; inner graphs share the names."""
    for value in (*graph.input, *graph.output):
        value.name = value.name if value.name in kept else PREFIX + value.name
    for node in graph.node:
        node.name = PREFIX + node.output[0]
        for names in (node.input, node.output):
            names[:] = [name if name in kept else PREFIX + name for name in names]
        for attribute in node.attribute:
            _prefix_names(attribute.g, kept)


def _names_read(graph: onnx.GraphProto) -> set[str]:
    """Return the names that nodes read, those of inner graphs included."""
    inner = (_names_read(attribute.g) for node in graph.node for attribute in node.attribute)
    return {name for node in graph.node for name in node.input}.union(*inner)
