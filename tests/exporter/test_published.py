"""How near to the published outputs is near enough, on a network that amplifies rounding and on one that does not."""

import numpy as np
import pytest
import torch
from published import assert_parity, exact_answers, published_answers

from y12.exporter.checkpoint.load import detector_from_checkpoint, read_checkpoint

AMPLIFIES, DOES_NOT = (
    0,
    1,
)  # yolov12n-turbo at 256x416, where the published scores are 5.9e-5 off, and at 320x320: 2.6e-5
BOX, SCORE = 2, 40  # a row of each kind


@pytest.fixture(scope="module")
def turbo(shared):
    return detector_from_checkpoint(read_checkpoint(shared / "checkpoints/untrained/yolov12n-turbo.pt"))


@pytest.fixture(scope="module")
def answers(shared, turbo):
    """(published, exact) at both sizes."""
    published_pairs = published_answers(shared / "checkpoints/untrained/yolov12n-turbo.npz")
    return [(published, exact_answers(turbo, images)) for images, published in published_pairs]


@pytest.mark.parametrize(
    ("size", "row", "by", "near"),
    [
        (AMPLIFIES, SCORE, 1.14e-4, True),  # beyond the plain limit of 1e-4, within twice 5.9e-5
        (AMPLIFIES, SCORE, -1.14e-4, True),
        (AMPLIFIES, SCORE, 1.2e-4, False),
        (DOES_NOT, SCORE, 0.98e-4, True),
        (DOES_NOT, SCORE, 1.05e-4, False),
        (AMPLIFIES, BOX, 2.1e-2, True),  # the published boxes are 1.07e-2 off
        (AMPLIFIES, BOX, 2.2e-2, False),
        (DOES_NOT, BOX, 1.95e-2, True),
        (DOES_NOT, BOX, -2.05e-2, False),
        (DOES_NOT, SCORE, float("nan"), False),
    ],
)
def test_the_limit_follows_the_published_outputs_own_error(turbo, answers, size, row, by, near):
    published, exact = answers[size]
    outputs = {"output0": exact["output0"].copy()}
    outputs["output0"][0, row, 17] += by
    if near:
        assert_parity(outputs, published, exact, turbo.spec.nc)
    else:
        with pytest.raises(AssertionError, match="ours, from float64"):
            assert_parity(outputs, published, exact, turbo.spec.nc)


def test_the_published_outputs_are_near_themselves(turbo, answers):
    for published, exact in answers:
        assert_parity(published, published, exact, turbo.spec.nc)


def test_a_wrong_network_does_not_make_its_own_limit(shared, turbo):
    """A network that is off agrees with itself in float64; it is the published outputs that it is far from."""
    wrong = detector_from_checkpoint(read_checkpoint(shared / "checkpoints/untrained/yolov12n-turbo.pt"))
    with torch.no_grad():
        wrong.model[4].cv2.conv.weight[5] *= 1.02
    for images, published in published_answers(shared / "checkpoints/untrained/yolov12n-turbo.npz"):
        exact = exact_answers(wrong, images)
        with pytest.raises(AssertionError, match="the published outputs, from float64"):
            assert_parity(exact, published, exact, turbo.spec.nc)


def test_the_exact_answers_are_float64_in_every_layer(turbo):
    """One layer that rounds to FP32 would make them as inexact as what they judge."""
    images = np.random.default_rng(3).random((2, 3, 64, 96), dtype=np.float32)
    plain = exact_answers(turbo, images)["output0"]
    assert plain.dtype == np.float64
    noise = 1 + 1e-13 * np.random.default_rng(4).choice([-1, 1], images.shape)
    moved = np.abs(exact_answers(turbo, images * noise)["output0"] - plain)
    assert 0 < moved[:, 4:].max() < 1e-8  # rounded to FP32 on the way, either nothing or 1e-7 and more would appear
    assert next(turbo.parameters()).dtype == torch.float32  # what is asked for them stays as it is
