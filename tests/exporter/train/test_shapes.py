import itertools
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from y12.errors import OutputError
from y12.exporter.data.open import labelled_dataset
from y12.exporter.data.rle import decoded
from y12.exporter.train.examples.collate import collate
from y12.exporter.train.examples.sources import drawn_example
from y12.exporter.train.scenes import scene as painting
from y12.exporter.train.scenes.forms import outline
from y12.exporter.train.shapes import CLASS_NAMES, draw_scene, main, shapes_ground_truth, write_shapes
from y12.runtime.preprocess.images import image_from

SCENES = [draw_scene(3, index) for index in range(24)]


def test_a_scene_is_a_function_of_its_seed_and_index():
    np.random.default_rng(0).random()
    again = draw_scene(3, 1)
    np.testing.assert_array_equal(again.image, SCENES[1].image)
    np.testing.assert_array_equal(again.masks, SCENES[1].masks)
    for other in (draw_scene(3, 2), draw_scene(4, 1)):
        assert not np.array_equal(other.image, again.image)


def test_scenes_hold_what_they_promise():
    counts = [len(one.labels) for one in SCENES]
    assert min(counts) >= 1
    assert max(counts) <= 12
    assert {int(label) for one in SCENES for label in one.labels} == set(range(len(CLASS_NAMES)))
    sides = np.concatenate([one.boxes[:, 2:] - one.boxes[:, :2] for one in SCENES])
    assert sides.min() >= 6
    assert sides.max() < 200
    assert (sides.max(1) < 32).mean() > 0.2  # small ones
    assert (sides.max(1) > 80).mean() > 0.1  # large ones


def test_a_scene_without_objects_is_an_example_like_any_other():
    empty = draw_scene(0, 85, 64)
    assert (empty.labels.shape, empty.boxes.shape, empty.masks.shape) == ((0,), (0, 4), (0, 64, 64))
    batch = collate([drawn_example(0, 85, 64), drawn_example(0, 1, 64)])
    assert batch.targets.present.any(1).tolist() == [False, True]


@pytest.mark.parametrize("index", range(8))
def test_boxes_are_tight_and_masks_share_no_pixel(index: int):
    one = SCENES[index]
    assert one.masks.sum(0).max() == 1
    for box, mask in zip(one.boxes, one.masks, strict=True):
        ys, xs = np.nonzero(mask)
        assert box.tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]


