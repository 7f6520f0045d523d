"""The published networks, from the shipped YAMLs: their names, shapes and sizes."""

import json

import pytest
import torch

from y12.exporter.model.build import MODULES, detector_from_spec
from y12.exporter.model.signatures import SIGNATURES
from y12.exporter.model.spec import spec_from_name

PARAMETERS = {  # nc = 80, as published
    "yolov12n": 2_553_904,
    "yolov12s": 9_127_424,
    "yolov12m": 19_670_784,
    "yolov12l": 26_506_496,
    "yolov12x": 59_414_176,
    "yolov12n-v1": 2_602_288,
    "yolov12s-v1": 9_284_096,
    "yolov12m-v1": 20_199_168,
    "yolov12l-v1": 26_450_784,
    "yolov12x-v1": 59_210_784,
    "yolov12n-seg": 2_807_056,
    "yolov12s-seg": 9_782_688,
    "yolov12m-seg": 21_978_016,
    "yolov12l-seg": 27_760_032,
    "yolov12x-seg": 62_225_216,
    "yolo11n": 2_624_080,
    "yolo11s": 9_458_752,
    "yolo11m": 20_114_688,
    "yolo11l": 25_372_160,
    "yolo11x": 56_966_176,
    "yolov8n": 3_157_200,
    "yolov8s": 11_166_560,
    "yolov8m": 25_902_640,
    "yolov8l": 43_691_520,
    "yolov8x": 68_229_648,
}
KEYS = {f"yolov12{scale}": f"yolov12{scale}-turbo" for scale in "nsmlx"}
KEYS |= {name: name for name in PARAMETERS if "-v1" in name}
KEYS |= {name: name for name in ("yolo12n", "yolo12n-pose", "yolov12n-seg", "yolov12n-cls")}


def state_of(name):
    with torch.device("meta"):
        return detector_from_spec(spec_from_name(name))


@pytest.mark.parametrize(("name", "count"), PARAMETERS.items())
def test_parameter_counts(name, count):
    assert sum(p.numel() for p in state_of(name).parameters()) == count


@pytest.mark.parametrize(("name", "file"), KEYS.items())
def test_state_dict_is_the_published_one(shared, name, file):
    published = json.loads((shared / "architecture" / f"{file}.keys.json").read_text())["keys"]
    ours = {key: list(value.shape) for key, value in state_of(name).state_dict().items()}
    assert ours == published


def test_every_module_has_a_signature():
    assert MODULES.keys() == SIGNATURES.keys()


@pytest.mark.parametrize("nc", [1, 12, 300])
def test_classes_change_the_class_branches_only(nc):
    with torch.device("meta"):
        few = detector_from_spec(spec_from_name("yolov12n", nc=nc)).state_dict()
    many = state_of("yolov12n").state_dict()
    changed = {key for key in many if many[key].shape != few[key].shape}
    assert changed == {key for key in changed if key.startswith("model.21.cv3.")}
    assert few["model.21.cv3.0.2.bias"].shape == (nc,)
