"""Bit convolutions in a graph: exactly ternary weights, activations rounded by ordinary operators, attention fused."""

import contextlib
import copy
import io
import itertools
import warnings
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from y12.exporter.engine.inspect import facts_of
from y12.exporter.export_config import ExportConfig, Int8Options, ShapeOptions
from y12.exporter.export_pipeline import export
from y12.exporter.graph.simplify import relative_difference
from y12.exporter.graph.token_rounding import token_roundings, without_token_rounding
from y12.exporter.model.blocks.bit import (
    BitLinear,
    TokenRounding,
    bit_form,
    bit_layers,
    plain_form,
    round_tokens,
    ternary,
)
from y12.exporter.model.blocks.conv import Conv
from y12.exporter.model.build import seeded_detector
from y12.exporter.model.spec import spec_from_name
from y12.exporter.precision.cast import cast_to_fp16
from y12.exporter.precision.quantization_options import CalibrationOptions
from y12.exporter.trace.deploy import DeployAttention, deploy_from_detector
from y12.exporter.verify.verify_images import photos_dir
from y12.exporter.verify.verify_options import VerifyOptions
from y12.runtime.backends.onnx_runtime import OrtExecutor, import_onnxruntime

SIDE = 64
PLAIN = {"/model.0/model.0.0/Conv", *(f"/model.18/cv{b}.{i}/cv{b}.{i}.2/Conv" for b in (2, 3) for i in range(3))}


@pytest.fixture(scope="module")
def stages(stages_of, make_profile):
    """bitfalcon-n with every convolution but the image's in Bit form, through the stages of an export."""
    detector = seeded_detector(bit_spec())
    for branch in detector.head.cv2:
        branch[1].bn.weight.data[::2] *= -1  # training may turn a scale's sign
    return stages_of(detector, make_profile(SIDE, SIDE))


def bit_spec():
    spec = spec_from_name("bitfalcon-n")
    return replace(spec, layers=tuple(replace(row, bit=row.index > 0) for row in spec.layers))


def convs_of(graph):
    """Name and weight of every convolution."""
    weights = {w.name: numpy_helper.to_array(w) for w in graph.graph.initializer}
    return {node.name: (node, weights[node.input[1]]) for node in graph.graph.node if node.op_type == "Conv"}


def is_ternary(weight):
    """Whether each output channel holds 0 and one number with either sign, equal bit for bit, and no -0."""
    sizes = np.abs(weight.reshape(len(weight), -1))
    one_size = (sizes == 0) | (sizes == sizes.max(axis=1, keepdims=True))
    return bool(one_size.all()) and not np.signbit(weight[weight == 0]).any()


def images_of(side, seed=0):
    return np.random.Generator(np.random.PCG64(seed)).random((1, 3, side, side), dtype=np.float32)


@pytest.mark.parametrize("precision", ["simplified", "typed"])
def test_each_output_channel_has_three_values_bit_for_bit(stages, precision):
    convs = convs_of(getattr(stages, precision))
    for name, (_node, weight) in convs.items():
        assert weight.dtype == (np.float32 if precision == "simplified" else np.float16)
        assert is_ternary(weight) != (name in PLAIN), name
    attentions = [name for name in convs if "qkv" in name]
    assert len(attentions) == 2
    assert all(len(convs[name][1]) == 3 * convs[name][1].shape[1] for name in attentions)
    assert len(convs) - len(PLAIN) == len(bit_layers(stages.detector))


def test_the_values_are_the_model_s_codes_times_its_scales(stages):
    weights = {w.name: torch.tensor(numpy_helper.to_array(w)) for w in stages.simplified.graph.initializer}
    compared = 0
    for path, module in stages.detector.named_modules():
        if isinstance(module, Conv) and f"{path}.1.weight" in weights and not path.endswith("qkv"):  # has q's scale too
            codes, scale = ternary(module.conv.weight)
            factor = (module.bn.weight / (module.bn.running_var + module.bn.eps).sqrt()).view(-1, 1, 1, 1)
            torch.testing.assert_close(weights[f"{path}.1.weight"], codes * scale * factor, rtol=1e-6, atol=0)
            compared += 1
    assert compared > 35


@pytest.mark.parametrize("precision", ["simplified", "typed"])
def test_bit_convolutions_and_they_alone_read_rounded_tokens(stages, precision):
    graph = getattr(stages, precision)
    rounded = token_roundings(graph)
    read = {name: node.input[0] in rounded for name, (node, _) in convs_of(graph).items()}
    assert {name for name, is_rounded in read.items() if not is_rounded} == PLAIN
    assert len(rounded) == sum(node.op_type == "Round" for node in graph.graph.node)
    readers = [rounded[node.input[0]] for node, _ in convs_of(graph).values() if node.input[0] in rounded]
    assert len(set(readers)) == len(rounded) < len(readers)  # what two convolutions read is rounded once


@torch.no_grad()
def test_the_deploy_form_is_the_model(stages):
    """In float64, where no value comes near enough to a border between two steps to be rounded otherwise."""
    detector = copy.deepcopy(stages.detector).double()
    deploy = deploy_from_detector(detector)
    x = torch.from_numpy(images_of(SIDE)).double()
    expected, actual = detector(x)["output0"], deploy(x)["output0"]
    assert not bit_layers(deploy)
    assert bit_layers(detector)
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9)


