"""The traced and simplified graph computes what the published checkpoints' authors' code computed."""

import numpy as np
import onnx
import pytest
import torch
from text_models import ops

from exporter.errors import GraphError
from exporter.graph.simplify import relative_difference
from exporter.model.checkpoint import detector_from_checkpoint, read_checkpoint
from exporter.trace.deploy import deploy_from_detector
from exporter.trace.to_onnx import TraceOptions
from runtime.ort import OrtExecutor

UNTRAINED = ("yolov12n-turbo", "yolov12n-v1", "yolo12n")
SIZES = ((320, 320), (256, 416))


def noise_of(h, w, batch=1):
    return np.random.Generator(np.random.PCG64(7)).random((batch, 3, h, w), dtype=np.float32)


@pytest.fixture(scope="module")
def untrained(shared):
    """A published-format checkpoint's detector, and the outputs that came with it."""

    def load(name):
        folder = shared / "checkpoints" / "untrained"
        return detector_from_checkpoint(read_checkpoint(folder / f"{name}.pt")), np.load(folder / f"{name}.npz")

    return load


def assert_parity(found, expected):
    """Boxes within 2e-2 px and scores within 1e-4: right FP32 implementations differ by up to 3e-3 and 3e-5."""
    assert found.shape == expected.shape
    np.testing.assert_allclose(found[:, :4], expected[:, :4], rtol=0, atol=2e-2)
    np.testing.assert_allclose(found[:, 4:], expected[:, 4:], rtol=0, atol=1e-4)


def outputs(model, images):
    return OrtExecutor(model.SerializeToString(), provider="cpu", threads=2).run(images)["output0"]


@pytest.mark.parametrize("name", UNTRAINED)
@pytest.mark.parametrize("hw", SIZES)
def test_static_graphs_equal_the_published_outputs(untrained, stages_of, make_profile, name, hw):
    detector, answers = untrained(name)
    stages = stages_of(detector, make_profile(*hw), checked=False)  # the answers are the check
    onnx.checker.check_model(stages.simplified, full_check=True)
    assert_parity(outputs(stages.simplified, noise_of(*hw)), answers["{}x{}.pred".format(*hw)])


def test_a_dynamic_graph_equals_them_at_both_sizes(untrained, stages_of, make_profile):
    detector, answers = untrained("yolov12n-turbo")
    graph = stages_of(detector, make_profile(320, 320, sides=2, batch=(1, 1, 4)), checked=False).simplified
    dims = [d.dim_param or d.dim_value for d in graph.graph.input[0].type.tensor_type.shape.dim]
    assert dims == ["batch", 3, "height", "width"]
    for hw in SIZES:
        assert_parity(outputs(graph, noise_of(*hw)), answers["{}x{}.pred".format(*hw)])
    images = noise_of(192, 224, batch=3)  # three different images: none may influence another
    with torch.no_grad():
        expected = np.concatenate([detector(torch.from_numpy(image[None])).numpy() for image in images])
    assert_parity(outputs(graph, images), expected)


def test_one_free_axis_stays_one(seeded_n, stages_of, make_profile):
    profile = make_profile(64, 96, batch=(1, 2, 3))
    graph = stages_of(seeded_n.detector, profile, checked=False).simplified
    dims = [d.dim_param or d.dim_value for d in graph.graph.input[0].type.tensor_type.shape.dim]
    assert dims == ["batch", 3, 64, 96]
    assert [d.dim_param or d.dim_value for d in graph.graph.output[0].type.tensor_type.shape.dim][2] == 126


def test_the_deploy_form_is_a_copy_that_computes_the_same(seeded_n):
    state = {name: tensor.clone() for name, tensor in seeded_n.detector.state_dict().items()}
    deploy = deploy_from_detector(seeded_n.detector)
    images = torch.from_numpy(noise_of(96, 128))
    with torch.no_grad():
        expected, found = seeded_n.detector(images).numpy(), deploy(images).numpy()
    assert relative_difference(expected, found) < 2e-5
    for name, tensor in seeded_n.detector.state_dict().items():
        assert torch.equal(state[name], tensor)


def test_the_deploy_form_has_no_batch_norm_and_one_convolution_for_q_k_and_v(seeded_n):
    deploy = deploy_from_detector(seeded_n.detector)
    kinds = [type(module).__name__ for module in deploy.modules()]
    assert kinds.count("BatchNorm2d") == 0
    assert kinds.count("DeployAreaAttention") == 8
    assert not any("AreaAttention" in kind and kind != "DeployAreaAttention" for kind in kinds)


def test_the_traced_graph_has_plain_attention(armor):
    counts = {op: ops(armor.simplified).count(op) for op in ("MatMul", "Softmax", "Attention", "Conv")}
    assert (counts["MatMul"], counts["Softmax"], counts["Attention"]) == (16, 9, 0)  # the ninth softmax is the DFL's
    assert [o.version for o in armor.simplified.opset_import] == [20]


@pytest.mark.parametrize("opset", [17, 20])
def test_both_ends_of_the_opset_range_build(seeded_n, stages_of, make_profile, rtx, opset):
    stages = stages_of(seeded_n.detector, make_profile(256, 256), opset, checked=False)
    assert [o.version for o in stages.typed.opset_import] == [opset]
    assert (stages.facts.attentions_fused, stages.facts.fp32_convolutions) == (8, ())


@pytest.mark.parametrize("opset", [0, 16, 21, 23])
def test_other_opsets_are_refused(make_profile, opset):
    with pytest.raises(GraphError, match=f"opset must be from 17 to 20, found {opset}"):
        TraceOptions(make_profile(640, 640), opset)