def _edge_strength(image: NDArray[np.uint8], masks: NDArray[np.bool_]) -> float:
    """Return how much steeper the image is along the masks' outlines than elsewhere."""
    gray = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (5, 5), 1.5).astype(np.float32)
    steep = np.hypot(cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1))
    lines = [cv2.morphologyEx(m.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0 for m in masks]
    return float(steep[np.any(lines, axis=0)].mean() / steep.mean())


def test_the_labels_lie_on_the_objects():
    true = [_edge_strength(one.image, one.masks) for one in SCENES]
    moved = [_edge_strength(one.image, np.roll(one.masks, (9, 9), (1, 2))) for one in SCENES]
    assert np.median(true) > 2.5
    assert np.median(moved) < 0.6 * np.median(true)


def test_what_is_in_front_is_painted_over_what_is_behind(monkeypatch: pytest.MonkeyPatch):
    colours = [np.array(c, np.uint8) for c in itertools.product((0, 120, 240), repeat=3)]
    for index in range(8):
        ink = iter(colours)
        monkeypatch.setattr(painting, "fill", lambda rng, hw, away, ink=ink: np.full((*hw, 3), next(ink), np.uint8))
        one = draw_scene(3, index)
        seen = [np.median(one.image[mask], axis=0) for mask in one.masks]
        nearest = [min(range(27), key=lambda i, c=c: np.abs(colours[i] - c).sum()) for c in seen]
        assert nearest == list(range(len(seen)))[::-1]  # painted from the back, each visible where its mask is


def _drawn(class_id: int, angle: float, side: int = 48) -> NDArray[np.bool_]:
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * side * 0.62
    mask = np.zeros((side, side), np.uint8)
    cv2.fillPoly(mask, [np.rint(c @ turn.T + side / 2).astype(np.int32) for c in outline(class_id)], 1)
    return mask > 0


def test_no_class_turned_looks_like_another():
    turns = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    for first, second in itertools.combinations(range(len(CLASS_NAMES)), 2):
        upright = _drawn(first, 0)
        overlaps = [(upright & m).sum() / (upright | m).sum() for m in (_drawn(second, turn) for turn in turns)]
        assert max(overlaps) < 0.8, (CLASS_NAMES[first], CLASS_NAMES[second])


def test_the_example_has_masks_at_a_quarter():
    one, example = SCENES[5], drawn_example(3, 5, 320)
    np.testing.assert_array_equal(example.image, one.image)
    cells = one.masks.reshape(-1, 80, 4, 80, 4).mean((2, 4))
    assert example.masks is not None
    np.testing.assert_array_equal(example.masks, cells >= 0.5)


@pytest.mark.parametrize("side", [32, 66, 0])
def test_refused_sides(side: int):
    with pytest.raises(ValueError, match=f"found {side}"):
        draw_scene(1, 1, side)


def test_other_sides_scale_the_objects():
    largest = [max((b[2] - b[0]) / 96 for b in draw_scene(3, i, 96).boxes) for i in range(24)]
    assert 0.3 < max(largest) < 0.65


def test_ground_truth_is_cocos():
    images, truth = shapes_ground_truth(3, 4)
    assert [c["name"] for c in truth["categories"]] == list(CLASS_NAMES)
    assert [image["id"] for image in truth["images"]] == [1, 2, 3, 4]
    for image, drawn, entry in zip(images, SCENES, truth["images"], strict=False):
        np.testing.assert_array_equal(image, drawn.image[:, :, ::-1])
        mine = [a for a in truth["annotations"] if a["image_id"] == entry["id"]]
        assert [a["category_id"] for a in mine] == drawn.labels.tolist()
        masks = np.array([decoded(a["segmentation"]) for a in mine]) > 0
        np.testing.assert_array_equal(masks, drawn.masks)
        assert [a["area"] for a in mine] == drawn.masks.sum((1, 2)).tolist()
        x, y, w, h = np.array([a["bbox"] for a in mine]).T
        np.testing.assert_array_equal(np.stack([x, y, x + w, y + h], 1), drawn.boxes)


def test_written_scenes_are_read_in_both_forms(tmp_path: Path):
    write_shapes(tmp_path / "shapes", 3, 3, 96)
    drawn = [draw_scene(3, index, 96) for index in range(3)]
    for name, kinds in (("data.yaml", ("bbox",)), ("instances.json", ("bbox", "segm"))):
        dataset = labelled_dataset(tmp_path / "shapes" / name)
        assert dataset.kinds == kinds
        assert [category for _, category in dataset.categories] == list(CLASS_NAMES)
        truth = dataset.ground_truth({sample.image_id: (96, 96) for sample in dataset.samples})
        boxes = np.array([a["bbox"] for a in truth["annotations"]])
        boxes[:, 2:] += boxes[:, :2]
        np.testing.assert_allclose(boxes, np.concatenate([one.boxes for one in drawn]), atol=1e-4)
        for sample, one in zip(dataset.samples, drawn, strict=True):
            np.testing.assert_array_equal(image_from(sample.path)[:, :, ::-1], one.image)


def test_a_folder_with_files_is_refused(tmp_path: Path):
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(OutputError, match="expected an empty folder"):
        write_shapes(tmp_path, 1, 1, 64)
    assert not (tmp_path / "instances.json").exists()


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main([str(tmp_path / "a"), "--images", "2", "--seed", "7", "--imgsz", "64"]) == 0
    assert "2 scenes of 64x64" in capsys.readouterr().out
    truth = json.loads((tmp_path / "a" / "instances.json").read_text())
    assert len(truth["images"]) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--imgsz", "33"], "--imgsz: expected 64 to 4096 pixels, a multiple of 4, found 33"),
        (["--images", "0"], "--images: expected 1 or more, found 0"),
        (["--seed", "-1"], "--seed: expected 0 or more, found -1"),
    ],
)
def test_command_line_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str):
    assert main([str(tmp_path / "a"), *arguments]) != 0
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "a").exists()
