"""Typed ONNX to a plan: what is built is what was asked for, or it fails in one line."""

import numpy as np
import pytest
from text_models import model_of, noise

from y12.errors import EngineBuildError
from y12.exporter.engine.build_engine import BuildOptions, _config, bindings_for_build, engine_from_onnx, gpu_problem
from y12.runtime.artefact.manifest import AxisRange, InputProfile, Manifest
from y12.runtime.artefact.plan import network_name_in_plan, plan_problem, read_plan_header
from y12.runtime.backends.tensorrt.executor import process_logger

TEXT = "(float[1,3,32,32] images) => (float[1,8,32,32] output0) { [c] y = Conv(images, w) [r] output0 = Relu(y) }"
FREE = TEXT.replace("[1,3,32,32]", "[B,3,H,W]").replace("[1,8,32,32]", "[B,8,H,W]")
FIXED = InputProfile(AxisRange(1, 1, 1), AxisRange(32, 32, 32), AxisRange(32, 32, 32))
RANGE = InputProfile(AxisRange(1, 2, 4), AxisRange(32, 64, 96), AxisRange(32, 64, 96))
CONV = noise(8, 3, 1, 1)


def tiny(text=TEXT, **weights):
    return model_of(text, **({"w": CONV} | weights)).SerializeToString()


@pytest.fixture
def build(rtx):
    def engine(model, profile=FIXED, **options):
        return engine_from_onnx(model, BuildOptions(profile, **options), rtx)

    return engine


def fails(build, message, *args, **options):
    with pytest.raises(EngineBuildError, match=message) as caught:
        build(*args, **options)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith("TensorRT-RTX 1.")
    assert len(text) < 500
    return text


def test_a_plan_is_a_plain_one_and_its_layers_are_known(build):
    built = build(tiny())
    assert plan_problem(built.plan) is None
    assert read_plan_header(built.plan).product == built.builder
    assert {"c", "r"} <= {origin for layer in built.layers for origin in layer.origins}
    assert {layer.precision for layer in built.layers} == {"fp32"}


@pytest.mark.parametrize("profile", [FIXED, RANGE])
def test_two_builds_give_the_same_bytes(build, profile):
    model = tiny(TEXT if profile.is_fixed else FREE)
    assert build(model, profile).plan == build(model, profile).plan


@pytest.mark.exhaustive  # of a smaller input: tests/exporter/test_export_pipeline.py
def test_two_builds_of_the_whole_network_give_the_same_bytes(rtx, armor):
    first, second = armor.build(), armor.build()
    assert first.plan == second.plan
    assert first.layers == second.layers


def test_the_network_name_carries_the_manifest_there_and_back(build):
    manifest = Manifest("detect", ("kärt", "größe"), (8, 16, 32), FIXED, "fp16", "y12", "yolov12n", "weights.pt")
    plan = build(tiny(), network_name=manifest.to_network_name()).plan
    assert network_name_in_plan(plan) == manifest.to_network_name()
    assert Manifest.from_network_name(network_name_in_plan(plan)) == manifest


def test_the_profile_is_in_the_plan(build):
    """Another range makes another engine; nothing else of the options differs."""
    wider = InputProfile(RANGE.batch, AxisRange(32, 64, 128), RANGE.width)
    assert build(tiny(FREE), RANGE).plan != build(tiny(FREE), wider).plan


def test_targets_and_workspace_are_taken(build):
    assert build(tiny(), sms=(89,)).plan != build(tiny(), sms=(80,)).plan
    assert build(tiny(), workspace_gib=0.5).plan


