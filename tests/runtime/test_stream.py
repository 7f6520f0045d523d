"""Streams: the same results as one by one, in order, read ahead no further than said, and no thread left behind."""

import gc
import itertools
import signal
import threading
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from y12 import DetectOptions, Runtime
from y12.errors import ExecutorError, InputError
from y12.runtime.artefact.manifest import ONNX_KEY, AxisRange
from y12.runtime.preprocess.images import image_from
from y12.runtime.stream import _result

PHOTOS = sorted((Path(__file__).resolve().parents[2] / "y12/exporter/verify/photos").glob("*.jpg"))
SCENES = PHOTOS[0].parents[1] / "scenes"
PATIENCE_S = 20  # what should happen at once, on a busy machine
NAMES = ["red", "green", "blue"]
RED, GREEN, BLUE = (np.full((64, 64, 3), colour, np.uint8) for colour in ((0, 0, 255), (0, 255, 0), (255, 0, 0)))
COLOURS = [RED, GREEN, BLUE]
SEVEN = list(itertools.islice(itertools.cycle(COLOURS), 7))


def threads():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("y12-stream")]


@pytest.fixture(autouse=True)
def _leaves_no_thread():
    yield
    if threads():
        gc.collect()
    assert threads() == []


def one_box(blob):
    raw = np.array([[32, 32, 16, 8, 0.9, 0, 0]], np.float32).T
    return {"output0": np.repeat(raw[None], len(blob), axis=0)}


@pytest.fixture
def open_colours(make_onnx, make_manifest):
    """Open the network that names an image's colour, for a span of batches."""

    def make(*batch):
        axis = AxisRange(*(batch or (1, 1, 1)))
        return Runtime(make_onnx(batch=axis.min if axis.is_fixed else "batch", manifest=make_manifest(batch=axis)))

    return make


@pytest.fixture
def open_fake(make_onnx, make_manifest, fake_executor):
    """Open a network whose `run` is a function, for batches of 1 to 3."""

    def make(answer=one_box):
        return Runtime(make_onnx(manifest=make_manifest(batch=AxisRange(1, 1, 3))), fake_executor(answer))

    return make


