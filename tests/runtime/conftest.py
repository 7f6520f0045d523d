"""A tiny real model, and a fake executor, for everything that needs a network."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from y12.runtime.artefact.manifest import ONNX_KEY, AxisRange, InputProfile, Manifest

NAMES = ("red", "green", "blue")
BOX = (32.0, 32.0, 16.0, 8.0)  # centre x, y, width, height in the 64x64 input


def colour_model(batch: int | str = 1, metadata: dict[str, str] | None = None, size: int | str = 64) -> bytes:
    """One anchor at BOX whose class scores are the mean of R, of G and of B: output0 is (B, 4 + 3, 1).

    With another exporter's metadata its scores are a sigmoid of that, as they are in such graphs.
    """
    foreign = metadata is not None and ONNX_KEY not in metadata
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["means"], axes=[2, 3], keepdims=0),  # (B, 3)
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=0),  # (B,)
        helper.make_node("Unsqueeze", ["mean", "last"], ["column"]),  # (B, 1)
        helper.make_node("Mul", ["column", "zero"], ["zeros"]),
        helper.make_node("Add", ["zeros", "box"], ["boxes"]),  # (B, 4)
        helper.make_node("Sigmoid" if foreign else "Identity", ["means"], ["scores"]),
        helper.make_node("Unsqueeze", ["boxes", "last_of_3"], ["boxes_of_anchor"]),  # (B, 4, 1)
        helper.make_node("Unsqueeze", ["scores", "last_of_3"], ["scores_of_anchor"]),  # (B, 3, 1)
        helper.make_node("Concat", ["boxes_of_anchor", "scores_of_anchor"], ["output0"], axis=1),  # (B, 7, 1)
    ]
    weights = {
        "last": np.array([1]),
        "last_of_3": np.array([2]),
        "zero": np.zeros(1, np.float32),
        "box": np.array([BOX], np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 3, size, size])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [batch, 7, 1])],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, metadata or {})
    return bytes(model.SerializeToString())


def constant_model(outputs: dict[str, NDArray[np.float32]], metadata: dict[str, str]) -> bytes:
    """Return `outputs`, each with its batch axis of 1, whatever the 64x64 image."""
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        *(helper.make_node("Add", ["nothing", f"{name}_value"], [name]) for name in outputs),
    ]
    weights = {"zero": np.zeros((), np.float32)} | {f"{name}_value": array for name, array in outputs.items()}
    graph = helper.make_graph(
        nodes,
        "constant",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 64, 64])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape) for name, array in outputs.items()],
        [onnx.numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, metadata)
    return bytes(model.SerializeToString())


def colour_manifest(batch: AxisRange | None = None, size: AxisRange | None = None, **changes: object) -> Manifest:
    """What `colour_model` says of itself."""
    batch, size = batch or AxisRange(1, 1, 1), size or AxisRange(64, 64, 64)
    values = {"task": "detect", "names": NAMES, "strides": (8, 16, 32)} | changes
    return Manifest(profile=InputProfile(batch, size, size), **values)  # type: ignore[arg-type]


class FakeExecutor:
    """Gives the answer of a function of the blob, and keeps the blobs it was given."""

    description = "fake"

    def __init__(self, answer: Callable[[NDArray[np.float32]], dict[str, NDArray[np.float32]]]) -> None:
        self.answer = answer
        self.blobs: list[NDArray[np.float32]] = []
        self.closed = 0

    def run(self, images: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        self.blobs.append(images)
        return self.answer(images)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def fake_executor() -> Callable[..., FakeExecutor]:
    return FakeExecutor


@pytest.fixture
def make_onnx(tmp_path: Path) -> Callable[..., Path]:
    """Write a colour model with the manifest that fits it; `metadata` replaces the manifest."""

    def make(
        name: str = "colours.onnx",
        batch: int | str = 1,
        manifest: Manifest | None = None,
        metadata: dict[str, str] | None = None,
        size: int | str = 64,
    ) -> Path:
        path = tmp_path / name
        if metadata is None:
            metadata = {ONNX_KEY: (manifest or colour_manifest()).to_json()}
        path.write_bytes(colour_model(batch, metadata, size))
        return path

    return make


@pytest.fixture
def make_constant(tmp_path: Path) -> Callable[..., Path]:
    """Write a model that always gives the same outputs, (…) by name without the batch axis."""

    def make(manifest: Manifest, **outputs: NDArray[np.float32]) -> Path:
        path = tmp_path / f"{manifest.task}.onnx"
        batched = {name: np.asarray(array, np.float32)[None] for name, array in outputs.items()}
        path.write_bytes(constant_model(batched, {ONNX_KEY: manifest.to_json()}))
        return path

    return make


@pytest.fixture
def make_manifest() -> Callable[..., Manifest]:
    return colour_manifest


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(12)
