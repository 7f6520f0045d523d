"""The GPU pipeline end to end on the host, its kernels behind the shim: it finds what the CPU's path finds."""

import math
from dataclasses import replace

import numpy as np
import pytest

from tests.runtime.gpu.cases import (
    ANCHORS,
    FORMS,
    LAYOUTS,
    NAMES,
    answer_of,
    artefact_of,
    check_equal,
    expected_of,
    images_of,
    manifest_of,
)
from tests.runtime.gpu.host_device import HostNetwork
from y12.errors import ArtefactError, ExecutorError, InputError
from y12.runtime.artefact.nms_settings import NmsSettings, end_to_end
from y12.runtime.gpu import worker as worker
from y12.runtime.gpu.postprocess import Limits
from y12.runtime.options import DetectOptions, GpuOptions
from y12.runtime.session import Runtime

SIZES = [(64, 96), (50, 200), (333, 111), (1, 1)]
SOME = DetectOptions(conf=0.1, iou=0.5)
CHOICES = (SOME, replace(SOME, multi_label=True), replace(SOME, classes=(1, 3), agnostic=True, max_det=3))


@pytest.mark.parametrize(("task", "localisation"), FORMS)
def test_every_task_finds_what_the_cpu_finds(open_runtime, rng, task, localisation):
    manifest = manifest_of(task, localisation=localisation)
    answer = answer_of(manifest)
    runtime = open_runtime(manifest, answer)
    images = images_of(rng, SIZES)
    for options in CHOICES:
        expected = expected_of(manifest, answer, images, options)
        assert sum(map(len, expected)) > 4
        check_equal(runtime.infer_batch(images, options), expected)


def test_the_network_s_halves_are_read_and_written(open_runtime, rng):
    manifest = manifest_of("segment")
    answer = answer_of(manifest)

    def in_halves(images):
        return {name: array.astype(np.float16) for name, array in answer(images).items()}

    def widened(images):
        return {name: array.astype(np.float32) for name, array in in_halves(images).items()}

    runtime = open_runtime(manifest, in_halves, half=True)
    images = images_of(rng, SIZES[:2])
    for _ in range(2):  # launched, then replayed
        check_equal(runtime.infer_batch(images, SOME), expected_of(manifest, widened, images, SOME, half=True))


BAKED = DetectOptions(conf=0.05, iou=0.5, max_det=7)


def nms_in_graph(rng):
    """The manifest and the answer of a network that ends in NMS."""
    rows = np.concatenate([rng.uniform(0, 64, (7, 4)), rng.random((7, 1)), rng.integers(0, 5, (7, 1))], 1)

    def answer(images):
        count = len(images)
        found = np.repeat(rows[None].astype(np.float32), count, 0)
        found[..., 4] = np.sort(found[..., 4] * images.mean(axis=(1, 2, 3))[:, None], axis=1)[:, ::-1]
        num = np.full((count, 1), 5, np.int32)
        return {"detections": found, "num": num, "truncated": np.ones((count, 1), np.int32)}

    return manifest_of(nms=NmsSettings("packed", 100, BAKED)), answer


def test_nms_in_the_graph_is_fetched(open_runtime, world, rng):
    manifest, answer = nms_in_graph(rng)
    runtime = open_runtime(manifest, answer)
    images = images_of(rng, SIZES)
    for options in (BAKED, replace(BAKED, conf=0.2, max_det=2)):
        found = runtime.infer_batch(images, options)
        check_equal(found, expected_of(manifest, answer, images, options))
        assert all(one.truncated for one in found)
    assert world.captures == 0  # its rounds cannot be captured


