"""A real network that needs no training: it finds coloured cells, and its blocks can be damaged one by one.

An image is 64 pixels square and has cells of 8. A cell's red is the score of class 0, its green that of class 1, its
blue the size of the box, 4 to 12 pixels, and what else the task wants. `/model.0` takes the cells' means; the
convolutions after it change nothing, so that FP32 finds just what was drawn.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from y12.exporter.evaluate.evaluation_set import open_evaluation_set
from y12.runtime.artefact.manifest import AxisRange, InputProfile, Manifest

SIDE, CELL = 64, 8
CELLS = SIDE // CELL
INNER = CELLS - 2  # those at the border would have boxes that reach beyond it
KEYPOINTS = (2, 3)
NAMES = ("red", "green")


class Drawn(NamedTuple):
    """A coloured cell; colours 0 to 1."""

    column: int
    row: int
    red: float
    green: float
    blue: float

    @property
    def class_id(self):
        return int(self.green > self.red)

    @property
    def box(self):
        """x, y, w, h of the centre and the size, in fractions of the image."""
        side = CELL * (0.5 + self.blue) / SIDE
        return (self.column + 0.5) / CELLS, (self.row + 0.5) / CELLS, side, side


def manifest_of(task="detect", **changes):
    axis = AxisRange(SIDE, SIDE, SIDE)
    points = KEYPOINTS if task in ("pose", "multitask") else None
    names = (*NAMES, "blue") if task == "classify" else NAMES
    values = {"names": names, "kpt_shape": points} | changes
    return Manifest(task, strides=(CELL,), profile=InputProfile(AxisRange(1, 1, 1), axis, axis), **values)


def model_of(manifest):
    """Return what labels have to fit: task, class names and the keypoints' shape."""
    return manifest.task, manifest.names, manifest.kpt_shape


def set_for(data, manifest):
    """Open images to measure a model on."""
    return open_evaluation_set(data, *model_of(manifest))


def convolutions(depth=6):
    return [f"/model.{i}/conv/Conv" for i in range(depth)]


def network(task="detect", depth=6, masks=True):
    """The graph for a task, with `depth` blocks of one convolution each."""
    graph = _Graph()
    graph.node(
        "Conv",
        ["images", graph.constant(np.full((3, 1, CELL, CELL), 1 / CELL**2))],
        "t0",
        convolutions()[0],
        strides=[CELL, CELL],
        group=3,
    )
    for i, name in enumerate(convolutions(depth)[1:], 1):
        graph.node("Conv", [f"t{i - 1}", graph.constant(np.eye(3).reshape(3, 3, 1, 1))], f"t{i}", name)
    if task == "classify":
        graph.node("GlobalAveragePool", [f"t{depth - 1}"], "mean")
        graph.node("Flatten", ["mean"], "logits")
        graph.node("Softmax", ["logits"], "output0")
        return graph.model(["output0"])
    graph.node("Reshape", [f"t{depth - 1}", graph.integers([1, 3, -1])], "flat")
    graph.node("Slice", ["flat", *map(graph.integers, ([0], [2], [1]))], "sums")
    graph.node(
        "Clip", ["sums", *(graph.constant(np.array(limit)) for limit in (0, 1))], "scores"
    )  # where it is damaged
    graph.node("Slice", ["flat", *map(graph.integers, ([2], [3], [1]))], "blue")
    graph.node("Add", ["blue", graph.constant(np.array(0.5))], "half")
    graph.node("Mul", ["half", graph.constant(np.array(CELL))], "side")
    graph.node("Concat", [graph.constant(_centres()), "side", "side"], "boxes", axis=1)
    return _with_task(graph, task, masks)


def _with_task(graph, task, masks):
    x, y = (graph.constant(_centres()[:, i : i + 1]) for i in (0, 1))
    extras, outputs = [], ["output0"]
    if task in ("segment", "multitask") and masks:
        graph.node("Identity", ["half"], "mask_coefficients")
        graph.node("Conv", ["images", graph.constant(np.full((1, 3, 2, 2), 1 / 12))], "means", strides=[2, 2])
        graph.node("Sub", ["means", graph.constant(np.array(0.05))], "protos")
        extras.append("mask_coefficients")
        outputs.append("protos")
    if task in ("pose", "multitask"):
        graph.node("Mul", ["blue", graph.constant(np.array(SIDE))], "far")
        graph.node("Sub", [x, graph.constant(np.array(SIDE / 2))], "left")
        graph.node("Add", ["left", "far"], "right")
        graph.node("Concat", [x, y, "red", "right", y, "green"], "keypoints", axis=1)
        graph.node("Split", ["scores", graph.integers([1, 1])], ["red", "green"], axis=1)
        graph.nodes[-2:] = reversed(graph.nodes[-2:])
        extras.append("keypoints")
    if task == "multitask":
        return graph.model(["boxes", "scores", *extras, *(["protos"] if masks else [])])
    extras += ["blue"] if task == "obb" else []  # the angle, in radians
    graph.node("Concat", ["boxes", "scores", *extras], "output0", axis=1)
    return graph.model(outputs)


