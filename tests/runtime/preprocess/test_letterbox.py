"""The letterbox against the reference's own inputs, its geometry, and its numpy twin."""

import numpy as np
import pytest

from y12.errors import InputError
from y12.runtime.preprocess.images import image_from
from y12.runtime.preprocess.letterbox import (
    PAD_GRAY,
    Letterbox,
    blob_from,
    boxes_to_original,
    letterbox,
)

REFERENCES = [  # checkpoint, the image its recorded input was made from
    ("rmArmor-yolov12n", "armor_blue5.png"),
    ("yolo11n", "bus.jpg"),
    ("yolo11n-seg", "bus.jpg"),
    ("yolov8n-pose", "bus.jpg"),
]


@pytest.mark.parametrize(("checkpoint", "image"), REFERENCES)
def test_equals_the_reference_input(shared, checkpoint, image):
    expected = np.load(shared / f"checkpoints/trained/{checkpoint}.npz")["input_bgr_u8"]
    padded, _ = letterbox(image_from(shared / "images" / image), (640, 640))
    assert np.array_equal(padded, expected)


@pytest.mark.parametrize(
    ("image_hw", "input_hw", "resized_hw", "top_left"),
    [
        ((480, 640), (640, 640), (480, 640), (80, 0)),  # padding only
        ((640, 640), (640, 640), (640, 640), (0, 0)),  # nothing to do
        ((1080, 810), (640, 640), (640, 480), (0, 80)),
        ((835, 1689), (640, 640), (316, 640), (162, 0)),
        ((32, 32), (640, 640), (640, 640), (0, 0)),  # enlarged
        ((427, 640), (640, 640), (427, 640), (106, 0)),  # odd padding: 106 above, 107 below
        ((100, 200), (480, 640), (320, 640), (80, 0)),  # an oblong input
        ((10_000, 1), (640, 640), (640, 1), (0, 319)),  # would be 0.064 pixels wide
        ((1, 10_000), (640, 640), (1, 640), (319, 0)),
        ((1, 1), (640, 640), (640, 640), (0, 0)),
    ],
)
def test_geometry(rng, image_hw, input_hw, resized_hw, top_left):
    image = rng.integers(0, 100, (*image_hw, 3), dtype=np.uint8)  # darker than the padding
    padded, frame = letterbox(image, input_hw)
    assert padded.shape == (*input_hw, 3)
    assert (frame.resized_hw, (frame.top, frame.left)) == (resized_hw, top_left)
    inside = np.zeros(input_hw, bool)
    inside[frame.top : frame.top + resized_hw[0], frame.left : frame.left + resized_hw[1]] = True
    assert np.array_equal((padded == PAD_GRAY).all(axis=2), ~inside)


def test_leaves_the_image_alone(rng):
    image = rng.integers(0, 256, (50, 60, 3), dtype=np.uint8)
    before = image.copy()
    letterbox(image, (64, 64))
    image.flags.writeable = False
    letterbox(image, (64, 64))
    assert np.array_equal(image, before)


@pytest.mark.parametrize("image_hw", [(480, 640), (1080, 810), (835, 1689), (7, 3000), (1, 1), (640, 640)])
def test_boxes_come_back(rng, image_hw):
    """A box drawn in the image lands, by the resize's own geometry, where it was."""
    frame = Letterbox.fit(image_hw, (640, 640))
    height, width = image_hw
    corners = np.sort(rng.random((20, 2, 2)), axis=1).reshape(20, 4) * [width, height, width, height]
    scale = np.array([frame.resized_hw[1] / width, frame.resized_hw[0] / height] * 2)
    in_input = corners * scale + [frame.left, frame.top] * 2
    back = boxes_to_original(in_input.astype(np.float32), frame)
    assert back.dtype == np.float32
    assert np.abs(back - corners).max() <= 1e-4 / scale.min() + 1e-6 * max(image_hw)  # float32 of up to 640


def test_boxes_are_clipped_to_the_image():
    frame = Letterbox.fit((100, 200), (640, 640))
    boxes = np.array([[-50, -50, 700, 700], [0, 0, 10, 10]], np.float32)
    assert boxes_to_original(boxes, frame).tolist() == [[0, 0, 200, 100], [0, 0, 3.125, 0]]
    assert boxes_to_original(np.empty((0, 4), np.float32), frame).shape == (0, 4)


def test_blob_is_rgb_in_zero_to_one(rng):
    images = [rng.integers(0, 256, (5, 7, 3), dtype=np.uint8) for _ in range(3)]
    blob = blob_from(images)
    expected = np.stack(images)[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
    assert blob.dtype == np.float32
    assert blob.flags.c_contiguous
    assert np.array_equal(blob, expected)


@pytest.mark.parametrize("images", [[], [np.zeros((2, 2, 3), np.uint8), np.zeros((2, 3, 3), np.uint8)]])
def test_blob_refuses(images):
    with pytest.raises(InputError, match="expected one or more images of one size"):
        blob_from(images)


def test_fit_refuses_no_pixels():
    with pytest.raises(InputError, match=r"\(0, 5\)"):
        Letterbox.fit((0, 5), (640, 640))
