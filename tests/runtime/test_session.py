"""Runtime: from an image to Detections, with a real tiny network and with a fake one."""

import numpy as np
import pytest
from PIL import Image

from y12 import DetectOptions, Runtime
from y12.errors import ArtefactError, ExecutorError, InputError, Y12Error
from y12.runtime.artefact.manifest import AxisRange
from y12.runtime.artefact.nms_settings import NmsSettings
from y12.runtime.artefact.opened import sidecar_of


def plain(colour_bgr, hw=(64, 64)):
    return np.full((*hw, 3), colour_bgr, np.uint8)


BLUE, GREEN, RED = plain((255, 0, 0)), plain((0, 255, 0)), plain((0, 0, 255))


def answer(columns):
    """Return the same (A, 7) anchors for every image of a batch."""
    raw = np.array(columns, np.float32).T
    return lambda blob: {"output0": np.repeat(raw[None], len(blob), axis=0)}


ONE_BOX = answer([[32, 32, 16, 8, 0.9, 0, 0]])


@pytest.mark.parametrize(("image", "name"), [(RED, "red"), (GREEN, "green"), (BLUE, "blue")])
def test_a_real_network_sees_the_channels_in_order(make_onnx, image, name):
    with Runtime(make_onnx()) as runtime:
        found = runtime.infer(image)
        assert found.class_name == [name]
        assert found.xyxy.tolist() == [[24, 28, 40, 36]]
        assert found.confidence.tolist() == [1.0]
        assert "ONNX Runtime" in runtime.description


def test_takes_paths_pil_images_and_arrays(make_onnx, tmp_path):
    Image.fromarray(RED[..., ::-1]).save(tmp_path / "red.png")
    with Runtime(make_onnx()) as runtime:
        for image in (RED, tmp_path / "red.png", str(tmp_path / "red.png"), Image.fromarray(RED[..., ::-1])):
            assert runtime.infer(image).class_name == ["red"]


@pytest.mark.parametrize(
    ("batch", "axis"),
    [
        (1, AxisRange(1, 1, 1)),
        (2, AxisRange(2, 2, 2)),
        (4, AxisRange(4, 4, 4)),
        ("batch", AxisRange(1, 2, 8)),
        ("batch", AxisRange(2, 2, 3)),
    ],
)
@pytest.mark.parametrize("count", [0, 1, 2, 3, 5])
def test_batches_are_split_and_filled(make_onnx, make_manifest, batch, axis, count):
    images, names = [RED, GREEN, BLUE, RED, GREEN][:count], ["red", "green", "blue", "red", "green"][:count]
    with Runtime(make_onnx(batch=batch, manifest=make_manifest(batch=axis))) as runtime:
        assert [d.class_name for d in runtime.infer_batch(images)] == [[name] for name in names]


def test_batches_without_a_limit_are_bounded(make_onnx, make_manifest, fake_executor):
    fake = fake_executor(ONE_BOX)
    runtime = Runtime(make_onnx(manifest=make_manifest(batch=AxisRange(1, 1, 1024))), fake)
    assert len(runtime.infer_batch([RED] * 70)) == 70
    assert [len(blob) for blob in fake.blobs] == [32, 32, 6]


def test_every_image_keeps_its_own_frame(make_onnx, make_manifest, fake_executor):
    runtime = Runtime(make_onnx(manifest=make_manifest(batch=AxisRange(1, 2, 2))), fake_executor(ONE_BOX))
    small, large = runtime.infer_batch([plain(0, (32, 64)), plain(0, (128, 128))])
    assert (small.image_hw, large.image_hw) == ((32, 64), (128, 128))
    assert small.xyxy.tolist() == [[24, 12, 40, 20]]
    assert large.xyxy.tolist() == [[48, 56, 80, 72]]


