"""Verification passes what is right and fails on faults put in on purpose."""

import copy
from dataclasses import replace

import mutations as m
import numpy as np
import pytest
from onnx import numpy_helper
from PIL import Image
from text_models import copy_of

from y12.errors import InconclusiveError, VerificationError
from y12.exporter.graph.passes import JOINT
from y12.exporter.model.build import seeded_detector
from y12.exporter.model.spec import spec_from_name
from y12.exporter.verify.backends import TorchExecutor
from y12.exporter.verify.compare import Ran, compare, outputs_of
from y12.exporter.verify.verify import VerificationInput, verify
from y12.exporter.verify.verify_images import load_images, photos_dir
from y12.exporter.verify.verify_options import TOLERANCES, VerifyOptions
from y12.exporter.verify.weights import check_weights
from y12.runtime.artefact.manifest import Manifest
from y12.runtime.artefact.output_layout import OutputLayout
from y12.runtime.backends.onnx_runtime import OrtExecutor

ONE_PHOTO = VerifyOptions(max_images=1)


@pytest.fixture(scope="module")
def small(seeded_n, stages_of, make_profile):
    """yolov12n with seeded weights at 160x160: a hundred detections on every photograph."""
    return stages_of(seeded_n.detector, make_profile(160, 160))


@pytest.fixture(scope="module")
def armor_small(armor, stages_of, make_profile):
    return stages_of(armor.detector, make_profile(160, 160), checked=False)


def manifest_of(stages, precision="fp32"):
    spec = stages.detector.spec
    names, profile = stages.detector.names, stages.profile
    return Manifest(spec.task, names, spec.strides, profile, precision, kpt_shape=spec.kpt_shape)


def verified(stages, simplified=None, typed=None, precision="fp16", detector=None, options=ONE_PHOTO):
    simplified = stages.simplified if simplified is None else simplified
    typed = (simplified if precision == "fp32" else stages.typed) if typed is None else typed
    inputs = VerificationInput(
        detector or stages.detector, None, simplified, typed, typed, None, manifest_of(stages, precision)
    )
    return verify(inputs, options)


def mutated(model, mutation):
    copied = copy_of(model)
    mutation(copied)
    assert copied != model
    return copied


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_an_honest_export_passes(small, precision):
    report = verified(small, precision=precision)
    (comparison,) = report.comparisons
    assert (comparison.verdict, comparison.lost, comparison.new) == ("equal within tolerance", 0, 0)
    assert comparison.matched == comparison.detections == 100
    assert report.verdict.startswith("verified: ")


# Each task's network, and what its own branches are called in it.
TASKS = {
    "yolov12n-seg": ("cv4", "proto"),
    "yolov12n-pose": ("cv4",),
    "yolov12n-obb": ("cv4",),
    "yolov12n-cls": ("conv", "linear"),
    "yolov12n-multitask": ("cv4", "proto"),
    "yolo11n": ("cv3",),
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.exhaustive] * name.endswith(("-pose", "-obb", "-multitask")))
        for name in TASKS
    ],
)
def test_every_task_passes_and_a_changed_weight_of_its_own_fails(stages_of, make_profile, name):
    stages = stages_of(seeded_detector(spec_from_name(name)), make_profile(160, 160), checked=False)
    for precision in ("fp32", "fp16"):
        report = verified(stages, precision=precision)
        assert report.comparisons[0].verdict == "equal within tolerance"
    for branch in TASKS[name]:
        wrong = copy.deepcopy(stages.detector)
        weights = [p for key, p in wrong.head.named_parameters() if key.startswith(branch) and p.ndim > 1]
        weights[-1].data.flatten()[weights[-1].abs().argmax()] *= -1
        with pytest.raises(VerificationError, match="the traced FP32 graph is not the model"):
            verified(stages, detector=wrong, precision="fp32")
    with pytest.raises(VerificationError, match="differs from the model"):
        verified(stages, typed=mutated(stages.typed, m.rgb_for_bgr))


