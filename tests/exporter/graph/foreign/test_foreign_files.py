"""Files of another exporter: each rewritten attention equals what it was at its own output; the engines fuse them."""

from dataclasses import dataclass

import numpy as np
import onnx
import pytest
from attention_graphs import between, in_double
from onnx.reference import ReferenceEvaluator

from y12.exporter.export_config import ExportConfig, ShapeOptions
from y12.exporter.export_pipeline import export
from y12.exporter.graph.foreign.attention import fuse_attention
from y12.exporter.graph.foreign.read import normalised
from y12.exporter.graph.foreign.softmax import write_softmax
from y12.exporter.graph.index import GraphIndex
from y12.runtime.artefact.nms_settings import end_to_end
from y12.runtime.artefact.opened import open_artefact
from y12.runtime.backends.onnx_runtime import OrtExecutor

# Attention is far from uniform in these: the logits' standard deviation on a photograph is 1.3 to 2.9.
SHARP = {"L_yolo12n": 8, "L_yolo26n": 2, "L_yolov10n": 1, "T_yolo11n": 1, "T_yolo11n-seg": 1, "T_rmArmor-yolov12n": 8}


@dataclass(frozen=True)
class Place:
    """Where an attention begins and ends: the map that its convolutions read, its logits, and the map it gives."""

    source: str
    logits: str
    output: str


def rewritten(model):
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    write_softmax(copy)
    report = fuse_attention(copy)
    assert report.refused == ()
    return copy


def places_of(original, model):
    """The attentions of a rewritten graph, by the tensors that both graphs have."""
    index, before = GraphIndex(model.graph), GraphIndex(original.graph)
    places = []
    for node in model.graph.node:
        if node.op_type == "Conv" and "/fused/" in node.name:
            name = node.name.partition("/fused/")[0]
            nodes = [n for n in model.graph.node if n.name.startswith(f"{name}/fused/")]
            ends = [n.output[0] for n in nodes if n.output[0] in before.producer]
            softmax = next(n for n in original.graph.node if n.name in (name, name.removesuffix("/Softmax")))
            logits = softmax.input[0] if softmax.op_type == "Softmax" else logits_by_hand(before, softmax)
            assert len(ends) == 1
            assert node.input[0] in index.producer
            places.append(Place(node.input[0], logits, ends[0]))
    return places


def logits_by_hand(index, division):
    exponential = index.maker(division.input[0], "Exp")
    return index.maker(exponential.input[0], "Sub").input[0]


def values_of(model, tensors, images):
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    del shown.graph.output[:]
    shown.graph.output.extend(onnx.helper.make_tensor_value_info(name, 1, None) for name in tensors)
    return OrtExecutor(shown.SerializeToString(), "cpu").run(images)


@pytest.fixture(scope="module")
def photograph(shared):
    def read(name):
        weights = "rmArmor-yolov12n" if "rmArmor" in name else "yolo11n"
        bgr = np.load(shared / "checkpoints" / "trained" / f"{weights}.npz")["input_bgr_u8"]
        return (bgr[..., ::-1].transpose(2, 0, 1)[None] / 255).astype(np.float32)

    return read


@pytest.mark.parametrize("name", SHARP)
def test_every_attention_equals_what_it_was_at_its_own_output(foreign, photograph, name):
    original = normalised(foreign(name)).model
    model = rewritten(original)
    places = places_of(original, model)
    assert len(places) == SHARP[name]
    sources = values_of(original, [place.source for place in places], photograph(name))
    double_original = in_double(original)
    double = rewritten(double_original)
    for place in places:
        images = sources[place.source]
        expected, logits = ReferenceEvaluator(between(double_original, place.source, [place.output, place.logits])).run(
            None, {place.source: images.astype(np.float64)}
        )
        assert logits.std() >= 1
        (exact,) = ReferenceEvaluator(between(double, place.source, [place.output])).run(
            None, {place.source: images.astype(np.float64)}
        )
        assert np.abs(exact - expected).max() <= 1e-9 * np.ptp(expected)
        parts = [between(m, place.source, [place.output]).SerializeToString() for m in (original, model)]
        before, after = (OrtExecutor(part, "cpu").run(images)[place.output] for part in parts)
        assert np.abs(after - before).max() <= 1e-5 * np.ptp(before)


