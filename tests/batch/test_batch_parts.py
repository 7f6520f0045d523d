"""What a run writes down and what a worker makes of it, without Ray: sources, parts, rows, notes, refusals."""

import json
from itertools import count

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.batch.conftest import write_images
from tests.runtime.conftest import colour_manifest
from y12.batch import cli
from y12.batch.attempts import Attempts
from y12.batch.cli import main
from y12.batch.coco import COCO, write_coco
from y12.batch.job import Job, Record, read_record, write_record
from y12.batch.listing import UNIT, UNITS_A_FILE, Listing, write_listing
from y12.batch.rows import Done, parquet_of, schema_of, tally_in
from y12.batch.run import Counts, _done
from y12.batch.sources import names_from
from y12.batch.storage import Store, fetched
from y12.batch.worker import Worker, kind_of
from y12.errors import ArtefactError, InputError, OutputError
from y12.runtime.artefact.opened import open_artefact
from y12.runtime.options import DetectOptions
from y12.runtime.results.detections import Detections
from y12.runtime.results.masks import Masks

OBJECTS = 4  # that the network finds in the colours of `write_images`


def detections(count=2, **changes):
    boxes = np.array([[1.25, 2, 30, 40], [5, 6, 7.125, 8]], np.float32)[:count]
    scores = np.array([0.9, 0.3], np.float32)[:count]
    return Detections(boxes, scores, np.array([1, 0])[:count], names=("cat", "dog"), image_hw=(50, 60), **changes)


def test_rows_have_the_types_that_were_said_whatever_is_in_them():
    empty = [Done(0, "a.jpg", error="a.jpg: no", kind="missing"), Done(1, "b.jpg", detections(0))]
    masks = Masks.from_bitmaps(np.ones((2, 50, 60), np.bool_))
    full = detections(masks=masks, keypoints=np.ones((2, 3, 3), np.float32), xywhr=np.ones((2, 5), np.float32))
    for form in ("images", "detections"):
        for done in (empty, [Done(2, "c.jpg", full, runs=masks.coco_rle())]):
            table = pq.read_table(memory_file(parquet_of(done, form, {"version": "1"})))
            assert table.schema.equals(schema_of(form))
    (row,) = pq.read_table(memory_file(parquet_of([Done(2, "c\udce9.jpg", full)], "images", {}))).to_pylist()
    assert row["path"] == "c\\udce9.jpg"
    assert row["boxes"] == full.xyxy.tolist()
    assert row["names"] == ["dog", "cat"]


def test_each_image_has_a_row_in_rows_of_objects_too():
    done = [Done(0, "a", error="no", kind="missing"), Done(1, "b", detections(0)), Done(2, "c", detections())]
    found = pq.read_table(memory_file(content := parquet_of(done, "detections", {}))).to_pylist()
    assert [(row["index"], row["object"], row["name"], row["error"]) for row in found] == [
        (0, None, None, "no"),
        (1, None, None, None),
        (2, 0, "dog", None),
        (2, 1, "cat", None),
    ]
    assert tally_in(memory_file(content)) == {"images": 3, "objects": 2, "errors": {"missing": 1}}


def memory_file(content):
    return pa.BufferReader(content)


@pytest.mark.parametrize("images", [1, UNIT, 70, UNIT * UNITS_A_FILE + 5])
def test_each_input_is_in_one_part(tmp_path, images):
    store = Store(str(tmp_path / "out"))
    listing = write_listing(store, (f"{i}.jpg" for i in range(images)))
    assert listing.count == images
    assert sum(listing.size(part) for part in range(listing.parts)) == images
    seen = [name for part in range(listing.parts) for name in listing.names(store, part)]
    assert seen == [f"{i}.jpg" for i in range(images)]


def test_a_name_that_is_no_text_comes_back(tmp_path):
    listing = write_listing(store := Store(str(tmp_path)), iter(["a\udce9.jpg"]))
    assert listing.names(store, 0) == ["a\udce9.jpg"]


