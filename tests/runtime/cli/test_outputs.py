"""What y12-infer writes: labels, crops, COCO's JSON, tables, where they go, and what is refused."""

import csv
import json
import resource
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.runtime.cli.test_saving import write_video
from y12.runtime.cli.infer import main
from y12.runtime.cli.places import Stems
from y12.runtime.results.coco import parts_of
from y12.runtime.session import Runtime

ROOT = Path(__file__).resolve().parents[3]
RED, BLUE = (np.full((48, 64, 3), colour, np.uint8) for colour in ((0, 0, 255), (255, 0, 0)))
BOX = "0.5 0.5 0.25 0.166667"  # 24 20 40 28 of 64x48


@pytest.fixture
def images(tmp_path):
    """000139.jpg and b/c.png, red and blue."""
    (tmp_path / "in/b").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "in/000139.jpg"), RED)
    cv2.imwrite(str(tmp_path / "in/b/c.png"), BLUE)
    return tmp_path / "in"


@pytest.fixture
def segmenter(make_constant, make_manifest):
    """Always two objects, whose masks are half of their boxes."""
    raw = np.array([[32, 32, 16, 16, 0.9, 0, 0, 1], [16, 32, 8, 8, 0, 0.8, 0, 1]], np.float32).T
    protos = np.ones((1, 16, 16))
    protos[:, :8] = -1
    return make_constant(make_manifest(task="segment"), output0=raw, protos=protos)


def told(done):
    """Return what a command said, but for how far it is, which it tells on a slow machine."""
    return [line for line in done.stderr.splitlines() if not line.endswith(" …")]


def names_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_labels_and_crops(make_onnx, images, tmp_path, capsys):
    out = tmp_path / "run"
    asked = [str(make_onnx()), str(images), "--recursive", "--json", "--save-txt", str(out / "labels")]
    assert main([*asked, "--save-crop", str(out / "crops")]) == 0
    captured = capsys.readouterr()
    records = [json.loads(line) for line in captured.out.splitlines()]
    assert captured.err.splitlines()[1:] == [f"saved to {out}/labels", f"saved to {out}/crops"]
    assert names_in(out) == ["crops/blue/c_0.jpg", "crops/red/000139_0.jpg", "labels/000139.txt", "labels/c.txt"]
    assert [record["labels"] for record in records] == [f"{out}/labels/000139.txt", f"{out}/labels/c.txt"]
    assert [record["crops"] for record in records] == [[f"{out}/crops/red/000139_0.jpg"], [f"{out}/crops/blue/c_0.jpg"]]
    assert [(out / f"labels/{name}.txt").read_text() for name in ("000139", "c")] == [f"0 {BOX}\n", f"2 {BOX}\n"]
    crop = cv2.imread(str(out / "crops/red/000139_0.jpg"))
    assert crop.shape == (8, 16, 3)
    assert np.abs(crop.astype(int) - RED[:8, :16]).max() < 4


def test_confidences_and_pictures_without_objects(make_onnx, images, tmp_path, capsys):
    assert main([str(make_onnx()), str(images), "--save-txt", str(tmp_path / "l"), "--save-conf"]) == 0
    *box, conf = (tmp_path / "l/000139.txt").read_text().split()
    assert (" ".join(box), float(conf) > 0.8) == (f"0 {BOX}", True)
    assert main([str(make_onnx()), str(images), "--save-txt", str(tmp_path / "n"), "--classes", "green"]) == 0
    assert (tmp_path / "n/000139.txt").read_text() == ""  # an image without objects has a file too
    capsys.readouterr()


