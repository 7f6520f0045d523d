"""What is fuzzed: for each kind of file the seeds, made here, what becomes of them, and what reads them."""

import base64
import contextlib
import hashlib
import io
import json
import pickle
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnx
from hypothesis import strategies as st
from PIL import Image

sys.path.extend(str(Path(__file__).resolve().parents[2] / folder) for folder in ("hostile", "exporter"))

from edits import bytes_of, json_of, text_of
from graphs import ROWS, manifest, model
from tiny_networks import rows, tiny_detector, write_published

from y12.exporter.checkpoint.load import detector_from_checkpoint, read_checkpoint
from y12.exporter.checkpoint.save import write_checkpoint
from y12.exporter.data.coco_json import coco_ground_truth
from y12.exporter.data.open import labelled_dataset
from y12.exporter.evaluate.results_json import read_results
from y12.exporter.graph.foreign.read import graph_from_file
from y12.exporter.model.spec import spec_from_name
from y12.runtime.artefact.manifest import NAME_PREFIX
from y12.runtime.artefact.nms_settings import NmsSettings
from y12.runtime.artefact.opened import open_artefact
from y12.runtime.cli import infer, inspect
from y12.runtime.cli.sources import frames_from
from y12.runtime.options import DetectOptions
from y12.runtime.preprocess.images import image_from

__all__ = ["Kind", "kinds"]

IMAGE_HW = (48, 64)


@dataclass(frozen=True)
class Kind:
    """One kind of file.

    Attributes:
        file: where it lies in the folder of the fuzzing, with the name that makes it what it is.
        sound: content that is read without a refusal.
        contents: what is tried.
        read: what reads it; raises a Y12Error, or nothing.
    """

    file: str
    sound: bytes
    contents: st.SearchStrategy[bytes]
    read: Callable[[Path], object]


def kinds(folder: Path) -> dict[str, Kind]:
    """Return every kind by name; the files beside those that are fuzzed are written into the folder."""
    picture = np.random.Generator(np.random.PCG64(1)).integers(0, 256, (*IMAGE_HW, 3), dtype=np.uint8)
    for place in ("data/images", "labelled/images", "labelled/labels", "data/labels", "coco"):
        (folder / place).mkdir(parents=True)
    for place in ("data/images/a.png", "labelled/images/a.png", "coco/a.png", "a.png"):
        Image.fromarray(picture).save(folder / place)
    (folder / "data/labels/a.txt").write_text(LABELS)
    (folder / "labelled/data.yaml").write_text(YAML)
    (folder / "truth.json").write_text(json.dumps(COCO))
    return {**_networks(folder), **_artefacts(folder), **_datasets(folder), **_pictures(folder, picture)}


