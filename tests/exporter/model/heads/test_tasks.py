"""What the heads of the other tasks add to Detect, against references written out in float64."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from y12.exporter.model.heads.classify import Classify
from y12.exporter.model.heads.detect import Detect
from y12.exporter.model.heads.multitask import MultiTask
from y12.exporter.model.heads.obb import OBB
from y12.exporter.model.heads.pose import Pose
from y12.exporter.model.heads.segment import Segment

CHANNELS, STRIDES, SIZES = (16, 24, 32), (8, 16, 32), ((4, 6), (2, 3), (1, 2))
CELLS = [(x, y, s) for (h, w), s in zip(SIZES, STRIDES, strict=True) for y in range(h) for x in range(w)]
NC = 3


def lively(head):
    """Seeded weights, so large in the last convolutions that the logits vary by more than one."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in head.named_parameters():
        if parameter.ndim > 1 and "dfl" not in name:
            parameter.data.normal_(0, 2.0 * parameter[0].numel() ** -0.5, generator=generator)
    for module in head.modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            module.bias.data.normal_(0, 1.0, generator=generator)
    head.strides = STRIDES
    return head.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def maps():
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(2, c, *hw, generator=generator) for c, hw in zip(CHANNELS, SIZES, strict=True)]


def branch_logits(modules, maps):
    """(B, rows, A) float64 of one branch."""
    return np.concatenate([m(level).flatten(2).double().numpy() for m, level in zip(modules, maps, strict=True)], 2)


def sides(head, maps):
    """Distances l, t, r, b in cells, (B, 4, A) float64."""
    logits = branch_logits(head.cv2, maps).reshape(2, 4, 16, -1)
    weights = np.exp(logits - logits.max(2, keepdims=True))
    return (weights * np.arange(16)[:, None]).sum(2) / weights.sum(2)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def detect_rows(head, maps):
    """Detect's rows, (B, 4 + nc, A): boxes from their corners, and scores."""
    found = np.zeros((2, 4 + NC, len(CELLS)))
    left, top, right, bottom = sides(head, maps).transpose(1, 0, 2)
    for a, (x, y, stride) in enumerate(CELLS):
        x1, y1, x2, y2 = x + 0.5 - left[:, a], y + 0.5 - top[:, a], x + 0.5 + right[:, a], y + 0.5 + bottom[:, a]
        found[:, :4, a] = np.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], 1) * stride
    found[:, 4:] = sigmoid(branch_logits(head.cv3, maps))
    return found


def assert_close(found, expected):
    assert found.shape == expected.shape
    np.testing.assert_allclose(found.numpy(), expected, rtol=2e-5, atol=2e-4)


def prototypes(proto, level):
    """The prototype masks from the equations of its four layers, in float64."""
    x = proto.cv1(level).double()
    weight, bias = proto.upsample.weight.double(), proto.upsample.bias.double()
    B, _, H, W = x.shape
    up = torch.zeros(B, weight.shape[1], 2 * H, 2 * W, dtype=torch.float64)
    for dy in (0, 1):
        for dx in (0, 1):
            up[:, :, dy::2, dx::2] = torch.einsum("bchw,cd->bdhw", x, weight[:, :, dy, dx]) + bias.view(1, -1, 1, 1)
    return proto.cv3(proto.cv2(up.float())).numpy()


def keypoints(logits, points, values):
    """(B, K*D, A) of logits, point by point."""
    found = np.zeros_like(logits)
    for a, (x, y, stride) in enumerate(CELLS):
        for k in range(points):
            row = k * values
            found[:, row, a] = (2 * logits[:, row, a] + x) * stride
            found[:, row + 1, a] = (2 * logits[:, row + 1, a] + y) * stride
            if values == 3:
                found[:, row + 2, a] = sigmoid(logits[:, row + 2, a])
    return found


def test_segment(maps):
    head = lively(Segment(NC, CHANNELS, masks=5, hidden=8))
    outputs = head(maps)
    assert list(outputs) == list(head.axes) == ["output0", "protos"]
    expected = np.concatenate([detect_rows(head, maps), branch_logits(head.cv4, maps)], 1)
    assert_close(outputs["output0"], expected)
    assert_close(outputs["protos"], prototypes(head.proto, maps[0]))
    assert outputs["protos"].shape == (2, 5, 8, 12)  # stride 4, the finest map's being 8


