"""Detections as JSON: our records and COCO's results."""

import json

import numpy as np
import pytest

from y12.errors import InputError
from y12.runtime.results.detections import Detections
from y12.runtime.results.masks import Masks


def bitmaps():
    masks = np.zeros((2, 6, 8), bool)
    masks[0, 1:4, 2:6] = True
    return masks


def make(**parts):
    return Detections(
        xyxy=np.array([[2, 1, 6, 4.5], [0, 0, 8, 6]], np.float32),
        confidence=np.array([0.75, 0.5], np.float32),
        class_id=np.array([1, 0]),
        names=("cat", "dog"),
        image_hw=(6, 8),
        **parts,
    )


def test_records_of_oriented_boxes():
    found = make(xywhr=np.array([[4, 3, 4, 2, 0], [4, 3, 4, 2, 1 / 3]], np.float32))
    first, second = found.as_records()
    assert first["xywhr"] == [4, 3, 4, 2, 0]
    assert first["corners"] == [[2, 2], [6, 2], [6, 4], [2, 4]]
    assert second["xywhr"][4] == 0.333333
    json.dumps([first, second])


def test_records_with_masks():
    found = make(masks=Masks.from_bitmaps(bitmaps()))
    assert "segmentation" not in found.as_records()[0]
    runs = [record["segmentation"] for record in found.as_records("rle")]
    assert runs == found.masks.coco_rle()
    outlines = [record["segmentation"] for record in found.as_records(masks="polygon")]
    assert sorted(outlines[0][0]) == [[2, 1], [2, 3], [5, 1], [5, 3]]
    assert outlines[1] == []
    json.dumps([runs, outlines])


@pytest.mark.parametrize(
    ("found", "form", "message"),
    [
        (make(), "rle", "rle was asked for, but the model gives no masks"),
        (make(masks=Masks.from_bitmaps(bitmaps())), "png", "expected one of rle, polygon or None, found 'png'"),
    ],
)
def test_records_refuse(found, form, message):
    with pytest.raises(InputError, match=message):
        found.as_records(form)


def test_coco_results():
    keypoints = np.array([[[1, 2, 1], [3, 4, 0.25]]] * 2, np.float32)
    found = make(keypoints=keypoints, masks=Masks.from_bitmaps(bitmaps()))
    first, second = found.to_coco(42, category_ids=[17, 18])
    assert first == {
        "image_id": 42,
        "category_id": 18,
        "bbox": [2, 1, 4, 3.5],
        "score": 0.75,
        "segmentation": found.masks.coco_rle()[0],
        "keypoints": [1, 2, 1, 3, 4, 0.25],
    }
    assert (second["category_id"], second["bbox"]) == (17, [0, 0, 8, 6])
    assert [record["category_id"] for record in make().to_coco(1)] == [1, 0]
    assert set(make().to_coco(1)[0]) == {"image_id", "category_id", "bbox", "score"}
    json.dumps([first, second])


def test_coco_refuses_categories_that_do_not_fit():
    with pytest.raises(InputError, match="expected 2 ids, one for each class, found 3"):
        make().to_coco(1, [1, 2, 3])


def test_pycocotools_takes_the_results(tmp_path, capsys):
    """Ground truth made of the results themselves: everything is found."""
    coco_module = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    coco_eval = pytest.importorskip("pycocotools.cocoeval", reason="pycocotools is not installed")
    masks = bitmaps()
    masks[1] = True
    found = make(masks=Masks.from_bitmaps(masks))
    results = found.to_coco(7, [3, 5])
    truth = {
        "info": {},
        "images": [{"id": 7, "height": 6, "width": 8}],
        "categories": [{"id": 3, "name": "cat"}, {"id": 5, "name": "dog"}],
        "annotations": [
            {**result, "id": i + 1, "iscrowd": 0, "area": float(area)}
            for i, (result, area) in enumerate(zip(results, found.area, strict=True))
        ],
    }
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    (tmp_path / "results.json").write_text(json.dumps(results))
    coco = coco_module.COCO(str(tmp_path / "truth.json"))
    loaded = coco.loadRes(str(tmp_path / "results.json"))
    for kind in ("bbox", "segm"):
        evaluation = coco_eval.COCOeval(coco, loaded, kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        assert evaluation.stats[0] == pytest.approx(1)
    capsys.readouterr()
