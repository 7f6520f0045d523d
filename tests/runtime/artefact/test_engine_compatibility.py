"""Plans that do not fit the TensorRT or the GPU at hand: the one line that says what to rebuild."""

import struct

import pytest

from y12.errors import ArtefactError, ExecutorError
from y12.runtime.artefact.engine_compatibility import (
    Environment,
    check_target,
    check_version,
    checked_header,
    load_advice,
    targets_in_plan,
)
from y12.runtime.artefact.manifest import AxisRange, InputProfile, Manifest
from y12.runtime.artefact.plan import HEADER_BYTES

RTX_SMS = (75, 80, 86, 89, 120, 121)


def plan_of(tag: bytes = b"vtrt", version: tuple[int, ...] = (1, 7, 1, 116), content: bytes = b"") -> bytes:
    size = HEADER_BYTES + len(content)
    return struct.pack("<4sIQQ4B", tag, 0, 2, size, *version).ljust(HEADER_BYTES, b"\0") + content


def named(gpus: str) -> bytes:
    side = AxisRange(640, 640, 640)
    profile = InputProfile(AxisRange(1, 1, 1), side, side)
    manifest = Manifest("detect", ("person",), (8, 16, 32), profile, engine={"builder": "x", "gpus": gpus})
    name = manifest.to_network_name().encode()
    return plan_of(content=struct.pack("<Q", len(name)) + name)


def environment_of(gpu: str, sm: int, flavour: str = "rtx", version: str = "1.7.1.116") -> Environment:
    return Environment(flavour, version, f"{gpu}, SM {sm}", sm, RTX_SMS if flavour == "rtx" else ())


@pytest.mark.parametrize(
    ("plan", "flavour", "error", "message"),
    [
        (b"", "auto", ArtefactError, "an empty file"),
        (plan_of()[:40], "auto", ArtefactError, "truncated"),
        (plan_of(), "full", ExecutorError, "expected a plan for TensorRT, found one of TensorRT-RTX 1.7.1.116"),
        (plan_of(b"ftrt"), "rtx", ExecutorError, "expected a plan for TensorRT-RTX, found one of TensorRT 1.7.1.116"),
    ],
)
def test_what_is_no_plan_of_the_flavour_is_refused(plan, flavour, error, message):
    with pytest.raises(error, match=message):
        checked_header(plan, flavour)


@pytest.mark.parametrize(
    ("tag", "version", "installed", "runs"),
    [
        (b"vtrt", (1, 7, 1, 116), "1.7.1.116", True),
        (b"vtrt", (1, 7, 1, 116), "1.7.1.120", True),  # another build of the release
        (b"vtrt", (1, 6, 1, 116), "1.7.1.116", False),
        (b"vtrt", (1, 7, 0, 116), "1.7.1.116", False),
        (b"ftrt", (10, 9, 0, 34), "10.16.1.11", True),  # may be version-compatible: TensorRT decides
    ],
)
def test_a_plan_of_another_release(tag, version, installed, runs):
    header = checked_header(plan_of(tag, version), "auto")
    if runs:
        check_version(header, installed)
        return
    with pytest.raises(ExecutorError) as caught:
        check_version(header, installed)
    text = str(caught.value)
    release = ".".join(map(str, version[:3]))
    assert text.startswith(f"expected an engine of TensorRT-RTX {installed}, which is installed, found one of ")
    assert "y12-export --format engine --tensorrt rtx" in text
    assert f"pip install 'tensorrt-rtx-cu13=={release}.*'" in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("gpus", "targets"),
    [
        ("SM 80, 86, 89, 120, 121 (not Hopper, not Jetson)", (80, 86, 89, 120, 121)),
        ("SM 89 (not Hopper, not Jetson)", (89,)),
        ("SM 75, 80", (75, 80)),
        ("SM 75 to 121", ()),  # an older y12's words
        ("the kind of GPU it was built on", ()),
        ("", ()),
    ],
)
def test_the_targets_come_from_the_manifest_in_the_plan(gpus, targets):
    assert targets_in_plan(named(gpus)) == targets