def test_folders_inside_a_runs_folder_go_with_it(make_onnx, images, tmp_path, capsys):
    run = tmp_path / "run"
    folders = ["--save-txt", str(run / "labels"), "--save-crop", str(tmp_path / "crops"), "--save", str(run)]
    for number in ("", "_2", "_3"):
        assert main([str(make_onnx()), str(images), *folders]) == 0
        err = capsys.readouterr().err.splitlines()[1:]
        assert err == [
            f"saved to {run}{number}",
            f"saved to {tmp_path}/crops{number}",
            f"saved to {run}{number}/labels",
        ]
        assert names_in(Path(f"{run}{number}")) == ["000139_annotated.jpg", "labels/000139.txt"]
    assert main([str(make_onnx()), str(images), *folders, "--exist-ok"]) == 0
    assert capsys.readouterr().err.splitlines()[1] == f"saved to {run}"
    assert main([str(make_onnx()), str(images), "--save", str(run), "--save-txt", str(run), "--exist-ok"]) == 0
    assert "000139.txt" in names_in(run)
    capsys.readouterr()


def test_a_file_for_each_frame_whatever_images_are_called(make_onnx, tmp_path, capsys):
    clip = write_video(tmp_path / "clip.mp4")
    for name in ("clip.jpg", "clip_1.jpg", "other/clip.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / name), BLUE)
    sources = [str(tmp_path / name) for name in ("clip_1.jpg", "clip.mp4", "clip.jpg", "other/clip.png")]
    assert (
        main([str(make_onnx()), *sources, "--save-txt", str(tmp_path / "l"), "--csv-objects", str(tmp_path / "o.csv")])
        == 0
    )
    videos = [f"clip-2_{number}.txt" for number in range(5)]
    assert names_in(tmp_path / "l") == sorted(["clip_1.txt", "clip.txt", "clip-3.txt", *videos])
    rows = list(csv.reader((tmp_path / "o.csv").read_text().splitlines()))
    assert rows[0] == ["source", "frame", "time_s", "class_id", "class_name", "confidence", "x1", "y1", "x2", "y2"]
    assert [row[1:3] for row in rows[1:4]] == [["", ""], ["0", "0.0"], ["1", "0.033"]]
    assert rows[1][3:5] + rows[1][6:] == ["2", "blue", "24.0", "20.0", "40.0", "28.0"]
    assert str(clip) == rows[2][0]
    capsys.readouterr()


def test_names_are_apart_in_any_order():
    video, image, frame = Path("a/clip.mp4"), Path("b/clip.jpg"), Path("c/clip_3.jpg")
    stems = Stems()
    assert [stems.of(video, 3), stems.of(frame, None), stems.of(image, None)] == ["clip_3", "clip_3-2", "clip-2"]
    assert stems.of(video, 4) == "clip_4"
    assert len(Stems().of(Path("é" * 150 + ".jpg"), None).encode()) <= 200


@pytest.mark.parametrize("tolerance", [[], ["--tolerance", "0.5"]])
def test_a_data_set_for_pycocotools_and_supervision(segmenter, images, tmp_path, capsys, tolerance):
    coco_module = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    supervision = pytest.importorskip("supervision", reason="supervision is not installed")
    path = tmp_path / "found.json"
    assert main([str(segmenter), str(images), "--recursive", "--json", "--save-coco", str(path), *tolerance]) == 0
    captured = capsys.readouterr()
    assert captured.err.splitlines()[-1] == f"saved to {path}"
    assert [json.loads(line)["image_id"] for line in captured.out.splitlines()] == [139, 1]
    coco = coco_module.COCO(str(path))
    assert [(image["id"], image["file_name"]) for image in coco.loadImgs([139, 1])] == [
        (139, "000139.jpg"),
        (1, "b/c.png"),
    ]
    assert [category["name"] for category in coco.loadCats([1, 2, 3])] == ["red", "green", "blue"]
    with Runtime(segmenter) as runtime:
        found = runtime(images / "000139.jpg")
    annotations = coco.loadAnns(coco.getAnnIds(139))
    assert [(a["id"], a["category_id"], a["iscrowd"]) for a in annotations] == [(1, 1, 0), (2, 2, 0)]
    for annotation, mask, area in zip(annotations, found.mask, found.area, strict=True):
        np.testing.assert_array_equal(coco.annToMask(annotation).astype(bool), mask)
        assert annotation["area"] == area == mask.sum() > 0
        assert 0.5 < annotation["score"] < 1
    data = supervision.DetectionDataset.from_coco(str(images), str(path), force_masks=True)
    assert data.classes == ["red", "green", "blue"]
    loaded = {Path(name).name: (image, labels) for name, image, labels in data}
    image, labels = loaded["000139.jpg"]
    assert image.shape == (48, 64, 3)
    np.testing.assert_allclose(labels.xyxy, found.xyxy, atol=1e-3)
    assert labels.class_id.tolist() == [0, 1]
    assert coco.loadRes(json.loads(path.read_text())["annotations"]).getAnnIds() == [1, 2, 3, 4]


def test_ids_of_images_are_their_numbers_or_free_ones(make_onnx, tmp_path, capsys):
    names = ("a.jpg", "1.jpg", "b.jpg", "x/1.jpg", "00002.jpg", "9" * 20 + ".jpg")
    (tmp_path / "x").mkdir()
    for name in names:
        cv2.imwrite(str(tmp_path / name), RED)
    clip = write_video(tmp_path / "3.mp4")
    asked = [*(str(tmp_path / name) for name in names), str(clip), "--save-coco", str(tmp_path / "found.json")]
    assert main([str(make_onnx()), *asked]) == 0
    images = json.loads((tmp_path / "found.json").read_text())["images"]
    assert [image["id"] for image in images] == [4, 1, 5, 6, 2, 7, 8, 9, 10, 11, 12]
    assert [image["file_name"] for image in images[:7]] == [*names, "3_0.jpg"]
    assert (images[-1]["video"], images[-1]["frame"]) == ("3.mp4", 4)
    capsys.readouterr()


def test_results_for_pycocotools(segmenter, images, tmp_path, capsys):
    coco_module = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    truth, results = tmp_path / "truth.json", tmp_path / "results.json"
    asked = [str(segmenter), str(images), "--recursive", "--save-coco"]
    assert main([*asked, str(truth)]) == 0
    assert main([*asked, str(results), "--coco-form", "results"]) == 0
    entries = json.loads(results.read_text())
    assert [(e["image_id"], e["file_name"], e["category_id"]) for e in entries][1:3] == [
        (139, "000139.jpg", 2),
        (1, "b/c.png", 1),
    ]
    loaded = coco_module.COCO(str(truth)).loadRes(str(results))
    with Runtime(segmenter) as runtime:
        found = runtime(images / "000139.jpg")
    assert [entry["segmentation"] for entry in entries[:2]] == found.masks.coco_rle()
    assert len(loaded.anns) == 4
    capsys.readouterr()


def test_keypoints_and_oriented_boxes_in_coco(make_constant, make_manifest, images, tmp_path, capsys):
    path = tmp_path / "found.json"
    raw = np.array([[32, 32, 16, 8, 0.9, 0, 0, 30, 30, 0.9, 20, 20, 0.1]], np.float32).T
    pose = make_constant(make_manifest(task="pose", kpt_shape=(2, 3)), output0=raw)
    assert main([str(pose), str(images / "000139.jpg"), "--save-coco", str(path)]) == 0
    data = json.loads(path.read_text())
    assert data["categories"][0] == {
        "id": 1,
        "name": "red",
        "supercategory": "",
        "keypoints": ["0", "1"],
        "skeleton": [],
    }
    assert data["annotations"][0]["keypoints"] == [30, 22, 2, 0, 0, 0]
    assert data["annotations"][0]["num_keypoints"] == 1
    turned = make_constant(make_manifest(task="obb"), output0=np.array([[32, 32, 16, 8, 0.9, 0, 0, 0]], np.float32).T)
    assert main([str(turned), str(images / "000139.jpg"), "--save-coco", str(path)]) == 0
    (annotation,) = json.loads(path.read_text())["annotations"]
    assert annotation["segmentation"] == [[24, 20, 40, 20, 40, 28, 24, 28]]
    capsys.readouterr()


def test_an_object_whose_mask_is_empty_has_its_box(make_constant, make_manifest, images):
    raw = np.array([[32, 32, 16, 16, 0.9, 0, 0, 1]], np.float32).T
    path = make_constant(make_manifest(task="segment"), output0=raw, protos=-np.ones((1, 16, 16)))
    with Runtime(path) as runtime:
        found = runtime(images / "000139.jpg")
    assert found.as_records("polygon")[0]["segmentation"] == []
    ((outline,),) = parts_of(found, 0)
    assert outline.tolist() == [[24, 16], [40, 16], [40, 32], [24, 32]]


def test_a_classifiers_classes(make_constant, make_manifest, images, tmp_path, capsys):
    classifier = make_constant(make_manifest(task="classify", strides=()), output0=[0.125, 0.75, 0.0])
    asked = [str(classifier), str(images / "000139.jpg")]
    assert main([*asked, "--save-txt", str(tmp_path / "l"), "--csv-objects", str(tmp_path / "o.csv")]) == 0
    assert (tmp_path / "l/000139.txt").read_text() == "0.75 green\n0.125 red\n0 blue\n"
    assert len((tmp_path / "o.csv").read_text().splitlines()) == 4
    capsys.readouterr()
    for option in ("--save-crop", "--save-coco"):
        assert main([*asked, option, str(tmp_path / "x"), "--save-txt", str(tmp_path / "none")]) == 1
        assert capsys.readouterr().err.startswith(
            f"error: {option}: expected a model that finds objects, found a classi"
        )
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--save-conf"], 1, "--save-conf: expected --save-txt DIR beside it, found none"),
        (["--coco-form", "results"], 1, "--coco-form: expected --save-coco FILE beside it, found none"),
        (
            ["--tolerance", "1"],
            1,
            "--tolerance: expected --masks polygon, --save-txt or a data set of --save-coco beside",
        ),
        (
            ["--tolerance", "1", "--save-coco", "x", "--coco-form", "results"],
            1,
            "--tolerance: expected --masks polygon",
        ),
        (["--csv", "{tmp}/x", "--csv-objects", "{tmp}/in/../x"], 1, "x: expected a file of its own for each of"),
        (["--tolerance", "1", "--save-txt", "{tmp}/l"], 1, "--tolerance: expected a segmentation model, found one for"),
        (["--tolerance", "-1"], 2, "--tolerance: expected a number of 0 or more, found '-1'"),
        (["--tolerance", "nan"], 2, "--tolerance: expected a number of 0 or more, found 'nan'"),
        (["--coco-form", "result"], 2, "expected dataset, results, found 'result'; did you mean results?"),
        (["--save-txt", "{tmp}/file"], 1, "/file: expected a folder to write to, cannot be written ("),
        (["--save-crop", "/proc/x"], 1, "/proc/x: expected a folder to write to, cannot be written ("),
        (["--save-coco", "/proc/x.json"], 1, "/proc/x.json: cannot be written ("),
        (["--save-coco", "{tmp}"], 1, "cannot be written (it is a folder)"),
        (["--csv-objects", "{tmp}/file/x.csv"], 1, "x.csv: cannot be written ("),
        (["--csv", "{image}"], 1, "--csv: expected another file than an input, found"),
        (["--save-crop", "{tmp}/c", "--classes", "gren"], 1, "found 'gren' (did you mean 'green'?)"),
    ],
)
def test_refused_before_the_work_in_one_line(make_onnx, images, tmp_path, capsys, options, code, message):
    (tmp_path / "file").write_text("")
    image = images / "000139.jpg"
    before = image.read_bytes()
    options = [word.format(tmp=tmp_path, image=image) for word in options]
    assert main([str(make_onnx()), str(image), *options]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1
    assert image.read_bytes() == before
    assert names_in(tmp_path) == ["colours.onnx", "file", "in/000139.jpg", "in/b/c.png"]


def test_a_full_disk_ends_the_run_in_one_line(make_onnx, images, tmp_path, capsys):
    full, null = tmp_path / "full", tmp_path / "null"
    full.symlink_to("/dev/full")  # were a link replaced, the device itself would not be
    null.symlink_to("/dev/null")
    for option in ("--save-coco", "--csv", "--csv-objects"):
        assert main([str(make_onnx()), str(images / "000139.jpg"), option, str(full)]) == 1
        assert capsys.readouterr().err.splitlines()[1:] == [
            f"error: {full}: cannot be written (No space left on device)"
        ]
    assert main([str(make_onnx()), str(images / "000139.jpg"), "--csv", str(null)]) == 0
    assert (full.is_char_device(), null.is_char_device()) == (True, True)
    capsys.readouterr()


@pytest.mark.parametrize("option", ["--save", "--save-crop", "--save-txt"])
def test_a_disk_that_fills_up(make_onnx, images, tmp_path, option):
    """A process may write files of 10 bytes at most: what a full disk is to a folder."""

    def limited():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))

    asked = [str(make_onnx()), str(images / "000139.jpg"), str(images / "b/c.png"), option, str(tmp_path / "out")]
    command = [sys.executable, "-m", "y12.runtime.cli.infer", *asked]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, preexec_fn=limited, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    _, error = told(done)  # one, and not one for each image
    assert error.startswith(f"error: {tmp_path}/out/")
    assert error.endswith("cannot be written (File too large)")
    assert names_in(tmp_path / "out") == []


