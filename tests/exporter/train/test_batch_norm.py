import copy

import pytest
import torch
from torch import nn

from y12.exporter.model.build import detector_from_spec, seeded_detector
from y12.exporter.model.detector import Detector
from y12.exporter.model.spec import spec_from_name
from y12.exporter.train.batch_norm import are_folded, unfold


@pytest.fixture(scope="module")
def folded() -> Detector:
    """A network whose statistics were folded away, as in checkpoints that were made for inference."""
    detector = seeded_detector(spec_from_name("yolov12n", nc=3))
    for norm in (m for m in detector.modules() if isinstance(m, nn.BatchNorm2d)):
        slope = norm.weight.data / (norm.running_var + norm.eps).sqrt()
        norm.bias.data -= slope * norm.running_mean
        norm.weight.data = slope
        norm.running_mean.zero_()
        norm.running_var.fill_(1 - norm.eps)
    return detector


def images(count: int = 4) -> torch.Tensor:
    smooth = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(5))
    return nn.functional.interpolate(smooth, size=(128, 128), mode="bilinear")


def test_folded_statistics_are_told(folded: Detector) -> None:
    assert are_folded(folded)
    assert are_folded(detector_from_spec(folded.spec))  # a new one has none yet
    assert not are_folded(seeded_detector(folded.spec))


@torch.no_grad()
def test_the_network_computes_the_same_and_now_in_training_too(folded: Detector) -> None:
    unfolded = copy.deepcopy(folded)
    assert unfold(unfolded, images().split(2)) == 4
    assert not are_folded(unfolded)
    expected = folded(images())["output0"]
    found = unfolded(images())["output0"]
    assert torch.allclose(found, expected, rtol=1e-3, atol=1e-2)
    # In training, batch statistics of these images are those that were measured.
    spread = expected[:, 4:].std()
    trained = (unfolded.train()(images())["output0"] - expected)[:, 4:].abs().mean()
    destroyed = (copy.deepcopy(folded).train()(images())["output0"] - expected)[:, 4:].abs().mean()
    assert trained < 0.1 * destroyed
    assert trained < 0.1 * spread


@torch.no_grad()
def test_statistics_are_those_of_all_images_together(folded: Detector) -> None:
    unfolded = copy.deepcopy(folded)
    unfold(unfolded, images().split(1))
    seen = []
    hook = folded.model[0].bn.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    folded(images())
    hook.remove()
    norm = unfolded.model[0].bn
    assert torch.allclose(norm.running_mean, seen[0].mean((0, 2, 3)), atol=1e-5)
    assert torch.allclose(norm.running_var, seen[0].var((0, 2, 3), unbiased=False), rtol=1e-4)
