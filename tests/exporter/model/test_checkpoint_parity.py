"""Published checkpoints compute what the published code computed from them; damaged and foreign ones are told apart."""

import numpy as np
import pytest
import torch

from exporter.errors import CheckpointError
from exporter.model.checkpoint import detector_from_checkpoint, read_checkpoint
from exporter.model.spec import spec_from_name

BOX_PX, SCORE = 2e-2, 1e-4  # two right implementations differ by up to 3e-3 px and 3e-5
UNTRAINED = {"yolo12n": "yolov12n-v1", "yolov12n-turbo": "yolov12n", "yolov12n-v1": "yolov12n-v1"}


def detector_in(path):
    return detector_from_checkpoint(read_checkpoint(path))


def assert_same(pred, expected):
    assert pred.shape == expected.shape
    assert np.abs(pred[:, :4] - expected[:, :4]).max() < BOX_PX
    assert np.abs(pred[:, 4:] - expected[:, 4:]).max() < SCORE


@pytest.mark.parametrize(("name", "network"), UNTRAINED.items())
def test_untrained(shared, name, network):
    detector = detector_in(shared / f"checkpoints/untrained/{name}.pt")
    assert (detector.spec.name, detector.spec.strides, detector.spec.nc) == (network, (8, 16, 32), 80)
    assert detector.spec.layers == spec_from_name(network).layers  # the shipped YAML is the published one
    reference = np.load(shared / f"checkpoints/untrained/{name}.npz")
    sizes = [key.removesuffix(".pred") for key in reference if key.endswith(".pred")]
    assert len(sizes) >= 2
    for size in sizes:
        hw = tuple(map(int, size.split("x")))
        image = np.random.Generator(np.random.PCG64(7)).random((1, 3, *hw), dtype=np.float32)
        with torch.no_grad():
            assert_same(detector(torch.from_numpy(image)).numpy(), reference[f"{size}.pred"])


def test_trained(shared):
    detector = detector_in(shared / "checkpoints/trained/rmArmor-yolov12n.pt")
    assert (detector.spec.name, detector.spec.nc) == ("yolov12n", 12)
    assert detector.names[:2] == ("B1", "B2")
    reference = np.load(shared / "checkpoints/trained/rmArmor-yolov12n.npz")
    rgb = np.ascontiguousarray(reference["input_bgr_u8"][..., ::-1])
    image = torch.from_numpy(rgb).float().div(255).reshape(1, 640, 640, 3).permute(0, 3, 1, 2)
    with torch.no_grad():
        assert_same(detector(image).numpy(), reference["pred"].reshape(1, 16, -1))


def test_zero_filled_file_loads(shared):
    checkpoint = read_checkpoint(shared / "checkpoints/damaged/yolo12n.zero-filled.pt")
    assert checkpoint.state["model.21.dfl.conv.weight"].count_nonzero() == 0  # what the file holds
    detector = detector_from_checkpoint(checkpoint)
    assert detector.head.dfl.conv.weight.flatten().tolist() == list(range(16))
    assert detector.spec.strides == detector.head.strides == (8, 16, 32)
    assert detector.names[:2] == ("person", "bicycle")


@pytest.mark.parametrize(
    ("name", "reasons"),
    [
        ("damaged/yolo12n.truncated.pt", ("truncated", "copy it again")),
        ("damaged/yolov5n.foreign.pt", ("not an architecture y12 knows", "models.yolo.Model", "'C3'")),
        ("trained/yolov8n-pose.pt", ("not an architecture y12 knows", "PoseModel")),
        ("untrained/yolov12n-cls.pt", ("not an architecture y12 knows", "ClassificationModel", "'Classify'")),
        ("untrained/yolov12n-seg.pt", ("not an architecture y12 knows", "SegmentationModel", "'Segment'")),
    ],
)
def test_refused_by_name(shared, name, reasons):
    path = shared / "checkpoints" / name
    with pytest.raises(CheckpointError) as caught:
        detector_in(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert [reason for reason in reasons if reason not in message] == []
