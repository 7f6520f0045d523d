"""A manifest and a graph that contradict each other: refused when the file is opened, not at the first image."""

import re

import numpy as np
import pytest
from cost import refused
from graphs import FIXED, PROFILE, ROWS, SIDE, manifest, write_model
from onnx import TensorProto, helper

from y12.runtime.artefact.manifest import AxisRange, InputProfile
from y12.runtime.artefact.nms_settings import NmsSettings
from y12.runtime.options import DetectOptions
from y12.runtime.session import Runtime


def profile(batch=FIXED, height=SIDE, width=SIDE):
    return InputProfile(batch, height, width)


def numbers(*shape):
    return np.zeros(shape, np.float32)


def stated(kind, shape=None, name="output0"):
    return {name: helper.make_tensor_value_info(name, kind, shape)}


NMS = NmsSettings("packed", 10, DetectOptions(max_det=5))
PACKED = {"detections": numbers(1, 5, 6), "num": numbers(1, 1), "truncated": numbers(1, 1)}
FREE = ("batch", 3, "height", "width")
CONTRADICTIONS = {
    "another batch": ({"described": manifest(profile(AxisRange(2, 2, 2)))}, "a graph whose batch is 2 to 2"),
    "a free batch": ({"described": manifest(profile(AxisRange(1, 1, 8)))}, "a graph whose batch is 1 to 8"),
    "another height": ({"described": manifest(profile(height=AxisRange(32, 32, 32)))}, "whose height is 32 to 32"),
    "another width": ({"described": manifest(profile(width=AxisRange(64, 64, 128)))}, "whose width is 64 to 128"),
    "one colour": ({"images": (1, 1, 64, 64)}, "images of 3 colours"),
    "three axes": ({"images": (3, 64, 64)}, "one input"),
    "no rank": ({"stated": stated(TensorProto.FLOAT)}, "'output0' without a known rank"),
    "a scalar": ({"outputs": {"output0": numbers()}}, "'output0' without a known rank"),
    "texts": ({"outputs": {"output0": np.array([["a"]])}}, "an output of numbers"),
    "results of two": ({"outputs": {"output0": numbers(2, 6, 1)}}, "for each of 1 images"),
    "another count": ({"outputs": {"output0": numbers(1, 7, 1)}}, r"expected an output \(6, A\) for 2 classes"),
    "a name too many": ({"described": manifest(names=("a", "b", "c"))}, r"expected an output \(7, A\) for 3 classes"),
    "another name": ({"outputs": {"out": ROWS}}, "a network output named output0"),
    "no masks": ({"described": manifest(task="segment")}, "a network output protos"),
    "no keypoints": ({"described": manifest(task="pose", kpt_shape=(17, 3))}, "51 keypoint values"),
    "no angle": ({"described": manifest(task="obb")}, "1 angle"),
    "no heatmap": ({"described": manifest(localisation="heatmap")}, "cells at strides"),
    "a classifier": ({"described": manifest(task="classify", strides=())}, r"an output \(2,\) for 2 classes"),
    "NMS": ({"described": manifest(nms=NMS)}, "a network output named detections"),
    "other rows of NMS": (
        {"described": manifest(nms=NMS), "outputs": PACKED | {"detections": numbers(1, 6, 6)}},
        r"an output detections \(5, 6\)",
    ),
    "more than any network gives": (
        {"images": FREE, "stated": stated(TensorProto.FLOAT, (1, 6, 1 << 40))},
        "at most 67108864 numbers",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_contradictions_are_refused_at_opening(tmp_path, name):
    how, reason = CONTRADICTIONS[name]
    path = write_model(tmp_path / "a.onnx", **({"described": manifest()} | how))
    message = refused(name, lambda: Runtime(path, provider="cpu"), seconds=2, mib=64)
    assert message.startswith(str(path))
    assert re.search(reason, message), message


@pytest.mark.parametrize(
    "sizes", [(1, 32768, 32768), (1024, 1024, 1024), (1, 65536, 2048), (91, 1024, 1024), (65536, 64, 64)]
)
def test_sizes_that_multiply(tmp_path, sizes):
    batch, height, width = (AxisRange(size, size, size) for size in sizes)
    text = manifest().to_json()
    for name, axis in (("batch", batch), ("height", height), ("width", width)):
        old = getattr(PROFILE, name)
        text = text.replace(f'"{name}": {{"min": {old.min}, "opt": {old.opt}, "max": {old.max}}}',
                            f'"{name}": {{"min": {axis.min}, "opt": {axis.opt}, "max": {axis.max}}}')  # fmt: skip
    path = write_model(tmp_path / "a.onnx", text, images=FREE)
    message = refused("sizes", lambda: Runtime(path, provider="cpu"), seconds=0.5, mib=16)
    assert f"found {sizes[0]} images of {sizes[1]}x{sizes[2]}" in message


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"images": FREE},
        {"described": manifest(profile(AxisRange(1, 4, 8), AxisRange(32, 64, 96))), "images": FREE},
        {"described": manifest(nms=NMS), "outputs": PACKED},
        {"described": manifest(task="classify", strides=()), "outputs": {"output0": numbers(1, 2)}},
        {"stated": stated(TensorProto.FLOAT, (1, 6, "anchors"))},
        {"outputs": {"output0": ROWS.astype(np.float16)}},
    ],
)
def test_what_agrees_is_opened(tmp_path, how):
    path = write_model(tmp_path / "a.onnx", **({"described": manifest()} | how))
    Runtime(path, provider="cpu").close()
