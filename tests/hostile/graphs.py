"""Small .onnx files whose graph and manifest say whatever is asked."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from y12.runtime.artefact.manifest import ONNX_KEY, AxisRange, InputProfile, Manifest

FIXED = AxisRange(1, 1, 1)
SIDE = AxisRange(64, 64, 64)
ROWS = np.array([32, 32, 16, 8, 0.9, 0.1], np.float32).reshape(1, 6, 1)  # one box, two classes
PROFILE = InputProfile(FIXED, SIDE, SIDE)


def manifest(profile=PROFILE, **changes):
    return Manifest(**({"task": "detect", "names": ("a", "b"), "strides": (8,), "profile": profile} | changes))


def model(described, images=(1, 3, 64, 64), outputs=None, stated=None):
    """Return a model that takes images of a shape and gives constants.

    Args:
        described: the manifest, or the text that stands in its place.
        images: the input's shape; a text is a free axis, None an input without a rank.
        outputs: the constants by name.
        stated: what the graph says of an output, where that is not what it gives: a ValueInfoProto by name.
    """
    outputs = {"output0": ROWS} if outputs is None else outputs
    stated = stated or {}
    kinds = {
        name: helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in outputs.items()
    }
    graph = helper.make_graph(
        [helper.make_node("Identity", [f"{name}_value"], [name]) for name in outputs],
        "constant",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, images)],
        [stated.get(name, kind) for name, kind in kinds.items()],
        [onnx.numpy_helper.from_array(array, f"{name}_value") for name, array in outputs.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    text = described if isinstance(described, str) else described.to_json()
    helper.set_model_props(made, {ONNX_KEY: text})
    return made.SerializeToString()


def write_model(path: Path, *arguments, **options) -> Path:
    path.write_bytes(model(*arguments, **options))
    return path
