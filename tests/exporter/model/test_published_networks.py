"""The ten published detectors, from the shipped YAMLs: their names, shapes and sizes."""

import json

import pytest
import torch

from exporter.model.build import MODULES, detector_from_spec
from exporter.model.signatures import SIGNATURES
from exporter.model.spec import spec_from_name

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
}
KEYS = {name: f"{name}.keys.json" if "-v1" in name else f"{name}-turbo.keys.json" for name in PARAMETERS}


def state_of(name):
    with torch.device("meta"):
        return detector_from_spec(spec_from_name(name))


@pytest.mark.parametrize(("name", "count"), PARAMETERS.items())
def test_parameter_counts(name, count):
    assert sum(p.numel() for p in state_of(name).parameters()) == count


@pytest.mark.parametrize(("name", "file"), [*KEYS.items(), ("yolo12n", "yolo12n.keys.json")])
def test_state_dict_is_the_published_one(shared, name, file):
    published = json.loads((shared / "architecture" / file).read_text())["keys"]
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
