"""TensorRT-RTX builds the graphs with NMS, at every size that is allowed, and leaves the network as it was."""

import numpy as np
import onnx
import pytest
from nms_graphs import EXTRAS, KEYPOINT_VALUES, MASKS, layout_of, packed, split
from text_models import model_of, noise

from y12.exporter.engine.build_engine import BuildOptions, BuiltEngine, engine_from_onnx
from y12.exporter.engine.inspect import facts_of
from y12.exporter.graph.nms.nms import with_nms
from y12.runtime.artefact.nms_settings import NmsSettings
from y12.runtime.artefact.output_layout import OutputLayout

BATCHES = {"one": (1, 1, 1), "fixed": (8, 8, 8), "free": (1, 4, 8)}
CLASSES, HW = 5, (80, 105)  # A = 8400, as at 640 x 640


def raw_model(task: str, batch: tuple[int, int, int], opset: int = 20) -> onnx.ModelProto:
    """A convolution that gives raw predictions."""
    b, (h, w) = (batch[0] if batch[0] == batch[2] else "B"), HW
    heights = {"output0": 4 + CLASSES + EXTRAS[task]}
    if task == "multitask":
        heights = {"boxes": 4, "scores": CLASSES, "mask_coefficients": MASKS, "keypoints": KEYPOINT_VALUES}
    protos = task in ("segment", "multitask")
    outputs = [f"float[{b}, {rows}, {h * w}] {name}" for name, rows in heights.items()]
    outputs += [f"float[{b}, {MASKS}, {h}, {w}] protos"] * protos
    weights = {name: noise(rows, 3, 1, 1) for name, rows in heights.items()} | {"protos": noise(MASKS, 3, 1, 1)}
    nodes = [f"[{n}] {n}_map = Conv(images, {n}_w) [{n}_flat] {n} = Reshape({n}_map, flat)" for n in heights]
    nodes += ["[protos] protos = Conv(images, protos_w)"] * protos
    used = {f"{name}_w": weight for name, weight in weights.items() if name in heights or protos}
    text = f"(float[{b}, 3, {h}, {w}] images) => ({', '.join(outputs)}) {{ {' '.join(nodes)} }}"
    model = model_of(text, flat=np.array([0, 0, -1]), **used)
    model.opset_import[0].version = opset
    return model


def built(rtx, make_profile, model: onnx.ModelProto, batch: tuple[int, int, int]) -> BuiltEngine:
    return engine_from_onnx(model.SerializeToString(), BuildOptions(make_profile(*HW, batch=batch)), rtx)


def nms_of(model: onnx.ModelProto, task: str, settings: NmsSettings) -> onnx.ModelProto:
    return with_nms(model, settings, layout_of(task, CLASSES))


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)
@pytest.mark.parametrize("form", [packed, split])
@pytest.mark.parametrize("task", EXTRAS)
def test_it_builds(rtx, make_profile, task, form, batch):
    model = nms_of(raw_model(task, batch), task, form(candidates=3840, max_det=300))
    layers = built(rtx, make_profile, model, batch).layers
    origins = {origin for layer in layers for origin in layer.origins}
    assert any(origin.startswith("nms/") for origin in origins)
    # Of the matrices over pairs only one is ever written: a byte for each of 3840 x 3840, or 14.7 MB an image.
    matrices = [tensor for layer in layers for tensor in layer.outputs if tensor.elements >= 3840 * 3840]
    assert [tensor.precision for tensor in matrices] == ["bool"]


@pytest.mark.parametrize("opset", [17, 18, 19])
@pytest.mark.parametrize("task", ["segment", "obb"])
def test_it_builds_from_every_opset(rtx, make_profile, task, opset):
    batch = (1, 4, 8)
    built(rtx, make_profile, nms_of(raw_model(task, batch, opset), task, packed(1024, max_det=300)), batch)


OPTIONS = {
    "classes": packed(300, max_det=300, classes=(1, 3)),
    "agnostic": packed(300, max_det=300, agnostic=True),
    "every overlap": packed(300, iou=1.0, conf=0.0),
    "no overlap": packed(300, iou=0.0),
    "one row": packed(1, max_det=1),
}


@pytest.mark.parametrize("settings", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("task", ["detect", "obb"])
def test_it_builds_with_every_option(rtx, make_profile, task, settings):
    batch = (1, 4, 8)
    built(rtx, make_profile, nms_of(raw_model(task, batch), task, settings), batch)


def test_fewer_anchors_than_rows(rtx, make_profile):
    nodes = "{ [c] m = Conv(images, w) [f] output0 = Reshape(m, s) }"
    text = f"(float[B, 3, 8, 8] images) => (float[B, 9, 64] output0) {nodes}"
    model = model_of(text, w=noise(9, 3, 1, 1), s=np.array([0, 0, -1]))
    profile = make_profile(8, 8, batch=(1, 4, 8))
    typed = nms_of(model, "detect", packed(1024, max_det=300))
    engine_from_onnx(typed.SerializeToString(), BuildOptions(profile), rtx)


def test_free_anchors(rtx, make_profile):
    nodes = "{ [c] m = Conv(images, w) [f] output0 = Reshape(m, s) }"
    text = f"(float[B, 3, H, W] images) => (float[B, 9, A] output0) {nodes}"
    for task, classes in (("detect", 5), ("obb", 4)):
        model = model_of(text, w=noise(9, 3, 1, 1), s=np.array([0, 0, -1]))
        typed = with_nms(model, packed(3840, max_det=300), OutputLayout(task, classes))
        profile = make_profile(64, 64, batch=(1, 4, 8), sides=4)
        engine_from_onnx(typed.SerializeToString(), BuildOptions(profile), rtx)


@pytest.mark.exhaustive
def test_a_network_stays_as_it_was(rtx, seeded_n):
    """Its attentions stay fused, its convolutions FP16; NMS adds its kernels and changes nothing before it."""
    typed = with_nms(seeded_n.for_rtx, packed(1024, max_det=300), OutputLayout("detect", 80))
    before, after = seeded_n.facts, facts_of(seeded_n.build(typed).layers, typed)
    assert (after.attentions_fused, after.attentions_expected) == (8, 8)
    assert after.convolutions_by_precision == before.convolutions_by_precision
    assert after.fp32_convolutions == before.fp32_convolutions
    assert 0 < after.kernels - before.kernels <= 24  # 21 in TensorRT-RTX 1.7.1, 9 of them the loop