def test_sources_are_folders_patterns_and_lists_each_image_once(tmp_path, monkeypatch):
    images = write_images(tmp_path / "images", 3)
    (images / "deep").mkdir()
    (images / "deep" / "x.png").write_bytes(b"x")
    for litter in ("._00000.jpg", "notes.md", "clip.mp4", "raw.heic"):
        (images / litter).write_bytes(b"x")
    said = []
    flat = [str(images / f"{i:05d}.jpg") for i in range(3)]
    assert list(names_from([str(images)], False, said.append)) == flat
    assert list(names_from([f"{images}/"], True, said.append)) == [*flat, str(images / "deep" / "x.png")]
    assert "1 picture passed over (raw.heic)" in said[0]
    assert "1 video passed over (clip.mp4): y12-infer looks at videos" in said[1]
    assert list(names_from([str(images / "*2.jpg"), flat[2], str(images)], False, said.append)) == [
        flat[2],
        *flat[:2],
    ]
    (tmp_path / "list.txt").write_text("# mine\nimages\n\nnone.jpg\nimages/00000.jpg\n")
    monkeypatch.chdir(tmp_path.parent)
    assert list(names_from([str(tmp_path / "list.txt")], False, said.append)) == [*flat, "none.jpg"]
    store = [f"local://{name}" for name in flat]  # by fsspec
    assert list(names_from([f"local://{images}"], False, said.append)) == store
    assert list(names_from([f"local://{tmp_path}/ima*/0000[12].jpg"], False, said.append)) == store[1:]
    assert len(list(names_from([f"local://{tmp_path}/**/*.*g"], False, said.append))) == 5
    assert fetched(store[0], 1 << 20) == (images / "00000.jpg").read_bytes()


REFUSED_SOURCES = {
    "an empty folder": ("empty", "expected images there, found none (--recursive searches deeper)"),
    "an empty list": ("empty.txt", "expected images there, found none"),
    "no such list": ("none.txt", "expected a list of images, cannot be read"),
    "a list that would open a connection": ("web.txt", "found http://host/a.jpg: name it yourself"),
    "no such store": ("nowhere://bucket/a.jpg", "expected a store that pyarrow or fsspec opens"),
    "a pattern without a match": ("*.jpg", "expected images there, found none"),
}


@pytest.mark.parametrize("case", REFUSED_SOURCES)
def test_sources_that_are_refused(tmp_path, case):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.txt").write_text("\n# nothing\n")
    (tmp_path / "web.txt").write_text("http://host/a.jpg\n")
    argument, words = REFUSED_SOURCES[case]
    with pytest.raises(InputError) as raised:
        list(names_from([argument if "://" in argument else str(tmp_path / argument)], False, print))
    assert words in str(raised.value)


def worker_of(colours, folder, names, **changes):
    store = Store(str(folder))
    listing = write_listing(store, iter(map(str, names)))
    job = Job(str(colours), open_artefact(colours).sha256(), DetectOptions(), **changes)
    return Worker(job, listing, store, 1), store, listing


def do(worker, part=0):
    return worker.do(part)


def test_a_worker_writes_a_part(colours, tmp_path):
    images = write_images(tmp_path / "images", 5, damaged={1})
    (images / "text.png").write_text("text")
    (images / "folder.png").mkdir()
    names = [*sorted(images.iterdir()), images / "none.jpg"]
    worker, store, listing = worker_of(colours, tmp_path / "out", names, as_json=True, as_coco=True)
    assert do(worker) == {
        "images": 8,
        "objects": OBJECTS,
        "errors": {"missing": 1, "not an image": 1, "not decoded": 2},
    }
    assert store.names("_y12/under-way") == set()
    counts = Counts()
    assert _done(store, listing, counts) == {0}
    assert (counts.images, counts.errors.total()) == (8, 4)
    write_coco(store, listing, colour_manifest())
    coco = json.loads(store.read(COCO))
    assert [image["id"] for image in coco["images"]] == [1, 3, 4, 5]
    assert [each["id"] for each in coco["annotations"]] == list(range(1, OBJECTS + 1))
    assert {each["image_id"] for each in coco["annotations"]} <= {1, 3, 4, 5}


def test_the_last_file_of_a_part_is_the_one_that_says_so(colours, tmp_path, monkeypatch):
    """Where the disk is full in between, the part is not done."""
    images = write_images(tmp_path / "images", 2)
    worker, store, listing = worker_of(colours, tmp_path / "out", images.iterdir(), as_json=True)
    (tmp_path / "out" / "parquet").write_text("no folder")
    with pytest.raises(OutputError, match="cannot be written"):
        do(worker)
    assert (tmp_path / "out" / "jsonl" / "part-0000000.jsonl").is_file()
    (tally,) = worker({"part": np.array([0])})["tally"]
    assert "parquet" in json.loads(tally)["failed"]  # told, not raised: Ray has words of its own
    (tmp_path / "out" / "parquet").unlink()
    assert _done(store, listing, Counts()) == set()
    assert do(worker)["images"] == 2


def test_an_artefact_that_changed_is_not_run(colours, tmp_path):
    worker, _, _ = worker_of(colours, tmp_path / "out", ["a.jpg"])
    worker._job = Job(str(colours), "0" * 64, DetectOptions())
    with pytest.raises(ArtefactError, match="expected on each machine the artefact that the run was begun with"):
        do(worker)


