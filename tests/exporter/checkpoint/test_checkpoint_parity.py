"""Published checkpoints compute what the published code computed from them; damaged and foreign ones are told apart."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from published import assert_parity, exact_answers, noise_of, published_answers

from y12.errors import CheckpointError
from y12.exporter.checkpoint.load import detector_from_checkpoint, read_checkpoint
from y12.exporter.model.spec import spec_from_name

# What the files hold, and the shipped YAML that says the same.
NETWORKS = {
    "untrained/yolo12n": "yolov12n-v1",
    "untrained/yolov12n-turbo": "yolov12n",
    "untrained/yolov12n-v1": "yolov12n-v1",
    "untrained/yolov12n-seg": "yolov12n-seg",
    "untrained/yolo12n-pose": "yolov12n-v1-pose",
    "untrained/yolov12n-cls": "yolov12n-cls",
    "trained/rmArmor-yolov12n": "yolov12n",
    "trained/yolo11n": "yolo11n",
    "trained/yolo11n-seg": "yolo11n-seg",
    "trained/yolov8n-pose": "yolov8n-pose",
}


def detector_in(path):
    return detector_from_checkpoint(read_checkpoint(path))


@pytest.mark.parametrize(("name", "network"), NETWORKS.items())
def test_outputs_are_the_published_ones(shared, name, network):
    checkpoint = read_checkpoint(shared / f"checkpoints/{name}.pt")
    detector = detector_from_checkpoint(checkpoint)
    shipped = spec_from_name(network, nc=detector.spec.nc)
    assert (detector.spec.name, detector.spec.task) == (network, shipped.task)
    if detector.spec.task == "pose":
        assert detector.spec.kpt_shape == (17, 3)
    assert detector.spec.layers == shipped.layers  # the shipped YAML is the published one
    assert detector.names == checkpoint.names
    answers = published_answers(shared / f"checkpoints/{name}.npz")
    assert len(answers) >= (2 if "untrained" in name else 1)
    for images, expected in answers:
        with torch.no_grad():
            outputs = {key: value.numpy() for key, value in detector(torch.from_numpy(images)).items()}
        assert_parity(outputs, expected, exact_answers(detector, images), detector.spec.nc)


@pytest.mark.parametrize("hw", [(224, 224), (160, 256)])
def test_the_classifiers_logits_are_the_published_ones(shared, hw):
    detector = detector_in(shared / "checkpoints/untrained/yolov12n-cls.pt")
    answers = np.load(shared / "checkpoints/untrained/yolov12n-cls.npz")
    with torch.no_grad():
        x = torch.from_numpy(noise_of(*hw))
        for module in detector.model[:-1]:
            x = module(x)
        logits = detector.head.logits(x).numpy()
    np.testing.assert_allclose(logits, answers["{}x{}.logit".format(*hw)], rtol=0, atol=1e-5)


@pytest.mark.parametrize("bins", ["rounded", "zero", "missing"])
def test_distance_bins_are_the_files_own_unless_it_lost_them(shared, bins):
    checkpoint = read_checkpoint(shared / "checkpoints/trained/yolov8n-pose.pt")
    key = "model.22.dfl.conv.weight"
    state = dict(checkpoint.state)
    assert state[key].flatten()[1] == 0.94482421875  # this file was quantised once
    if bins == "zero":
        state[key] = torch.zeros_like(state[key])
    elif bins == "missing":
        with pytest.raises(CheckpointError, match=r"missing: model\.22\.dfl"):
            detector_from_checkpoint(replace(checkpoint, state={k: v for k, v in state.items() if k != key}))
        return
    weight = detector_from_checkpoint(replace(checkpoint, state=state)).head.dfl.conv.weight.flatten()
    expected = state[key].float().flatten() if bins == "rounded" else torch.arange(16.0)
    assert torch.equal(weight, expected)


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        (
            "trained/yolov8n-pose",
            {"kpt_shape": [5, 3]},
            r"kpt_shape \[5, 3\], 15 values, but its weights are of 51",
        ),
        ("trained/yolov8n-pose", {"kpt_shape": [17, 2]}, r"kpt_shape \[17, 2\], 34 values, but its weights are of 51"),
        ("trained/yolov8n-pose", {"kpt_shape": [17]}, r"kpt_shape must be \[K, D\]"),
        ("trained/yolov8n-pose", {"kpt_shape": None}, "'kpt_shape' must be list, found None"),
        ("trained/yolo11n", {"nc": 79}, "80 class names, but its network 79 classes"),
        ("trained/yolo11n", {"nc": 0}, "nc must be a whole number from 1 to 100000, found 0"),
        ("untrained/yolov12n-cls", {"nc": 999}, "1000 class names, but its network 999 classes"),
    ],
)
def test_counts_that_contradict_the_weights_are_named(shared, name, change, reason):
    checkpoint = read_checkpoint(shared / f"checkpoints/{name}.pt")
    with pytest.raises(CheckpointError, match=reason):
        detector_from_checkpoint(replace(checkpoint, yaml={**checkpoint.yaml, **change}))
    if change.get("nc"):  # without names it is the weights that tell
        with pytest.raises(CheckpointError, match=f"has nc {change['nc']}, but its weights are of {change['nc'] + 1}"):
            detector_from_checkpoint(replace(checkpoint, names=(), yaml={**checkpoint.yaml, **change}))


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