@pytest.mark.parametrize(
    "plan",
    [plan_of(), plan_of(content=struct.pack("<Q", 8) + b"y12:QUJD")],  # no name; a damaged one
)
def test_a_plan_that_does_not_tell_has_no_targets(plan):
    assert targets_in_plan(plan) == ()


@pytest.mark.parametrize(
    ("targets", "environment"),
    [
        ((80, 89), environment_of("NVIDIA L4", 89)),
        ((), environment_of("NVIDIA L4", 89)),
        ((), environment_of("NVIDIA H100", 90, "full", "10.16.1.11")),
    ],
)
def test_a_gpu_that_fits_is_let_through(targets, environment):
    check_target(targets, environment)


@pytest.mark.parametrize(
    ("targets", "environment", "message"),
    [
        (
            (80, 86, 89),
            environment_of("Tesla T4", 75),
            "expected a GPU of SM 80, 86 or 89, which the engine was built for, found Tesla T4, SM 75: "
            "export again with y12-export --format engine --tensorrt rtx --sm 75",
        ),
        (
            (89,),
            environment_of("NVIDIA A100", 80),
            "expected a GPU of SM 89, which the engine was built for, found NVIDIA A100, SM 80: "
            "export again with y12-export --format engine --tensorrt rtx --sm 80",
        ),
        *(
            (
                targets,
                environment_of("NVIDIA H100", 90),
                "expected a GPU of SM 75, 80, 86, 89, 120 or 121, found NVIDIA H100, SM 90: TensorRT-RTX has no code "
                "for SM 90; export again on this GPU with y12-export --format engine --tensorrt full",
            )
            for targets in ((), (80, 89), (90,))
        ),
    ],
)
def test_a_gpu_that_does_not_fit_is_told_what_to_rebuild(targets, environment, message):
    with pytest.raises(ExecutorError) as caught:
        check_target(targets, environment)
    assert str(caught.value) == message


FULL = checked_header(plan_of(b"ftrt", (10, 9, 0, 34)), "auto")
RTX = checked_header(plan_of(), "auto")


@pytest.mark.parametrize(
    ("header", "environment", "reasons", "expected"),
    [
        (
            FULL,
            environment_of("NVIDIA L4", 89, "full", "10.16.1.11"),
            [],
            "It was built by TensorRT 10.9.0.34, found 10.16.1.11 on NVIDIA L4, SM 89: a plan runs on the kind of GPU "
            "and with the version that built it, so export again on this GPU with y12-export --format engine "
            "--tensorrt full",
        ),
        (RTX, environment_of("Tesla T4", 75), ["UNSUPPORTED_CC"], "y12-export --format engine --tensorrt rtx --sm 75"),
        (
            RTX,
            environment_of("NVIDIA H100", 90),
            ["UNSUPPORTED_CC"],
            "TensorRT-RTX has no code for SM 90; export again on",
        ),
        (RTX, environment_of("NVIDIA L4", 89), ["VERSION_MISMATCH"], "y12-export --format engine --tensorrt rtx"),
        (RTX, environment_of("NVIDIA L4", 89), ["OLD_CUDA_DRIVER"], "update the NVIDIA driver"),
        (RTX, environment_of("NVIDIA L4", 89), ["OLD_CUDA_RUNTIME"], "pip install --upgrade '"),
        (RTX, environment_of("NVIDIA L4", 89), ["INSUFFICIENT_GPU_MEMORY"], "smaller --batch or --imgsz"),
        (RTX, environment_of("NVIDIA L4", 89), ["MALFORMED_ENGINE"], "copy the engine again"),
        (RTX, environment_of("NVIDIA L4", 89), ["OLD_CUDA_DRIVER", "CUDA_ERROR"], "driver; check with nvidia-smi"),
        (RTX, environment_of("NVIDIA L4", 89), ["SOMETHING_NEW"], "copy the engine again, or export it again"),
        (RTX, environment_of("NVIDIA L4", 89), [], "copy the engine again, or export it again"),
    ],
)
def test_what_tensorrt_refuses_to_load_ends_in_advice(header, environment, reasons, expected):
    advice = load_advice(header, environment, reasons)
    assert expected in advice
    assert advice.startswith(f"It was built by {header.product}, found {environment.version} on {environment.gpu}: ")
    assert "\n" not in advice
