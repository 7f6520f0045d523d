import numpy as np
import pytest
import torch
from painted import COLOURS, IMAGE_HW, painted, where

from y12.exporter.train.examples.augment import Fitted, augmented, plain, recoloured
from y12.exporter.train.examples.example import Example, reduced_mask
from y12.exporter.train.examples.options import UNCHANGED, AugmentOptions
from y12.runtime.preprocess.letterbox import Letterbox, boxes_to_original, letterbox

STILL = {"mosaic": 0, "flip": 0, "scale": 0, "translate": 0, "hue": 0, "saturation": 0, "brightness": 0}
SWAP = (1, 0, 2)  # of the painted objects' points: two on the bar of the L, one not labelled
ONE = [painted((0, 1, 2, 3, 4, 5))]
FOUR = [painted((0, 3)), painted((1,)), painted((2, 5)), painted((4,))]
WAYS = {
    "flip": {"flip": 1},
    "scale": {"scale": 0.5},
    "translate": {"translate": 0.4},
    "rotate": {"rotate": 40.0},
    "all": {"flip": 0.5, "scale": 0.4, "translate": 0.2, "rotate": 10.0},
}


def _varied(images: list[Fitted], seed: int, **how: float) -> Example:
    options = AugmentOptions(**(STILL | {"flip_indices": SWAP} | how))
    return augmented(images, options, np.random.default_rng(seed))


