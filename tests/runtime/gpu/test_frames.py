"""Images on the host and on the device on their way to the letterbox."""

import gc

import numpy as np
import pytest

from tests.runtime.gpu.cases import answer_of, check_equal, expected_of, images_of, manifest_of
from tests.runtime.gpu.host_device import OnDevice
from y12.errors import InputError
from y12.runtime.gpu.device import ArrayView
from y12.runtime.gpu.frames import checked_view, is_on_device
from y12.runtime.options import DetectOptions, GpuOptions

SOME = DetectOptions(conf=0.1, iou=0.5)
MANIFEST = manifest_of()
ANSWER = answer_of(MANIFEST)


def view_of(shape=(4, 5, 3), strides=None, dtype=np.uint8):
    return ArrayView(1 << 40, shape, strides, np.dtype(dtype), None)


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (view_of(), ((4, 5), 15)),
        (view_of(strides=(15, 3, 1)), ((4, 5), 15)),
        (view_of(strides=(512, 3, 1)), ((4, 5), 512)),
        (view_of((1, 5, 3), strides=(0, 3, 1)), ((1, 5), 15)),
        (view_of((4, 1, 3), strides=(16, 99, 1)), ((4, 1), 16)),
    ],
)
def test_a_view_s_rows(view, expected):
    assert checked_view(view) == expected


@pytest.mark.parametrize(
    "view",
    [
        view_of(dtype=np.float32),
        view_of((4, 5)),
        view_of((4, 5, 4)),
        view_of((3, 4, 5)),
        view_of((0, 5, 3)),
        view_of((1, 4, 5, 3)),
        view_of(strides=(15, 3, -1)),
        view_of(strides=(1, 4, 20)),
        view_of(strides=(20, 4, 1)),
        view_of(strides=(-15, 3, 1)),
        view_of(strides=(0, 3, 1)),
        view_of(strides=(14, 3, 1)),
    ],
)
def test_a_view_that_is_no_image_is_refused(view):
    with pytest.raises(InputError, match="contiguous copy of it on the GPU"):
        checked_view(view)


def test_a_view_of_too_many_pixels_is_refused():
    with pytest.raises(InputError, match="expected an image of 1 to 128000000 pixels, found 20000x20000"):
        checked_view(view_of((20000, 20000, 3)))


def test_what_is_on_the_device_is_told_by_its_protocols():
    torch = pytest.importorskip("torch")
    assert not is_on_device(np.zeros((2, 2, 3), np.uint8))
    assert not is_on_device(torch.zeros(2, 2, 3))
    assert not is_on_device("photo.jpg")
    assert is_on_device(type("Foreign", (), {"__cuda_array_interface__": {}})())
    assert is_on_device(type("Foreign", (), {"__dlpack_device__": lambda self: (2, 0)})())
    assert not is_on_device(type("Foreign", (), {"__dlpack_device__": lambda self: (1, 0)})())


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("pitch", [None, 512])
def test_an_image_on_the_device_stays_there(open_runtime, world, rng, pitch, late):
    """Mixed with ones of the host in a batch; a late one is written only when the stream comes to it."""
    runtime = open_runtime(MANIFEST, ANSWER)
    images = images_of(rng, [(60, 80), (40, 90), (64, 96)])
    for _ in range(2):
        foreign = OnDevice(world, images[1], pitch, late=late)
        check_equal(
            runtime.infer_batch([images[0], foreign, images[2]], SOME), expected_of(MANIFEST, ANSWER, images, SOME)
        )
        copied = {begin for begin, _ in world.uploads}
        assert foreign.__cuda_array_interface__["data"][0] not in copied
        foreign.close()


def test_a_stream_of_images_on_the_device(open_runtime, world, rng):
    runtime = open_runtime(MANIFEST, ANSWER)
    images = images_of(rng, [(60 + i, 80) for i in range(5)])
    foreign = [OnDevice(world, image) for image in images]
    check_equal(list(runtime.stream(foreign, SOME)), expected_of(MANIFEST, ANSWER, images, SOME))
    for image in foreign:
        image.close()


