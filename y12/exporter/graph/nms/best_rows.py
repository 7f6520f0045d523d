"""Append the choice of the best scores to a raw graph: of a network that was trained to need no NMS.

Of A anchors with a score for each class, the N best pairs of anchor and class are the objects. An anchor of such a pair
is among the N whose best score is highest, so that it is done in two steps, and the second is small:

    a = anchors of the N largest max_c(score[c, :]);    pairs = the N largest of score[:, a], class = pair mod classes

Row by row, best first: x1 y1 x2 y2 score class and what the task adds; of oriented boxes x y width height score class
angle. Where there are fewer anchors than rows, there are as many rows as anchors.
"""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from y12.errors import GraphError
from y12.exporter.graph.nms.nms import rows_of
from y12.runtime.artefact.graph_outputs import BOXES
from y12.runtime.artefact.manifest import MAX_NMS_CANDIDATES, NmsSettings
from y12.runtime.artefact.output_layout import PROTOS, OutputLayout

__all__ = ["with_best_rows"]

_PREFIX = "rows/"  # of the names of all nodes and tensors that are added
_RAW = f"{BOXES}_raw"


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
        node.input[:] = [_RAW if name == BOXES else name for name in node.input]
        node.output[:] = [_RAW if name == BOXES else name for name in node.output]
    raw = next(output for output in graph.output if output.name == BOXES).type.tensor_type.shape.dim
    anchors = raw[2].dim_value or None
    _Writer(result, rows["scores"].count, extras).write(wanted, anchors, upright=not layout.is_oriented)
    kept = [output for output in graph.output if output.name == PROTOS]
    sizes = [raw[0].dim_value or raw[0].dim_param or "batch", anchors and min(wanted, anchors), 6 + extras]
    del graph.output[:]
    graph.output.extend([helper.make_tensor_value_info(BOXES, TensorProto.FLOAT, sizes), *kept])
    onnx.checker.check_model(result)
    return result


class _Writer:
    """Adds nodes and constants, each node named after its output."""

    def __init__(self, model: onnx.ModelProto, classes: int, extras: int) -> None:
        self._graph, self._classes, self._extras = model.graph, classes, extras
        self._opset = max(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))

    def write(self, wanted: int, anchors: int | None, *, upright: bool) -> None:
        """Add all of it, from `_RAW` (B, R, A) to `BOXES` (B, N, 6 + extras)."""
        classes, channels = self._classes, 4 + self._classes + self._extras
        by_anchor = self._add("Transpose", [_RAW], "by_anchor", perm=[0, 2, 1])  # (B, A, R)
        scores = self._slice(by_anchor, 4, 4 + classes, "scores")
        best = self._largest(scores)
        count = self._count(best, wanted, anchors)
        _, at = self._topk(best, count, "anchors")  # (B, N)
        picked = self._gathered(by_anchor, at, channels, "picked")  # (B, N, R)
        pairs = self._add(
            "Reshape", [self._slice(picked, 4, 4 + classes, "picked_scores"), self._ints("flat", 0, -1)], "pairs"
        )
        score, pair = self._topk(pairs, count, "pairs_best")  # (B, N)
        number = self._ints("classes", classes)
        row, label = (self._add(op, [pair, number], name) for op, name in (("Div", "row"), ("Mod", "label_id")))
        label = self._add("Cast", [label], "label", to=TensorProto.FLOAT)
        rows = self._gathered(picked, row, channels, "of_pair")
        columns = [
            *self._box(rows, upright=upright),
            self._add("Unsqueeze", [score, self._ints("last", 2)], "score"),
            self._add("Unsqueeze", [label, self._ints("last", 2)], "class"),
        ]
        if self._extras:
            columns.append(self._slice(rows, 4 + classes, channels, "extras"))
        self._graph.node.append(helper.make_node("Concat", columns, [BOXES], name=BOXES, axis=2))

    def _box(self, rows: str, *, upright: bool) -> list[str]:
        """Return the columns of the boxes: corners, or of oriented ones centre and size."""
        if not upright:
            return [self._slice(rows, 0, 4, "box")]
        middle, size = self._slice(rows, 0, 2, "middle"), self._slice(rows, 2, 4, "size")
        half = self._add("Mul", [size, self._constant("half", np.array(0.5, np.float32))], "half_size")
        return [self._add("Sub", [middle, half], "near"), self._add("Add", [middle, half], "far")]

    def _count(self, best: str, wanted: int, anchors: int | None) -> str:
        """Return N: a constant, or the fewer of the rows wanted and the anchors there will be."""
        if anchors is not None:
            return self._ints("count", min(wanted, anchors))
        shape = self._add("Shape", [best], "shape", start=1)
        return self._add("Min", [shape, self._ints("wanted", wanted)], "count_free")

    def _gathered(self, rows: str, at: str, channels: int, name: str) -> str:
        """Return rows (B, M, R) at the positions (B, N)."""
        column = self._add("Unsqueeze", [at, self._ints("last", 2)], f"{name}_at")
        index = self._add("Expand", [column, self._ints("channels", 1, 1, channels)], f"{name}_index")
        return self._add("GatherElements", [rows, index], name, axis=1)

    def _largest(self, scores: str) -> str:
        """Return the best score of each anchor, (B, A); the axes moved from an attribute to an input in opset 18."""
        if self._opset < 18:
            return self._add("ReduceMax", [scores], "best", axes=[2], keepdims=0)
        return self._add("ReduceMax", [scores, self._ints("last", 2)], "best", keepdims=0)

    def _topk(self, tensor: str, count: str, name: str) -> tuple[str, str]:
        """Return the largest values along the last axis, and where they are."""
        outputs = [f"{_PREFIX}{name}", f"{_PREFIX}{name}_places"]
        self._graph.node.append(helper.make_node("TopK", [tensor, count], outputs, name=outputs[0], axis=-1))
        return outputs[0], outputs[1]

    def _slice(self, tensor: str, first: int, end: int, name: str) -> str:
        limits = [self._ints(f"{name}_{word}", value) for word, value in (("first", first), ("end", end))]
        return self._add("Slice", [tensor, *limits, self._ints("last", 2)], name)

    def _ints(self, name: str, *values: int) -> str:
        return self._constant(name, np.array(values, np.int64))

    def _constant(self, name: str, value: np.ndarray) -> str:
        if all(weight.name != f"{_PREFIX}{name}" for weight in self._graph.initializer):
            self._graph.initializer.append(numpy_helper.from_array(value, f"{_PREFIX}{name}"))
        return f"{_PREFIX}{name}"

    def _add(self, op: str, inputs: list[str], name: str, **attributes: Any) -> str:
        output = f"{_PREFIX}{name}"
        self._graph.node.append(helper.make_node(op, inputs, [output], output, **attributes))
        return output
