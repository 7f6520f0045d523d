"""letterbox.cu equals its twin, and the twin is the runtime's letterbox."""

import ctypes
import mmap
from itertools import product

import cv2
import numpy as np
import pytest

from tests.each import each
from tests.runtime.kernels.letterbox_cases import CASES, run_letterbox
from tests.runtime.kernels.references.letterbox import letterboxed, resized
from tests.runtime.kernels.shim import ORDERS, compiled
from y12.errors import InputError
from y12.exporter.verify.verify_images import photos_dir
from y12.runtime.kernels.layout import letterbox_images
from y12.runtime.preprocess.images import image_from
from y12.runtime.preprocess.letterbox import Letterbox, blob_from, letterbox

PHOTOS = sorted(photos_dir().glob("*.jpg"))
SIZES = [(1, 1), (1, 7), (2, 2), (3, 5), (17, 31), (64, 64), (100, 33), (640, 480)]


def frames_of(images, input_hw):
    return [Letterbox.fit(image.shape[:2], input_hw) for image in images]


def address_of(image):
    return image.ctypes.data


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_kernel_equals_twin(case, dtype):
    images = case.images()
    expected = letterboxed(images, frames_of(images, case.input_hw), dtype)
    for order in ORDERS:
        out = run_letterbox(compiled("letterbox"), address_of, images, case.input_hw, dtype, order=order)
        assert out.tobytes() == expected.tobytes()


def test_twin_is_opencv_within_a_level(rng):
    def check(case):
        image_hw, out_hw = case
        image = rng.integers(0, 256, (*image_hw, 3), dtype=np.uint8)
        theirs = cv2.resize(image, out_hw[::-1], interpolation=cv2.INTER_LINEAR)
        assert np.abs(resized(image, out_hw) - theirs).max() <= 1

    each(((f"{image} to {out}", (image, out)) for image, out in product(SIZES, SIZES)), check)


@pytest.mark.parametrize("input_hw", [(320, 320), (640, 640), (256, 448)])
@pytest.mark.parametrize("photo", PHOTOS, ids=lambda path: path.stem)
def test_twin_is_opencv_within_a_level_on_photos(photo, input_hw):
    image = image_from(photo)
    padded, frame = letterbox(image, input_hw)
    off = np.abs(letterboxed([image], [frame])[0] - blob_from([padded])[0]) * 255
    assert off.max() <= 1.001
    resized = cv2.resize(image, frame.resized_hw[::-1], interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(padded[frame.top :, frame.left :][: resized.shape[0], : resized.shape[1]], resized)


@pytest.mark.parametrize("image_hw", [(20, 64), (64, 64), (100, 150), (3, 5)])
def test_kernel_reads_nothing_beyond_the_image(image_hw):
    kernels, libc, page = compiled("letterbox"), ctypes.CDLL(None), mmap.PAGESIZE  # the first skips where none can be
    size = image_hw[0] * image_hw[1] * 3
    room = -(-size // page) * page
    with mmap.mmap(-1, room + page) as memory:
        whole = np.frombuffer(memory, np.uint8)
        image = whole[room - size : room].reshape(*image_hw, 3)  # what follows its last byte cannot be read
        image[...] = np.arange(size, dtype=np.uint8).reshape(image.shape)
        assert libc.mprotect(ctypes.c_void_p(whole.ctypes.data + room), page, 0) == 0
        out = run_letterbox(kernels, address_of, [image], (64, 64), np.float32)
        assert np.array_equal(out, letterboxed([image], frames_of([image], (64, 64))))
        del whole, image


def test_kernel_equals_twin_on_a_photo():
    image = image_from(PHOTOS[0])
    out = run_letterbox(compiled("letterbox"), address_of, [image], (160, 160), np.float32)
    assert np.array_equal(out, letterboxed([image], frames_of([image], (160, 160))))


@pytest.mark.parametrize(
    ("image_hw", "pitch", "complaint"),
    [((2, 32_768), 98_304, "32767 pixels a side or less"), ((2, 10), 29, "30 bytes or more from row to row")],
)
def test_what_the_kernel_cannot_take_is_refused(image_hw, pitch, complaint):
    with pytest.raises(InputError, match=complaint):
        letterbox_images([0], [pitch], [Letterbox.fit(image_hw, (64, 64))])
