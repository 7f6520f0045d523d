"""What is read from a plan's bytes, on real plans of TensorRT-RTX and on headers written out."""

import base64
import struct

import numpy as np
import pytest
from tiny_plans import NAME, build_rtx_plan

from y12.runtime.artefact.manifest import NAME_LIMIT, AxisRange, InputProfile, Manifest
from y12.runtime.artefact.plan import HEADER_BYTES, network_name_in_plan, plan_problem, read_plan_header


def header(tag: bytes = b"vtrt", size: int = HEADER_BYTES, version: tuple[int, ...] = (1, 7, 1, 116)) -> bytes:
    return struct.pack("<4sIQQ4B", tag, 0, 2, size, *version).ljust(HEADER_BYTES, b"\0")


def test_a_real_plan_tells_its_flavour_version_and_size(rtx_plan: bytes) -> None:
    tensorrt_rtx = pytest.importorskip("tensorrt_rtx")
    found = read_plan_header(rtx_plan)
    assert found is not None
    assert found.product == f"TensorRT-RTX {tensorrt_rtx.__version__}"
    assert found.size_bytes == len(rtx_plan)
    assert plan_problem(rtx_plan) is None
    assert network_name_in_plan(rtx_plan) == NAME


def test_a_second_real_plan_differs_and_is_read_the_same_way() -> None:
    plan = build_rtx_plan("", channels=64)
    assert plan_problem(plan) is None
    assert network_name_in_plan(plan) is None


def test_a_manifest_as_long_as_a_name_may_be_comes_back_from_a_real_plan() -> None:
    side = AxisRange(32, 640, 640)
    names = tuple(base64.b64encode(np.random.default_rng(i).bytes(30)).decode() for i in range(85))
    manifest = Manifest("detect", names, (8, 16, 32), InputProfile(AxisRange(1, 1, 1), side, side))
    name = manifest.to_network_name()
    assert NAME_LIMIT * 0.8 < len(name) <= NAME_LIMIT
    found = network_name_in_plan(build_rtx_plan(name, channels=4))
    assert found == name
    assert Manifest.from_network_name(found) == manifest


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (b"", "an empty file"),
        (b"\x08\x08\x12\x05torch" + bytes(100), "not an engine file"),  # an ONNX file
        (b"PK\x03\x04" + bytes(100), "not an engine file"),  # a checkpoint
        (struct.pack("<I", 10) + b'{"task":1}' + header(), "something was put before the plan"),
        (header()[:40], "truncated"),
        (header(size=1000), "expected a plan of 1000 bytes, as its header says, found 64: truncated"),
        (header() + b"\0", "found 65: something was appended"),
        (b"vtrt\1" + header()[5:], "of a version y12 does not know"),
    ],
)
def test_what_is_no_whole_plan_is_told_in_one_line(plan: bytes, message: str) -> None:
    problem = plan_problem(plan)
    assert problem is not None
    assert message in problem
    assert "\n" not in problem


def test_a_plan_of_full_tensorrt_is_known_by_its_tag_and_its_size_is_left_to_tensorrt() -> None:
    plan = header(b"ftrt", size=7, version=(10, 16, 1, 11))
    found = read_plan_header(plan)
    assert found is not None
    assert found.product == "TensorRT 10.16.1.11"
    assert plan_problem(plan) is None


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"\0\0y12:QUJD\0", "y12:QUJD"),  # no length before it
        (
            struct.pack("<Q", 8) + b"y12:QUJDQUJD",
            "y12:QUJD",
        ),  # base64 by chance behind it: the length decides
        (struct.pack("<Q", 99) + b"y12:QUJD\0", "y12:QUJD"),  # what stands before is no length
        (b"y12:\0 y12:QQ==\0", "y12:QQ=="),  # the prefix by chance, then the name
        (b"y12:" + b"A" * NAME_LIMIT, None),  # longer than TensorRT allows
        (b"y12", None),
        (b"", None),
    ],
)
def test_the_name_is_found_within_bounds(content: bytes, name: str | None) -> None:
    assert network_name_in_plan(content) == name
