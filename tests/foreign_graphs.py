"""Small graphs that end as other exporters' do: raw predictions, end-to-end rows, rows after an NMS, and others.

Whatever the 64x64 image, of A anchors each is a box of its own and has a logit for each class.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

NAMES = ("red", "green", "blue")
FACTS = {
    "stride": "32",
    "batch": "1",
    "imgsz": "[64, 64]",
    "names": str(dict(enumerate(NAMES))),
    "version": "8.4.0",
    "license": "AGPL-3.0",
}
EXTRAS = {"detect": 0, "segment": 4, "pose": 6, "obb": 1}

HEAD = """
    mean = ReduceMean<keepdims=0>(images)
    nothing = Mul(mean, zero)
    near_by = Add(near_weight, nothing)
    far_by = Add(far_weight, nothing)
    near = Sub(cells, near_by)
    far = Add(cells, far_by)
"""
CORNERS = "points = Concat<axis=1>(near, far) boxes = Mul(points, stride)"
CENTRES = """
    total = Add(near, far) middle = Div(total, two) size = Sub(far, near)
    points = Concat<axis=1>(middle, size) boxes = Mul(points, stride)
"""
SCORES = "logits = Add(logit_weight, nothing) scores = Sigmoid(logits)"
RAW = "{raw} = Concat<axis=1>(boxes, scores{extras})"
END_TO_END = """
    by_anchor = Transpose<perm=[0, 2, 1]>(raw)
    box_part, score_part{extra_part} = Split<axis=2>(by_anchor, widths)
    best = ReduceMax<axes=[2], keepdims=0>(score_part)
    best_value, best_at = TopK<axis=1>(best, count)
    at_column = Unsqueeze(best_at, last)
    at_classes = Expand(at_column, to_classes)
    of_best = GatherElements<axis=1>(score_part, at_classes)
    pairs = Flatten<axis=1>(of_best)
    top, top_at = TopK<axis=1>(pairs, count)
    label_id = Mod(top_at, class_count)
    row = Div(top_at, class_count)
    row_column = Unsqueeze(row, last)
    anchor = GatherElements<axis=1>(at_column, row_column)
    anchor_boxes = Expand(anchor, to_boxes)
    picked = GatherElements<axis=1>(box_part, anchor_boxes)
    score_column = Unsqueeze(top, last)
    label_column = Unsqueeze(label_id, last)
    label = Cast<to=1>(label_column)
    {extra_nodes}
    output0 = Concat<axis=-1>({columns})
"""
NMS = """
    by_anchor = Transpose<perm=[0, 2, 1]>(raw)
    box_part, score_part{extra_part} = Split<axis=2>(by_anchor, widths)
    best = ReduceMax<axes=[2], keepdims=0>(score_part)
    labels = ArgMax<axis=-1, keepdims=0>(score_part)
    best_0 = Gather(best, first) labels_0 = Gather(labels, first) boxes_0 = Gather(box_part, first)
    is_wanted = Greater(best_0, least)
    wanted_at = NonZero(is_wanted)
    wanted = Transpose<perm=[1, 0]>(wanted_at)
    some_scores = GatherND(best_0, wanted)
    some_labels = GatherND(labels_0, wanted)
    some_boxes = GatherND(boxes_0, wanted)
    label_float = Cast<to=1>(some_labels)
    apart = Mul(label_float, far_away)
    apart_column = Unsqueeze(apart, one)
    moved = Add(some_boxes, apart_column)
    nms_boxes = Unsqueeze(moved, zero_axis)
    nms_scores = Unsqueeze(some_scores, first_two)
    {suppress}
    kept_all = Squeeze(kept_column, one)
    kept = Slice(kept_all, zero_axis, count)
    kept_boxes = Gather(some_boxes, kept)
    kept_scores = Gather(some_scores, kept)
    kept_labels = Gather(some_labels, kept)
    score_column = Unsqueeze(kept_scores, one)
    label_column = Unsqueeze(kept_labels, one)
    label = Cast<to=1>(label_column)
    {extra_nodes}
    found = Concat<axis=-1>({columns})
    shape = Shape(found)
    height = Gather(shape, zero_axis)
    missing = Sub(count, height)
    pads = Concat<axis=0>(zero_axis, zero_axis, missing, zero_axis)
    padded = Pad(found, pads)
    output0 = Unsqueeze(padded, zero_axis)
"""
SUPPRESS = """
    indices = NonMaxSuppression(nms_boxes, nms_scores, most, overlap)
    kept_column = Gather<axis=1>(indices, last)
