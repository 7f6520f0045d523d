import pytest
import torch
from torch import nn

from y12.exporter.model.heads.anchors import AnchorDetect
from y12.exporter.model.heads.detect import Detect
from y12.exporter.model.heads.heatmap import HeatmapDetect
from y12.exporter.model.heads.hybrid import HybridOptions, hybrid_head
from y12.exporter.model.heads.segment import Segment

CHANNELS, STRIDES, SIZES = (16, 24, 32), (8, 16, 32), ((8, 8), (4, 4), (2, 2))
ANCHORS = [[[10, 13], [16, 30]], [[30, 61], [62, 45]], [[60, 60], [64, 64]]]


def options_of(localisation, **chosen):
    anchors = ANCHORS if localisation == "anchors" else None
    return HybridOptions(localisation, anchors=anchors, **chosen)


@pytest.mark.parametrize("masks", [0, 4])
@pytest.mark.parametrize(
    ("localisation", "kind", "rows", "slots"),
    [("distances", Detect, 4, 1), ("heatmap", HeatmapDetect, 4, 1), ("anchors", AnchorDetect, 5, 2)],
)
def test_each_localisation_has_its_head(localisation, kind, rows, slots, masks):
    head = hybrid_head(3, CHANNELS, options_of(localisation, masks=masks, hidden=8, iou_loss="giou")).eval()
    assert isinstance(head, kind)
    assert isinstance(head, Segment) == (localisation == "distances" and masks > 0)
    assert (head.localisation, head.iou_loss) == (localisation, "giou")
    head.strides = STRIDES
    with torch.no_grad():
        outputs = head([torch.randn(1, c, *hw) for c, hw in zip(CHANNELS, SIZES, strict=True)])
    assert outputs["output0"].shape == (1, rows + 3 + masks, slots * 84)
    assert (outputs["protos"].shape == (1, 4, 16, 16)) if masks else ("protos" not in outputs)


@pytest.mark.parametrize("localisation", ["distances", "heatmap", "anchors"])
def test_each_level_sees_as_far_as_its_kernels(localisation):
    head = hybrid_head(3, CHANNELS, options_of(localisation, kernels=[1, 5, 7], masks=4, hidden=8))
    for branches in (head.cv2, head.cv3, head.cv4):
        for branch, k in zip(branches, (1, 5, 7), strict=True):
            depthwise = [m for m in branch.modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
            assert [conv.kernel_size for conv in depthwise] == [(k, k)] * 2


@pytest.mark.parametrize("localisation", ["distances", "heatmap", "anchors"])
def test_the_branches_lie_side_by_side(localisation):
    """What a branch predicts does not hang on the others' weights."""
    head = hybrid_head(3, CHANNELS, options_of(localisation, masks=4, hidden=8)).eval()
    head.strides = STRIDES
    maps = [torch.randn(1, c, *hw) for c, hw in zip(CHANNELS, SIZES, strict=True)]
    with torch.no_grad():
        before = head.logits(maps)
        nn.init.ones_(head.cv3[0][-1].weight)
        after = head.logits(maps)
    changed = [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    assert changed.index(True) == len(changed) - 2  # the classes, before the coefficients
    assert sum(changed) == 1
