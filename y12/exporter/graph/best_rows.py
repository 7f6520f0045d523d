"""Append to a raw graph of one-to-one predictions the choice of its best rows: all that is left to do without NMS.

Of each image the R anchors whose best class scores most are the candidates, and of all their scores the R largest are
the rows: x1 y1 x2 y2 score class, and what the task adds; oriented boxes stay x y width height. An anchor may give
several rows, of different classes; no threshold is applied. That is what other exporters append to YOLO26 and YOLOv10,
operator by operator, so that whoever reads their graphs reads this one; boxes are turned to corners once they are
chosen.

It is appended to the finished graph, as NMS is, and not traced with the network: so the predictions are compared with
the model's anchor by anchor, before rounding can make rows of equal scores change places.
"""

import onnx
from onnx import helper

from y12.errors import GraphError
from y12.exporter.graph.nms.nms import rows_of
from y12.runtime.artefact.manifest import InputProfile
from y12.runtime.artefact.nms_settings import MAX_NMS_CANDIDATES
from y12.runtime.artefact.output_layout import PROTOS, OutputLayout, Rows

__all__ = ["MAX_ROWS", "PREFIX", "row_count", "with_best_rows"]

PREFIX = "end2end/"  # of the names of all nodes and tensors that belong to the choice
MAX_ROWS = 300  # of an image, as in the published graphs
_CORNERS = """
            half_sides = Mul(best_sides, half)
            left_top = Sub(best_centres, half_sides)
            right_bottom = Add(best_centres, half_sides)
            boxes = Concat<axis = 2>(left_top, right_bottom)
"""
_CENTRES = "boxes = Concat<axis = 2>(best_centres, best_sides)"  # of oriented boxes
_OUTPUT, _RAW = "output0", f"{PREFIX}raw"


def row_count(profile: InputProfile, strides: tuple[int, ...], most: int = MAX_ROWS) -> int:
    """Return R: `most`, or as many as the smallest input has anchors."""
    height, width = profile.height.min, profile.width.min
    return min(most, sum((height // stride) * (width // stride) for stride in strides))


def with_best_rows(model: onnx.ModelProto, layout: OutputLayout, count: int) -> onnx.ModelProto:
    """Return a copy of a raw graph whose `output0` is (B, R, 6 + extras), best first; `protos` stay.

    Args:
        model: finished, its precision written in it; B and A may be free.
        layout: what its outputs hold.
        count: R, no more than the graph has anchors at any size of its input.

    Raises:
        GraphError: the graph's outputs are not what is expected, or there would be too many rows.
    """
    if count > MAX_NMS_CANDIDATES:
        raise GraphError(f"expected at most {MAX_NMS_CANDIDATES} rows, which TensorRT can choose, found {count}")
    rows = rows_of(model, layout)
    if {part.output for part in rows.values()} != {_OUTPUT}:
        raise GraphError(f"--end2end: expected boxes in one output {_OUTPUT}, found a graph for {layout.task}")
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [_RAW if name == _OUTPUT else name for name in names]
    boxes = _CENTRES if layout.is_oriented else _CORNERS
    chosen = onnx.parser.parse_model(_text(rows, count, _opset(model), boxes)).graph
    for node in chosen.node:
        for names in (node.input, node.output):
            names[:] = [_OUTPUT if name == "rows" else f"{PREFIX}{name}" for name in names]
        node.name = node.output[0] if node.output[0] != _OUTPUT else f"{PREFIX}rows"
    for weight in chosen.initializer:
        weight.name = f"{PREFIX}{weight.name}"
    graph.node.extend(chosen.node)
    graph.initializer.extend(chosen.initializer)
    _replace_output(graph, count, 6 + _extras(rows))
    onnx.checker.check_model(result)
    return result


def _replace_output(graph: onnx.GraphProto, count: int, width: int) -> None:
    """Declare the new shape of `output0`; the other outputs stay behind it."""
    (raw,) = (output for output in graph.output if output.name == _OUTPUT)
    batch = raw.type.tensor_type.shape.dim[0]
    shape = [batch.dim_value or batch.dim_param or "batch", count, width]
    others = [output for output in graph.output if output.name == PROTOS]
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(_OUTPUT, onnx.TensorProto.FLOAT, shape))
    graph.output.extend(others)


def _opset(model: onnx.ModelProto) -> int:
    return max(int(entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx"))


def _extras(rows: dict[str, Rows]) -> int:
    return sum(part.count for name, part in rows.items() if name not in ("boxes", "scores"))


def _text(rows: dict[str, Rows], count: int, opset: int, boxes: str) -> str:
    """Return the choice as ONNX text: raw (B, 4 + nc + extras, A) to rows (B, R, 6 + extras)."""
    classes, extras = rows["scores"].count, _extras(rows)
    parts = {"centres": 2, "sides": 2, "scores": classes, **({"extras": extras} if extras else {})}
    best = "ReduceMax(scores, last)" if opset >= 18 else "ReduceMax<axes = [-1]>(scores)"
    carried = ("centres", "sides", *(("extras",) if extras else ()))
    gathered = "\n".join(
        f"""
            {name}_at = Expand(at, {name}_shape)
            best_{name} = GatherElements<axis = 1>({name}, {name}_at)"""
        for name in carried
    )
    return f"""
        <ir_version: 8, opset_import: ["" : {opset}]>
        choice (float[B, {4 + classes + extras}, A] raw) => (float[B, {count}, {6 + extras}] rows)
        <
            int64[{len(parts)}] sizes = {{{", ".join(map(str, parts.values()))}}}, int64[1] last = {{-1}},
            int64[1] k = {{{count}}}, int64 nc = {{{classes}}}, float half = {{0.5}},
            int64[3] scores_shape = {{1, 1, {classes}}}, int64[3] centres_shape = {{1, 1, 2}},
            int64[3] sides_shape = {{1, 1, 2}}{f", int64[3] extras_shape = {{1, 1, {extras}}}" if extras else ""}
        >
        {{
            by_anchor = Transpose<perm = [0, 2, 1]>(raw)
            {", ".join(parts)} = Split<axis = 2>(by_anchor, sizes)
            best_score = {best}
            candidate_score, candidate = TopK<axis = 1>(best_score, k)
            of_each_class = Expand(candidate, scores_shape)
            their_scores = GatherElements<axis = 1>(scores, of_each_class)
            flat = Flatten<axis = 1>(their_scores)
            score, place = TopK<axis = 1>(flat, k)
            class = Mod(place, nc)
            classes = Unsqueeze(class, last)
            label = Cast<to = 1>(classes)
            which = Div(place, nc)
            whose = Unsqueeze(which, last)
            at = GatherElements<axis = 1>(candidate, whose){gathered}
            {boxes}
            scores_of_rows = Unsqueeze(score, last)
            rows = Concat<axis = 2>(boxes, scores_of_rows, label{", best_extras" if extras else ""})
        }}
    """
