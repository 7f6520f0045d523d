"""y12's YOLO26 and YOLOv10 with the weights of another exporter's graphs give what these give.

Attention is far from uniform in these weights (logits with a standard deviation of 1.4 to 2.0), so that a wrong scale
or a swapped axis shows; in the checkpoints at hand it would not.
"""

import numpy as np
import pytest
import torch
from onnx import numpy_helper

from y12.exporter.model.build import detector_from_spec
from y12.exporter.model.spec import spec_from_name
from y12.runtime.backends.onnx_runtime import OrtExecutor
from y12.runtime.postprocess.candidates import xyxy_from_xywh

PAIR = "model.22.m.0.cv1.2."  # which the exporter has as one convolution, and y12's network as two


@pytest.fixture(scope="module")
def photograph(shared):
    bgr = np.load(shared / "checkpoints" / "trained" / "yolo11n.npz")["input_bgr_u8"]
    return (bgr[..., ::-1].transpose(2, 0, 1)[None] / 255).astype(np.float32)


def detector_with(model, name):
    """Convolutions from a graph, whose BatchNorms are folded; those of the branches that it lacks stay as they are."""
    detector = detector_from_spec(spec_from_name(name))
    state = detector.state_dict()
    for key, value in state.items():
        if key.endswith(("bn.bias", "running_mean", "bn.weight", "running_var")):
            value.fill_(0 if key.endswith(("bias", "mean")) else 1)
    weights = {w.name: torch.from_numpy(numpy_helper.to_array(w).copy()) for w in model.graph.initializer}
    weights = {key: value for key, value in weights.items() if key.startswith("model.")}
    for key, value in weights.items():
        own = key.replace(PAIR, f"{PAIR}conv.").replace(".conv.bias", ".bn.bias")
        assert state[own].shape == value.shape, key
        state[own] = value
    if f"{PAIR}conv1.conv.weight" in state:
        state[f"{PAIR}conv1.conv.weight"].zero_()
    detector.load_state_dict(state)
    for module in detector.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = 0.0
    return detector, len(weights)


@pytest.mark.parametrize(
    ("file", "name", "used"),
    [
        ("L_yolo26n_end2end", "yolo26n", 204),
        pytest.param("L_yolo26n", "yolo26n", 204, marks=pytest.mark.exhaustive),
        pytest.param("L_yolov10n", "yolov10n", 165, marks=pytest.mark.exhaustive),
    ],
)
def test_the_network_is_the_graph(foreign, photograph, file, name, used):
    model = foreign(file)
    detector, count = detector_with(model, name)
    assert count == used
    detector.head.end2end = file.endswith("_end2end")
    expected = OrtExecutor(model.SerializeToString(), "cpu").run(photograph)["output0"]
    with torch.no_grad():
        actual = detector(torch.from_numpy(photograph))["output0"].numpy()
    if not detector.head.end2end:
        assert np.abs(actual[:, :4] - expected[:, :4]).max() <= 1e-2
        assert np.abs(actual[:, 4:] - expected[:, 4:]).max() <= 1e-4
        return
    # The rows that the other exporter's graph chooses are the best of what y12's network predicts.
    boxes, scores = xyxy_from_xywh(actual[0, :4].T), actual[0, 4:]
    assert np.abs(np.sort(scores.ravel())[::-1][:300] - expected[0, :, 4]).max() <= 1e-4
    for row in expected[0]:
        near = np.abs(scores[int(row[5])] - row[4]) <= 1e-4
        assert np.abs(boxes[near] - row[:4]).max(1).min() <= 1e-2