FAULTS = {
    "largest weight of the first convolution": m.flip_largest(0),
    "largest weight of one in the backbone": m.flip_largest(50),
    "largest weight of one in the neck": m.flip_largest(90),
    "largest weight of the last": m.flip_largest(-1),
    "largest weight of the box branch": m.flip_largest(-7),
    "one bias": m.bias_of_first,
    "weights of two layers exchanged": m.swap_same_shape_weights,
    "q and k exchanged": m.swap_q_and_k,
    "RGB for BGR": m.rgb_for_bgr,
    "two classes exchanged": m.swap_two_classes,
    **m.ON_OUTPUT,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_fp32_graph_fails(small, fault):
    with pytest.raises(VerificationError, match="the traced FP32 graph is not the model"):
        verified(small, simplified=mutated(small.simplified, FAULTS[fault]), precision="fp32")


@pytest.mark.parametrize(
    "fault",
    ["weights of two layers exchanged", "q and k exchanged", "RGB for BGR", *m.ON_OUTPUT],
)
def test_a_fault_in_the_fp16_graph_fails(small, fault):
    with pytest.raises(VerificationError, match=r"FP16 ONNX in .* differs from the model: "):
        verified(small, typed=mutated(small.typed, FAULTS[fault]))


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_wrong_stride_fails(small, level):
    wrong = copy.deepcopy(small.detector)
    strides = list(wrong.head.strides)
    strides[level] = 16 if strides[level] != 16 else 8
    wrong.head.strides = tuple(strides)
    with pytest.raises(VerificationError, match="the traced FP32 graph is not the model"):
        verified(small, detector=wrong)


WEIGHT_FAULTS = {
    f"{what} of convolution {layer}": make(layer)
    for what, make in (("two FP16 steps in one element", m.two_ulps), ("the largest weight", m.flip_largest))
    for layer in (0, 1, 40, 80, -1)
} | {"a bias": m.bias_of_first, "RGB for BGR": m.rgb_for_bgr, "two classes": m.swap_two_classes}


@pytest.mark.parametrize("fault", WEIGHT_FAULTS)
def test_one_changed_weight_of_the_fp16_graph_is_named(small, fault):
    with pytest.raises(VerificationError, match=r"the weight '.*' of the typed graph is not the model's"):
        check_weights(small.simplified, mutated(small.typed, WEIGHT_FAULTS[fault]))


def test_every_weight_of_the_typed_graphs_is_checked(small):
    assert check_weights(small.simplified, small.typed) == len(small.typed.graph.initializer) > 250
    assert check_weights(small.simplified, small.simplified) == len(small.simplified.graph.initializer)


@pytest.mark.parametrize(
    ("place", "says"),
    [((0, 0), "is not the model's"), ((-1, -1), "is not the model's"), ((0, -1), "holds more than the model's")],
)
def test_a_changed_number_of_a_joined_weight_is_named(small, place, says):
    typed = copy_of(small.for_rtx)
    assert check_weights(small.simplified, typed) == len(typed.graph.initializer)
    joined = next(w for w in typed.graph.initializer if JOINT in w.name and len(w.dims) == 4)
    values = numpy_helper.to_array(joined).copy()
    values[place] += 1
    joined.CopyFrom(numpy_helper.from_array(values, joined.name))
    with pytest.raises(VerificationError, match=rf"the weight '.* & .*' of the typed graph {says}"):
        check_weights(small.simplified, typed)


def test_a_joined_weight_that_lacks_a_part_is_named(small):
    typed = copy_of(small.for_rtx)
    joined = next(w for w in typed.graph.initializer if JOINT in w.name)
    joined.name = joined.name.partition(JOINT)[0] + JOINT + "stranger"
    with pytest.raises(VerificationError, match="stranger' of the typed graph is not in the model"):
        check_weights(small.simplified, typed)


def test_a_weight_from_elsewhere_is_named(small):
    typed = copy_of(small.typed)
    typed.graph.initializer[0].name = "stranger"
    with pytest.raises(VerificationError, match="'stranger' of the typed graph is not in the model"):
        check_weights(small.simplified, typed)


def test_images_of_another_channel_order_differ(small):
    """The same graph, fed RGB and BGR."""
    images = load_images(ONE_PHOTO, (160, 160), "detect")
    turned = tuple(replace(image, blob=np.ascontiguousarray(image.blob[:, ::-1])) for image in images)
    executor = OrtExecutor(small.simplified.SerializeToString(), provider="cpu")
    expected, actual = outputs_of(executor, images, 1), outputs_of(executor, turned, 1)
    pair = Ran("RGB", expected), Ran("BGR", actual)
    result = compare(*pair, OutputLayout("detect", 80), (160, 160), TOLERANCES["fp16"], ONE_PHOTO)
    assert result.verdict == "different"


def test_outputs_come_image_by_image_whatever_the_batch(small):
    images = load_images(VerifyOptions(max_images=3), (160, 160), "detect")
    one_by_one = outputs_of(TorchExecutor(small.detector), images, 1)
    in_pairs = outputs_of(TorchExecutor(small.detector), images, 2)
    assert len(in_pairs) == 3
    for a, b in zip(one_by_one, in_pairs, strict=True):
        np.testing.assert_allclose(a["output0"], b["output0"], rtol=0, atol=1e-2)
    assert not np.allclose(one_by_one[0]["output0"], one_by_one[1]["output0"], atol=1.0)


def black(folder):
    Image.new("RGB", (320, 240)).save(folder / "black.png")
    return VerifyOptions(images=folder)


def test_too_few_detections_are_inconclusive(armor_small, tmp_path):
    options = black(tmp_path)
    with pytest.raises(InconclusiveError, match=r"expected at least 5 .* detections, found .*--allow-inconclusive"):
        verified(armor_small, options=options)
    report = verified(armor_small, options=replace(options, allow_inconclusive=True))
    assert report.verdict.startswith("inconclusive: only 3 matched detections; no real object was seen (0 of 3 ")


def test_a_difference_is_not_excused_by_allowing_inconclusive(armor_small, tmp_path):
    options = replace(black(tmp_path), allow_inconclusive=True)
    with pytest.raises(VerificationError, match="FP32 graph is not the model") as caught:
        verified(armor_small, simplified=mutated(armor_small.simplified, m.swap_q_and_k), options=options)
    assert not isinstance(caught.value, InconclusiveError)


def test_images_come_from_a_folder_a_file_or_y12_itself(tmp_path):
    assert len(load_images(VerifyOptions(), (64, 96), "detect")) == len(list(photos_dir().glob("*.jpg"))) >= 4
    black(tmp_path)
    (tmp_path / "notes.txt").write_text("no image")
    for source in (tmp_path, tmp_path / "black.png"):
        (image,) = load_images(VerifyOptions(images=source), (64, 96), "detect")
        assert (image.name, image.blob.shape, image.blob.dtype) == ("black.png", (1, 3, 64, 96), np.float32)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder, r"expected images to verify on in .*, found none"),
        (lambda folder: folder / "missing", "cannot verify on this image"),
        (lambda folder: (folder / "cut.png").write_bytes(b"\x89PNG") and folder, r"cannot verify on this image.*cut"),
    ],
)
def test_images_that_cannot_be_used_are_refused(tmp_path, make, message):
    with pytest.raises(VerificationError, match=message):
        load_images(VerifyOptions(images=make(tmp_path)), (64, 64), "detect")
