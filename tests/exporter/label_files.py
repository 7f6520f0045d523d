"""Small data sets of generated images, and artefacts that only carry a manifest."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tiny_data import NAMES, SIDE, coco_data

from y12.runtime.artefact.manifest import ONNX_KEY, AxisRange, InputProfile, Manifest


@pytest.fixture
def make_artefact(tmp_path: Path) -> Callable[..., Path]:
    """Write an .onnx that only carries a manifest: an executor that is handed in does the work."""

    def make(task: str = "detect", batch: int = 1, **changes: object) -> Path:
        side = AxisRange(SIDE, SIDE, SIDE)
        profile = InputProfile(AxisRange(batch, batch, batch), side, side)
        values = {"task": task, "names": NAMES, "strides": (8, 16, 32), "profile": profile} | changes
        manifest = Manifest(**values)  # type: ignore[arg-type]
        shape = [batch, 3, SIDE, SIDE]
        graph = helper.make_graph(
            [helper.make_node("Identity", ["images"], ["output0"])],
            "nothing",
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("output0", TensorProto.FLOAT, shape)],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        helper.set_model_props(model, {ONNX_KEY: manifest.to_json()})
        path = tmp_path / f"{task}.onnx"
        onnx.save(model, path)
        return path

    return make


@pytest.fixture
def make_yolo(tmp_path: Path) -> Callable[..., Path]:
    """Write a data set of gray images; labels by image name, None for no file."""

    def make(
        labels: dict[str, str | None], yaml: str = "names: [cat, dog]", wh: tuple[int, int] = (SIDE, SIDE)
    ) -> Path:
        for name, text in labels.items():
            image = tmp_path / "data" / "images" / "val" / f"{name}.png"
            image.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(image), np.full((wh[1], wh[0], 3), 127, np.uint8))
            if text is not None:
                label = tmp_path / "data" / "labels" / "val" / f"{name}.txt"
                label.parent.mkdir(parents=True, exist_ok=True)
                label.write_text(text)
        path = tmp_path / "data" / "data.yaml"
        path.write_text(f"val: images/val\n{yaml}\n")
        return path

    return make


@pytest.fixture
def make_coco(tmp_path: Path) -> Callable[..., Path]:
    """Write a COCO JSON and, in `folder` beside it, a gray image for each of its images."""

    def make(data: object = None, folder: str = "images", name: str = "coco.json") -> Path:
        data = coco_data() if data is None else data
        path = tmp_path / "coco" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(data))
        for image in data["images"] if isinstance(data, dict) else []:
            file = path.parent / folder / image["file_name"]
            file.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(file), np.full((SIDE, SIDE, 3), 127, np.uint8))
        return path

    return make
