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

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from y12.errors import GraphError
from y12.exporter.graph.nms.text import Equations, constants_of, outputs_of, text_of
from y12.runtime.artefact.nms_settings import NmsSettings
from y12.runtime.artefact.output_layout import PROTOS, OutputLayout, Rows, heights_of

__all__ = ["PREFIX", "prefix_names", "rows_of", "with_nms"]

PREFIX = "nms/"  # of the names of all nodes and tensors that belong to the NMS
OPSETS = range(17, 21)


def rows_of(model: onnx.ModelProto, layout: OutputLayout) -> dict[str, Rows]:
    """Return where a graph without NMS has each kind of prediction.

    A number of rows that neither the graph states nor ONNX's inference finds is believed to be right.

    Args:
        model: with the outputs of y12's graphs; the prototypes of masks are named `protos`.
        layout: what they hold.

    Raises:
        GraphError: an output is missing or has another number of rows, or there is one that would be lost.
    """
    heights = _heights(model)
    prototypes = heights.get(PROTOS) or 0
    if layout.has_masks and not layout.is_separate and not prototypes:
        raise GraphError(f"NMS: expected a graph for {layout.task} with an output {PROTOS}, found none")
    rows = layout.rows(prototypes)
    expected = {part.output for part in rows.values()} | ({PROTOS} if "coefficients" in rows else set())
    names = {output.name for output in model.graph.output}
    if names != expected:
        raise GraphError(
            f"NMS: expected a raw graph with the outputs {', '.join(sorted(expected))}, "
            f"found {', '.join(sorted(names)) or 'none'}"
        )
    for tensor, count in heights_of(rows).items():
        if heights.get(tensor, 0) not in (count, None):
            raise GraphError(
                f"NMS: expected an output {tensor} (B, {count}, A) for {layout.task} with {layout.class_count} "
                f"classes, found {', '.join(f'{name} of {height} rows' for name, height in heights.items()) or 'none'}"
            )
    return rows


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


def with_nms(model: onnx.ModelProto, settings: NmsSettings, layout: OutputLayout) -> onnx.ModelProto:
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
        layout: what its outputs hold.

    Raises:
        GraphError: the graph's opset or outputs are not what is expected, or it has an NMS already.
        InputError: a class id is asked for that there is not.
    """
    opset = _checked_opset(model)
    settings.options.check_classes(layout.class_count)
    rows = rows_of(model, layout)
    batch, anchors = _checked_outputs(model, rows)
    equations = _equations(settings, layout, rows, anchors, opset)
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    kept = [output for output in model.graph.output if output.name == PROTOS]
    _append(graph, equations, rows, batch if isinstance(batch, int) else None)
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


def _checked_outputs(model: onnx.ModelProto, rows: Mapping[str, Rows]) -> tuple[int | str, int | None]:
    """Return B, a number or a symbol, and A, None where it is free.

    Raises:
        GraphError: an output has another type or number of axes, or a name is taken.
    """
    outputs = {output.name: output for output in model.graph.output}
    for name in heights_of(rows):
        element, dims = outputs[name].type.tensor_type.elem_type, _dims(outputs[name])
        if element != TensorProto.FLOAT or len(dims) != 3:
            raise GraphError(
                f"NMS: expected {name} as float32 (B, rows, A), found {TensorProto.DataType.Name(element)} {dims}"
            )
    if any(name.startswith(PREFIX) for node in model.graph.node for name in node.output):
        raise GraphError(f"NMS: the graph has tensors named {PREFIX}… already; pass the graph without NMS")
    batch, _, anchors = outputs[rows["boxes"].output].type.tensor_type.shape.dim
    return batch.dim_value or batch.dim_param or "batch", anchors.dim_value or None


def _dims(output: onnx.ValueInfoProto) -> tuple[int | None, ...]:
    """Return a tensor's sizes; None where one is free."""
    return tuple(dim.dim_value or None for dim in output.type.tensor_type.shape.dim)


def _equations(
    settings: NmsSettings, layout: OutputLayout, rows: Mapping[str, Rows], anchors: int | None, opset: int
) -> Equations:
    """Choose K, and how many anchors to add so that there are K however few the graph has."""
    wanted = settings.candidates
    candidates = wanted if anchors is None else min(wanted, max(anchors, settings.options.max_det))
    return Equations(
        settings=settings,
        classes=layout.class_count,
        candidates=candidates,
        padding=candidates if anchors is None else max(0, candidates - anchors),
        extras={name: rows[name].count for name in ("coefficients", "keypoints") if name in rows},
        rotated=layout.is_oriented,
        opset=opset,
        objectness=layout.has_objectness,
        peaks_at=layout.peaks_at,
    )


def _append(graph: onnx.GraphProto, equations: Equations, rows: Mapping[str, Rows], batch: int | None) -> None:
    """Add the nodes and constants to a graph; every node is named after its first output."""
    nms = onnx.parser.parse_model(text_of(equations, batch)).graph
    prefix_names(nms, set(outputs_of(equations)))
    constants = {PREFIX + name: value for name, value in constants_of(equations).items()}
    for tensor in equations.inputs:
        part, name = rows[tensor.removeprefix("raw_")], PREFIX + tensor
        constants |= {f"{name}_start": np.array([part.first]), f"{name}_end": np.array([part.first + part.count])}
        inputs = [part.output, f"{name}_start", f"{name}_end", f"{PREFIX}axis1"]
        graph.node.append(helper.make_node("Slice", inputs, [name], name=name))
    if equations.peaks_at:
        name = f"{PREFIX}image_shape"
        graph.node.append(helper.make_node("Shape", [graph.input[0].name], [name], name=name))
    graph.node.extend(nms.node)
    read = _names_read(graph)
    graph.initializer.extend(numpy_helper.from_array(v, name) for name, v in constants.items() if name in read)


def prefix_names(graph: onnx.GraphProto, kept: set[str], prefix: str = PREFIX) -> None:
    """Put a prefix before all names but those to be kept, and name the nodes; inner graphs share the names."""
    for value in (*graph.input, *graph.output):
        value.name = value.name if value.name in kept else prefix + value.name
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [name if name in kept else prefix + name for name in names]
        node.name = prefix + node.output[0].removeprefix(prefix)
        for attribute in node.attribute:
            prefix_names(attribute.g, kept, prefix)


def _names_read(graph: onnx.GraphProto) -> set[str]:
    """Return the names that nodes read, those of inner graphs included."""
    inner = (_names_read(attribute.g) for node in graph.node for attribute in node.attribute)
    return {name for node in graph.node for name in node.input}.union(*inner)