def _networks(folder: Path) -> dict[str, Kind]:
    detector = tiny_detector()
    published = write_published(folder / "seed.pt", detector).read_bytes()
    write_checkpoint(folder / "seed.safetensors", detector, half=True)
    tensors = (folder / "seed.safetensors").read_bytes()
    size = struct.unpack("<Q", tensors[:8])[0]
    header, weights = json.loads(tensors[8 : 8 + size]), tensors[8 + size :]

    def headed(changed: object) -> bytes:
        text = json.dumps(changed).encode()
        return struct.pack("<Q", len(text)) + text + weights

    with zipfile.ZipFile(io.BytesIO(published)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    main = next(name for name in entries if name.endswith("data.pkl"))

    def zipped(content: bytes) -> bytes:
        with io.BytesIO() as file:
            with zipfile.ZipFile(file, "w") as archive:
                for name, own in entries.items():
                    archive.writestr(name, content if name == main else own)
            return file.getvalue()

    pickles = bytes_of(entries[main], *(pickle.dumps(value, 2) for value in ({"model": None}, {"state_dict": {}}, [])))
    network = _lines(rows())
    return {
        ".pt": Kind("a.pt", published, st.one_of(pickles.map(zipped), bytes_of(published)), _checkpoint),
        ".safetensors": Kind(
            "a.safetensors", tensors, st.one_of(json_of(header, headed), bytes_of(tensors)), _checkpoint
        ),
        "model YAML": Kind(
            "tiny-n.yaml", network.encode(), text_of(network), lambda path: spec_from_name(str(path), scale="n")
        ),
    }


def _artefacts(folder: Path) -> dict[str, Kind]:
    plain = json.loads(manifest().to_json())
    baked = json.loads(manifest(nms=NmsSettings("packed", 10, DetectOptions(max_det=5))).to_json())
    foreign = {"task": "detect", "names": {"0": "a", "1": "b"}, "stride": 8, "imgsz": [64, 64], "batch": 1, "args": {}}
    seeds = [
        model(manifest()),
        model(manifest(), images=("b", 3, "h", "w")),
        model(manifest(task="classify", strides=()), outputs={"output0": np.zeros((1, 2), np.float32)}),
        _with_metadata({key: str(value) for key, value in foreign.items()}),
    ]

    def described(data: object) -> bytes:
        return model(json.dumps(data))

    def as_metadata(data: object) -> bytes:
        entries = data if isinstance(data, dict) else {"names": data}
        return _with_metadata({_utf8(key): _utf8(str(value)) for key, value in entries.items()})

    def prefixed(data: object) -> bytes:
        text = json.dumps(data).encode()
        return struct.pack("<I", len(text)) + text + _plan(b"")

    engines = bytes_of(_plan(_name(manifest().to_json())), _plan(b""), prefixed(foreign))
    own = _plan(_name(manifest().to_json()))
    build = {"kernels": 3, "attentions_expected": 1, "unfused": ["s"], "convolutions": {"c": "fp16"}, "bytes_moved": 9}
    report = {"schema": 1, "sha256": {"d.engine": hashlib.sha256(own).hexdigest()}, "engine": build, "unread": ""}
    return {
        ".onnx": Kind("a.onnx", seeds[0], bytes_of(*seeds), _command),
        ".onnx to export": Kind("b.onnx", seeds[0], bytes_of(*seeds), _graph),
        "manifest": Kind(
            "c.onnx", described(plain), st.one_of(json_of(plain, described), json_of(baked, described)), _command
        ),
        "metadata": Kind("d.onnx", seeds[3], json_of(foreign, as_metadata), _command),
        ".engine": Kind("a.engine", own, st.one_of(engines, json_of(foreign, prefixed)), _inspected),
        "manifest in an engine": Kind(
            "b.engine", own, json_of(plain, lambda data: _plan(_name(json.dumps(data)))), _inspected
        ),
        "manifest beside an engine": Kind(
            "c.engine.json", json.dumps(plain).encode(), _texts(plain), lambda path: _beside(path, _plan(b""))
        ),
        "report beside an engine": Kind(
            "d.report.json", json.dumps(report).encode(), _texts(report), lambda path: _beside(path, own)
        ),
    }


def _datasets(folder: Path) -> dict[str, Kind]:
    truth = coco_ground_truth(folder / "truth.json")
    return {
        "data.yaml": Kind("data/data.yaml", YAML.encode(), text_of(YAML, KEYPOINTS), labelled_dataset),
        "labels": Kind(
            "labelled/labels/a.txt",
            LABELS.encode(),
            text_of(LABELS),
            lambda path: labelled_dataset(path.parents[1] / "data.yaml"),
        ),
        "COCO JSON": Kind("coco/a.json", json.dumps(COCO).encode(), _texts(COCO), labelled_dataset),
        "COCO results": Kind(
            "results.json", json.dumps(RESULTS).encode(), _texts(RESULTS), lambda path: read_results(path, truth)
        ),
    }


def _pictures(folder: Path, picture: np.ndarray) -> dict[str, Kind]:
    image, seeds = Image.fromarray(picture), []
    forms = {"PNG": {}, "JPEG": {}, "GIF": {}, "BMP": {}, "WEBP": {}, "TIFF": {}, "PPM": {}, "JPEG2000": {}, "AVIF": {}}
    for form, options in forms.items():
        with io.BytesIO() as file:
            image.save(file, form, **options)
            seeds.append(file.getvalue())
    for form in ("GIF", "TIFF", "WEBP", "PNG"):  # of several frames
        with io.BytesIO() as file:
            image.save(file, form, save_all=True, append_images=[image.rotate(90), image.convert("L").convert("RGB")])
            seeds.append(file.getvalue())
    exif = Image.Exif()
    exif[0x0112] = 6
    with io.BytesIO() as file:
        image.save(file, "JPEG", exif=exif)
        seeds.append(file.getvalue())
    videos = [_video(folder / f"a{suffix}", picture) for suffix in (".mp4", ".avi")]
    return {
        "image": Kind("image.jpg", seeds[0], bytes_of(*seeds), image_from),
        "video": Kind("video.mp4", videos[0], bytes_of(*videos), _frames),
    }


def _video(path: Path, picture: np.ndarray) -> bytes:
    code = {".mp4": "mp4v", ".avi": "MJPG"}[path.suffix]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), 10, IMAGE_HW[::-1])
    for shift in range(4):
        writer.write(np.roll(picture, shift, 0))
    writer.release()
    return path.read_bytes()


# Readers.


def _checkpoint(path: Path) -> None:
    detector_from_checkpoint(read_checkpoint(path))