def test_the_graph_without_rounding_is_the_model_without_it(stages):
    images = images_of(SIDE)
    with torch.no_grad():
        expected = plain_form(stages.detector)(torch.from_numpy(images))["output0"].numpy()
    graph = without_token_rounding(stages.simplified)
    onnx.checker.check_model(graph, full_check=True)
    actual = OrtExecutor(graph.SerializeToString(), "cpu").run(images)["output0"]
    assert relative_difference(expected, actual) < 2e-5


def test_without_tokens_activations_are_left_alone_and_weights_are_the_same(stages):
    plain = deploy_from_detector(stages.detector, tokens=False)
    assert not [m for m in plain.modules() if isinstance(m, TokenRounding)]
    bare = [m.qkv for m in plain.modules() if isinstance(m, DeployAttention)]
    behind_rounding = [
        m.qkv[1] for m in deploy_from_detector(stages.detector).modules() if isinstance(m, DeployAttention)
    ]
    assert len(bare) == 2
    assert all(torch.equal(a.weight, b.weight) for a, b in zip(bare, behind_rounding, strict=True))
    images = torch.from_numpy(images_of(SIDE))
    with torch.no_grad():
        expected = plain_form(stages.detector)(images)["output0"]
        torch.testing.assert_close(plain(images)["output0"], expected, rtol=1e-4, atol=1e-3)


def test_a_linear_layer_s_rows_are_rounded_in_a_graph_too():
    layers = torch.nn.ModuleList([bit_form(torch.nn.Linear(8, 4))])
    deploy = deploy_from_detector(layers)[0]
    assert isinstance(layers[0], BitLinear)
    x = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(deploy(x), layers[0](x))
    assert list(token_roundings(graph_of(deploy, x)).values()) == ["x"]


def graph_of(module, x):
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (x,), buffer, dynamo=False, input_names=["x"], output_names=["y"], opset_version=20)
    return onnx.load_from_string(buffer.getvalue())


def tokens_of(size, seed):
    x = size * torch.randn(1, 32, 4, 4, generator=torch.Generator().manual_seed(seed)).clamp(-1, 1)
    x[:, :, 0, 0] = 0
    x[:, 3, 1, 1] = -size
    return x


@pytest.mark.parametrize("size", [0.0, 1e-7, 1e-3, 1.0, 6e4])
def test_onnx_runtime_rounds_as_torch_does_bit_for_bit(size):
    graph = graph_of(TokenRounding(), tokens_of(1.0, 0)).SerializeToString()
    for seed in range(3):
        x = tokens_of(size, seed)
        (rounded,) = ort_outputs(graph, x.numpy())
        assert np.array_equal(rounded, round_tokens(x, 1).numpy())


def ort_outputs(graph, x):
    onnxruntime = import_onnxruntime()  # a graph that is no network, which the executor would refuse

    return onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"]).run(None, {"x": x})


def test_fp16_arithmetic_stays_finite_and_within_a_step():
    """The cast graph's own operators, each in FP16: ONNX Runtime's CPU kernels would compute them in FP32."""
    module = torch.nn.Sequential(TokenRounding(), torch.nn.Conv2d(32, 1, 1))
    torch.nn.init.zeros_(module[1].weight)  # its sum would overflow
    half, _ = cast_to_fp16(graph_of(module, tokens_of(1.0, 0)))
    (name,) = token_roundings(half)
    half.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT16, None))
    for size, seed in itertools.product([0.0, 1e-7, 1e-5, 1e-3, 1.0, 600.0, 6e4], range(3)):
        x = tokens_of(size, seed).half().float()
        rounded = np.asarray(ReferenceEvaluator(half).run([name], {"x": x.numpy()})[0])
        assert rounded.dtype == np.float16
        step = (x.abs().amax(1, keepdim=True) / 127).clamp(min=2.0**-14).numpy()
        assert np.isfinite(rounded).all()
        assert (np.abs(rounded - x.numpy()) <= 0.6 * step).all()  # half a step, and FP16's own rounding of it


def test_the_engine_fuses_attention_and_rounds_in_one_kernel_each(stages, rtx):
    built = stages.build()
    facts, rounded = facts_of(built.layers, stages.for_rtx), token_roundings(stages.typed)
    assert (facts.attentions_expected, facts.attentions_fused) == (2, 2)
    assert facts.fp32_convolutions == ()
    rounding = [layer for layer in built.layers if any(origin.endswith("Round") for origin in layer.origins)]
    assert len(rounding) == len(rounded)
    assert all(any(origin.endswith("ReduceMax") for origin in layer.origins) for layer in rounding)


def test_int8_codes_are_127_times_minus_one_zero_and_one(stages, tmp_path):
    int8 = Int8Options(photos_dir(), CalibrationOptions("max"), limit=1)
    config = ExportConfig(
        seeded_detector(bit_spec()),
        precision="int8",
        int8=int8,
        shapes=ShapeOptions(((SIDE, SIDE),)),
        verify=VerifyOptions(max_images=1, allow_inconclusive=True),
        output=tmp_path,
    )
    result = export(config, lambda _: contextlib.nullcontext())
    graph = onnx.load(result.artefact)
    assert token_roundings(graph) == {}
    integers = {
        w.name: numpy_helper.to_array(w) for w in graph.graph.initializer if w.data_type == onnx.TensorProto.INT8
    }
    values_of = {name: set(np.unique(codes).tolist()) for name, codes in integers.items() if codes.ndim == 4}
    plain = [name for name, codes in values_of.items() if codes != {-127, 0, 127}]
    assert len(values_of) - len(plain) == len(bit_layers(stages.detector))
    assert plain == ["model.0.0.weight_int8"]