def _centres():
    rows, columns = np.mgrid[:CELLS, :CELLS].reshape(2, -1)
    return (np.stack([columns, rows])[None] + 0.5) * CELL


class _Graph:
    def __init__(self):
        self.nodes, self.weights = [], []

    def constant(self, values):
        return self._weight(np.asarray(values, np.float32))

    def integers(self, values):
        return self._weight(np.array(values, np.int64))

    def _weight(self, array):
        self.weights.append(numpy_helper.from_array(array, f"w{len(self.weights)}"))
        return self.weights[-1].name

    def node(self, kind, inputs, outputs, name="", **attributes):
        outputs = [outputs] if isinstance(outputs, str) else outputs
        self.nodes.append(helper.make_node(kind, inputs, outputs, name=name or f"/{outputs[0]}", **attributes))

    def model(self, outputs):
        shape = [1, 3, SIDE, SIDE]
        graph = helper.make_graph(
            self.nodes,
            "colours",
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            self.weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
        onnx.checker.check_model(model, full_check=True)
        return model


def damaged(model, amounts: Mapping[str, float], spared=frozenset()):
    """A copy in which convolutions mix up the colours, each by its amount, but for those that are kept."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    weights = {w.name: w for w in copy.graph.initializer}
    for seed, node in enumerate(node for node in copy.graph.node if node.op_type == "Conv"):
        if node.name in amounts and node.name not in spared:
            weight = weights[node.input[1]]
            values = numpy_helper.to_array(weight)
            noise = np.random.Generator(np.random.PCG64(seed)).random(values.shape, dtype=np.float32) - 0.5
            weight.CopyFrom(numpy_helper.from_array(values + np.float32(amounts[node.name]) * noise, weight.name))
    return copy


def drawings(images=6, cells=8, seed=5):
    """Coloured cells of some images; the main colour is 0.3 to 0.95, the other one up to 0.2."""
    random = np.random.Generator(np.random.PCG64(seed))
    drawn = []
    for _ in range(images):
        places = random.permutation(INNER**2)[:cells]
        main, other = random.uniform(0.3, 0.95, cells), random.uniform(0, 0.2, cells)
        colours = [(m, o) if i % 2 else (o, m) for i, (m, o) in enumerate(zip(main, other, strict=True))]
        drawn.append(
            [
                Drawn(int(1 + p % INNER), int(1 + p // INNER), *colour, float(blue))
                for p, colour, blue in zip(places, colours, random.uniform(0, 1, cells), strict=True)
            ]
        )
    return drawn


def write_image(path: Path, cells):
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    for cell in cells:
        part = np.s_[cell.row * CELL : (cell.row + 1) * CELL, cell.column * CELL : (cell.column + 1) * CELL]
        pixels[part] = np.round(np.array([cell.blue, cell.green, cell.red]) * 255)
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)
    return path


def write_images(folder: Path, drawn):
    return [write_image(folder / f"picture{i}.png", cells) for i, cells in enumerate(drawn)]


def box_line(cell):
    return " ".join(map(str, (cell.class_id, *cell.box)))


def outline_line(cell):
    """The cell's own corners, which no mask or oriented box is exactly."""
    x, y, w, h = cell.box
    corners = [(x + a * w / 2, y + b * h / 2) for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    return " ".join(map(str, (cell.class_id, *(min(max(v, 0.0), 1.0) for corner in corners for v in corner))))


def pose_line(cell):
    x, y, *_ = cell.box
    return f"{box_line(cell)} {x} {y} 2 {min(max(x + cell.blue - 0.5, 0.0), 1.0)} {y} 2"


def write_labels(images, drawn, line=box_line):
    """Write the labels beside the images; where they lie in a folder `images`, into one called `labels`."""
    for image, cells in zip(images, drawn, strict=True):
        folder = image.parent.parent / "labels" if image.parent.name == "images" else image.parent
        folder.mkdir(exist_ok=True)
        (folder / f"{image.stem}.txt").write_text("\n".join(map(line, cells)))


@pytest.fixture
def make_folder(tmp_path):
    """Write images and, where a form of line is given, labels beside them; gives the images' folder."""

    def make(line=None, **changes):
        drawn = drawings(**changes)
        images = write_images(tmp_path / "set" / "images", drawn)
        if line is not None:
            write_labels(images, drawn, line)
        return images[0].parent

    return make


@pytest.fixture
def make_yaml(make_folder):
    """Write a data set with a data.yaml that names it; gives the data.yaml."""

    def make(line, extra="", **changes):
        folder = make_folder(line, **changes)
        path = folder.parent / "data.yaml"
        path.write_text(f"val: images\ntrain: images\nnames: [red, green]\n{extra}")
        return path

    return make
