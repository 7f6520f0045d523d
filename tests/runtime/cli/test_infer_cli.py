"""y12-infer, and what all commands share: exit codes, streams, messages."""

import csv
import json
import subprocess
import sys
import threading
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from tests.foreign_graphs import Ends, foreign_model
from y12.errors import InputError
from y12.runtime.artefact.nms_settings import NmsSettings
from y12.runtime.cli.common import run_command
from y12.runtime.cli.infer import main
from y12.runtime.cli.infer_files import Output, infer_files
from y12.runtime.cli.saving import Saver
from y12.runtime.cli.sources import frames_from, sources_from
from y12.runtime.options import DetectOptions
from y12.runtime.session import Runtime

ROOT = Path(__file__).resolve().parents[3]
RED = np.full((48, 64, 3), (0, 0, 255), np.uint8)


@pytest.fixture
def images(tmp_path):
    """A folder with a.jpg, b.png and a text file."""
    folder = tmp_path / "images"
    folder.mkdir()
    Image.fromarray(RED[..., ::-1]).save(folder / "a.jpg", quality=95)
    Image.fromarray(RED).save(folder / "b.png")
    (folder / "notes.txt").write_text("no image")
    return folder


def lines(capsys):
    captured = capsys.readouterr()
    return captured.out.splitlines(), captured.err.splitlines()


def test_one_line_per_image(make_onnx, images, capsys):
    assert main([str(make_onnx()), str(images)]) == 0
    out, err = lines(capsys)
    assert [line.split(": ")[:3] for line in out] == [
        [str(images / "a.jpg"), "64x48", out[0].split(": ")[2]],
        [str(images / "b.png"), "64x48", out[1].split(": ")[2]],
    ]
    assert "1 red" in out[0]
    assert "1 blue" in out[1]
    assert len(err) == 1  # what runs where


def test_many_images_are_run_side_by_side_and_one_in_all_threads(make_onnx, images, capsys, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    path = str(make_onnx())
    for sources, told in (([str(images)], True), ([str(images / "a.jpg")], False)):
        assert main([path, *sources]) == 0
        _, err = lines(capsys)
        assert ("2 images at a time" in err[0]) == told, err


def test_json_lines(make_onnx, images, capsys):
    assert main([str(make_onnx()), str(images / "*.jpg"), "--json", "--provider", "cpu"]) == 0
    out, _ = lines(capsys)
    (record,) = map(json.loads, out)
    assert (record["source"], record["frame"]) == (str(images / "a.jpg"), None)
    assert (record["height"], record["width"]) == (48, 64)
    assert record["detections"][0]["class_name"] == "red"
    assert record["detections"][0]["box_xyxy"] == [24.0, 20.0, 40.0, 28.0]
    assert record["counts"] == {"red": 1}
    assert set(record["ms"]) == {"load", "preprocess", "execute", "postprocess"}


def test_a_bad_image_is_reported_and_the_others_are_done(make_onnx, images, capsys):
    (images / "aa.jpg").write_bytes(b"no image")
    arguments = [str(make_onnx()), str(images), str(images / "missing.jpg"), "--json"]
    assert main(arguments) == 1
    out, err = lines(capsys)
    records = [json.loads(line) for line in out]
    assert [Path(r["source"]).name for r in records] == ["a.jpg", "aa.jpg", "b.png", "missing.jpg"]
    assert ["error" in r for r in records] == [False, True, False, True]
    assert err[-1] == "error: 2 of 4 files could not be used"
    assert sum(str(images / "aa.jpg") in line for line in err) == 1


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ([], 1),
        (["--conf", "0.99"], 0),
        (["--classes", "1,2"], 0),
        (["--classes", "0"], 1),
        (["--classes", "blue, red"], 1),
        (["--classes", "2,green"], 0),
        (["--max-det", "1", "--iou", "0.1", "--agnostic-nms", "--imgsz", "64"], 1),
        (["--conf-thres", "0.5", "--iou-thres", "0.5", "--imgsz", "64,64"], 1),
    ],
)
def test_options(make_onnx, images, capsys, options, found):
    assert main([str(make_onnx()), str(images / "a.jpg"), "--json", *options]) == 0
    out, _ = lines(capsys)
    assert len(json.loads(out[0])["detections"]) == found


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--conf", "2"], "conf: expected a number from 0 to 1, found 2.0"),
        (["--max-det", "0"], "max_det"),
        (["--classes", "7"], "ids of 0 to 2, found 7"),
        (["--classes", "-1"], "ids of 0 to 2, found -1"),
        (["--classes", "red,gren"], "found 'gren' (did you mean 'green'?)"),
        (["--classes", "person"], "classes: expected names of the model's 3 (red, green, blue), found 'person'"),
        (["--classes", "0,,1"], "found ''"),
        (["--imgsz", "96"], "imgsz: expected a height of 64"),
    ],
)
def test_refusals_are_one_line(make_onnx, images, capsys, options, message):
    assert main([str(make_onnx()), str(images), *options]) == 1
    out, err = lines(capsys)
    assert out == []
    assert len(err) == 1
    assert err[0].startswith("error: ")
    assert message in err[0]


