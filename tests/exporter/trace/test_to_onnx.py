"""The traced and simplified graph computes what the published checkpoints' authors' code computed."""

import onnx
import pytest
import torch
from published import assert_parity, assert_within, errors, exact_answers, limits_of, noise_of, published_answers
from text_models import ops

from y12.exporter.checkpoint.load import detector_from_checkpoint, read_checkpoint
from y12.exporter.graph.simplify import relative_difference
from y12.exporter.trace.deploy import deploy_from_detector
from y12.exporter.trace.to_onnx import TraceOptions, onnx_from_deploy
from y12.runtime.backends.onnx_runtime import OrtExecutor

CHECKPOINTS = (
    "untrained/yolov12n-turbo",
    "untrained/yolov12n-v1",
    "untrained/yolo12n",
    "untrained/yolov12n-seg",
    "untrained/yolo12n-pose",
    "untrained/yolov12n-cls",
    "trained/yolo11n",
    "trained/yolo11n-seg",
    "trained/yolov8n-pose",
)
SIZES = ((320, 320), (256, 416))


def outputs(model, images):
    return OrtExecutor(model.SerializeToString(), provider="cpu", threads=1).run(images)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_static_graphs_equal_the_published_outputs(shared, stages_of, make_profile, name):
    """At the size that is not a square, where there are two; a square is what a dynamic graph is tuned for."""
    detector = detector_from_checkpoint(read_checkpoint(shared / f"checkpoints/{name}.pt"))
    images, expected = published_answers(shared / f"checkpoints/{name}.npz")[0]
    stages = stages_of(detector, make_profile(*images.shape[2:]), checked=False)  # the answers are the check
    onnx.checker.check_model(stages.simplified, full_check=True)
    assert_parity(outputs(stages.simplified, images), expected, exact_answers(detector, images), detector.spec.nc)


@pytest.mark.parametrize(
    "name",
    [*(pytest.param(n, marks=pytest.mark.exhaustive) for n in ("yolov12n-turbo", "yolov12n-seg")), "yolo12n-pose"],
)
def test_a_dynamic_graph_equals_them_at_both_sizes(shared, stages_of, make_profile, name):
    detector = detector_from_checkpoint(read_checkpoint(shared / f"checkpoints/untrained/{name}.pt"))
    graph = stages_of(detector, make_profile(320, 320, sides=2, batch=(1, 1, 4)), checked=False).simplified
    dims = [d.dim_param or d.dim_value for d in graph.graph.input[0].type.tensor_type.shape.dim]
    assert dims == ["batch", 3, "height", "width"]
    answers = published_answers(shared / f"checkpoints/untrained/{name}.npz")
    assert {images.shape[2:] for images, _ in answers} == set(SIZES)
    for images, expected in answers:
        assert_parity(outputs(graph, images), expected, exact_answers(detector, images), detector.spec.nc)
    images = noise_of(192, 224, batch=3)  # three different images: none may influence another
    differences = errors(outputs(graph, images), exact_answers(detector, images), detector.spec.nc)
    # Nobody has published answers of these; images that mix are off by whole pixels and tenths of a score.
    assert_within(differences, {key: 2 * limit for key, limit in limits_of(differences).items()}, "ours")


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
        expected, actual = seeded_n.detector(images)["output0"].numpy(), deploy(images)["output0"].numpy()
    assert relative_difference(expected, actual) < 1e-4  # 1.3e-5 with AVX2, 2.02e-5 without vector instructions
    for name, tensor in seeded_n.detector.state_dict().items():
        assert torch.equal(state[name], tensor)


def test_the_trace_uses_one_thread_and_gives_the_others_back(seeded_n, make_profile, monkeypatch):
    before, within = torch.get_num_threads(), []
    traced = torch.onnx.export

    def export(*args, **options):
        within.append(torch.get_num_threads())
        traced(*args, **options)

    monkeypatch.setattr(torch.onnx, "export", export)
    torch.set_num_threads(2)
    try:
        onnx_from_deploy(deploy_from_detector(seeded_n.detector), TraceOptions(make_profile(64, 64)))
        assert (within, torch.get_num_threads()) == ([1], 2)
    finally:
        torch.set_num_threads(before)


def test_the_deploy_form_has_no_batch_norm_and_one_convolution_for_q_k_and_v(seeded_n):
    deploy = deploy_from_detector(seeded_n.detector)
    kinds = [type(module).__name__ for module in deploy.modules()]
    assert kinds.count("BatchNorm2d") == 0
    assert kinds.count("DeployAttention") == 8
    assert not any("AreaAttention" in kind and kind != "DeployAttention" for kind in kinds)


def test_the_traced_graph_has_plain_attention(armor):
    counts = {op: ops(armor.simplified).count(op) for op in ("MatMul", "Softmax", "Attention", "Conv")}
    assert (counts["MatMul"], counts["Softmax"], counts["Attention"]) == (16, 9, 0)  # the ninth softmax is the DFL's
    assert [o.version for o in armor.simplified.opset_import] == [20]


@pytest.mark.parametrize("opset", [17, pytest.param(20, marks=pytest.mark.exhaustive)])  # 20 is what all others have
def test_both_ends_of_the_opset_range_build(seeded_n, stages_of, make_profile, rtx, opset):
    stages = stages_of(seeded_n.detector, make_profile(256, 256), opset, checked=False)
    assert [o.version for o in stages.typed.opset_import] == [opset]
    assert (stages.facts.attentions_fused, stages.facts.fp32_convolutions) == (8, ())