"""


@dataclass(frozen=True)
class Ends:
    """How a graph ends: "raw", "raw_corners", "end2end" or "nms"; of `rows` rows.

    Attributes:
        task: "detect", "segment", "pose" or "obb".
        opset: of the graph, 17; `END_TO_END` and `NMS` are written for no other.
        half: the weights are FP16.
    """

    kind: str
    task: str = "detect"
    rows: int = 5
    anchors: int = 40
    half: bool = False
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def width(self) -> int:
        return 4 + len(NAMES) + EXTRAS[self.task]


def constants_of(ends: Ends) -> dict[str, NDArray[np.generic]]:
    rng = np.random.default_rng(5)
    a, extras = ends.anchors, EXTRAS[ends.task]
    sizes = [4, len(NAMES)] + [extras] * bool(extras)
    ints = {
        "widths": sizes,
        "count": [ends.rows],
        "last": [2],
        "one": [1],
        "zero_axis": [0],
        "first_two": [0, 1],
        "to_classes": [1, 1, len(NAMES)],
        "to_boxes": [1, 1, 4],
        "to_extras": [1, 1, extras],
        "most": [2**63 - 1],
        "extra_shape": [1, extras, a],
    }
    floats = {
        "zero": np.zeros(()),
        "two": np.array(2.0),
        "stride": np.array(8.0),
        "least": np.array(0.25),
        "overlap": np.array([0.7]),
        "far_away": np.array(4096.0),
        "cells": rng.uniform(1, 7, (1, 2, a)),
        "near_weight": rng.uniform(0.1, 1, (1, 2, a)),
        "far_weight": rng.uniform(0.1, 1, (1, 2, a)),
        "logit_weight": rng.normal(-1, 2, (1, len(NAMES), a)),
        "extra_weight": rng.uniform(0, 60, (1, extras, a)),
        "proto_weight": rng.normal(0, 1, (1, 4, 16, 16)),
    }
    values = {name: np.array(value, np.int64) for name, value in ints.items()}
    values |= {name: np.asarray(value, np.float16 if ends.half else np.float32) for name, value in floats.items()}
    return values | {"first": np.array(0), "class_count": np.array(len(NAMES))}


def text_of(ends: Ends) -> str:
    """The nodes of a graph."""
    extra = bool(EXTRAS[ends.task])
    is_raw = ends.kind.startswith("raw")
    joined = CENTRES if ends.kind == "raw" or ends.task == "obb" else CORNERS
    body = HEAD + joined + SCORES + ("extra = Add(extra_weight, nothing)" if extra else "")
    body += RAW.format(raw="output0" if is_raw else "raw", extras=", extra" * extra)
    if ends.task == "segment":
        body += " protos_sum = Add(proto_weight, nothing) output1 = Relu(protos_sum)"
    if is_raw:
        return body
    names = ["picked" if ends.kind == "end2end" else "kept_boxes", "score_column", "label"] + ["extra_picked"] * extra
    form, extra_nodes = (
        END_TO_END,
        ("anchor_extras = Expand(anchor, to_extras) extra_picked = GatherElements<axis=1>(extra_rows, anchor_extras)"),
    )
    if ends.kind == "nms":
        form = NMS.replace("{suppress}", SUPPRESS)
        extra_nodes = (
            "extra_0 = Gather(extra_rows, first) some_extra = GatherND(extra_0, wanted) "
            "extra_picked = Gather(some_extra, kept)"
        )
    return body + form.format(
        extra_part=", extra_rows" * extra, extra_nodes=extra_nodes * extra, columns=", ".join(names)
    )


def foreign_model(ends: Ends) -> onnx.ModelProto:
    """A graph with such metadata as another exporter writes."""
    element = "float16" if ends.half else "float"
    shape = (
        f"1, {ends.width}, {ends.anchors}" if ends.kind.startswith("raw") else f"1, {ends.rows}, {2 + ends.width - 3}"
    )
    outputs = f"{element}[{shape}] output0" + f", {element}[1, 4, 16, 16] output1" * (ends.task == "segment")
    signature = f"({element}[1, 3, 64, 64] images) => ({outputs})"
    text = f'<ir_version: 8, opset_import: ["" : 17]> g {signature} {{ {text_of(ends)} }}'
    model = onnx.parser.parse_model(text.replace("Cast<to=1>", f"Cast<to={10 if ends.half else 1}>"))
    read = {name for node in model.graph.node for name in node.input}
    constants = constants_of(ends)
    model.graph.initializer.extend(numpy_helper.from_array(v, name) for name, v in constants.items() if name in read)
    facts = FACTS | {
        "task": ends.task,
        "args": f"{{'quantize': {16 if ends.half else None}, 'nms': {ends.kind == 'nms'}}}",
    }
    facts |= {"end2end": str(ends.kind == "end2end")} | ({"kpt_shape": "[2, 3]"} if ends.task == "pose" else {})
    helper.set_model_props(model, facts | dict(ends.facts))
    onnx.checker.check_model(model)
    return model


def raw_of(ends: Ends) -> NDArray[np.float32]:
    """The raw predictions (R, A) of such a graph, with centres and sizes."""
    values = {name: np.asarray(v, np.float64) for name, v in constants_of(ends).items()}
    near, far = values["cells"] - values["near_weight"], values["cells"] + values["far_weight"]
    boxes = np.concatenate([(near + far) / 2, far - near], axis=1) * values["stride"]
    scores = 1 / (1 + np.exp(-values["logit_weight"]))
    extras = [values["extra_weight"]] if EXTRAS[ends.task] else []
    return np.concatenate([boxes, scores, *extras], axis=1)[0].astype(np.float32)


def ended(nodes: str, output: str, task: str = "detect", **weights: NDArray[np.generic]) -> onnx.ModelProto:
    """A graph of other nodes, with metadata all the same."""
    text = f'<ir_version: 8, opset_import: ["" : 17]> g (float[1, 3, 64, 64] images) => ({output}) {{ {nodes} }}'
    model = onnx.parser.parse_model(text)
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    helper.set_model_props(
        model, FACTS | {"task": task, "kpt_shape": "[2, 3]"} if task == "pose" else FACTS | {"task": task}
    )
    return model
