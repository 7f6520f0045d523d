"""Append the choice of the best scores to a raw graph: of a network that was trained to need no NMS.

Of A anchors with a score for each class, the N best pairs of anchor and class are the objects. An anchor of such a pair
is among the N whose best score is highest, so that it is done in two steps, and the second is small:

    a = anchors of the N largest max_c(score[c, :]);    pairs = the N largest of score[:, a], class = pair mod classes

Row by row, best first: x1 y1 x2 y2 score class and what the task adds; of oriented boxes x y width height score class
angle. Where there are fewer anchors than rows, there are as many rows as anchors.
"""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from y12.errors import GraphError
from y12.exporter.graph.nms.nms import prefix_names, rows_of
from y12.runtime.artefact.graph_outputs import BOXES
from y12.runtime.artefact.manifest import MAX_NMS_CANDIDATES, NmsSettings
from y12.runtime.artefact.output_layout import PROTOS, OutputLayout

__all__ = ["with_best_rows"]

_PREFIX = "rows/"  # of the names of all nodes and tensors that are added
_RAW = "raw"  # with the prefix, what the raw predictions (B, R, A) are called then

_CHOICE = """
    by_anchor = Transpose<perm = [0, 2, 1]>(raw)
    scores = Slice(by_anchor, scores_at, scores_end, last)
    best = ReduceMax{over}
    {count}
    best_value, best_at = TopK<axis = 1>(best, count)
    best_column = Unsqueeze(best_at, last)
    best_places = Expand(best_column, channels)
    of_best = GatherElements<axis = 1>(by_anchor, best_places)
    scores_of_best = Slice(of_best, scores_at, scores_end, last)
    pairs = Reshape(scores_of_best, flat)
    score_row, pair = TopK<axis = 1>(pairs, count)
    place = Div(pair, classes)
    place_column = Unsqueeze(place, last)
    places = Expand(place_column, channels)
    row = GatherElements<axis = 1>(of_best, places)
    score = Unsqueeze(score_row, last)
    label_id = Mod(pair, classes)
    label_float = Cast<to = 1>(label_id)
    label = Unsqueeze(label_float, last)
"""
_CORNERS = """
    middle = Slice(row, zero, two, last)
    size = Slice(row, two, scores_at, last)
    half_size = Mul(size, half)
    near = Sub(middle, half_size)
    far = Add(middle, half_size)
"""
_CENTRES = "box = Slice(row, zero, scores_at, last)"
_FREE_COUNT = "shape = Shape<start = 1>(best) count = Min(shape, wanted)"


def with_best_rows(model: onnx.ModelProto, settings: NmsSettings, layout: OutputLayout) -> onnx.ModelProto:
    """Return a copy of a raw graph that ends in the rows of its best scores.

    Args:
        model: as `y12.exporter.graph.nms.nms.with_nms` takes it.
        settings: how many rows.
        layout: what its outputs hold.

    Raises:
        GraphError: the graph's outputs are not what is expected, or there would be too many rows.
    """
    wanted = settings.options.max_det
    if wanted > MAX_NMS_CANDIDATES:
        raise GraphError(f"expected at most {MAX_NMS_CANDIDATES} rows, which TensorRT can pick, found {wanted}")
    rows = rows_of(model, layout)
    extras = sum(part.count for name, part in rows.items() if name not in ("boxes", "scores"))
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [_PREFIX + _RAW if name == BOXES else name for name in names]
    raw = next(output for output in graph.output if output.name == BOXES).type.tensor_type.shape.dim
    anchors = raw[2].dim_value or None
    opset = max(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    added = _parsed(opset, layout, extras, is_free=anchors is None)
    graph.node.extend(added.node)
    constants = _constants(wanted if anchors is None else min(wanted, anchors), rows["scores"].count, extras)
    read = {n for node in added.node for n in node.input} - {n for node in added.node for n in node.output}
    graph.initializer.extend(numpy_helper.from_array(v, n) for n, v in constants.items() if n in read)
    kept = [output for output in graph.output if output.name == PROTOS]
    sizes = [raw[0].dim_value or raw[0].dim_param or "batch", anchors and min(wanted, anchors), 6 + extras]
    del graph.output[:]
    graph.output.extend([helper.make_tensor_value_info(BOXES, TensorProto.FLOAT, sizes), *kept])
    onnx.checker.check_model(result)
    return result


def _parsed(opset: int, layout: OutputLayout, extras: int, *, is_free: bool) -> onnx.GraphProto:
    """Return the nodes; the axes of a reduction moved from an attribute to an input in opset 18."""
    over = "<axes = [2], keepdims = 0>(scores)" if opset < 18 else "<keepdims = 0>(scores, last)"
    text = _CHOICE.format(over=over, count=_FREE_COUNT if is_free else "")
    text += _CENTRES if layout.is_oriented else _CORNERS
    columns = (["box"] if layout.is_oriented else ["near", "far"]) + ["score", "label"]
    if extras:
        text += " extras = Slice(row, scores_end, rows_end, last)"
        columns.append("extras")
    text += f" {BOXES} = Concat<axis = 2>({', '.join(columns)})"
    head = f'<ir_version: 8, opset_import: ["" : {opset}]> rows (float[b, r, a] {_RAW}) => (float[b, n, f] {BOXES})'
    graph = onnx.parser.parse_model(f"{head} {{ {text} }}").graph
    prefix_names(graph, {BOXES}, _PREFIX)
    return graph


def _constants(count: int, classes: int, extras: int) -> dict[str, NDArray[np.generic]]:
    channels = 4 + classes + extras
    ints = {"zero": 0, "two": 2, "last": 2, "scores_at": 4, "scores_end": 4 + classes, "rows_end": channels}
    ints |= {"classes": classes, "count": count, "wanted": count}
    lists = {name: [value] for name, value in ints.items()} | {"channels": [1, 1, channels], "flat": [0, -1]}
    constants: dict[str, NDArray[np.generic]] = {
        _PREFIX + name: np.array(values, np.int64) for name, values in lists.items()
    }
    return constants | {f"{_PREFIX}half": np.array(0.5, np.float32)}
