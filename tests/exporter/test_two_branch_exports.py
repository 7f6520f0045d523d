"""Networks with two sets of branches, from a name or a file to an artefact: end to end, raw and with NMS inside."""

import json
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
import yaml
from text_models import model_of, run

from y12.errors import ArtefactError, OptionsError
from y12.exporter.cli.export import main
from y12.exporter.evaluate.evaluation_set import open_evaluation_set
from y12.exporter.evaluate.graph_results import outcome_of
from y12.exporter.export_config import ExportConfig, ShapeOptions
from y12.exporter.export_pipeline import export
from y12.exporter.model.build import seeded_detector
from y12.exporter.model.spec import spec_from_name
from y12.exporter.train.initial import NetworkChoice, network_from
from y12.exporter.verify.verify_images import photos_dir
from y12.exporter.verify.verify_options import VerifyOptions
from y12.runtime.artefact.manifest import ONNX_KEY, AxisRange, InputProfile, Manifest
from y12.runtime.artefact.nms_settings import NmsSettings, end_to_end
from y12.runtime.options import DetectOptions
from y12.runtime.tasks import task_for

SMALL = ShapeOptions(imgsz=((96, 128),))
FREE = ShapeOptions(imgsz=((64, 64), (96, 128), (128, 160)), batch=(1, 2, 3))
ONE = VerifyOptions(max_images=1)
HEADS = {
    "detect": ["Detect", ["nc"], {"bins": 1, "one_to_one": True}],
    "segment": ["Segment", ["nc", 8, 32], {"bins": 1, "one_to_one": True, "fused": True}],
    "distribution": ["Detect", ["nc"], {"one_to_one": True}],
    "plain": ["Detect", ["nc"]],
}


@contextmanager
def silent(_stage):
    yield


def written(folder, head):
    data = {
        "nc": 5,
        "scales": {"n": [1.0, 1.0, 64]},
        "backbone": [[-1, 1, "Conv", [c, 3, 2]] for c in (16, 32, 64, 64, 64)],
        "head": [[[2, 3, 4], 1, *HEADS[head]]],
    }
    path = folder / f"{head}.yaml"
    path.write_text(yaml.safe_dump(data))
    return str(path)


@pytest.fixture
def exported(tmp_path):
    """Export a small network; give the graph, its manifest and the report."""

    def make(head, **changes):
        asked = {"scale": "n", "shapes": SMALL, "verify": ONE, "output": tmp_path / str(len(list(tmp_path.iterdir())))}
        report = export(ExportConfig(written(tmp_path, head), **{**asked, **changes}), silent).report
        graph = onnx.load(next(file for file in report.files if file.endswith(".onnx")))
        (entry,) = graph.metadata_props
        assert entry.key == ONNX_KEY
        return graph, Manifest.from_json(entry.value), report

    return make


def shapes_of(graph):
    return {
        output.name: tuple(d.dim_value or d.dim_param for d in output.type.tensor_type.shape.dim)
        for output in graph.graph.output
    }


ANCHORS = 12 * 16 + 6 * 8 + 3 * 4


@pytest.mark.parametrize(
    ("head", "outputs"),
    [
        ("detect", {"output0": (1, ANCHORS, 6)}),
        ("segment", {"output0": (1, ANCHORS, 14), "protos": (1, 8, 24, 32)}),
        pytest.param("distribution", {"output0": (1, ANCHORS, 6)}, marks=pytest.mark.exhaustive),
    ],
)
def test_end_to_end_is_what_such_a_network_gives(exported, head, outputs):
    graph, manifest, report = exported(head, precision="fp16")
    assert shapes_of(graph) == outputs
    assert (manifest.output, manifest.nms) == ("end2end", end_to_end(ANCHORS))
    assert report.verification.rows_checked == ANCHORS
    assert report.verification.comparisons[0].matched >= 20
    assert any("--no-end2end exports the others" in note for note in report.notes)
    assert f"not needed: the best rows of each image are chosen in the graph; {ANCHORS} rows" in "\n".join(
        report.summary()
    )


def test_each_branch_is_exported_where_it_is_asked_for(exported, tmp_path):
    """The raw graph has the one, the best rows are those of the other, and neither carries the other's weights."""
    detector = seeded_detector(spec_from_name(written(tmp_path, "detect"), scale="n"))
    images = np.random.Generator(np.random.PCG64(5)).random((1, 3, 96, 128), dtype=np.float32)
    assert all(m.running_mean.any() for m in detector.modules() if isinstance(m, torch.nn.BatchNorm2d))
    answers = {}
    for detector.head.end2end in (False, True):
        with torch.no_grad():
            answers[detector.head.end2end] = detector(torch.from_numpy(images))["output0"].numpy()[0]
    assert np.abs(answers[True] - answers[False]).max() > 1
    raw, manifest, report = exported("detect", end2end=False)
    assert (manifest.output, shapes_of(raw)) == ("raw", {"output0": (1, 9, ANCHORS)})
    assert not any("end2end" in note for note in report.notes)
    np.testing.assert_allclose(run(raw, images)["output0"][0], answers[False], rtol=0, atol=1e-3)
    whole, *_ = exported("detect")
    best = np.sort(answers[True][4:].ravel())[::-1][:ANCHORS]
    np.testing.assert_allclose(run(whole, images)["output0"][0, :, 4], best, rtol=0, atol=1e-5)
    weights = [sum(w.ByteSize() for w in graph.graph.initializer if w.ByteSize() > 1000) for graph in (raw, whole)]
    assert weights[0] == pytest.approx(weights[1], rel=0.01)


