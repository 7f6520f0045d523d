"""The whole network: rows wired as the spec says, the seeded weights, and the form that is exported."""

import copy

import pytest
import torch
from tiny_networks import rows, tiny_detector
from torch import nn

from y12.exporter.model.blocks.attention import MapAttention
from y12.exporter.model.build import detector_from_spec, seeded_detector
from y12.exporter.model.network_yaml import spec_from_yaml
from y12.exporter.model.spec import spec_from_name
from y12.exporter.trace.deploy import DeployAttention, deploy_from_detector

IMAGE = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def seeded():
    return {name: seeded_detector(spec_from_name(name, nc=4)) for name in ("yolov12n", "yolov12n-v1")}


def test_rows_are_wired_as_the_spec_says():
    detector = tiny_detector()
    with torch.no_grad():
        m = detector.model
        x3 = m[3](m[2](m[1](m[0](IMAGE))))
        x4 = m[4](x3)
        x5 = m[5](x4)
        x7 = torch.cat((nn.functional.interpolate(x5, scale_factor=2.0), x4), 1)
        assert torch.equal(detector(IMAGE)["output0"], m[8]([x3, x7, x5])["output0"])


def test_cells_run_level_by_level():
    detector = tiny_detector()
    with torch.no_grad():
        assert detector(IMAGE)["output0"].shape == (2, 4 + 2, 8 * 12 + 4 * 6 + 2 * 3)


def test_two_detectors_do_not_influence_each_other():
    """Of other strides and classes, in one process, one after the other and in turn."""
    first = tiny_detector()
    with torch.no_grad():
        alone = first(IMAGE)["output0"]
        second = tiny_detector(seed=1, nc=5, row2=[-1, 1, "Conv", [64, 3, 8]])
        assert second.head.strides == (16, 32, 64)
        second(torch.zeros(1, 3, 64, 128))
        assert first.head.strides == (8, 16, 32)
        assert torch.equal(first(IMAGE)["output0"], alone)


def test_it_is_built_for_evaluation_in_fp32():
    detector = detector_from_spec(spec_from_yaml(rows(), "tiny.yaml", "tiny"))
    assert not any(module.training for module in detector.modules())
    assert {p.dtype for p in detector.parameters()} == {torch.float32}
    assert detector.names == ("class0", "class1")


@pytest.mark.parametrize("name", ["yolov12n", "yolov12n-v1"])
def test_seeded_weights_make_a_lively_detector(seeded, name):
    with torch.no_grad():
        output = seeded[name](torch.stack((torch.zeros(3, 64, 96), torch.ones(3, 64, 96), IMAGE[0])))["output0"]
    assert output.isfinite().all()
    scores = output[:, 4:]
    for a, b in ((0, 1), (0, 2), (1, 2)):  # other images, other scores
        assert (scores[a].logit() - scores[b].logit()).abs().max() > 0.1
    assert (output[:, :4].amax((0, 2)) - output[:, :4].amin((0, 2))).min() > 8
    assert 1e-6 < scores.median() < 0.25 < 1 - scores.min()


def test_seeded_weights_are_the_same_every_time(seeded):
    spec = spec_from_name("yolov12n", nc=4)
    torch.manual_seed(99)  # what the process drew before must not matter
    again, other = seeded_detector(spec), seeded_detector(spec, seed=1)
    state = seeded["yolov12n"].state_dict()
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in state.items())
    assert not torch.equal(state["model.0.conv.weight"], other.state_dict()["model.0.conv.weight"])


def test_seeded_detector_leaves_batch_norm_as_published(seeded):
    norms = [m for m in seeded["yolov12n"].modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(m.momentum, m.eps, m.training) for m in norms} == {(0.03, 1e-3, False)}
    assert all(m.running_var.min() > 0 for m in norms)


@pytest.mark.parametrize("name", ["yolov12n", "yolov12n-v1"])
def test_deploy_form_computes_the_same(seeded, name):
    detector = seeded[name]
    before = copy.deepcopy(detector.state_dict())
    deploy = deploy_from_detector(detector)
    with torch.no_grad():
        (boxes, scores), (want_boxes, want_scores) = (d(IMAGE)["output0"].split((4, 4), 1) for d in (deploy, detector))
    assert (boxes - want_boxes).abs().max() / want_boxes.abs().max() < 1e-4
    assert (scores / want_scores - 1).abs().max() < 1e-4
    after = detector.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert any(isinstance(module, MapAttention) for module in detector.modules())


@pytest.mark.parametrize("layout", ["turbo", "v1"])
def test_deploy_form_of_attention_alone(layout):
    """Bands, two heads, gamma and a map that is not square, to FP32 rounding."""
    detector = tiny_detector(row3=[-1, 2, "A2C2f", [128, True, 4, False, 2.0, layout]], scales={"n": [1.0, 1.0, 128]})
    block, fused = detector.model[3], deploy_from_detector(detector).model[3]
    x = torch.randn(2, 64, 4, 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(fused(x), block(x), rtol=1e-4, atol=1e-5)


def test_deploy_form_has_neither_batch_norm_nor_the_published_attention():
    deploy = deploy_from_detector(tiny_detector())
    kinds = {type(module) for module in deploy.modules()}
    assert nn.BatchNorm2d not in kinds
    assert not any(issubclass(kind, MapAttention) for kind in kinds)
    assert DeployAttention in kinds


def test_deploy_form_shares_no_memory_with_its_source():
    detector = tiny_detector()
    deploy = deploy_from_detector(detector)
    with torch.no_grad():
        before = detector(IMAGE)["output0"]
        for parameter in deploy.parameters():
            parameter.zero_()
        assert torch.equal(detector(IMAGE)["output0"], before)