@pytest.mark.parametrize("shape", [(17, 3), (4, 2), (1, 3)])
def test_pose(maps, shape):
    head = lively(Pose(NC, CHANNELS, shape))
    expected = np.concatenate([detect_rows(head, maps), keypoints(branch_logits(head.cv4, maps), *shape)], 1)
    assert_close(head(maps)["output0"], expected)


def test_oriented_boxes(maps):
    """The centre by rotating the corners of the box that the distances span around the cell's centre."""
    head = lively(OBB(NC, CHANNELS))
    angle = (sigmoid(branch_logits(head.cv4, maps)) - 0.25) * math.pi  # (B, 1, A)
    left, top, right, bottom = sides(head, maps).transpose(1, 0, 2)
    expected = np.zeros((2, 4 + NC + 1, len(CELLS)))
    for a, (x, y, stride) in enumerate(CELLS):
        for b in range(2):
            cos, sin = math.cos(angle[b, 0, a]), math.sin(angle[b, 0, a])
            turn = np.array([[cos, -sin], [sin, cos]])
            corners = [(-left[b, a], -top[b, a]), (right[b, a], bottom[b, a])]
            centre = np.mean([np.array([x + 0.5, y + 0.5]) + turn @ np.array(c) for c in corners], 0)
            size = left[b, a] + right[b, a], top[b, a] + bottom[b, a]
            expected[b, :4, a] = np.array([*centre, *size]) * stride
    expected[:, 4 : 4 + NC] = sigmoid(branch_logits(head.cv3, maps))
    expected[:, -1] = angle[:, 0]
    output = head(maps)["output0"]
    assert_close(output, expected)
    assert output[:, -1].min() < -0.3  # angles on both sides of zero were met
    assert output[:, -1].max() > 1.0
    assert not np.allclose(output[:, :2].numpy(), detect_rows(head, maps)[:, :2], atol=1.0)  # the rotation counts


@pytest.mark.parametrize("logit", [-30.0, 0.0, 30.0])
def test_the_range_of_the_angle(maps, logit):
    head = lively(OBB(NC, CHANNELS))
    for branch in head.cv4:
        branch[-1].weight.zero_()
        branch[-1].bias.fill_(logit)
    expected = {-30.0: -math.pi / 4, 0.0: math.pi / 4, 30.0: 3 * math.pi / 4}[logit]
    torch.testing.assert_close(head(maps)["output0"][:, -1], torch.full((2, len(CELLS)), expected))


def test_classify():
    head = lively(Classify(7, 16))
    x = torch.randn(2, 16, 5, 3, generator=torch.Generator().manual_seed(2))
    pooled = head.conv(x).double().numpy().mean((2, 3))
    logits = pooled @ head.linear.weight.double().numpy().T + head.linear.bias.double().numpy()
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert_close(head.logits(x), logits)
    assert_close(head(x)["output0"], expected)


@pytest.mark.parametrize("kpt_shape", [None, (4, 3)])
def test_several_tasks_at_once(maps, kpt_shape):
    head = lively(MultiTask(NC, CHANNELS, masks=5, hidden=8, kpt_shape=kpt_shape))
    outputs = head(maps)
    names = ["boxes", "scores", "mask_coefficients", "protos", *([] if kpt_shape is None else ["keypoints"])]
    assert list(outputs) == list(head.axes) == names
    rows = detect_rows(head, maps)
    assert_close(outputs["boxes"], rows[:, :4])
    assert_close(outputs["scores"], rows[:, 4:])
    assert_close(outputs["mask_coefficients"], branch_logits(head.cv4, maps))
    assert_close(outputs["protos"], prototypes(head.proto, maps[0]))
    if kpt_shape is not None:
        assert_close(outputs["keypoints"], keypoints(branch_logits(head.cv5, maps), *kpt_shape))


@pytest.mark.parametrize(("extra", "first", "hidden"), [(32, 64, 32), (51, 64, 51), (1, 64, 16), (32, 256, 64)])
def test_width_of_the_third_branch(extra, first, hidden):
    head = Detect(80, (first, 256), extra=extra)
    assert {branch[0].conv.out_channels for branch in head.cv4} == {hidden}
    assert {branch[-1].out_channels for branch in head.cv4} == {extra}


def test_yolov8s_class_branch_has_no_depthwise_convolutions():
    head = Detect(80, (64, 128), depthwise=False)
    assert [branch[0].conv.groups for branch in head.cv3] == [1, 1]
    assert [branch[0].conv.kernel_size for branch in head.cv3] == [(3, 3), (3, 3)]
