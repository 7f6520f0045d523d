"""The whole export in one process: files, manifests, reports, and the .onnx as a starting point."""

import hashlib
import json
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from y12 import Runtime
from y12.errors import InconclusiveError, OptionsError, VerificationError
from y12.exporter.export_config import ExportConfig, Int8Options, ShapeOptions
from y12.exporter.export_pipeline import export
from y12.exporter.graph.passes import JOINT
from y12.exporter.precision.quantization_options import CalibrationOptions, QuantizeOptions
from y12.exporter.verify.verify_images import scenes_dir
from y12.exporter.verify.verify_options import VerifyOptions
from y12.runtime.artefact.manifest import ONNX_KEY, Manifest
from y12.runtime.artefact.opened import open_artefact
from y12.runtime.artefact.plan import network_name_in_plan

SMALL = ShapeOptions(imgsz=((160, 192),))
TWO = VerifyOptions(max_images=2)


REPORTS = (".report.html", ".report.json", ".provenance.json")


@contextmanager
def silent(_stage):
    yield


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The demo model as an FP16 engine of 160x192, and its FP32 .onnx beside it, each with its result."""
    folder = tmp_path_factory.mktemp("demo")
    config = ExportConfig("yolov12n", random_weights=True, shapes=SMALL, verify=TWO, output=folder)
    return folder, export(replace(config, format="engine", precision="fp16"), silent), export(config, silent)


def test_the_files_and_nothing_else(demo):
    folder, engine, graph = demo
    names = [f"yolov12n_fp16{end}" for end in (".engine", ".engine.json", ".onnx", *REPORTS)]
    assert [str(folder / name) for name in names] == engine.report.files
    assert (engine.artefact, graph.artefact) == (str(folder / names[0]), str(folder / "yolov12n.onnx"))
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        [*names, "yolov12n.onnx", *(f"yolov12n{end}" for end in REPORTS)]
    )


def test_the_manifest_is_in_the_plan_beside_it_and_in_the_graph(demo):
    folder, *_ = demo
    plan = (folder / "yolov12n_fp16.engine").read_bytes()
    inside = Manifest.from_network_name(network_name_in_plan(plan))
    beside = Manifest.from_json((folder / "yolov12n_fp16.engine.json").read_text())
    props = {p.key: p.value for p in onnx.load(folder / "yolov12n_fp16.onnx").metadata_props}
    assert list(props) == [ONNX_KEY]
    graph = Manifest.from_json(props[ONNX_KEY])
    assert inside == beside
    assert set(inside.recipe.versions) >= {"y12", "torch", "onnx", "onnxsim", "numpy"}
    assert inside.engine["builder"].startswith("TensorRT")
    assert replace(inside, engine={}) == graph
    assert (graph.precision, graph.model, graph.strides) == ("fp16", "yolov12n", (8, 16, 32))
    assert graph.profile.opt_hw == (160, 192)
    assert open_artefact(folder / "yolov12n_fp16.engine").manifest == inside


def test_only_a_graph_that_tensorrt_rtx_builds_is_written_for_it(demo, tmp_path):
    folder, engine, _ = demo
    written = onnx.load(folder / "yolov12n_fp16.onnx").graph.node
    assert ops_for_rtx(written) == (8, 3)
    assert len(engine.report.engine.convolutions) == 122 == 3 + sum(node.op_type == "Conv" for node in written)
    assert {row.engine for row in engine.report.layers if row.operator == "Conv"} == {"fp16"}
    config = ExportConfig("yolov12n", random_weights=True, shapes=SMALL, precision="fp16", verify=None)
    for name, other in {"onnx": config, "as_it_is": replace(config, format="engine", simplify=False)}.items():
        export(replace(other, output=tmp_path / name), silent)
        assert ops_for_rtx(onnx.load(tmp_path / name / "yolov12n_fp16.onnx").graph.node) == (0, 0)


def ops_for_rtx(nodes):
    """How many convolutions are bounded, and how many were made of several."""
    return sum(node.name.endswith("Conv/Max") for node in nodes), sum(JOINT in node.name for node in nodes)


def test_the_report_says_what_was_verified(demo):
    folder, engine, graph = demo
    report = json.loads((folder / "yolov12n_fp16.report.json").read_text())
    again = json.loads(engine.report.to_json())
    assert {k: v for k, v in report.items() if k != "seconds"} == {k: v for k, v in again.items() if k != "seconds"}
    facts = report["engine"]
    assert (facts["attentions_fused"], facts["attentions_expected"]) == (8, 8)
    assert facts["fp32_convolutions"] == []
    assert report["weights_checked"] > 250
    assert report["verification"]["engine_executed"]
    assert report["verification"]["comparisons"][0]["verdict"] == "equal within tolerance"
    assert report["verdict"].startswith("verified: ")
    assert set(report["seconds"]) >= {"load", "trace", "simplify", "precision", "engine", "verify"}
    assert "they are seeded random ones" in report["notes"][0]
    assert graph.report.engine is None
    assert any("attention" in line and "8 of 8 fused" in line for line in engine.report.summary())


def test_the_runtime_runs_the_graph(demo):
    folder, *_ = demo
    image = np.random.Generator(np.random.PCG64(3)).integers(0, 255, (120, 90, 3), dtype=np.uint8)
    with Runtime(folder / "yolov12n_fp16.onnx") as half, Runtime(folder / "yolov12n.onnx") as full:
        actual, expected = half.infer(image), full.infer(image)
    best = [np.sort(detections.confidence)[::-1][:20] for detections in (actual, expected)]
    assert len(best[0]) == 20
    np.testing.assert_allclose(*best, rtol=0, atol=0.01)


def test_the_same_export_gives_the_same_bytes_on_another_day(demo, tmp_path, monkeypatch):
    folder, first, _ = demo
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    config = ExportConfig(
        "yolov12n", random_weights=True, shapes=SMALL, format="engine", precision="fp16", verify=None, output=tmp_path
    )
    second = export(config, silent).report
    assert second.engine == first.report.engine
    assert second.made.date == "2023-11-14T22:13:20Z" != first.report.made.date
    assert second.sha256 == first.report.sha256
    told = json.loads((tmp_path / "yolov12n_fp16.report.json").read_text())
    assert (told["seconds"], told["speed"], told["simplification"]["seconds"]) == ({}, [], None)
    for name in ("yolov12n_fp16.engine", "yolov12n_fp16.onnx", "yolov12n_fp16.engine.json"):
        content = (tmp_path / name).read_bytes()
        assert content == (folder / name).read_bytes(), name
        assert second.sha256[name] == hashlib.sha256(content).hexdigest()


@pytest.mark.exhaustive  # two exports; what is left out: the test before
def test_with_the_date_set_two_exports_give_the_same_files_byte_for_byte(tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    monkeypatch.chdir(tmp_path)
    written = []
    for day in ("one", "two"):
        Path(day).mkdir()
        monkeypatch.chdir(tmp_path / day)  # the report has the paths as they were asked for
        int8 = Int8Options(scenes_dir(), CalibrationOptions("max"), QuantizeOptions("cpu"))  # so that it is timed, too
        config = ExportConfig(shapes=ShapeOptions(((64, 64),)), precision="int8", int8=int8, verify=None)
        made = export(replace(config, output=Path("made")), silent)
        assert sum(made.report.seconds.values()) > 0
        assert made.report.speed
        written.append({path.name: path.read_bytes() for path in Path("made").iterdir()})
        monkeypatch.chdir(tmp_path)
    assert len(written[0]) == 4
    assert written[0] == written[1]


def test_an_export_says_what_it_replaces_and_only_a_verified_one_replaces_a_verified_one(tmp_path):
    config = ExportConfig("yolov12n", random_weights=True, shapes=SMALL, verify=TWO, output=tmp_path)
    assert (first := export(config, silent).report).replaces is None
    second = export(config, silent).report
    assert (second.replaces.verdict, second.replaces.date) == (first.verdict, first.made.date)
    assert f"replaces     an export of {first.made.date}: {first.verdict}" in second.summary()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    unproved = replace(config, verify=None)
    with pytest.raises(
        OptionsError, match=r"^--no-verify: expected nothing that was verified at '.*yolov12n.onnx', found"
    ):
        export(unproved, silent)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    third = export(replace(unproved, overwrite=True), silent).report
    assert (third.verdict, third.replaces.verdict) == ("not verified", second.verdict)
    assert export(unproved, silent).report.replaces.verdict == "not verified"  # which anything may replace


def test_an_fp32_graph_of_ours_is_a_starting_point(demo, tmp_path):
    folder, first, _ = demo
    source = str(folder / "yolov12n.onnx")
    result = export(
        ExportConfig(source, format="engine", precision="fp16", shapes=SMALL, verify=TWO, output=tmp_path), silent
    )
    assert result.report.verdict.startswith("verified: ")
    assert result.report.engine.attentions_fused == first.report.engine.attentions_fused == 8
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".engine", ".html", ".json", ".json", ".json", ".onnx"]
    manifest = open_artefact(tmp_path / "yolov12n_fp16.onnx").manifest
    assert (manifest.source, manifest.precision) == ("yolov12n.onnx", "fp16")


def test_a_half_graph_is_no_starting_point(demo, tmp_path):
    folder, *_ = demo
    config = ExportConfig(str(folder / "yolov12n_fp16.onnx"), precision="fp16", shapes=SMALL, output=tmp_path)
    with pytest.raises(OptionsError, match="expected an FP32 graph to start from, found one in fp16"):
        export(config, silent)
    assert list(tmp_path.iterdir()) == []


def test_a_fixed_graph_keeps_its_shape(demo, tmp_path):
    folder, *_ = demo
    others = (ShapeOptions(((160, 160),)), ShapeOptions(((160, 192),), (2,)), ShapeOptions(((160, 192),), dynamic=True))
    for shapes in others:
        with pytest.raises(OptionsError, match=r"yolov12n\.onnx: its (width|batch) is fixed to"):
            export(ExportConfig(str(folder / "yolov12n.onnx"), shapes=shapes, output=tmp_path), silent)
    assert list(tmp_path.iterdir()) == []


def test_without_simplification_the_export_is_verified_too(tmp_path):
    config = ExportConfig(
        "yolov12n", random_weights=True, shapes=SMALL, precision="fp16", simplify=False, verify=TWO, output=tmp_path
    )
    report = export(config, silent).report
    assert report.simplification is None
    assert report.verdict.startswith("verified: ")


def test_a_batch_and_free_axes_are_verified(tmp_path):
    shapes = ShapeOptions(((96, 96), (128, 160), (192, 192)), (1, 2, 4))
    report = export(
        ExportConfig("yolov12n", random_weights=True, shapes=shapes, precision="fp16", verify=TWO, output=tmp_path),
        silent,
    ).report
    assert report.verdict.startswith("verified: ")
    with Runtime(tmp_path / "yolov12n_fp16.onnx", imgsz=(192, 96)) as runtime:
        assert len(runtime.infer_batch([np.zeros((9, 9, 3), np.uint8)] * 3)) == 3


def test_what_cannot_be_verified_is_not_written(armor_file, tmp_path):
    """On a black image the trained network sees nothing: no verdict, no files."""
    from PIL import Image

    Image.new("RGB", (64, 64)).save(tmp_path / "black.png")
    config = ExportConfig(
        str(armor_file), shapes=SMALL, verify=VerifyOptions(images=tmp_path / "black.png"), output=tmp_path / "out"
    )
    with pytest.raises(InconclusiveError):
        export(config, silent)
    assert not (tmp_path / "out").exists()
    allowed = replace(config, verify=replace(config.verify, allow_inconclusive=True))
    assert export(allowed, silent).report.verdict.startswith("inconclusive: only ")
    assert "no real object was seen" in export(replace(allowed, output=tmp_path / "again"), silent).report.verdict
    assert (tmp_path / "out").exists()


def test_a_weight_that_changes_on_the_way_fails_the_export(monkeypatch, tmp_path):
    from y12.exporter import export_pipeline
    from y12.exporter.precision.cast import cast_to_fp16

    def faulty(model):
        typed, report = cast_to_fp16(model)
        raw = bytearray(typed.graph.initializer[5].raw_data)
        raw[0] ^= 2
        typed.graph.initializer[5].raw_data = bytes(raw)
        return typed, report

    monkeypatch.setattr(export_pipeline, "cast_to_fp16", faulty)
    with pytest.raises(VerificationError, match=r"the weight '.*' of the typed graph is not the model's"):
        export(
            ExportConfig(
                "yolov12n", random_weights=True, shapes=SMALL, precision="fp16", verify=TWO, output=tmp_path / "out"
            ),
            silent,
        )
    assert not (tmp_path / "out").exists()