def test_a_side_that_is_too_long_is_its_own_error_in_a_stream(open_runtime, world, rng):
    runtime = open_runtime(MANIFEST, ANSWER)
    images = [*images_of(rng, [(60, 80)]), np.zeros((1, 32_768, 3), np.uint8), *images_of(rng, [(60, 80)])]
    outcomes = runtime.outcomes(images, lambda image: image, SOME, batch=3)
    results = [outcome.result for outcome in outcomes]
    assert "32767 pixels a side or less on a GPU, found 32768x1" in str(results[1])
    assert len(results[0]) > 0
    assert len(results[2]) > 0
    assert len(runtime.infer(np.zeros((1, 32_767, 3), np.uint8), SOME)) >= 0


def test_an_array_that_is_no_image_is_its_own_error_in_a_stream(open_runtime, world, rng):
    runtime = open_runtime(MANIFEST, ANSWER)
    (image,) = images_of(rng, [(60, 80)])
    foreign = OnDevice(world, np.zeros((4, 4, 4), np.uint8))
    results = [outcome.result for outcome in runtime.outcomes([image, foreign, image], runtime._pipeline.load, SOME)]
    assert isinstance(results[1], InputError)
    assert "contiguous copy" in str(results[1])
    assert len(results[0]) == len(results[2]) > 0
    foreign.close()


def test_an_image_buffer_is_uploaded_from_where_it_is(open_runtime, world, rng):
    runtime = open_runtime(MANIFEST, ANSWER, gpu=GpuOptions(contexts=1))
    images = images_of(rng, [(60, 80), (40, 80), (60, 80)])
    buffer = runtime.image_buffer(60, 80)
    assert (buffer.shape, buffer.dtype, buffer.flags.c_contiguous) == ((60, 80, 3), np.uint8, True)
    for image in images:
        rows = buffer[: len(image)]
        rows[...] = image
        world.uploads.clear()
        check_equal([runtime.infer(rows, SOME)], expected_of(MANIFEST, ANSWER, [image], SOME))
        assert (rows.ctypes.data, rows.nbytes) in world.uploads
    (plain,) = images_of(rng, [(60, 80)])
    world.uploads.clear()
    runtime.infer(plain, SOME)
    assert plain.ctypes.data not in {begin for begin, _ in world.uploads}


def test_an_image_buffer_lives_as_long_as_its_parts(open_runtime, world):
    runtime = open_runtime(MANIFEST, ANSWER)
    living = len(world.living)
    buffer = runtime.image_buffer(60, 80)
    part = buffer[10:20, 5:]
    assert len(world.living) == living + 1
    del buffer
    gc.collect()
    assert len(world.living) == living + 1
    part.fill(7)
    del part
    gc.collect()
    assert len(world.living) == living
    with pytest.raises(InputError, match="expected an image of 1 to"):
        runtime.image_buffer(0, 5)


def test_an_array_on_a_gpu_needs_an_engine(make_onnx, rng):
    from y12 import Runtime

    foreign = type("Foreign", (), {"__cuda_array_interface__": {}})()
    with Runtime(make_onnx()) as runtime, pytest.raises(InputError, match=r"on a GPU.*engine"):
        runtime.infer(foreign)


def test_nothing_is_under_way_when_an_image_has_gone(open_runtime, world, rng):
    """Else a copy could still read what the caller frees once the call has failed."""
    runtime = open_runtime(MANIFEST, ANSWER, gpu=GpuOptions(contexts=1))
    image, other = images_of(rng, [(60, 80), (40, 90)])
    foreign = OnDevice(world, other)
    sound = foreign.__cuda_array_interface__
    looks = iter([sound, sound, {**sound, "shape": (40, 90, 4)}])  # what it is, whether it fits, where it is
    vanishing = type("Vanishing", (), {"__cuda_array_interface__": property(lambda self: next(looks))})()
    with pytest.raises(InputError, match="contiguous copy"):
        runtime.infer_batch([image, vanishing], SOME)
    (worker,) = runtime._pipeline._idle
    assert worker.device.is_idle
    check_equal([runtime.infer(image, SOME)], expected_of(MANIFEST, ANSWER, [image], SOME))
    foreign.close()