def test_a_video_that_cannot_be_finished_is_not_said_to_be_saved(make_onnx, images, tmp_path, capsys):
    clip, out = write_video(tmp_path / "clip.mp4"), tmp_path / "out"
    (out / "clip_annotated.mp4").mkdir(parents=True)
    assert main([str(make_onnx()), str(clip), str(images), "--save", str(out), "--exist-ok"]) == 1
    err = capsys.readouterr().err.splitlines()
    assert err[1:] == [f"error: {out}/clip_annotated.mp4: cannot be written (it is a folder)"]
    asked = [str(make_onnx()), str(clip), "--save", str(tmp_path / "x")]
    code = (
        "import sys; from y12.runtime.cli import infer, video_out\n"
        "def full(*paths): raise OSError(28, 'No space left on device')\n"
        f"video_out.os.replace = full; sys.exit(infer.main({asked!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True, check=False)
    assert done.returncode == 1
    error = f"error: {tmp_path}/x/clip_annotated.mp4: the video cannot be written (No space left on device)"
    assert told(done)[1:] == [error]
    assert names_in(tmp_path / "x") == []


def test_an_input_is_never_written_over(make_onnx, tmp_path, capsys):
    crops = tmp_path / "crops/red"
    crops.mkdir(parents=True)
    cv2.imwrite(str(crops / "a.png"), RED)
    cv2.imwrite(str(crops / "a_0.jpg"), RED)
    before = (crops / "a_0.jpg").read_bytes()
    asked = [str(make_onnx()), str(crops / "a.png"), str(crops / "a_0.jpg"), "--save-crop", str(tmp_path / "crops")]
    assert main([*asked, "--exist-ok"]) == 1
    err = capsys.readouterr().err.splitlines()
    assert err[1] == f"error: {crops}/a_0.jpg: is an input, which is not written over: choose another --save-crop"
    assert (crops / "a_0.jpg").read_bytes() == before


def test_what_was_found_before_ctrl_c_is_in_the_tables(make_onnx, images, tmp_path):
    """A reader of standard output that goes away ends the run in the middle."""
    path = tmp_path / "found.json"
    asked = [str(make_onnx()), *[str(images / "000139.jpg"), str(images / "b/c.png")], "--save-coco", str(path)]
    code = (
        "import sys; from y12.runtime.cli import infer, infer_files\n"
        "def stop(*lines): raise KeyboardInterrupt\n"
        f"infer_files.put = stop; sys.exit(infer.main({asked!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True, check=False)
    assert done.returncode == 130
    assert told(done)[1:] == [f"saved to {path}"]
    assert [image["id"] for image in json.loads(path.read_text())["images"]] == [139]
