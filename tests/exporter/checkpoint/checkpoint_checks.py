"""What the tests of weights files share."""

import pytest
import torch

from y12.errors import CheckpointError
from y12.exporter.checkpoint.load import detector_from_checkpoint, read_checkpoint


def loaded(path):
    return detector_from_checkpoint(read_checkpoint(path))


def halved(detector):
    return {k: v.half().float() if v.is_floating_point() else v for k, v in detector.state_dict().items()}


def assert_equal_states(state, expected):
    assert list(state) == list(expected)
    assert all(torch.equal(state[key], expected[key]) for key in expected)


def refusal(path):
    with pytest.raises(CheckpointError) as caught:
        loaded(path)
    message = str(caught.value)
    assert message.count(str(path)) == 1
    assert "\n" not in message
    assert len(message) < 700
    return message