@pytest.mark.parametrize("task", ["detect", "segment", "pose", "obb"])
def test_rows_of_an_end_to_end_network_are_fetched_and_its_launch_is_captured(open_runtime, world, rng, task):
    width = 6 + LAYOUTS[task][0]
    boxes = np.concatenate([rng.uniform(0, 30, (9, 2)), rng.uniform(34, 64, (9, 2))], 1)
    rows = np.concatenate([boxes, rng.random((9, 1)), rng.integers(0, 5, (9, width - 5))], 1)
    protos = rng.normal(0, 1, (4, 16, 24)).astype(np.float32)

    def answer(images):
        found = np.repeat(rows[None].astype(np.float32), len(images), 0)
        found[..., 4] = np.sort(found[..., 4] * images.mean(axis=(1, 2, 3))[:, None], axis=1)[:, ::-1]
        found[:, 7:, 4] = 0  # padding
        return {"output0": found} | ({"output1": np.stack([protos] * len(images))} if task == "segment" else {})

    manifest = manifest_of(task, nms=end_to_end(9))
    runtime = open_runtime(manifest, answer)
    images = images_of(rng, SIZES)
    for options in (runtime.options, replace(runtime.options, conf=0.0), replace(runtime.options, classes=(1, 3))):
        for _ in range(2):
            found = runtime.infer_batch(images, options)
            check_equal(found, expected_of(manifest, answer, images, options))
    assert sum(map(len, runtime.infer_batch(images, replace(runtime.options, conf=0.0)))) == 7 * len(images)
    assert world.captures > 0  # it has no loop, as y12's NMS has


def test_scores_that_are_none_are_refused(open_runtime, rng):
    manifest = manifest_of()
    answer = answer_of(manifest)
    runtime = open_runtime(manifest, lambda images: {"output0": answer(images)["output0"] * 3})
    with pytest.raises(ExecutorError, match="expected scores from 0 to 1 from the network, found"):
        runtime.infer_batch(images_of(rng, SIZES[:1]), SOME)


@pytest.mark.parametrize("task", ["segment", "pose", "nms in the graph"])
def test_results_do_not_depend_on_later_calls(open_runtime, rng, task):
    """In a stream, a batch's Detections are made while its worker is at work on another batch."""
    if task == "nms in the graph":
        manifest, answer = nms_in_graph(rng)
    else:
        manifest = manifest_of(task)
        answer = answer_of(manifest)
    options = BAKED if manifest.nms else SOME
    runtime = open_runtime(manifest, answer, gpu=GpuOptions(contexts=1))
    images = images_of(rng, SIZES[:3])
    started = [runtime._pipeline.run([image], options) for image in images]
    found = [detections() for (detections,) in started]
    check_equal(found, expected_of(manifest, answer, images, options))


def test_more_candidates_than_the_kernels_take_are_told(open_runtime, rng, monkeypatch):
    monkeypatch.setattr("y12.runtime.gpu.boxes.MAX_CANDIDATES", 64)
    manifest = manifest_of()
    answer = answer_of(manifest)
    runtime = open_runtime(manifest, answer)
    images = images_of(rng, SIZES[:1])
    few = DetectOptions(conf=0.0, iou=1.0)
    (found,) = runtime.infer_batch(images, few)
    (expected,) = expected_of(manifest, answer, images, few)
    assert (len(found), len(expected), found.truncated) == (64, ANCHORS, True)
    np.testing.assert_array_equal(found.confidence, expected.confidence[:64])
    assert not runtime.infer_batch(images, replace(few, conf=0.9))[0].truncated


@pytest.mark.parametrize("max_det", [1, 300, 301, 4096])
def test_as_many_objects_as_asked_for(open_runtime, rng, max_det):
    manifest = manifest_of(strides=(2,), **{"names": NAMES})
    answer = answer_of(manifest, anchors=1536)
    runtime = open_runtime(manifest, answer)
    images = images_of(rng, SIZES[:1])
    options = DetectOptions(conf=0.0, iou=1.0, max_det=max_det)
    found = runtime.infer_batch(images, options)
    assert len(found[0]) == min(max_det, 1536)
    check_equal(found, expected_of(manifest, answer, images, options))


