"""Graphs, workers, streams and failures of the GPU pipeline, on the host's stand-in for a GPU."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count

import numpy as np
import pytest

from tests.runtime.gpu.cases import answer_of, artefact_of, check_equal, expected_of, images_of, manifest_of
from tests.runtime.gpu.host_device import HostNetwork
from tests.runtime.kernels.references.letterbox import letterboxed
from y12.errors import ExecutorError, InputError
from y12.runtime.artefact.manifest import AxisRange, InputProfile
from y12.runtime.gpu.pipeline import GpuPipeline
from y12.runtime.gpu.worker import MAX_GRAPHS
from y12.runtime.options import DetectOptions, GpuOptions
from y12.runtime.preprocess.input_size import InputSize
from y12.runtime.session import Runtime
from y12.runtime.tasks import task_for

SOME = DetectOptions(conf=0.1, iou=0.5)
CHANGES = [SOME, DetectOptions(conf=0.5), DetectOptions(iou=0.9, classes=(2,)), DetectOptions(max_det=2, agnostic=True)]
MANIFEST = manifest_of()
ANSWER = answer_of(MANIFEST)


def test_one_launch_a_frame_whatever_the_thresholds_and_sizes(open_runtime, world, rng):
    runtime = open_runtime(MANIFEST, ANSWER)
    images = images_of(rng, [(64, 96), (300, 500), (20, 7), (64, 64)])
    for options in CHANGES:
        for image in images:
            check_equal([runtime.infer(image, options)], expected_of(MANIFEST, ANSWER, [image], options))
    assert (world.captures, world.launches) == (1, len(CHANGES) * len(images) - 1)


def test_a_network_that_cannot_be_captured_is_launched_and_that_is_said(open_runtime, world, rng, caplog):
    runtime = open_runtime(MANIFEST, ANSWER, captures=False)
    images = images_of(rng, [(64, 96)])
    for _ in range(2):
        check_equal(runtime.infer_batch(images, SOME), expected_of(MANIFEST, ANSWER, images, SOME))
    assert (world.captures, world.launches) == (0, 0)
    assert [record.message.split(":")[0] for record in caplog.records] == [
        "the engine cannot be captured in a CUDA graph"
    ]


def test_where_capturing_fails_the_way_round_it_is_told(open_runtime, world, rng):
    runtime = open_runtime(MANIFEST, ANSWER)
    world.fail_only, world.fail_after = "capture", 0
    with pytest.raises(ExecutorError, match=r"could not capture a graph.*; GpuOptions\(cuda_graph=False\) runs"):
        runtime.infer(images_of(rng, [(64, 96)])[0], SOME)
    world.fail_after = None


def test_graphs_can_be_left_out(open_runtime, world, rng):
    runtime = open_runtime(MANIFEST, ANSWER, gpu=GpuOptions(cuda_graph=False))
    images = images_of(rng, [(64, 96)])
    for _ in range(3):
        check_equal(runtime.infer_batch(images, SOME), expected_of(MANIFEST, ANSWER, images, SOME))
    assert (world.captures, world.launches) == (0, 0)


@pytest.mark.parametrize(
    ("limits", "count", "batches"),
    [
        ((1, 1, 4), 1, [1]),
        ((1, 1, 4), 3, [4]),
        ((1, 1, 4), 6, [4, 2]),
        ((1, 2, 6), 5, [6]),
        ((2, 2, 2), 3, [2, 2]),
        ((3, 3, 3), 1, [3]),
        ((1, 1, 1), 3, [1, 1, 1]),
    ],
)
def test_batches_are_split_and_filled(open_runtime, rng, limits, count, batches):
    manifest = manifest_of(batch=limits)
    seen = []

    def answer(images):
        if images.any():  # zeros: the stand-in asks for the shapes
            seen.append(len(images))
        return ANSWER(images)

    runtime = open_runtime(manifest, answer)
    images = images_of(rng, [(64, 96 + i) for i in range(count)])
    check_equal(runtime.infer_batch(images, SOME), expected_of(MANIFEST, ANSWER, images, SOME))
    assert seen == batches


def test_the_graphs_that_are_kept_are_few(tmp_path, open_runtime, world, rng):
    manifest = manifest_of(batch=(1, 1, 32))
    runtime = open_runtime(manifest, ANSWER)
    images = images_of(rng, [(8, 8)] * 32)
    for size in (1, 2, 4, 8, 16, 1, 32, 16):
        runtime.infer_batch(images[:size], SOME)
        assert runtime._pipeline._network.contexts <= MAX_GRAPHS
    assert world.captures == 7  # 1 was let go of when 16 came, 16 was still there at the end


def test_memory_does_not_grow(open_runtime, world, rng):
    manifest = manifest_of("segment")
    answer = answer_of(manifest)
    runtime = open_runtime(manifest, answer, gpu=GpuOptions(contexts=1))
    images = images_of(rng, [(90, 70), (64, 96), (33, 99)])
    memory = []
    for i in range(30):
        options = DetectOptions(conf=0.05 + 0.02 * (i % 7), max_det=1 + i % 50, multi_label=i > 2)
        runtime.infer_batch(images[: 1 + i % 3], options)
        memory.append(sum(piece.size_bytes for piece in world.living.values()))
    assert len(set(memory[10:])) == 1


@pytest.mark.parametrize("contexts", [1, 3])
def test_threads_share_the_workers(open_runtime, world, rng, contexts):
    runtime = open_runtime(MANIFEST, ANSWER, gpu=GpuOptions(contexts=contexts))
    images = images_of(rng, [(40 + i, 60) for i in range(8)])
    expected = expected_of(MANIFEST, ANSWER, images, SOME)
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            check_equal(list(pool.map(lambda image: runtime.infer(image, SOME), images)), expected)
    assert world.opened <= contexts + 1  # and one that belongs to no worker


@pytest.mark.parametrize(("batch", "ahead"), [(1, 2), (2, 1), (3, 0)])
def test_a_stream_gives_what_infer_gives(open_runtime, rng, batch, ahead):
    runtime = open_runtime(MANIFEST, ANSWER)
    images = images_of(rng, [(40 + i, 60 + 3 * i) for i in range(7)])
    found = list(runtime.stream(iter(images), SOME, batch=batch, ahead=ahead))
    check_equal(found, [runtime.infer(image, SOME) for image in images])


def test_a_stream_runs_as_many_batches_as_there_are_workers(open_runtime, world, rng):
    together = threading.Barrier(3, timeout=20)

    def answer(images):
        if images.any():
            together.wait()  # broken, unless three are here at a time
        return ANSWER(images)

    runtime = open_runtime(MANIFEST, answer, gpu=GpuOptions(contexts=3))
    images = images_of(rng, [(40, 60)] * 3)
    assert len(list(runtime.stream(images, SOME, ahead=3))) == 3
    assert world.most_at_once == 3


def test_a_closed_runtime_is_refused(open_runtime, rng):
    runtime = open_runtime(MANIFEST, ANSWER)
    runtime.close()
    with pytest.raises(ExecutorError, match="expected an open runtime, found a closed one"):
        runtime.infer(images_of(rng, [(8, 8)])[0])


def test_closing_waits_for_the_work_under_way(open_runtime, world, rng):
    entered, go_on = threading.Event(), threading.Event()

    def answer(images):
        if images.any():
            entered.set()
            assert go_on.wait(20)
        return ANSWER(images)

    runtime = open_runtime(MANIFEST, answer)
    image = images_of(rng, [(64, 96)])[0]
    with ThreadPoolExecutor(2) as pool:
        working = pool.submit(runtime.infer, image, SOME)
        assert entered.wait(20)
        closing = pool.submit(runtime.close)
        assert not closing.done()
        go_on.set()
        check_equal([working.result(20)], expected_of(MANIFEST, ANSWER, [image], SOME))
        closing.result(20)


@pytest.mark.parametrize("calls", [0, 2])
@pytest.mark.parametrize("task", ["segment", "pose"])
def test_a_lost_device_is_told_and_the_runtime_can_be_closed(tmp_path, world, rng, caplog, task, calls):
    manifest = manifest_of(task)
    network = HostNetwork(answer_of(manifest), world)
    runtime = Runtime(artefact_of(manifest, tmp_path), network)
    images = images_of(rng, [(64, 96), (30, 30)])
    runtime.infer_batch(images, SOME)
    world.fail_only, world.fail_after = "", 0  # from now on, everything fails
    for _ in range(calls):
        with pytest.raises(ExecutorError, match="CUDA could not"):
            runtime.infer_batch(images, SOME)
    runtime.close()
    runtime.close()
    assert network.closed == 1
    assert "while freeing what was on the GPU" in caplog.text
    world.check_clean()


FAILURES = ["allocate", "prepare the engine", "run the engine", "launch the kernel", "capture", "open the GPU"]


@pytest.mark.parametrize("kind", FAILURES)
@pytest.mark.parametrize("task", ["detect", "segment"])
def test_whatever_fails_the_runtime_goes_on_and_nothing_leaks(open_runtime, world, rng, task, kind):
    """The first operation of a kind fails, then the second …, until a call needs no more of them."""
    manifest = manifest_of(task)
    answer = answer_of(manifest)
    images = images_of(rng, [(64, 96), (50, 60)])
    expected = expected_of(manifest, answer, images, SOME)
    runtime = open_runtime(manifest, answer)
    runtime.infer(images[0], SOME)  # a graph of one image is there
    failures = 0
    for succeed in count():
        living = len(world.living)
        world.fail_only, world.fail_after = kind, succeed
        failure = None
        try:
            found = runtime.infer_batch(images, SOME)
        except ExecutorError as error:
            failure = error
        world.fail_after = None
        if failure is None:
            check_equal(found, expected)
            break
        assert kind in str(failure)
        assert len(world.living) <= living
        failures += 1
    assert failures >= 1 - (kind == "open the GPU")
    check_equal(runtime.infer_batch(images, SOME), expected)


def test_a_runtime_that_cannot_begin_frees_everything(tmp_path, world, open_runtime):
    for succeed in range(2):
        world.fail_only, world.fail_after = "open the GPU", succeed
        network = HostNetwork(ANSWER, world)
        with pytest.raises(ExecutorError, match="could not open the GPU"):
            GpuPipeline(network, task_for(MANIFEST), MANIFEST.profile.batch, InputSize((64, 96)), GpuOptions())
        assert network.closed == 1
        world.check_clean()
    world.fail_after = None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"contexts": 0}, "contexts: expected 1 to 64, found 0"),
        ({"device": -1}, "device: expected 0 or more, found -1"),
    ],
)
def test_gpu_options_are_checked(values, message):
    with pytest.raises(InputError, match=message):
        GpuOptions(**values)


def test_options_that_cannot_be_followed_touch_no_worker(open_runtime, world, rng):
    runtime = open_runtime(MANIFEST, ANSWER)
    with pytest.raises(InputError, match="classes: expected ids of 0 to 4, found 9"):
        runtime.infer(images_of(rng, [(8, 8)])[0], DetectOptions(classes=(9,)))
    with pytest.raises(InputError, match="uint8"):
        runtime.infer(np.zeros((8, 8, 3), np.float32))
    assert (world.kernels_run, world.opened) == (0, 2)


RECTANGULAR = replace(
    MANIFEST,
    profile=InputProfile(AxisRange(1, 1, 4), AxisRange(32, 64, 96), AxisRange(32, 96, 96)),
    localisation="heatmap",  # whose levels must be those of the size
)


def cells_of(images):
    """Boxes and scores by the cells of strides 8, 16 and 32 of an input of any size."""
    height, width = images.shape[2:]
    columns = []
    for stride in (8, 16, 32):
        cells = images.reshape(len(images), 3, height // stride, stride, width // stride, stride).mean(axis=(3, 5))
        y, x = (np.indices(cells.shape[2:]) + 0.5) * stride
        boxes = np.stack([x, y, np.full(x.shape, 1.5 * stride), np.full(x.shape, stride)])
        scores = np.concatenate([cells, cells[:, :2] / 2], axis=1) * (1 - 0.01 * np.sin(x + 3 * y))
        columns.append(np.concatenate([np.broadcast_to(boxes, (len(images), *boxes.shape)), scores], axis=1))
    joined = [column.reshape(len(images), 9, -1) for column in columns]
    return {"output0": np.ascontiguousarray(np.concatenate(joined, axis=2), np.float32)}


def test_each_size_of_input_is_a_graph_of_its_own(open_runtime, world, rng):
    seen = []

    def answer(images):
        if images.any():
            seen.append(images.shape)
        return cells_of(images)

    runtime = open_runtime(RECTANGULAR, answer, rect=True)
    images = images_of(rng, [(64, 96), (30, 96), (200, 90), (15, 48), (64, 96)])
    task, size = task_for(RECTANGULAR), runtime.input_size
    for _ in range(3):  # launched, then replayed
        expected = []
        for image in images:
            frame = size.frame(image.shape[:2])
            outputs = cells_of(letterboxed([image], [frame]))
            expected.append(task.decode({name: one[0] for name, one in outputs.items()}, frame, SOME))
        assert sum(map(len, expected)) > 10
        seen.clear()
        check_equal(runtime.infer_batch(images, SOME, batch=4), expected)
        assert seen == [(1, 3, 64, 96), (2, 3, 32, 96), (1, 3, 64, 32), (1, 3, 64, 96)]
    assert world.captures == 3
    check_equal(list(runtime.stream(images, SOME)), expected)