@pytest.mark.parametrize("imgsz", [None, 96, (64, 128)])
def test_imgsz_is_what_the_network_sees(make_onnx, make_manifest, fake_executor, imgsz):
    fake = fake_executor(ONE_BOX)
    runtime = Runtime(make_onnx(manifest=make_manifest(size=AxisRange(32, 64, 256))), fake, imgsz=imgsz)
    runtime.infer(RED)
    expected = {None: (64, 64), 96: (96, 96), (64, 128): (64, 128)}[imgsz]
    assert fake.blobs[0].shape == (1, 3, *expected)
    assert runtime.input_hw == expected


@pytest.mark.parametrize(
    ("size", "imgsz", "message"),
    [
        (AxisRange(64, 64, 64), 96, "expected a height of 64, as the artefact was exported for, found 96"),
        (AxisRange(64, 64, 64), (64, 32), "expected a width of 64"),
        (AxisRange(32, 64, 128), 160, "a multiple of 32 from 32 to 128, .* found 160"),
        (AxisRange(32, 64, 128), 100, "found 100"),
        (AxisRange(32, 64, 128), 0, "found 0"),
    ],
)
def test_imgsz_outside_the_profile_is_refused(make_onnx, make_manifest, fake_executor, size, imgsz, message):
    path = make_onnx(manifest=make_manifest(size=size))
    with pytest.raises(InputError, match=message):
        Runtime(path, fake_executor(ONE_BOX), imgsz=imgsz)


def test_options_reach_the_decoder(make_onnx, fake_executor):
    boxes = answer([[32, 32, 16, 8, 0.9, 0, 0], [10, 10, 8, 8, 0, 0.5, 0]])
    runtime = Runtime(make_onnx(), fake_executor(boxes))
    assert len(runtime.infer(RED)) == 2
    assert len(runtime.infer(RED, DetectOptions(conf=0.6))) == 1
    assert runtime.infer(RED, DetectOptions(classes=(1,))).class_name == ["green"]


def test_timings_are_of_the_last_call(make_onnx, fake_executor, tmp_path):
    runtime = Runtime(make_onnx(), fake_executor(ONE_BOX))
    assert runtime.timings.total_ms == 0
    Image.fromarray(RED).save(tmp_path / "red.png")
    runtime.infer(tmp_path / "red.png")
    t = runtime.timings
    stages = (t.load_ms, t.preprocess_ms, t.execute_ms, t.postprocess_ms)
    assert all(ms > 0 for ms in stages)
    assert t.total_ms == pytest.approx(sum(stages))
    runtime.infer_batch([])
    assert runtime.timings.total_ms == 0


def test_close_reaches_the_executor(make_onnx, fake_executor):
    fake = fake_executor(ONE_BOX)
    with Runtime(make_onnx(), fake):
        pass
    assert fake.closed == 1


@pytest.mark.parametrize(
    ("outputs", "error", "message"),
    [
        ({"output0": np.full((1, 7, 2), np.nan, np.float32)}, ExecutorError, "NaN"),
        (
            {"output0": np.zeros((2, 7, 2), np.float32)},
            ExecutorError,
            "expected 1 results in the output output0",
        ),
        ({"output0": np.zeros((1, 8, 2), np.float32)}, ArtefactError, "for 3 classes"),
        ({"detections": np.zeros((1, 300, 6), np.float32)}, ArtefactError, "found detections"),
    ],
)
def test_outputs_that_make_no_sense_are_refused(make_onnx, fake_executor, outputs, error, message):
    runtime = Runtime(make_onnx(), fake_executor(lambda blob: outputs))
    with pytest.raises(error, match=message):
        runtime.infer(RED)


def test_a_classifier_with_nms_is_refused_before_anything_runs(make_onnx, make_manifest):
    manifest = make_manifest(task="classify", strides=(), nms=NmsSettings("packed", 100, DetectOptions(max_det=10)))
    with pytest.raises(ArtefactError, match="a classifier without NMS"):
        Runtime(make_onnx(manifest=manifest))


def test_another_task_than_the_one_asked_for_is_refused(make_onnx):
    path = make_onnx()
    Runtime(path, task="detect").close()
    with pytest.raises(InputError, match=r"expected a model for the task 'segment', found one for 'detect'"):
        Runtime(path, task="segment")