def _graph(path: Path) -> None:
    open_artefact(path)
    graph_from_file(path)


def _command(path: Path) -> None:
    """Look at an artefact, and run it, by the commands: whatever they say is to be printable."""
    _said(infer.main, [str(path), str(path.with_name("a.png")), "--provider", "cpu"])
    _inspected(path)


def _inspected(path: Path) -> None:
    _said(inspect.main, [str(path)])
    open_artefact(path)  # what a program meets


def _beside(path: Path, plan: bytes) -> None:
    engine = path.with_name(f"{path.name[0]}.engine")
    engine.write_bytes(plan)
    _inspected(engine)


def _said(main: Callable[[list[str]], int], arguments: list[str]) -> None:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(arguments)
    lines = (out.getvalue() + err.getvalue()).splitlines()
    assert all(line.isprintable() and len(line) <= 5000 for line in lines), f"unprintable: {lines!r:.300}"
    errors = [line for line in lines if line.startswith("error: ") and "files could not be used" not in line]
    assert (code, len(errors)) in ((0, 0), (1, 1)), f"code {code}: {lines!r:.300}"
    assert not any("did not expect" in line for line in errors), errors[0]


def _frames(path: Path) -> None:
    for frame in frames_from([path]):
        frame.load()


# Seeds.

YAML = "path: .\ntrain: images\nval: images\nnc: 2\nnames: [a, b]\n"
KEYPOINTS = (
    "# a comment\nval:\n  - images\n  - images/a.png\nkpt_shape: [17, 3]\nnames: {0: a, 1: 'b c'}\nflip_idx: [1, 0]\n"
)
LABELS = "0 0.5 0.5 0.2 0.3\n1 0.1 0.1 0.9 0.1 0.9 0.9\n0 .25 .25 1e-1 0.125\n"
COCO = {
    "info": {},
    "images": [{"id": 1, "file_name": "a.png", "height": IMAGE_HW[0], "width": IMAGE_HW[1]}],
    "categories": [{"id": 1, "name": "a"}, {"id": 7, "name": "b", "keypoints": ["x"], "skeleton": [[1, 1]]}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 30, 20.5], "area": 600, "iscrowd": 0},
        {"id": 2, "image_id": 1, "category_id": 7, "bbox": [1, 2, 3, 4], "segmentation": [[1, 2, 9, 2, 9, 9]]},
        {"id": 3, "image_id": 1, "category_id": 7, "bbox": [1, 2, 3, 4], "iscrowd": 1,
         "segmentation": {"size": list(IMAGE_HW), "counts": [100, 2000, 972]}},
    ],
}  # fmt: skip
RESULTS = [
    {"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4.5], "score": 0.5},
    {"image_id": 1, "category_id": 7, "bbox": [1, 2, 3, 4], "score": 1,
     "segmentation": {"size": list(IMAGE_HW), "counts": [100, 2000, 972]}},
]  # fmt: skip


def _texts(seed: object) -> st.SearchStrategy[bytes]:
    return st.one_of(json_of(seed, lambda data: json.dumps(data).encode()), text_of(json.dumps(seed, indent=1)))


def _lines(data: dict[str, object]) -> str:
    return "".join(f"{key}: {json.dumps(value)}\n" for key, value in data.items())


def _with_metadata(entries: dict[str, str]) -> bytes:
    """Return another exporter's graph: boxes and a sigmoid of scores, joined."""
    made = onnx.load_from_string(model(manifest(), outputs={"output0": ROWS}))
    del made.metadata_props[:]
    del made.graph.node[:], made.graph.initializer[:]
    weights = {"boxes": ROWS[:, :4], "logits": ROWS[:, 4:]}
    made.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in weights.items())
    made.graph.node.append(onnx.helper.make_node("Sigmoid", ["logits"], ["scores"]))
    made.graph.node.append(onnx.helper.make_node("Concat", ["boxes", "scores"], ["output0"], axis=1))
    onnx.helper.set_model_props(made, entries)
    return made.SerializeToString()


def _utf8(text: str) -> str:
    """Protobuf's texts have no lone surrogates; Python's notation of one may stand there."""
    return text.encode("utf-8", "backslashreplace").decode()


def _name(text: str) -> bytes:
    name = NAME_PREFIX.encode() + base64.b64encode(zlib.compress(text.encode("utf-8", "surrogatepass")))
    return struct.pack("<Q", len(name)) + name


def _plan(content: bytes) -> bytes:
    size = 64 + len(content)
    return struct.pack("<4sIQQ4B", b"vtrt", 0, 0, size, 1, 7, 1, 116) + bytes(36) + content