def test_more_than_the_kernels_can_give_is_refused(open_runtime):
    runtime = open_runtime(manifest_of(), answer_of(manifest_of()))
    with pytest.raises(InputError, match="max_det: expected 1 to 4096 on a GPU, found 4097"):
        runtime.check_options(DetectOptions(max_det=4097))


@pytest.mark.parametrize("words", [1, 40, 40_000])
def test_masks_that_do_not_fit_are_drawn_again(open_runtime, world, rng, monkeypatch, words):
    monkeypatch.setattr(worker, "Limits", lambda: Limits(arena_words=words))
    manifest = manifest_of("segment")
    answer = answer_of(manifest)
    runtime = open_runtime(manifest, answer)
    images = images_of(rng, [(100, 150), (64, 96)])
    for _ in range(3):
        check_equal(runtime.infer_batch(images, SOME), expected_of(manifest, answer, images, SOME))
    assert (world.captures, world.launches) == (1, 2)


def test_masks_beyond_all_memory_are_refused(open_runtime, rng, monkeypatch):
    monkeypatch.setattr("y12.runtime.gpu.keypoints_and_masks.MAX_ARENA_WORDS", 100)
    monkeypatch.setattr(worker, "Limits", lambda: Limits(arena_words=10))
    manifest = manifest_of("segment")
    runtime = open_runtime(manifest, answer_of(manifest))
    with pytest.raises(ExecutorError, match=r"masks: expected at most .* ask for fewer objects"):
        runtime.infer(images_of(rng, [(400, 600)])[0], SOME)


def with_output(change):
    answer = answer_of(manifest_of())
    return lambda images: change(answer(images)["output0"])


def broken(output0, value):
    """One score of the last image, in its last anchor."""
    output0[-1, 4, -1] = value
    return {"output0": output0}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none_are_refused_and_the_runtime_goes_on(open_runtime, rng, value):
    manifest = manifest_of()
    good = answer_of(manifest)
    values = [value]
    runtime = open_runtime(manifest, with_output(lambda output0: broken(output0, *values)))
    images = images_of(rng, SIZES[:2])
    for _ in range(2):
        with pytest.raises(ExecutorError, match="NaN or infinity"):
            runtime.infer_batch(images, SOME)
    values[0] = 0.5
    expected = expected_of(manifest, lambda images: broken(good(images)["output0"], 0.5), images, SOME)
    check_equal(runtime.infer_batch(images, SOME), expected)


@pytest.mark.parametrize(
    ("task", "answer", "error", "message"),
    [
        (
            "detect",
            lambda o: {"output0": o[:, :-1]},
            ArtefactError,
            r"expected an output \(9, A\) for 5 classes, found",
        ),
        ("detect", lambda o: {"other": o}, ArtefactError, "a network output named output0, found other"),
        ("detect", lambda o: {"output0": o[0]}, ExecutorError, "expected 1 results in the output output0"),
        ("detect", lambda o: {"output0": o.astype(np.float64)}, ArtefactError, "float32 or float16 outputs .* float64"),
        ("segment", lambda o: {"output0": o}, ArtefactError, "a network output protos"),
        ("multitask", lambda o: {"boxes": o[:, :4], "scores": o[:, 4:6]}, ArtefactError, r"scores \(5, 126\), found"),
        ("multitask", lambda o: {"boxes": o[:, :4], "scores": o[:, 4:]}, ArtefactError, "output named keypoints"),
    ],
)
def test_outputs_that_make_no_sense_are_refused(open_runtime, rng, task, answer, error, message):
    runtime = open_runtime(manifest_of(task), with_output(answer))
    with pytest.raises(error, match=message):
        runtime.infer(images_of(rng, SIZES[:1])[0])


def test_images_are_not_reduced_for_it(tmp_path, world):
    manifest = manifest_of()
    network = HostNetwork(answer_of(manifest), world)
    with pytest.raises(InputError, match=r"reduced_decode: expected an \.onnx or a classifier.*found an engine"):
        Runtime(artefact_of(manifest, tmp_path), network, reduced_decode=True)
    assert network.closed == 1
