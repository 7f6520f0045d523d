"""Masks and keypoints in Parquet are those that y12-infer prints, on trained networks."""

import json

import numpy as np
import pytest

from y12.batch.job import Job
from y12.batch.listing import write_listing
from y12.batch.storage import Store
from y12.batch.worker import Worker
from y12.exporter.cli.export import main as export
from y12.runtime.artefact.opened import open_artefact
from y12.runtime.cli.infer import main as infer
from y12.runtime.tasks import default_options

pytestmark = [pytest.mark.exhaustive, pytest.mark.slow]


@pytest.mark.parametrize("name", ["yolo11n-seg", "yolov8n-pose"])
def test_masks_and_keypoints_are_y12_infer_s(shared, tmp_path, capsys, name):
    import pyarrow.parquet as pq

    words = ("--imgsz", "320", "--no-verify", "--output", str(tmp_path))
    assert export([str(shared / "checkpoints" / "trained" / f"{name}.pt"), *words]) == 0
    artefact = open_artefact(tmp_path / f"{name}.onnx")
    images = sorted(map(str, (shared / "datasets" / "coco128" / "images" / "val2017").glob("*.jpg")))[:24]
    store = Store(str(tmp_path / "out"))
    masks = artefact.manifest.task == "segment"
    job = Job(str(artefact.path), artefact.sha256(), default_options(artefact.manifest), masks=masks, as_json=True)
    Worker(job, write_listing(store, iter(images)), store, 1)({"part": np.array([0])})
    capsys.readouterr()
    assert infer([str(artefact.path), *images, "--json", "--provider", "cpu", *(["--masks", "rle"] * masks)]) == 0
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    written = [json.loads(line) for line in store.read("jsonl/part-0000000.jsonl").splitlines()]
    for line in (*said, *written):
        del line["ms"]
    assert written == said
    objects = [found for line in said for found in line["detections"]]
    assert len(objects) > 10
    rows = pq.read_table(store.path("parquet/part-0000000.parquet")).to_pylist()
    if masks:
        assert [mask for row in rows for mask in row["masks"]] == [found["segmentation"] for found in objects]
    else:
        points = [np.round(np.float64(each), 3).tolist() for row in rows for each in row["keypoints"]]
        assert points == [found["keypoints"] for found in objects]