@pytest.fixture
def seeded(tmp_path, make_manifest, rng):
    """A network with 64 anchors that depends on every pixel, for batches of 1 to 3."""
    weights = {
        "kernel": rng.normal(0, 0.15, (7, 3, 8, 8)).astype(np.float32),
        "bias": rng.normal(0, 0.5, 7).astype(np.float32),
        "shape": np.array([0, 7, 64]),
        "scale": np.array([64, 64, 40, 40, 1, 1, 1], np.float32)[:, None],
    }
    nodes = [
        helper.make_node("Conv", ["images", "kernel", "bias"], ["features"], strides=[8, 8]),
        helper.make_node("Reshape", ["features", "shape"], ["rows"]),
        helper.make_node("Sigmoid", ["rows"], ["shares"]),
        helper.make_node("Mul", ["shares", "scale"], ["output0"]),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "seeded",
        [value("images", TensorProto.FLOAT, ["batch", 3, 64, 64])],
        [value("output0", TensorProto.FLOAT, ["batch", 7, 64])],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, {ONNX_KEY: make_manifest(batch=AxisRange(1, 1, 3)).to_json()})
    path = tmp_path / "seeded.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def assert_same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.image_hw == other.image_hw
        for name in ("xyxy", "confidence", "class_id"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("ahead", [0, 1, 5])
@pytest.mark.parametrize("options", [None, DetectOptions(conf=0.35, classes=(0, 1), max_det=7)])
def test_results_are_those_of_infer(seeded, ahead, options):
    bgr = image_from(PHOTOS[1])
    images = [*PHOTOS, str(PHOTOS[0]), bgr, bgr[::-1], Image.fromarray(bgr[:90, :50])]
    with Runtime(seeded) as runtime:
        expected = [runtime.infer(image, options) for image in images]
        found = list(runtime.stream(iter(images), options, ahead=ahead))
    assert len({one.xyxy.tobytes() for one in expected}) > 4  # there is something to confuse
    assert_same(found, expected)


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_results_of_batches_are_those_of_infer_batch(seeded, batch):
    images = [*PHOTOS, *PHOTOS[:3]]
    with Runtime(seeded) as runtime:
        expected = [f for i in range(0, 7, batch) for f in runtime.infer_batch(images[i : i + batch])]
        assert_same(list(runtime.stream(images, batch=batch)), expected)


@pytest.mark.slow
def test_results_of_an_exported_network_are_those_of_infer(tmp_path):
    """The trained network that ships, exported small, on the scenes it knows."""
    pytest.importorskip("torch")
    from y12.exporter.cli.export import main as export

    weights = PHOTOS[0].parents[4] / "configs/weights/yolov12n-shapes.safetensors"
    assert export([str(weights), "--imgsz", "160", "--no-verify", "--output", str(tmp_path)]) == 0
    images = [*sorted(SCENES.glob("*.jpg")), *PHOTOS] * 2
    (artefact,) = tmp_path.glob("*.onnx")
    with Runtime(artefact) as runtime:
        expected = [runtime.infer(image) for image in images]
        assert_same(list(runtime.stream(images)), expected)
    assert sum(map(len, expected)) > 0


@pytest.mark.parametrize("axis", [(1, 1, 1), (2, 2, 2), (4, 4, 4), (1, 2, 8), (2, 2, 3)])
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("count", [0, 1, 3, 7])
def test_order_for_every_span_of_batches(open_colours, axis, whole, count):
    with open_colours(*axis) as runtime:
        found = list(runtime.stream(SEVEN[:count], batch=axis[2] if whole else None))
    assert [one.class_name for one in found] == [[name] for name in (NAMES * 3)[:count]]


@pytest.mark.parametrize(("axis", "batch", "sizes"), [((1, 1, 3), None, [1] * 7), ((1, 2, 3), 3, [3, 3, 1])])
def test_the_network_sees_batches_of_the_size_asked_for(make_onnx, make_manifest, fake_executor, axis, batch, sizes):
    fake = fake_executor(one_box)
    runtime = Runtime(make_onnx(manifest=make_manifest(batch=AxisRange(*axis))), fake)
    assert len(list(runtime.stream(SEVEN, batch=batch))) == 7
    assert [len(blob) for blob in fake.blobs] == sizes


def test_too_few_images_are_filled_up(make_onnx, make_manifest, fake_executor):
    fake = fake_executor(one_box)
    runtime = Runtime(make_onnx(manifest=make_manifest(batch=AxisRange(2, 2, 4))), fake)
    assert len(list(runtime.stream(SEVEN[:5], batch=4))) == 5
    assert [len(blob) for blob in fake.blobs] == [4, 2]
    assert (fake.blobs[1][1] == 0.5).all()


@pytest.mark.parametrize(("batch", "ahead"), [(1, 0), (1, 1), (1, 4), (2, 0), (3, 1)])
def test_an_endless_iterable_is_read_no_further_than_said(open_fake, batch, ahead):
    taken, reader = 0, set()

    def endless():
        nonlocal taken
        while True:
            taken += 1
            reader.add(threading.get_ident())
            yield RED

    stream = open_fake().stream(endless(), batch=batch, ahead=ahead)
    assert taken == 0
    for given in range(1, 20):
        next(stream)
        whole = -(-given // batch) * batch  # what was given, and the rest of its batch
        assert taken == whole + ahead * batch
    stream.close()
    assert reader == {threading.get_ident()}
    assert threads() == []


def test_nothing_in_gives_nothing_out_and_starts_nothing(open_fake):
    stream = open_fake().stream(iter(()))
    assert next(stream, None) is None
    assert threads() == []


def test_several_images_are_run_at_a_time_and_come_in_their_order(make_onnx, make_manifest, fake_executor):
    """Each run waits until the other has begun, or it has waited long enough."""
    both = threading.Barrier(2, timeout=PATIENCE_S)

    def meet(blob):
        both.wait()
        return one_box(blob)

    executor = fake_executor(meet)
    executor.at_a_time = 2
    with Runtime(make_onnx(manifest=make_manifest()), executor) as runtime:
        assert len(list(runtime.stream(SEVEN[:6], ahead=1))) == 6


def test_for_throughput_results_are_those_of_infer(make_onnx, make_manifest, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    path = make_onnx(manifest=make_manifest())
    with Runtime(path, provider="cpu") as one, Runtime(path, provider="cpu", throughput=True) as several:
        assert "3 images at a time" in several.description
        found = [detections.class_name for detections in several.stream(SEVEN)]
        assert found == [one.infer(image).class_name for image in SEVEN]


def test_the_three_places_work_at_a_time(open_fake):
    """Each waits for what only overlapping can bring; one after the other, the first would wait in vain."""
    loaded, ran = ([threading.Event() for _ in range(6)] for _ in range(2))
    runs = itertools.count()

    def run(blob):
        assert loaded[min(next(runs) + 1, 5)].wait(PATIENCE_S), "the next image was not read during the run"
        ran[int(blob[0, 0, 0, 0] * 255)].set()
        return one_box(blob)

    def load(number):
        loaded[number].set()
        return np.full((64, 64, 3), number, np.uint8)

    for outcome in open_fake(run).outcomes(range(6), load):
        assert not isinstance(outcome.result, Exception), outcome.result
        following = ran[min(outcome.item + 1, 5)]
        assert following.wait(PATIENCE_S), "the network did not run while the caller had the result before"


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_an_image_s_error_comes_in_its_place(open_fake, tmp_path, batch):
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    runtime = open_fake()
    with pytest.raises(InputError) as expected:
        runtime.infer(tmp_path / "bad.jpg")
    stream = runtime.stream([RED, RED, tmp_path / "bad.jpg", RED], batch=batch)
    assert [len(next(stream)) for _ in range(2)] == [1, 1]
    with pytest.raises(InputError) as caught:
        next(stream)
    assert str(caught.value) == str(expected.value)
    assert threads() == []
    assert next(stream, None) is None


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_outcomes_go_on_after_an_error_and_tell_whose_it_is(open_colours, batch):
    def load(name):
        return COLOURS[NAMES.index(name)]

    names = ["red", "pink", "blue", "green", "mauve", "grey", "red"]
    with open_colours(1, 2, 3) as runtime:
        outcomes = list(runtime.outcomes(names, load, batch=batch))
    assert [outcome.item for outcome in outcomes] == names
    for outcome in outcomes:
        if outcome.item in NAMES:
            assert outcome.result.class_name == [outcome.item]
        else:
            assert isinstance(outcome.result, ValueError)


def test_a_batch_of_which_nothing_can_be_read_is_not_run(make_onnx, fake_executor):
    fake = fake_executor(one_box)
    outcomes = list(Runtime(make_onnx(), fake).outcomes(["a", "b"], image_from))
    assert [type(outcome.result) for outcome in outcomes] == [InputError] * 2
    assert fake.blobs == []


@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("before", [0, 1, 4])
def test_the_iterable_s_own_exception_comes_after_what_it_gave(open_fake, batch, before):
    def failing():
        yield from [RED] * before
        raise ZeroDivisionError("ours")

    stream = open_fake().stream(failing(), batch=batch)
    assert [len(next(stream)) for _ in range(before)] == [1] * before
    with pytest.raises(ZeroDivisionError, match="ours"):
        next(stream)
    assert threads() == []


def test_an_interrupt_while_the_iterable_is_read_ends_the_threads(open_fake):
    def interrupted():
        yield from [RED] * 4
        raise KeyboardInterrupt

    stream = open_fake().stream(interrupted(), ahead=2)
    assert [len(next(stream)) for _ in range(2)] == [1, 1]
    with pytest.raises(KeyboardInterrupt):
        next(stream)
    assert threads() == []


def test_ctrl_c_while_the_network_runs_ends_the_threads(open_fake):
    inside, go_on = threading.Event(), threading.Event()

    def run(blob):
        inside.set()
        assert go_on.wait(PATIENCE_S)
        return one_box(blob)

    def press():
        assert inside.wait(PATIENCE_S)
        go_on.wait(0.1)  # the caller waits for the network: an interrupt while a thread starts would leave that one
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        go_on.wait(0.2)  # the network is still at work when the interrupt arrives
        go_on.set()

    finger = threading.Thread(target=press)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # pytest's parallel workers ignore it
    try:
        finger.start()
        with pytest.raises(KeyboardInterrupt):
            for _ in open_fake(run).stream(itertools.repeat(RED, 1000), ahead=0):
                pass
    finally:
        signal.signal(signal.SIGINT, before)
        finger.join()
    assert threads() == []


def test_the_network_s_error_comes_in_its_place(open_fake):
    def run(blob):
        if blob.max() == 1:
            raise ExecutorError("the network failed")
        return one_box(blob)

    dark = RED // 2
    stream = open_fake(run).stream([dark, dark, RED, dark], batch=1)
    assert [len(next(stream)) for _ in range(2)] == [1, 1]
    with pytest.raises(ExecutorError, match="the network failed"):
        next(stream)
    assert threads() == []


def test_the_decoder_s_error_ends_the_threads(open_fake):
    stream = open_fake(lambda blob: {"output0": np.full((1, 7, 2), np.nan, np.float32)}).stream([RED] * 3)
    with pytest.raises(ExecutorError, match="NaN"):
        next(stream)
    assert threads() == []


def let_go(stream):
    del stream


def interrupt(stream):
    with pytest.raises(KeyboardInterrupt):
        stream.throw(KeyboardInterrupt)


@pytest.mark.parametrize("stop", [lambda stream: stream.close(), let_go, interrupt])
def test_an_early_stop_waits_for_the_run_at_work_and_drops_the_others(make_onnx, fake_executor, stop):
    inside, go_on = threading.Event(), threading.Event()

    def run(blob):
        if len(fake.blobs) == 2:
            inside.set()
            assert go_on.wait(PATIENCE_S)
        return one_box(blob)

    fake = fake_executor(run)
    streams = [Runtime(make_onnx(), fake).stream(itertools.repeat(RED), ahead=4)]
    next(streams[0])
    assert inside.wait(PATIENCE_S)
    assert len(threads()) >= 2
    threading.Timer(0.05, go_on.set).start()
    stop(streams.pop())
    assert threads() == []
    assert len(fake.blobs) == 2


def test_several_streams_of_one_runtime(open_colours):
    found = {}
    with open_colours() as runtime:

        def read(colour):
            found[colour] = [one.class_name for one in runtime.stream([COLOURS[colour]] * 30, ahead=colour)]

        readers = [threading.Thread(target=read, args=(colour,)) for colour in range(3)]
        for reader in readers:
            reader.start()
        alternating = zip(runtime.stream([RED] * 9), runtime.stream([BLUE] * 9), strict=True)
        assert [(a.class_name, b.class_name) for a, b in alternating] == [(["red"], ["blue"])] * 9
        assert runtime.infer(GREEN).class_name == ["green"]
        for reader in readers:
            reader.join()
    assert found == {colour: [[NAMES[colour]]] * 30 for colour in range(3)}


CLOSED = "found one that was closed before its stream was read to the end"


@pytest.mark.parametrize("batch", [1, 3])
def test_a_runtime_that_is_closed_ends_its_streams(open_colours, batch):
    runtime = open_colours(1, 1, 3)
    streams = [runtime.stream(itertools.repeat(RED), batch=batch) for _ in range(3)]
    assert [next(stream).class_name for stream in streams[:2]] == [["red"]] * 2  # the third has not begun
    runtime.close()
    assert threads() == []
    for stream in streams:
        with pytest.raises(ExecutorError, match=CLOSED) as caught:
            next(stream)
        assert "\n" not in str(caught.value)
    with pytest.raises(ExecutorError, match=CLOSED):
        runtime.stream([RED])


def test_a_runtime_that_is_closed_by_another_thread_while_its_stream_waits(make_onnx, fake_executor):
    inside, go_on = threading.Event(), threading.Event()

    def run(blob):
        inside.set()
        assert go_on.wait(PATIENCE_S)
        assert fake.closed == 0, "the network was freed while it ran"
        return one_box(blob)

    fake = fake_executor(run)
    runtime = Runtime(make_onnx(), fake)
    closer = threading.Thread(target=lambda: inside.wait(PATIENCE_S) and runtime.close())
    closer.start()
    threading.Timer(0.2, go_on.set).start()
    with pytest.raises(ExecutorError, match=CLOSED):
        list(runtime.stream(itertools.repeat(RED)))
    closer.join()
    assert (fake.closed, len(fake.blobs)) == (1, 1)


def test_a_wait_that_close_cuts_short():
    """The moment between two runs, too short to be met from outside: what the caller waits for has not begun."""
    waited_for: Future[int] = Future()
    waited_for.cancel()
    with pytest.raises(ExecutorError, match=CLOSED):
        _result(waited_for)


def test_a_runtime_that_is_closed_by_the_iterable(open_fake):
    runtime = open_fake()

    def closing():
        yield from [RED] * 3
        runtime.close()
        yield RED

    with pytest.raises(ExecutorError, match=CLOSED):
        list(runtime.stream(closing()))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"batch": 0}, r"batch: expected 1 to 3 images, as the artefact was exported for, found 0"),
        ({"batch": 4}, "found 4"),
        ({"ahead": -1}, "ahead: expected 0 or more batches, found -1"),
        ({"options": DetectOptions(classes=(7,))}, "ids of 0 to 2, found 7"),
    ],
)
def test_what_cannot_be_followed_is_refused_before_anything_is_read(open_fake, asked, message):
    def untouched():
        pytest.fail("read")
        yield RED

    with pytest.raises(InputError, match=message):
        open_fake().stream(untouched(), **asked)


def test_timings_are_of_the_last_image(open_fake):
    runtime = open_fake()
    for _ in runtime.stream(PHOTOS, batch=3):
        t = runtime.timings
        stages = (t.load_ms, t.preprocess_ms, t.execute_ms, t.postprocess_ms)
        assert all(ms > 0 for ms in stages)
        assert t.total_ms == pytest.approx(sum(stages))


def test_a_batch_s_time_is_shared_out(open_fake):
    def slow(blob):
        threading.Event().wait(0.15)
        return one_box(blob)

    def execute_ms(batch):
        return [outcome.timings.execute_ms for outcome in open_fake(slow).outcomes([RED] * 3, image_from, batch=batch)]

    assert min(execute_ms(1)) >= 145
    shares = execute_ms(3)
    assert len(set(shares)) == 1
    assert sum(shares) >= 145
    assert shares[0] < 145