@pytest.mark.parametrize("images", [ONE, FOUR], ids=["one", "mosaic"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("seed", range(3))
def test_labels_follow_the_pixels(images: list[Fitted], way: str, seed: int):
    example = _varied(images, seed, **WAYS[way])
    assert example.masks is not None
    labelled = example.labels.tolist()
    for colour in range(len(COLOURS)):
        pixels = where(example.image, colour)
        if colour not in labelled:
            # At most the tenth of a box may be left without a label; a cell's box has 60 x 60 pixels, up to 90 x 90.
            assert pixels.sum() <= 0.1 * 90 * 90
            continue
        i = labelled.index(colour)
        ys, xs = np.nonzero(pixels)
        tight = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
        np.testing.assert_allclose(example.boxes[i], tight, atol=1.6)
        mask = reduced_mask(pixels)
        both, either = (example.masks[i] & mask).sum(), (example.masks[i] | mask).sum()
        assert both >= either - max(3, 0.12 * either)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("seed", range(2))
def test_points_stay_on_their_objects(way: str, seed: int):
    image = painted((1, 3, 5))
    pixels = image.image.copy()
    points = image.objects.keypoints
    assert points is not None
    for x, y, _ in points[:, 0]:  # the first point of each object is marked
        pixels[int(y) - 4 : int(y) + 4, int(x) - 4 : int(x) + 4] = 255
    example = _varied([Fitted(pixels, image.frame, image.objects)], seed, **WAYS[way])
    assert example.keypoints is not None
    white = example.image.min(2) > 200
    mirrored = way == "flip"
    for x, y, seen in example.keypoints[:, 1 if mirrored else 0]:
        if seen and way != "all" and 2 < x < 318 and 2 < y < 318:
            assert white[int(y), int(x)]
    if mirrored:
        assert (example.keypoints[:, 1, 2] == 2).all()  # what was seen is seen still, under its new name
        assert (example.keypoints[:, 0, 2] == 1).all()
    assert not example.keypoints[:, 2].any()


def test_run_lengths_are_moved_as_polygons_are():
    for seed in range(6):
        drawn = _varied(ONE, seed, **WAYS["all"])
        runs = _varied([painted((0, 1, 2, 3, 4, 5), runs=True)], seed, **WAYS["all"])
        assert drawn.masks is not None
        assert runs.masks is not None
        np.testing.assert_array_equal(drawn.labels, runs.labels)
        np.testing.assert_allclose(drawn.boxes, runs.boxes, atol=1.01)
        assert (drawn.masks ^ runs.masks).mean() < 0.001


def test_without_outlines_upright_boxes_are_as_tight():
    boxes_only = [painted((0, 1, 2, 3, 4, 5), outlined=False)]
    example = _varied(boxes_only, 1, flip=1, scale=0.4)
    outlined = _varied(ONE, 1, flip=1, scale=0.4)
    assert example.masks is None
    inside = (outlined.boxes > 0).all(1) & (outlined.boxes < 320).all(1)
    assert inside.any()
    np.testing.assert_array_equal(example.boxes[inside], outlined.boxes[inside])


def test_unvaried_is_what_inference_sees():
    rng = np.random.default_rng(0)
    bgr = rng.integers(0, 256, (167, 338, 3), dtype=np.uint8)
    padded, frame = letterbox(bgr, (320, 320))
    height, width = frame.resized_hw
    resized = padded[frame.top : frame.top + height, frame.left : frame.left + width, ::-1]
    objects = painted((0, 1)).objects
    objects = type(objects)((167, 338), objects.labels, objects.boxes / 2, None, None)
    for example in (plain(Fitted(resized, frame, objects)), _varied([Fitted(resized, frame, objects)], 0)):
        np.testing.assert_array_equal(example.image, padded[:, :, ::-1])
        np.testing.assert_allclose(boxes_to_original(example.boxes, frame), objects.boxes, atol=1e-3)


@pytest.mark.parametrize("hw", [(220, 320), (320, 200)])
@pytest.mark.parametrize("seed", range(3))
def test_a_mosaics_four_images_meet_in_one_point(seed: int, hw: tuple[int, int]):
    nothing = painted(()).objects
    objects = type(nothing)(hw, nothing.labels, nothing.boxes)
    frame = Letterbox.fit(hw, (320, 320))
    images = [Fitted(np.full((*hw, 3), COLOURS[colour], np.uint8), frame, objects) for colour in range(4)]
    picture = _varied(images, seed).image
    spans = [np.nonzero(where(picture, colour)) for colour in range(4)]
    left, right, top, bottom = 0, 1, 0, 2  # which quarter is beside and below which
    x, y = spans[left][1].max() + 1, spans[top][0].max() + 1
    assert abs(spans[right][1].min() - x) <= 1
    assert abs(spans[bottom][0].min() - y) <= 1
    assert abs(spans[3][1].min() - x) <= 1
    assert abs(spans[3][0].min() - y) <= 1
    assert 79 <= x <= 241
    assert 79 <= y <= 241
    assert len({tuple(p) for p in picture.reshape(-1, 3).tolist()}) > 4  # gray beside the images


def test_colours_change_and_labels_do_not():
    still = _varied(ONE, 3)
    vivid = _varied(ONE, 3, hue=0.2, saturation=0.5, brightness=0.5)
    np.testing.assert_array_equal(still.boxes, vivid.boxes)
    assert np.abs(still.image.astype(int) - vivid.image).max() > 40
    gray = Fitted(np.full((*IMAGE_HW, 3), 100, np.uint8), ONE[0].frame, ONE[0].objects)
    turned = _varied([gray], 3, hue=0.5, saturation=1)
    assert np.abs(turned.image.astype(int) - _varied([gray], 3).image).max() <= 1  # gray has no hue


@pytest.mark.parametrize(("hue", "expected"), [(1 / 3, (0, 1, 0)), (-1 / 3, (0, 0, 1))])
def test_hue_is_turned_by_a_share_of_the_circle(hue: float, expected: tuple[int, int, int]):
    class Fixed:
        def uniform(self, low: float, high: float, count: int) -> np.ndarray:
            return np.full(count, np.sign(hue))

    red = torch.tensor([1.0, 0, 0])[None, :, None, None].expand(1, 3, 2, 2)
    options = AugmentOptions(**(STILL | {"hue": abs(hue)}))
    turned = recoloured(red, options, Fixed())  # type: ignore[arg-type]
    np.testing.assert_allclose(turned[0, :, 0, 0].numpy(), expected, atol=1e-5)


def test_an_example_depends_on_its_generator_only():
    torch.manual_seed(1)
    first = _varied(FOUR, 5, **WAYS["all"], hue=0.1)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    second = _varied(FOUR, 5, **WAYS["all"], hue=0.1)
    assert torch.equal(state, torch.get_rng_state())  # whoever trains draws from torch's own state, too
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.boxes, second.boxes)
    assert not np.array_equal(first.image, _varied(FOUR, 6, **WAYS["all"], hue=0.1).image)


def test_a_mirrored_image_is_the_mirror_image():
    np.testing.assert_array_equal(_varied(ONE, 0, flip=1).image, plain(ONE[0]).image[:, ::-1])


def test_what_cannot_be_mirrored_is_not():
    options = AugmentOptions(**(STILL | {"flip": 1}))  # three points, of which none is known to become which
    example = augmented(ONE, options, np.random.default_rng(0))
    np.testing.assert_array_equal(example.image, plain(ONE[0]).image)
    assert UNCHANGED.flips(17) is None


def test_background_only():
    empty = painted(())
    example = _varied([empty], 0, **WAYS["all"])
    assert example.boxes.shape == (0, 4)
    assert example.masks is not None
    assert example.masks.shape == (0, 80, 80)
    mixed = _varied([empty, FOUR[0], empty, empty], 0)
    assert set(mixed.labels.tolist()) <= {0, 3}
    assert Letterbox.fit(IMAGE_HW, (320, 320)) == empty.frame


def test_the_affine_draws_keep_to_their_bounds():
    from y12.exporter.train.examples.augment import _affine

    side = 320
    centre = np.array([side / 2, side / 2, 1])
    still = [_affine(side, AugmentOptions(**(STILL | {"scale": 0.4, "rotate": 20.0}))) for _ in range(60)]
    for matrix in still:  # about the centre, in label coordinates
        np.testing.assert_allclose(matrix @ centre, centre, atol=1e-3)
    factors = [np.sqrt(np.linalg.det(m[:2, :2])) for m in still]
    turns = [np.degrees(np.arctan2(m[1, 0], m[0, 0])) for m in still]
    assert 0.6 <= min(factors) < 0.7
    assert 1.3 < max(factors) <= 1.4
    assert -20 <= min(turns) < -15
    assert 15 < max(turns) <= 20
    shifts = [_affine(side, AugmentOptions(**(STILL | {"translate": 0.2})))[:2, 2] for _ in range(60)]
    assert 58 < np.abs(shifts).max() <= 64