@pytest.mark.parametrize(
    "arguments",
    [[], ["m.onnx"], ["m.onnx", "a.jpg", "--imgsz", "x"], ["m.onnx", "a.jpg", "--provider", "tpu"]],
)
def test_usage_errors_exit_2(arguments, capsys):
    assert main(arguments) == 2
    out, err = lines(capsys)
    assert (out, len(err)) == ([], 1)
    assert err[0].startswith("error: ")
    assert "expected " in err[0]
    assert ", found " in err[0]


@pytest.mark.parametrize(
    ("arguments", "notes"),
    [
        ([], []),
        (["--conf", "0.1"], ["conf 0.1: the graph has left out all up to 0.25"]),
        (
            ["--iou", "0.5", "--max-det", "9"],
            ["max_det 9: the graph gives 5 rows at most", "iou 0.5 has no effect: NMS"],
        ),
    ],
)
def test_what_a_graph_with_nms_has_decided_is_told(tmp_path, images, capsys, arguments, notes):
    path = tmp_path / "given.onnx"
    path.write_bytes(foreign_model(Ends("nms", facts={"args": "{'nms': True, 'quantize': 16}"})).SerializeToString())
    assert main([str(path), *arguments, str(images / "a.jpg")]) == 0
    said = [line.removeprefix("note: ") for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    assert said[0].startswith("given.onnx: its metadata say precision fp16, its graph has fp32")
    assert len(said) == 1 + len(notes)
    assert all(line.startswith(note) for line, note in zip(said[1:], notes, strict=True))


@pytest.fixture
def segmenter(make_constant, make_manifest):
    """Always one object, 24 22 40 26 in the 64x48 images, whose mask is all of its box."""
    raw = np.array([[32, 32, 16, 4, 0.9, 0, 0, 1]], np.float32).T
    return make_constant(make_manifest(task="segment"), output0=raw, protos=np.ones((1, 16, 16)))


@pytest.mark.parametrize("form", ["rle", "polygon"])
def test_masks_in_json(segmenter, images, capsys, form):
    assert main([str(segmenter), str(images / "a.jpg"), "--json", "--masks", form]) == 0
    record = json.loads(lines(capsys)[0][0])
    segmentation = record["detections"][0]["segmentation"]
    if form == "rle":
        assert segmentation["size"] == [48, 64]
    else:
        assert sorted(map(tuple, segmentation[0])) == [(24, 22), (24, 25), (39, 22), (39, 25)]
    assert record["ms"]["masks"] > 0
    assert record["truncated"] is False


def test_masks_cost_nothing_unless_asked_for(segmenter, images, tmp_path, capsys):
    assert main([str(segmenter), str(images / "a.jpg"), "--json"]) == 0
    record = json.loads(lines(capsys)[0][0])
    assert "segmentation" not in record["detections"][0]
    assert record["ms"]["masks"] == 0
    assert main([str(segmenter), str(images / "a.jpg"), "--json", "--save", str(tmp_path / "out")]) == 0
    assert json.loads(lines(capsys)[0][0])["ms"]["masks"] > 0
    drawn = cv2.imread(str(tmp_path / "out/a_annotated.jpg"))
    assert drawn[24, 32].tolist() != cv2.imread(str(images / "a.jpg"))[24, 32].tolist()


@pytest.mark.parametrize(
    ("task", "arguments", "message"),
    [
        ("detect", ["--json", "--masks", "rle"], "expected a segmentation model, found one for the task 'detect'"),
        ("segment", ["--masks", "rle"], "--masks: expected --json"),
        ("detect", ["--task", "segment"], "expected a model for the task 'segment', found one for 'detect'"),
    ],
)
def test_what_the_model_cannot_give_is_refused(make_onnx, segmenter, images, capsys, task, arguments, message):
    path = segmenter if task == "segment" else make_onnx()
    assert main([str(path), str(images), *arguments]) == 1
    out, err = lines(capsys)
    assert out == []
    assert len(err) == 1
    assert message in err[0]


def test_a_multitask_model_without_masks_is_refused(make_constant, make_manifest, images, capsys):
    outputs = {"boxes": np.zeros((4, 1)), "scores": np.zeros((3, 1))}
    path = make_constant(make_manifest(task="multitask"), **outputs)
    assert main([str(path), str(images), "--json", "--masks", "rle"]) == 1
    assert "expected masks from the model, found none" in lines(capsys)[1][-1]


def test_classes_of_an_image(make_constant, make_manifest, images, capsys, tmp_path):
    path = make_constant(make_manifest(task="classify", strides=()), output0=[0.125, 0.8, 0.0])
    assert main([str(path), str(images / "a.jpg"), "--save", str(tmp_path / "out")]) == 0
    assert ": green 0.80, red 0.12, blue 0.00 (" in lines(capsys)[0][0]
    assert main([str(path), str(images / "a.jpg"), "--json", "--conf", "0.2"]) == 0
    (found,) = json.loads(lines(capsys)[0][0])["detections"]
    assert (found["class_name"], found["box_xyxy"]) == ("green", [7.529, 0.0, 55.718, 48.0])  # 85 wide, 10 cut away
    assert main([str(path), str(images / "a.jpg"), "--json", "--max-det", "2"]) == 0
    assert len(json.loads(lines(capsys)[0][0])["detections"]) == 2


@pytest.fixture
def with_nms(make_constant, make_manifest):
    """A model with NMS in its graph, conf 0.3 and max_det 2, which left something out."""
    nms = NmsSettings("packed", 10, DetectOptions(conf=0.3, max_det=2))
    rows = [[24, 28, 40, 36, 0.9, 0], [2, 20, 9, 30, 0.4, 2]]
    return make_constant(make_manifest(nms=nms), detections=rows, num=[2], truncated=[1])


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ([], ["red", "blue"]),
        (["--conf", "0.5"], ["red"]),
        (["--classes", "2"], ["blue"]),
        (["--max-det", "1"], ["red"]),
    ],
)
def test_nms_in_the_graph(with_nms, images, capsys, arguments, names):
    assert main([str(with_nms), str(images / "a.jpg"), "--json", *arguments]) == 0
    out, err = lines(capsys)
    record = json.loads(out[0])
    assert [found["class_name"] for found in record["detections"]] == names
    assert record["truncated"] is True
    assert f"{images / 'a.jpg'}: more candidates than the NMS" in err[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--conf", "0.1"], "conf: expected 0.3 or more"), (["--iou", "0.5"], "iou"), (["--agnostic-nms"], "agnostic")],
)
def test_nms_in_the_graph_cannot_be_changed(with_nms, images, capsys, arguments, message):
    assert main([str(with_nms), str(images), *arguments]) == 1
    out, err = lines(capsys)
    assert (out, len(err)) == ([], 1)
    assert message in err[0]


