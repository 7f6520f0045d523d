import math

import pytest
import torch

from y12.errors import OptionsError
from y12.exporter.model.heads.anchors import AnchorDetect
from y12.exporter.model.heads.classify import Classify
from y12.exporter.model.heads.detect import Detect
from y12.exporter.model.heads.head import Head
from y12.exporter.model.heads.heatmap import HeatmapDetect
from y12.exporter.model.heads.obb import OBB
from y12.exporter.train.losses.anchor_heads import AnchorCriterion
from y12.exporter.train.losses.build import LossOptions, criterion_for
from y12.exporter.train.losses.centre_heatmap import HeatmapCriterion
from y12.exporter.train.losses.detect import DetectCriterion


class _Finer(HeatmapDetect):
    """A head made of another."""


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (Detect(2, (16,)), DetectCriterion),
        (OBB(2, (16,)), DetectCriterion),
        (AnchorDetect(2, (16,), [[[8, 8]]]), AnchorCriterion),
        (HeatmapDetect(2, (16,)), HeatmapCriterion),
        (_Finer(2, (16,)), HeatmapCriterion),
    ],
)
def test_each_head_has_its_losses(head, kind):
    assert type(criterion_for(head, LossOptions())) is kind


def test_an_unknown_head_is_refused():
    with pytest.raises(OptionsError, match="training: expected a head y12 has losses for, found Head"):
        criterion_for(Head({}), LossOptions())


def test_the_heads_own_overlap_is_the_default():
    assert LossOptions().iou is None
    assert Head({}).iou_loss == "ciou"


@pytest.mark.parametrize("weight", ["objectness", "offset"])
@pytest.mark.parametrize("value", [-1.0, math.nan, 1e6])
def test_bad_weights_are_refused(weight, value):
    with pytest.raises(OptionsError, match="weights of losses: expected numbers of 0 or more"):
        LossOptions(**{weight: value})


def test_new_scores_of_every_head_start_low():
    for head, rows in ((Detect(2, (16,)), slice(4, 6)), (HeatmapDetect(2, (16,)), slice(4, 6))):
        head.strides = (8,)
        head.start_scores_at(0.01)
        for branch in head.cv3:
            torch.nn.init.zeros_(branch[-1].weight)
        scores = head.eval()([torch.randn(1, 16, 2, 2)])["output0"][:, rows].detach()
        torch.testing.assert_close(scores, torch.full_like(scores, 0.01))
    classifier = Classify(2, 16)
    before = classifier.linear.bias.clone()
    classifier.start_scores_at(0.01)  # has no background
    assert torch.equal(classifier.linear.bias, before)