def test_a_network_that_cannot_run_is_refused(make_onnx, tmp_path):
    """The header is sound, the network in it is not."""
    path = make_onnx()
    path.write_bytes(path.read_bytes().replace(b"ReduceMean", b"ReduceMoon"))
    with pytest.raises(ArtefactError, match="ONNX Runtime cannot load it"):
        Runtime(path)


@pytest.fixture
def engine(tmp_path, make_manifest):
    """A file that begins like a plan, with a manifest beside it; no TensorRT can run it."""
    path = tmp_path / "colours_fp16.engine"
    path.write_bytes((b"vtrt" + bytes(12) + (80).to_bytes(8, "little") + bytes([1, 7, 1, 116])).ljust(80, b"\0"))
    sidecar_of(path).write_text(make_manifest().to_json())
    return path


def test_an_engine_that_cannot_run_here_names_the_onnx_beside_it(engine, make_onnx):
    with pytest.raises(Y12Error) as caught:
        Runtime(engine)
    message = str(caught.value)
    assert message.startswith(str(engine))
    assert "\n" not in message
    assert ".onnx" not in message.replace("run the .onnx", "")
    onnx = make_onnx("colours_fp16.onnx")
    with pytest.raises(Y12Error) as caught:
        Runtime(engine)
    assert f"{onnx} runs without a GPU" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_engine_is_not_run_on_the_cpu(engine):
    with pytest.raises(InputError, match="runs on an NVIDIA GPU only, found provider 'cpu'"):
        Runtime(engine, provider="cpu")


def test_an_engine_with_an_executor_of_ours(engine, fake_executor):
    assert Runtime(engine, fake_executor(ONE_BOX)).infer(RED).class_name == ["red"]


def test_a_call_may_change_single_options_and_name_classes(fake_executor, make_onnx):
    both = np.array([[[32, 12], [32, 12], [8, 8], [8, 8], [0.9, 0.0], [0.0, 0.5], [0.0, 0.0]]], np.float32)
    runtime = Runtime(make_onnx(), fake_executor(lambda blob: {"output0": both}))
    for infer in (runtime, runtime.infer, lambda *a, **k: runtime.infer_batch([a[0]], *a[1:], **k)[0]):
        assert infer(RED).class_name == ["red", "green"]
        assert infer(RED, conf=0.6).class_name == ["red"]
        assert infer(RED, classes=["green"]).class_name == ["green"]
        assert infer(RED, DetectOptions(conf=0.6), classes="green").class_name == []
    assert [d.class_name for d in runtime.stream([RED, RED], conf=0.6)] == [["red"]] * 2
    assert runtime(RED, classes=None, max_det=1).class_name == ["red"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": ["gren"]}, r"classes: expected names of the model's 3 \(red, green, blue\), found 'gren' "
         r"\(did you mean 'green'\?\)"),
        ({"conf": 2}, "conf: expected a number from 0 to 1, found 2"),
        ({"confidence": 0.5}, "expected options of conf, iou, max_det, classes, .*, found 'confidence'$"),
        ({"max_dets": 5}, r"found 'max_dets' \(did you mean 'max_det'\?\)"),
        ({"classes": []}, "classes: expected None or a tuple of one or more"),
    ],
)  # fmt: skip
def test_single_options_are_checked_before_anything_runs(fake_executor, make_onnx, changes, message):
    executor = fake_executor(lambda blob: {})
    runtime = Runtime(make_onnx(), executor)
    for infer in (runtime, lambda image, **changes: runtime.stream([image], **changes)):
        with pytest.raises(InputError, match=message):
            infer(RED, **changes)
    assert executor.blobs == []


def test_a_result_knows_its_image_uncopied(make_onnx, tmp_path):
    path = tmp_path / "red.png"
    Image.fromarray(RED[..., ::-1]).save(path)
    with Runtime(make_onnx()) as runtime:
        assert runtime(RED).image is RED
        assert [d.image for d in runtime.infer_batch([path, str(path)])] == [path, str(path)]
        assert [d.image for d in runtime.stream([path, RED])] == [path, None]
        assert runtime(path).plot().shape == RED.shape