REFUSED = [
    (b"", "could not build the engine: .*at least one output"),
    (b"not an ONNX file", "cannot read the graph: node -1 .*Failed to parse"),
    (tiny()[:-200], "cannot read the graph: node -1 .*Failed to parse"),
    (
        model_of(
            "(float[1,6,4] images) => (int64[N,3] output0) { output0 = NonMaxSuppression(images, scores) }",
            scores=noise(1, 2, 6),
        ).SerializeToString(),
        "could not build the engine: .*output0.* has no runners",
    ),
    (
        model_of(
            "(float[1,3,32,32] images) => (float[1,3,32,32] output0) { output0 = Bernoulli(images) }"
        ).SerializeToString(),
        "cannot read the graph: node 0 Bernoulli",
    ),
]


@pytest.mark.parametrize(("model", "message"), REFUSED)
def test_what_cannot_be_built_is_refused_in_one_line(build, model, message):
    fails(build, message, model)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sms": (90,)}, "does not build for SM 90; it knows SM75, "),
        ({"sms": (89, 12345)}, "does not build for SM 12345"),
        ({"workspace_gib": 1e12}, "failed: set_memory_pool_limit"),
        ({"workspace_gib": 1e-12}, "could not build the engine: .*workspace memory"),
    ],
)
def test_a_wrong_option_is_refused_in_one_line(build, options, message):
    fails(build, message, tiny(), **options)


@pytest.mark.parametrize(
    "profile",
    [
        # the graph's channels are fixed, its sides too: a range contradicts them
        RANGE,
        InputProfile(AxisRange(2, 2, 4), FIXED.height, FIXED.width),
    ],
)
def test_a_profile_that_contradicts_the_graph_is_refused(build, profile):
    fails(build, "could not build the engine: .*([Pp]rofile|dimension)", tiny(), profile)


def test_a_profile_of_another_input_is_refused(build):
    fails(build, "could not build the engine: .*(nothere|profile)", tiny(FREE), RANGE, input_name="nothere")


@pytest.mark.parametrize(("side", "which"), [(96, "kMIN"), (32, "kMAX")])
def test_a_profile_some_of_whose_shapes_do_not_fit_the_graph_is_refused(build, side, which):
    """Only a WARNING in TensorRT's words: one size in the graph is a constant."""
    text = "(float[B,3,H,W] images) => (float[B,N] output0) { flat = Reshape(images, size) output0 = Relu(flat) }"
    model = tiny(text, size=np.array([1, 3 * side * side]))
    profile = InputProfile(AxisRange(1, 1, 1), AxisRange(32, side, 96), AxisRange(32, side, 96))
    assert f"Profile {which} values are not self-consistent" in fails(build, "could not build", model, profile)


def test_an_error_that_was_only_logged_stops_the_build(build):
    """TensorRT refuses a name that is too long in its log only, and would build an engine without it."""
    fails(build, "could not build the engine: .*name exceeds the limit", tiny(), network_name="n" * 5000)


def test_the_bindings_are_rtx_where_no_gpu_is(rtx):
    if not gpu_problem():
        pytest.skip("there is a GPU here: auto may choose full TensorRT")
    assert bindings_for_build("auto").flavour == "rtx"


def test_full_tensorrt_without_a_gpu_is_refused_by_name():
    pytest.importorskip("tensorrt")
    if not gpu_problem():
        pytest.skip("there is a GPU here")
    with pytest.raises(EngineBuildError, match="use --tensorrt rtx"):
        bindings_for_build("full")


def test_a_failed_build_does_not_disturb_the_next(build):
    expected = build(tiny()).plan
    with pytest.raises(EngineBuildError):
        build(b"not an ONNX file")
    assert build(tiny()).plan == expected


def test_the_given_graph_is_what_is_built(build):
    assert build(tiny()).plan != build(tiny(w=CONV * np.float32(1.5))).plan


def test_an_engine_is_asked_for_that_can_be_captured_in_a_graph(rtx):
    """Nothing else tells it where no GPU is: TensorRT-RTX says so only when the engine runs."""
    builder = rtx.trt.Builder(process_logger(rtx))
    assert _config(rtx, builder, BuildOptions(FIXED)).get_flag(rtx.trt.BuilderFlag.REQUIRE_USER_ALLOCATION)