def test_missing_artefact(capsys, images):
    assert main(["nowhere.onnx", str(images)]) == 1
    _, err = lines(capsys)
    assert len(err) == 1
    assert "nowhere.onnx" in err[0]


def test_save(make_onnx, images, tmp_path, capsys):
    out = tmp_path / "new" / "out"
    assert main([str(make_onnx()), str(images), "--save", str(out)]) == 0
    assert sorted(p.name for p in out.iterdir()) == ["a_annotated.jpg", "b_annotated.jpg"]
    assert cv2.imread(str(out / "a_annotated.jpg")).shape == (48, 64, 3)
    assert (out / "a_annotated.jpg").stat().st_mode & 0o444 == 0o444 & ~_umask()


def _umask():
    import os

    current = os.umask(0)
    os.umask(current)
    return current


def test_save_keeps_inputs_of_one_name_apart_and_never_writes_over_one(tmp_path):
    folder = tmp_path / "x"
    inputs = [tmp_path / "1/bus.jpg", tmp_path / "2/bus.png", folder / "bus_annotated.jpg"]
    folder.mkdir()
    saver = Saver(folder, inputs)
    names = [saver.save(path, None, RED).name for path in inputs]
    assert names == ["bus_annotated_2.jpg", "bus_annotated_3.jpg", "bus_annotated_annotated.jpg"]
    assert saver.save(inputs[0], None, RED).name == names[0]
    assert sorted(p.name for p in folder.iterdir()) == sorted(names)  # and no temporary file


