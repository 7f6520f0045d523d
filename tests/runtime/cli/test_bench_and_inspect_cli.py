"""y12-bench and y12-inspect."""

import hashlib
import json
import time

import cv2
import numpy as np
import pytest

from y12 import DetectOptions, Runtime
from y12.runtime.artefact.manifest import AxisRange
from y12.runtime.artefact.nms_settings import NmsSettings
from y12.runtime.artefact.opened import sidecar_of
from y12.runtime.backends.onnx_runtime import OrtExecutor
from y12.runtime.cli import bench, infer, inspect


@pytest.fixture
def engine(tmp_path, make_manifest):
    path = tmp_path / "m_fp16.engine"
    path.write_bytes((b"vtrt" + bytes(12) + (80).to_bytes(8, "little") + bytes([1, 7, 1, 116])).ljust(80, b"\0"))
    manifest = make_manifest(
        size=AxisRange(32, 64, 128),
        precision="fp16",
        model="yolov12n",
        licence="AGPL weights stay AGPL",
        engine={"gpus": "SM 75, 80, 86, 89, 120, 121"},
    )
    sidecar_of(path).write_text(manifest.to_json())
    return path


def test_inspect_an_engine_without_a_gpu(engine, capsys):
    assert inspect.main([str(engine)]) == 0
    out = capsys.readouterr().out
    for fact in (
        "yolov12n",
        "fp16",
        "SM 75, 80, 86",
        "TensorRT-RTX 1.7.1.116",
        "AGPL weights",
        "32..128, made for 64",
        "3: red, green, blue",
        hashlib.sha256(engine.read_bytes()).hexdigest(),
    ):
        assert fact in out