def test_nms_takes_the_branches_that_it_is_for(exported):
    settings = NmsSettings("packed", 100, DetectOptions(max_det=50))
    graph, manifest, report = exported("detect", nms=settings)
    assert list(shapes_of(graph)) == ["detections", "num", "truncated"]
    assert (manifest.output, manifest.nms) == ("raw", settings)
    assert any(note.startswith("--nms is for its branches") for note in report.notes)
    assert report.verification.nms_checked is not None
    with pytest.raises(OptionsError, match=r"--end2end: .* predicts each object once, which leaves nothing for NMS"):
        exported("detect", nms=settings, end2end=True)


def test_end_to_end_means_nms_where_there_is_one_set_of_branches(exported):
    graph, manifest, report = exported("plain", end2end=True)
    assert list(shapes_of(graph)) == ["detections", "num", "truncated"]
    assert (manifest.output, manifest.nms.options, manifest.nms.candidates) == ("raw", DetectOptions(), 1024)
    assert not any("end2end" in note for note in report.notes)
    assert exported("plain", end2end=False)[1].nms is None


def test_batch_and_size_are_free(exported):
    graph, manifest, _ = exported("segment", shapes=FREE)
    assert manifest.output == "end2end"
    rows = 8 * 8 + 4 * 4 + 2 * 2  # the smallest image's anchors
    for batch, h, w in ((1, 64, 64), (3, 128, 160)):
        outputs = run(graph, np.random.Generator(np.random.PCG64(5)).random((batch, 3, h, w), dtype=np.float32))
        assert outputs["output0"].shape == (batch, rows, 14)
        assert outputs["protos"].shape == (batch, 8, h // 4, w // 4)


def test_the_manifest_tells_the_rows_from_predictions(exported):
    """A width that happens to fit says nothing: 240 rows are no 236 classes."""
    _, manifest, _ = exported("detect", verify=None)
    assert manifest == Manifest.from_json(manifest.to_json())
    assert '"form": "rows"' in manifest.to_json()
    assert json.loads(manifest.of_predictions.to_json())["nms"] is None
    assert task_for(replace(manifest, names=tuple("abcdefgh"))).ends_in_nms
    with pytest.raises(ArtefactError, match="expected a classifier without NMS"):
        task_for(replace(manifest, task="classify"))


@pytest.mark.parametrize(("output", "found"), [("raw", 1), ("end2end", 2)])
def test_accuracy_is_measured_as_the_rows_are_used(output, found):
    """Of two boxes at one place, NMS leaves one; end to end nothing takes the other away."""
    graph = model_of(
        "(float[1, 3, 32, 32] images) => (float[1, 6, 3] output0) { output0 = Identity(rows) }",
        rows=np.array([[[9, 9, 20], [9, 9, 20], [4, 4, 4], [4, 4, 4], [0.9, 0.8, 0], [0, 0, 0]]], np.float32),
    )
    manifest = Manifest("detect", ("a", "b"), (32,), InputProfile(*map(one_size, (1, 32, 32))))
    manifest = replace(manifest, nms=end_to_end(3) if output == "end2end" else None)
    images = open_evaluation_set(photos_dir(), "detect", manifest.names, None)
    outcome = outcome_of(graph, manifest, images, used=True)
    assert len(outcome.results) == len(outcome.used) == found * len(images.samples)


def one_size(size):
    return AxisRange(size, size, size)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--no-end2end", "--conf", "0.3"], "are of --nms: add it"),
        (["--end2end", "--nms"], "leaves nothing for NMS and its options to do"),
        (["--end2end", "--max-det", "10"], "leaves nothing for NMS and its options to do"),
    ],
)
def test_what_contradicts_is_refused_in_one_line(tmp_path, capsys, options, message):
    arguments = [written(tmp_path, "detect"), "--scale", "n", "--imgsz", "64", "--output", str(tmp_path / "out")]
    assert main([*arguments, *options]) == 1
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(error) == 1
    assert message in error[0]
    assert not (tmp_path / "out").exists()


def test_no_end2end_of_an_onnx_is_refused():
    with pytest.raises(OptionsError, match="--no-end2end is for a model that is traced"):
        ExportConfig("x.onnx", end2end=False)


@pytest.mark.parametrize("model", ["yolo26n", "yolo26n-seg", "yolov10n"])
def test_their_training_is_refused_in_one_line(model):
    with pytest.raises(OptionsError, match=rf"y12-tune: {model} has branches .* y12 exports and does not train"):
        network_from(NetworkChoice(model))


# Three to seven less than y12 makes of the same networks' .onnx of another exporter; end to end three or four more.
KERNELS = {"yolo26n": (2, 125, 129), "yolov10n": (1, 104, 108), "yolo26n-seg": (2, 142, 145)}


@pytest.mark.exhaustive  # per commit: the small networks above
@pytest.mark.parametrize("name", KERNELS)
def test_engines_of_the_published_files(shared, tmp_path, name):
    attentions, raw, whole = KERNELS[name]
    file = str(shared / "checkpoints" / "untrained" / f"{name}.pt")
    config = ExportConfig(file, format="engine", precision="fp16", verify=None, output=tmp_path)
    for end2end, kernels in ((False, raw), (True, whole)):
        report = export(replace(config, end2end=end2end), silent).report
        facts = report.engine
        assert (facts.attentions_fused, facts.attentions_expected, facts.fp32_convolutions) == (
            attentions,
            attentions,
            (),
        )
        assert facts.kernels <= kernels
        assert report.licence.startswith("Exporting weights does not change their licence.")