@pytest.mark.parametrize(
    ("name", "attentions"),
    [("L_yolo12n_dynamic", 8), ("T_yolo11n-seg_dynamic", 1)],
)
@pytest.mark.parametrize("shape", [(1, 3, 256, 192), (3, 3, 128, 320)])
def test_free_axes_stay_free(foreign, name, attentions, shape):
    """The whole network, at shapes of which neither is one that the pass looks at."""
    original = normalised(foreign(name)).model
    model = onnx.ModelProto()
    model.CopyFrom(original)
    report = fuse_attention(model)
    assert (report.changes, report.refused) == (attentions, ())
    assert fuse_attention(model).changes == 0
    images = np.random.Generator(np.random.PCG64(3)).random(shape, dtype=np.float32)
    expected, actual = (OrtExecutor(m.SerializeToString(), "cpu").run(images) for m in (original, model))
    for output, array in expected.items():
        assert np.abs(actual[output] - array).max() <= 1e-4 * np.abs(array).max()


FREE = ShapeOptions(((320, 320), (640, 640), (1280, 1280)), (1, 4, 16))
STATIC = ShapeOptions()
ENGINES = [  # name, shapes, attentions, kernels at most, verified: of trained weights only
    ("yolo12n_opset17", STATIC, 8, 151, False),
    ("T_rmArmor-yolov12n", STATIC, 8, 151, True),
    ("T_yolo11n_half", STATIC, 1, 111, True),
    ("T_yolo11n_opset12", STATIC, 1, 112, True),
    ("T_yolo11n_dynamic", STATIC, 1, 111, True),
    ("yolo26n", STATIC, 2, 128, False),
    ("yolo12n-cls", STATIC, 8, 88, False),
    ("yolo12n_dynamic", FREE, 8, 152, False),
]
MORE = [
    ("yolo12n_opset19", STATIC, 8, 151, False),
    ("yolo12n_opset20", STATIC, 8, 160, False),
    ("yolo12n_opset22", STATIC, 8, 160, False),
    ("yolo12n_nosimplify", STATIC, 8, 160, False),
    ("yolo12n_half", STATIC, 8, 160, False),
    ("yolo12n_dynamic", STATIC, 8, 151, False),
    ("yolo12n-seg", STATIC, 8, 165, False),
    ("yolo12n-pose", STATIC, 8, 160, False),
    ("yolo12n-obb", STATIC, 8, 160, False),
    ("T_yolo11n", STATIC, 1, 111, True),
    ("T_yolo11n_nosimplify", STATIC, 1, 117, True),
    ("T_yolo11n_dynamic", FREE, 1, 112, True),
    ("T_yolo11n-seg", STATIC, 1, 125, True),
    ("T_yolo11n-seg_dynamic", FREE, 1, 132, True),
    ("yolo11n_opset12", STATIC, 1, 118, False),
    ("yolo26n-seg", STATIC, 2, 147, False),
    ("yolo26n-pose", STATIC, 2, 137, False),
    ("yolov10n", STATIC, 1, 107, False),
    ("yolo26n_end2end", STATIC, 2, 140, False),
    ("yolo26n-seg_end2end", STATIC, 2, 159, False),
    ("yolo26n-pose_end2end", STATIC, 2, 149, False),
    ("yolov10n_end2end", STATIC, 1, 117, False),
    ("T_yolo11n_nms", STATIC, 1, 117, True),
    ("T_yolo11n-seg_nms", STATIC, 1, 132, True),
    ("T_yolov8n-pose_nms", STATIC, 0, 96, True),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shapes", "attentions", "kernels", "verified"),
    [*ENGINES, *(pytest.param(*row, marks=pytest.mark.exhaustive) for row in MORE)],
)
def test_the_engine_fuses_all_of_them(foreign, rtx, tmp_path, name, shapes, attentions, kernels, verified):
    file = tmp_path / f"{name}.onnx"
    file.write_bytes(foreign(name).SerializeToString())
    config = ExportConfig(str(file), format="engine", precision="fp16", shapes=shapes, output=tmp_path / "made")
    if not verified:
        config = ExportConfig(**{**vars(config), "verify": None})
    report = export(config).report
    facts = report.engine
    assert (facts.attentions_fused, facts.attentions_expected) == (attentions, attentions)
    assert facts.kernels <= kernels
    if verified:
        model = "the given FP16 weights, computed in FP32," if name.endswith("_half") else "the model"
        assert report.verdict.startswith(f"verified: equal to {model} within tolerance")
        (comparison,) = report.verification.comparisons
        assert comparison.matched == comparison.detections
    manifest = open_artefact(report.files[0]).manifest
    assert manifest.nms == (end_to_end(300) if name.endswith("_end2end") else None)
    assert any("its NMS (conf 0.25, iou 0.7, 300 rows)" in note for note in report.notes) == name.endswith("_nms")
    assert any("FP16" in note for note in report.notes) == name.endswith("_half")
    assert any("opset 12" in note for note in report.notes) == name.endswith("opset12")
    assert any("--dynamic leaves them free" in note for note in report.notes) == (
        name.endswith("_dynamic") and shapes is STATIC
    )