def test_inspect_json(engine, make_onnx, capsys):
    assert inspect.main([str(engine), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["kind"], facts["precision"], facts["bytes"]) == ("engine", "fp16", 80)
    assert facts["engine"]["gpus"].startswith("SM 75")
    assert inspect.main([str(make_onnx()), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["input"] == "images (1, 3, 64, 64)"
    assert facts["graph_outputs"] == [{"name": "output0", "dtype": "float32", "shape": [1, 7, 1], "has_rank": True}]


def test_inspect_text_of_an_onnx(make_onnx, capsys):
    assert inspect.main([str(make_onnx(batch="batch"))]) == 0
    assert "(any, 7, 1) float32" in capsys.readouterr().out


def test_inspect_refuses(tmp_path, capsys):
    (tmp_path / "x.onnx").write_bytes(b"nothing")
    assert inspect.main([str(tmp_path / "x.onnx")]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1


def test_bench(make_onnx, make_manifest, capsys):
    path = make_onnx(batch="batch", manifest=make_manifest(batch=AxisRange(1, 1, 8)))
    assert bench.main([str(path), "--iterations", "5", "--warmup", "1", "--batch", "2", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["batch"], report["iterations"], report["input_hw"]) == (2, 5, [64, 64])
    assert set(report["stages_ms"]) == {"load", "preprocess", "execute", "postprocess", "total"}
    for ms in report["stages_ms"].values():
        assert 0 <= ms["p50"] <= ms["p90"] <= ms["p99"]
    total = report["stages_ms"]["total"]["p50"]
    assert report["images_per_second"] == pytest.approx(2000 / total, rel=0.01)


def test_bench_text_and_image(make_onnx, shared, capsys):
    path = make_onnx()
    assert bench.main([str(path), "--iterations", "3", "--image", str(shared / "images/bus.jpg")]) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines()[1].split() == ["stage", "p50", "p90", "p99"]
    assert "images per second" in captured.out
    assert "ONNX Runtime" in captured.err


@pytest.fixture
def segmenter(make_constant, make_manifest):
    """Always one object with a mask."""
    raw = np.array([[32, 32, 30, 20, 0.9, 0, 0, 1]], np.float32).T
    return make_constant(make_manifest(task="segment"), output0=raw, protos=np.ones((1, 16, 16)))


def test_bench_of_a_segmentation_model_reports_masks_apart(segmenter, capsys):
    assert bench.main([str(segmenter), "--iterations", "5", "--task", "segment", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    stages = {name: ms["p50"] for name, ms in report["stages_ms"].items()}
    assert report["objects"] == 1
    assert list(stages)[-2:] == ["masks", "postprocess with masks"]
    assert 0 < stages["masks"] < stages["postprocess with masks"]
    assert bench.main([str(segmenter), "--iterations", "3"]) == 0
    assert "postprocess with masks" in capsys.readouterr().out


def test_inspect_tells_keypoints_and_nms(make_onnx, make_manifest, capsys):
    nms = NmsSettings("packed", 1000, DetectOptions(conf=0.0, max_det=50, classes=(0, 2)))
    path = make_onnx(manifest=make_manifest(task="pose", kpt_shape=(17, 3), nms=nms))
    assert inspect.main([str(path)]) == 0
    out = capsys.readouterr().out
    assert "17 points of 3 values" in out
    assert "in the graph (packed), of the best 1000 boxes: conf 0.0, iou 0.7, max_det 50, classes (0, 2)\n" in out
    assert inspect.main([str(path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["kpt_shape"], facts["nms"]["candidates"]) == ([17, 3], 1000)


@pytest.mark.parametrize(
    ("localisation", "words"), [("heatmap", "peaks of a heatmap"), ("anchors", "objectness times"), ("distances", "")]
)
def test_inspect_tells_how_boxes_are_found(make_onnx, make_manifest, capsys, localisation, words):
    names = ("red", "green", "blue")[: 2 if localisation == "anchors" else 3]  # objectness takes a row of the graph's
    path = make_onnx(manifest=make_manifest(localisation=localisation, names=names))
    assert inspect.main([str(path)]) == 0
    out = capsys.readouterr().out
    assert ("\nboxes" in out) == bool(words)
    assert words in out


@pytest.mark.parametrize("option", ["--iterations", "--warmup", "--batch"])
def test_bench_refuses_zero(make_onnx, option, capsys):
    assert bench.main([str(make_onnx()), option, "0"]) == 2
    assert capsys.readouterr().err == f"error: {option}: expected a whole number of 1 or more, found '0'\n"


@pytest.mark.parametrize("command", ["bench", "infer"])
@pytest.mark.parametrize(
    ("profile", "batch", "wanted"),
    [
        ((1, 1, 1), 4, "expected 1, which the artefact is fixed to, found 4; export it with --batch 1:4:8 for others"),
        ((1, 4, 8), 9, "expected 1 to 8, found 9; its profile is 1:4:8"),
        ((2, 4, 8), 1, "expected 2 to 8, found 1; its profile is 2:4:8"),
    ],
)
def test_a_batch_outside_the_profile_is_refused(make_onnx, make_manifest, capsys, command, profile, batch, wanted):
    path = make_onnx(
        batch=1 if profile[0] == profile[2] else "batch", manifest=make_manifest(batch=AxisRange(*profile))
    )
    main, more = (bench.main, []) if command == "bench" else (infer.main, ["none.jpg"])
    assert main([str(path), *more, "--batch", str(batch)]) == 1
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"error: --batch: {wanted}\n")


def sizes_seen(monkeypatch):
    """Note the images of every run of ONNX Runtime."""
    sizes, run = [], OrtExecutor.run
    monkeypatch.setattr(OrtExecutor, "run", lambda self, images: sizes.append(len(images)) or run(self, images))
    return sizes


@pytest.mark.parametrize(("most", "batch"), [(8, 8), (64, 64), (8, None)])
def test_bench_runs_as_many_as_it_says(make_onnx, make_manifest, monkeypatch, capsys, most, batch):
    sizes = sizes_seen(monkeypatch)
    path = make_onnx(batch="batch", manifest=make_manifest(batch=AxisRange(2, 4, most)))
    asked = [] if batch is None else ["--batch", str(batch)]
    assert bench.main([str(path), "--iterations", "2", "--warmup", "1", "--json", *asked]) == 0
    assert sizes == [batch or 2] * 3
    assert json.loads(capsys.readouterr().out)["batch"] == (batch or 2)


def test_infer_runs_as_many_as_are_asked_for(make_onnx, make_manifest, monkeypatch, tmp_path, capsys):
    sizes = sizes_seen(monkeypatch)
    for number in range(10):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((8, 8, 3), 20 * number, np.uint8))
    path = make_onnx(batch="batch", manifest=make_manifest(batch=AxisRange(1, 4, 8)))
    outs = []
    for asked, expected in (([], [1] * 10), (["--batch", "8"], [8, 2])):
        assert infer.main([str(path), str(tmp_path / "*.png"), "--json", *asked]) == 0
        outs.append([json.loads(line)["detections"] for line in capsys.readouterr().out.splitlines()])
        assert sizes == expected
        sizes.clear()
    assert outs[0] == outs[1]
    assert len(outs[0]) == 10


def test_warm_up_is_not_timed(make_onnx, fake_executor):
    """The first two calls wait 50 ms in the network; the timed ones do not."""
    calls = []

    def answer(blob):
        calls.append(None)
        time.sleep(0.05 if len(calls) <= 2 else 0)
        return {"output0": np.zeros((len(blob), 7, 1), np.float32)}

    with Runtime(make_onnx(), fake_executor(answer)) as runtime:
        report = bench.measure(runtime, [np.zeros((64, 64, 3), np.uint8)], iterations=3, warmup=2)
    assert len(calls) == 5
    assert report["stages_ms"]["execute"]["p99"] < 25