def test_an_image_that_ends_its_worker_is_found_and_left(tmp_path):
    """The worker dies at image 1, whoever has it; a dead one leaves its note."""
    store, images = Store(str(tmp_path)), [Done(i, f"{i}.jpg") for i in range(3)]

    class DeadError(BaseException):
        pass

    def do_image(image):
        if image.index == 1:
            raise DeadError
        return Done(image.index, image.source)

    for deaths in count():
        assert deaths < 10
        attempts = Attempts(store, 4)
        attempts.__enter__()
        try:
            if not attempts.is_careful:
                raise DeadError
            done = attempts.careful(images, do_image)
        except DeadError:
            continue
        attempts.__exit__(None, None, None)
        break
    assert deaths == 4  # two without care, two at the image
    assert [each.kind for each in done] == [None, "killed", None]
    assert store.names("_y12/under-way") == set()


def test_a_network_that_fails_at_one_image_fails_at_that_alone(colours, tmp_path):
    from y12.errors import ExecutorError
    from y12.runtime.session import Runtime

    images = write_images(tmp_path / "images", 4)
    worker, _, _ = worker_of(colours, tmp_path / "out", sorted(images.iterdir()))
    worker._runtime = runtime = Runtime(colours)
    real = runtime.outcomes

    def outcomes(items, load, options=None, **how):
        for outcome in real(items, load, options, **how):
            if outcome.item.index == 2:
                raise ExecutorError("it gave NaN")
            yield outcome

    runtime.outcomes = outcomes
    assert do(worker)["errors"] == {"network": 1}


KINDS = {
    "missing": FileNotFoundError(2, "none"),
    "denied": PermissionError(13, "no"),
    "unreadable": OSError(5, "Input/output error"),
    "not decoded": OSError("image file is truncated"),
    "memory": MemoryError(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_errors_have_kinds(kind):
    error = InputError("a.jpg: no")
    error.__cause__ = KINDS[kind]
    assert kind_of(error) == kind


def test_a_store_s_denial_has_its_kind():
    error = OSError("When reading a.jpg: AWS Error ACCESS_DENIED during HeadObject operation")
    assert kind_of(error) == "denied"


def test_a_run_is_resumed_as_it_was_begun(tmp_path):
    store, job = Store(str(tmp_path)), Job("m.onnx", "a" * 64, DetectOptions(classes=(0, 2)), imgsz=(64, 64))
    assert read_record(store) is None
    write_record(store, Record(["images"], False, Listing(5, 32), job.outcome))
    record = read_record(store)
    assert record.listing == Listing(5, 32)
    record.check_same(job, ["images"], False, "out")
    others = {
        "expected the artefact that out was begun with": Job("m.onnx", "b" * 64, job.options, imgsz=(64, 64)),
        "--resume: expected options as out was begun with": Job("m.onnx", "a" * 64, DetectOptions(), imgsz=(64, 64)),
        "--resume: expected rows": Job("m.onnx", "a" * 64, job.options, rows="detections", imgsz=(64, 64)),
    }
    for words, other in others.items():
        with pytest.raises(InputError, match=words):
            record.check_same(other, ["images"], False, "out")
    with pytest.raises(InputError, match="expected sources"):
        record.check_same(job, ["others"], False, "out")
    record.check_same(Job("n.onnx", "a" * 64, job.options, imgsz=(64, 64), provider="cpu"), ["images"], False, "out")


REFUSALS = {
    "an output of something else": (["images", "--output", "full"], "found one that holds something: choose another"),
    "GPUs by number": (["images", "--output", "out", "--device", "1"], "--device: expected none, as Ray deals out"),
    "processors of a cluster": (["images", "--output", "out", "--address", "a:1", "--num-cpus", "2"], "--num-cpus: "),
    "no time": (["images", "--output", "out", "--stall", "0"], "--stall: expected 1 or more, found 0"),
    "a batch": (["images", "--output", "out", "--batch", "99"], "--batch: expected 1 to 8"),
    "a class": (["images", "--output", "out", "--classes", "pink"], "found 'pink'"),
    "nothing there": (["empty", "--output", "out"], "empty: expected images there, found none"),
    "a file for a folder": (["images", "--output", "full/file"], "full/file"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_is_refused_before_ray_is_started(colours, tmp_path, monkeypatch, capsys, case):
    monkeypatch.setattr(cli, "require_packages", lambda *_: None)  # Ray is not needed for it, and not in dev
    monkeypatch.setattr(cli, "_check_ray", lambda: None)
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "images", 1)
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("x")
    words, expected = REFUSALS[case]
    assert main([str(colours), *words]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert expected in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out" / "_y12" / "run.json").exists()
