"""A real network that finds squares: for examples that need objects in places, without trained weights."""

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.runtime.conftest import NAMES, colour_manifest
from y12.runtime.artefact.manifest import ONNX_KEY

SIDE, INPUT, STEP = 16, 64, 2  # of a square, of the input, between the places that are looked at; in pixels


def squares_model():
    """Return a model with a box at each place, whose scores say how much of it is red, green and blue.

    Of a window's mean, what is above 0.8 counts, so that a square's neighbours are left to NMS.
    """
    along = np.arange(SIDE / 2, INPUT - SIDE / 2 + 1, STEP, dtype=np.float32)
    y, x = (axis.ravel() for axis in np.meshgrid(along, along, indexing="ij"))
    boxes = np.stack([x, y, np.full_like(x, SIDE), np.full_like(x, SIDE)])[None]  # (1, 4, A)
    weights = {
        "boxes": boxes,
        "floor": np.array(0.8, np.float32),
        "gain": np.array(5, np.float32),
        "flat": np.array([1, 3, -1]),
    }
    nodes = [
        helper.make_node("AveragePool", ["images"], ["means"], kernel_shape=[SIDE] * 2, strides=[STEP] * 2),
        helper.make_node("Sub", ["means", "floor"], ["above"]),
        helper.make_node("Relu", ["above"], ["positive"]),
        helper.make_node("Mul", ["positive", "gain"], ["scaled"]),
        helper.make_node("Reshape", ["scaled", "flat"], ["scores"]),
        helper.make_node("Concat", ["boxes", "scores"], ["output0"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "squares",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, INPUT, INPUT])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 4 + len(NAMES), boxes.shape[2]])],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, {ONNX_KEY: colour_manifest().to_json()})
    return bytes(model.SerializeToString())


def draw_square(image_bgr, x, y, channel):
    """Paint a square of one channel with its corner at x, y."""
    image_bgr[y : y + SIDE, x : x + SIDE, channel] = 255
