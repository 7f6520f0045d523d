"""Tiny artefacts to bundle."""

from pathlib import Path

import pytest

from tests.runtime.artefact.test_opened import plan_bytes
from tests.runtime.conftest import colour_manifest, colour_model
from y12.runtime.artefact.manifest import ONNX_KEY, AxisRange

BATCH, SIZE = AxisRange(1, 4, 8), AxisRange(64, 64, 64)


@pytest.fixture
def make_colours(tmp_path):
    """Write the tiny real network of the runtime's tests, for batches of 1 to 8 unless told."""

    def make(batch=BATCH, size=SIZE, name="colours.onnx", **manifest) -> Path:
        path = tmp_path / name
        said = colour_manifest(batch=batch, size=size, **manifest)
        sides = [axis.max if axis.is_fixed else free for axis, free in ((batch, "b"), (size, "s"))]
        path.write_bytes(colour_model(sides[0], {ONNX_KEY: said.to_json()}, sides[1]))
        return path

    return make


@pytest.fixture
def make_plan(tmp_path):
    """Write what begins like an engine and carries a manifest, as one of full TensorRT ("ftrt") or TensorRT-RTX."""

    def make(magic=b"ftrt", name="colours.engine", **manifest) -> Path:
        path = tmp_path / name
        said = colour_manifest(batch=BATCH, **manifest)
        path.write_bytes(plan_bytes(b"weights" + said.to_network_name().encode() + b" more", magic))
        return path

    return make