def test_save_where_nothing_can_be_written(make_onnx, images, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main([str(make_onnx()), str(images / "a.jpg"), "--save", str(tmp_path / "file")]) == 1
    _, err = lines(capsys)
    assert any("cannot be written" in line for line in err)


def write_video(path, frames=3):
    """Write red, blue, green, red …"""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for number in range(frames):
        writer.write(np.full((48, 64, 3), ((0, 0, 255), (255, 0, 0), (0, 255, 0))[number % 3], np.uint8))
    writer.release()
    return path


def test_video_frame_by_frame(make_onnx, tmp_path, capsys):
    path = write_video(tmp_path / "clip.avi")
    assert main([str(make_onnx()), str(path), "--json", "--save", str(tmp_path / "out")]) == 0
    records = [json.loads(line) for line in lines(capsys)[0]]
    assert [r["frame"] for r in records] == [0, 1, 2]
    assert [r["time_s"] for r in records] == [0, 0.1, 0.2]
    assert [r["detections"][0]["class_name"] for r in records] == ["red", "blue", "green"]
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["clip_annotated.mp4"]


def test_counts_by_class_in_csv(make_onnx, images, tmp_path, capsys):
    clip, bad = write_video(tmp_path / "clip.avi"), tmp_path / "bad.jpg"
    bad.write_bytes(b"no image")
    table = tmp_path / "counts.csv"
    assert main([str(make_onnx()), str(images), str(bad), str(clip), "--csv", str(table)]) == 1
    assert lines(capsys)[1][-1] == "error: 1 of 4 files could not be used"
    assert list(csv.reader(table.read_text().splitlines())) == [
        ["source", "frame", "red", "green", "blue"],
        [str(images / "a.jpg"), "", "1", "0", "0"],
        [str(images / "b.png"), "", "0", "0", "1"],
        *([str(clip), str(frame), *counts] for frame, counts in enumerate(("100", "001", "010"))),
    ]


def test_counts_that_cannot_be_written(make_constant, make_manifest, make_onnx, images, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main([str(make_onnx()), str(images / "a.jpg"), "--csv", str(tmp_path / "file" / "x.csv")]) == 1
    assert lines(capsys)[1][-1].startswith(f"error: {tmp_path / 'file'}")
    classifier = make_constant(make_manifest(task="classify", strides=()), output0=[0.125, 0.8, 0.0])
    assert main([str(classifier), str(images / "a.jpg"), "--csv", str(tmp_path / "c.csv")]) == 1
    assert lines(capsys)[1][-1].startswith("error: --csv: expected a model that finds objects, found a classifier")
    assert not (tmp_path / "c.csv").exists()


def test_images_and_videos_come_in_the_order_given(make_onnx, images, capsys):
    clip = write_video(images / "clip.avi")
    (images / "bad.avi").write_bytes(b"no video")
    sources = [images / "b.png", clip, images / "bad.avi", images / "missing.jpg", images / "a.jpg"]
    assert main([str(make_onnx()), *map(str, sources), "--json"]) == 1
    records = [json.loads(line) for line in lines(capsys)[0]]
    assert [r["source"] for r in records] == [str(path) for path in (sources[0], clip, clip, clip, *sources[2:])]
    names = [r["detections"][0]["class_name"] if "detections" in r else "error" for r in records]
    assert names == ["blue", "red", "blue", "green", "error", "error", "red"]
    assert not [t.name for t in threading.enumerate() if t.name.startswith("y12-stream")]


def write_growing_video(path):
    """Write 40 pictures as JPEG, of which all but the first are larger: no video can hold them as they are."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for number in range(40):
            picture = np.full((48 + 16 * (number > 0), 64, 3), (0, 0, 255), np.uint8)
            packet = av.Packet(cv2.imencode(".jpg", picture)[1].tobytes())
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, number, number, Fraction(1, 10)
            file.mux(packet)
    return path


def test_a_video_whose_pictures_cannot_be_saved_is_left_and_the_others_are_done(make_onnx, images, tmp_path, capsys):
    """Frames that were read ahead are dropped without a word: one file, one error."""
    clip = write_growing_video(images / "clip.mkv")
    out = tmp_path / "out"
    arguments = [str(make_onnx()), str(images / "a.jpg"), str(clip), str(images / "b.png"), "--json"]
    assert main([*arguments, "--save", str(out)]) == 1
    records = [json.loads(line) for line in lines(capsys)[0]]
    assert [(Path(r["source"]).name, r.get("frame"), "error" in r) for r in records] == [
        ("a.jpg", None, False),
        ("clip.mkv", 0, False),
        ("clip.mkv", None, True),
        ("b.png", None, False),
    ]
    assert "expected pictures of one size for a video, found 64x64 after 64x48" in records[2]["error"]
    assert {p.name for p in out.iterdir()} == {"a_annotated.jpg", "b_annotated.jpg", "clip_annotated.mp4"}


def test_the_network_runs_no_further_on_a_video_whose_pictures_cannot_be_saved(make_onnx, fake_executor, tmp_path):
    clip = write_growing_video(tmp_path / "clip.mkv")
    fake = fake_executor(lambda blob: {"output0": np.zeros((1, 7, 1), np.float32)})
    with Runtime(make_onnx(), fake) as runtime, Saver(tmp_path / "out", [clip]) as saver:
        output = Output((saver,), as_json=True)
        assert infer_files(runtime, [clip], runtime.options, output) == 1
    assert 2 <= len(fake.blobs) < 10


def test_a_video_that_is_given_up_is_read_no_further(tmp_path):
    clip, image = write_video(tmp_path / "clip.avi", frames=9), tmp_path / "a.jpg"
    given_up = set()
    frames = frames_from([clip, image], given_up)
    assert [next(frames).number for _ in range(3)] == [0, 1, 2]
    given_up.add(clip)
    assert [(frame.path, frame.number) for frame in frames] == [(image, None)]


def test_an_image_is_decoded_when_it_is_loaded_and_kept_where_asked(images):
    (frame,) = frames_from([images / "a.jpg"])
    assert isinstance(frame.source, Path)
    picture = frame.load()
    assert picture.shape == (48, 64, 3)
    assert isinstance(frame.source, Path)
    kept = frame.load_and_keep()
    assert frame.load() is kept
    np.testing.assert_array_equal(kept, picture)


def test_the_results_are_those_of_infer(make_onnx, images, capsys):
    path = make_onnx()
    assert main([str(path), *[str(images / name) for name in ("a.jpg", "b.png")], "--json"]) == 0
    records = [json.loads(line) for line in lines(capsys)[0]]
    with Runtime(path) as runtime:
        expected = [runtime.infer(Path(r["source"])).as_records() for r in records]
    assert [r["detections"] for r in records] == json.loads(json.dumps(expected))


def test_a_video_is_refused_before_the_work_where_nothing_reads_it(images, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "av", None)
    assert main([str(tmp_path / "none.onnx"), str(images / "a.jpg"), "clip.mp4"]) == 1
    assert "reading a video needs the package 'av' of y12's extra [video]" in lines(capsys)[1][-1]


@pytest.mark.parametrize("content", [None, b"", b"no video"])
def test_bad_video(make_onnx, tmp_path, capsys, content):
    path = tmp_path / "clip.mp4"
    if content is not None:
        path.write_bytes(content)
    assert main([str(make_onnx()), str(path)]) == 1
    assert "clip.mp4: expected a video" in capsys.readouterr().err


def test_sources(images, tmp_path):
    names = ["a.jpg", "b.png"]
    assert [p.name for p in sources_from([str(images)])] == names
    assert [p.name for p in sources_from([str(images / "*.[jp]*g"), str(images / "a.jpg")])] == names
    (images / "[1].jpg").write_bytes(b"")
    assert sources_from([str(images / "[1].jpg")]) == [images / "[1].jpg"]  # a file's own name is no pattern
    (tmp_path / "empty").mkdir()
    for nothing in (tmp_path / "empty", images / "*.bmp"):
        with pytest.raises(InputError, match="found none"):
            sources_from([str(nothing)])


def raises(error):
    def body():
        raise error

    return body


def test_run_command_translates(capsys):
    assert run_command(lambda: 0) == 0
    assert run_command(raises(InputError("two\nlines"))) == 1
    assert capsys.readouterr().err == "error: two\\nlines\n"
    assert run_command(raises(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == ""
    assert run_command(raises(ZeroDivisionError("of nothing"))) == 1
    assert capsys.readouterr().err.startswith(
        "error: y12 did not expect ZeroDivisionError: of nothing; Y12_TRACEBACK=1"
    )


def start(code, **streams):
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, text=True, **streams)


def test_a_closed_pipe_is_no_traceback(make_onnx, images):
    arguments = [str(make_onnx()), *[str(images)] * 1, "--json"]
    code = f"import sys; from y12.runtime.cli.infer import main; sys.exit(main({arguments!r}))"
    process = start(code, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 141
    assert "Traceback" not in err
    assert "Exception ignored" not in err


@pytest.mark.parametrize("command", ["infer", "bench", "inspect"])
def test_help_loads_nothing_heavy(command):
    code = (
        f"import sys; from y12.runtime.cli.{command} import main\n"
        "assert main(['--help']) == 0\n"
        "assert not {'cv2', 'PIL', 'onnxruntime', 'torch', 'tensorrt_rtx'} & set(sys.modules)"
    )
    process = start(code, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert "ARTEFACT" in out
