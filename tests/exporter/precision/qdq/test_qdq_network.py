"""INT8 on whole networks: what TensorRT-RTX and ONNX Runtime make of them."""

import numpy as np
import onnx
import pytest
from text_models import copy_of, types_of

from y12.exporter.engine.inspect import facts_of
from y12.exporter.graph.attention import attentions_of
from y12.exporter.graph.rtx.write_for_rtx import write_for_rtx
from y12.exporter.model.build import seeded_detector
from y12.exporter.model.spec import spec_from_name
from y12.exporter.precision.qdq.plan import plan_of
from y12.exporter.precision.qdq.qdq import QuantizeOptions, quantize, tensors_to_calibrate
from y12.exporter.precision.ranges import Range, Ranges
from y12.runtime.backends.onnx_runtime import import_onnxruntime

onnxruntime = import_onnxruntime()  # what it makes of a graph, the executor does not tell


def some_ranges(graph, options):
    """Ranges of different sizes: scales that happen to be equal would let fusions through that real ones do not."""
    sizes = np.random.Generator(np.random.PCG64(12))
    names = tensors_to_calibrate(graph, options)
    return Ranges({n: Range(-float(sizes.random()), 1 + 9 * float(sizes.random())) for n in names}, "given", 1)


def int8_of(graph, options=QuantizeOptions()):  # noqa: B008 (frozen)
    return quantize(graph, some_ranges(graph, options), options)


@pytest.fixture(scope="module")
def armor_int8(armor):
    return int8_of(armor.simplified)


def test_rtx_computes_what_was_quantised_in_int8_and_fuses_every_attention(armor, armor_int8, rtx):
    typed, report = armor_int8
    typed = copy_of(typed)
    assert [done.changes for done in write_for_rtx(typed)] == [0, 0, 3]  # but for the last ones, all compute in INT8
    facts = facts_of(armor.build(typed).layers, typed)
    assert facts.convolutions_by_precision == {"int8": report.quantized, "fp16": len(report.left)}
    assert (facts.attentions_fused, facts.attentions_expected) == (8, 8)
    assert facts.kernels <= 239
    assert (report.quantized, report.convolutions, report.pairs) == (116, 122, 104)


def test_int8_attention_fuses_too_and_computes_in_int8(armor, rtx):
    typed, report = int8_of(armor.simplified, QuantizeOptions(attention=True))
    layers = armor.build(typed).layers
    facts = facts_of(layers, typed)
    assert (report.attentions, facts.attentions_fused, facts.attentions_expected) == (8, 8, 8)
    softmaxes = {attention.softmax for attention in attentions_of(typed)}
    fused = [layer for layer in layers if softmaxes & set(layer.origins)]
    assert [{t.precision for t in layer.inputs} for layer in fused] == [{"int8"}] * 8
    assert facts.convolutions_by_precision == {"int8": report.quantized, "fp16": len(report.left)}


def test_all_but_the_last_ones_are_quantised_and_the_first_on_request(armor, armor_int8):
    convs = [n.name for n in armor.simplified.graph.node if n.op_type == "Conv"]
    assert list(armor_int8[1].left.values()) == ["last before the decode"] * 6
    spared = int8_of(armor.simplified, QuantizeOptions(image=False))[1].left
    assert set(spared) - set(armor_int8[1].left) == {convs[0]}


def test_the_decode_and_attention_are_as_in_fp16(armor, armor_int8):
    types, half = types_of(armor_int8[0]), types_of(armor.typed)
    tensors = {o for n in armor.typed.graph.node if n.op_type not in ("Conv", "Cast") for o in n.output}
    assert tensors <= set(types)
    assert {name for name in tensors if types[name] != half[name]} == set()


def test_the_file_is_small(armor, armor_int8):
    assert armor_int8[0].ByteSize() <= 0.35 * armor.simplified.ByteSize()
    cpu, _ = int8_of(armor.simplified, QuantizeOptions("cpu"))
    assert cpu.ByteSize() <= 0.35 * armor.simplified.ByteSize()


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ["yolov12n-seg", "yolov8n-pose"])
def test_rtx_computes_other_networks_in_int8_too(name, stages_of, make_profile, rtx):
    stages = stages_of(seeded_detector(spec_from_name(name)), make_profile(160, 160), checked=False)
    typed, report = int8_of(stages.simplified)
    facts = facts_of(stages.build(typed).layers, typed)
    assert facts.convolutions_by_precision == {"int8": report.quantized, "fp16": len(report.left)}
    assert not facts.unfused
    assert report.quantized >= 0.87 * report.convolutions


def test_a_free_batch_and_size_build_too(stages_of, make_profile, rtx):
    profile = make_profile(128, 128, batch=(1, 2, 4), sides=2)
    stages = stages_of(seeded_detector(spec_from_name("yolo11n")), profile, checked=False)
    typed, report = int8_of(stages.simplified)
    layers = stages.build(typed).layers
    computing = {
        name for layer in layers if any(c.precision == "int8" for c in layer.constants) for name in layer.origins
    }
    convs = [n.name for n in typed.graph.node if n.op_type == "Conv"]
    assert {name for name in convs if name not in computing} == set(report.left)
    assert not facts_of(layers, typed).unfused


@pytest.mark.parametrize("name", ["armor", "yolov8n-pose"])
def test_onnx_runtime_computes_almost_all_convolutions_in_integers(name, request, stages_of, make_profile, tmp_path):
    if name == "armor":
        graph = request.getfixturevalue("armor").simplified
    else:
        graph = stages_of(seeded_detector(spec_from_name(name)), make_profile(160, 160), checked=False).simplified
    typed, report = int8_of(graph, QuantizeOptions("cpu"))
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(tmp_path / "optimised.onnx"), 4
    onnxruntime.InferenceSession(typed.SerializeToString(), options, providers=["CPUExecutionProvider"])
    ops = [n.op_type for n in onnx.load(tmp_path / "optimised.onnx").graph.node]
    integer = ops.count("QLinearConv") + ops.count("ConvInteger")
    assert integer == report.quantized >= 0.95 * report.convolutions
    assert ops.count("QLinearSigmoid") >= 0.6 * report.quantized  # the SiLUs


def test_scores_are_told_from_distances_in_a_head_that_joins_and_splits_them(stages_of, make_profile):
    """Only the channels tell them apart: nodes alone lead from every last convolution to the softmax over distances."""
    stages = stages_of(seeded_detector(spec_from_name("yolo11n")), make_profile(64, 64), checked=False)
    left = plan_of(stages.simplified, QuantizeOptions("cpu")).left
    assert [name for name, why in left.items() if why == "last before the decode"] == [
        f"/model.23/cv3.{level}/cv3.{level}.2/Conv" for level in range(3)
    ]
    assert [name for name in left if "cv3" not in name] == ["/model.0/model.0.0/Conv"]
