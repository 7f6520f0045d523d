"""The head of the hybrid network: parallel branches for class, box and mask, of one of three ways to tell a box."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from y12.exporter.model.heads.anchors import AnchorDetect, AnchorShapes
from y12.exporter.model.heads.detect import Detect
from y12.exporter.model.heads.head import Channels, PlaceHead
from y12.exporter.model.heads.heatmap import HeatmapDetect
from y12.exporter.model.heads.segment import Segment

__all__ = ["HybridOptions", "hybrid_head"]


@dataclass(frozen=True)
class HybridOptions:
    """What a row chooses of a hybrid head.

    Attributes:
        localisation: how a place tells its box: "distances" to its sides, as a "heatmap" of centres, or by "anchors".
        kernels: of the depthwise convolutions of all branches, one a level, so that each level's field of view can be
            its own; 3 everywhere where None.
        iou_loss: the overlap that its boxes learn by: "giou", "diou" or "ciou".
        anchors: for each level as many [width, height] in pixels; None unless `localisation` is "anchors".
        masks: number of mask prototypes; 0 leaves masks out.
        hidden: channels of the prototypes' convolutions.
    """

    localisation: str = "distances"
    kernels: Sequence[int] | None = None
    iou_loss: str = "ciou"
    anchors: AnchorShapes | None = None
    masks: int = 0
    hidden: int = 256


_Make = Callable[[int, Channels, HybridOptions, tuple[int, ...]], PlaceHead]


def _distances(nc: int, channels: Channels, options: HybridOptions, kernels: tuple[int, ...]) -> PlaceHead:
    if options.masks:
        return Segment(nc, channels, options.masks, options.hidden, kernels=kernels)
    return Detect(nc, channels, kernels=kernels)


def _heatmap(nc: int, channels: Channels, options: HybridOptions, kernels: tuple[int, ...]) -> PlaceHead:
    return HeatmapDetect(nc, channels, masks=options.masks, hidden=options.hidden, kernels=kernels)


def _anchors(nc: int, channels: Channels, options: HybridOptions, kernels: tuple[int, ...]) -> PlaceHead:
    assert options.anchors is not None  # refused where the row is read
    return AnchorDetect(nc, channels, options.anchors, masks=options.masks, hidden=options.hidden, kernels=kernels)


_HEADS: dict[str, _Make] = {"distances": _distances, "heatmap": _heatmap, "anchors": _anchors}


def hybrid_head(nc: int, channels: Channels, options: HybridOptions) -> PlaceHead:
    """Return the head that a row of a hybrid network asks for.

    Args:
        nc: number of classes.
        channels: channels of the input maps, finest first.
        options: the rest.
    """
    kernels = tuple(options.kernels or (3,) * len(channels))
    head = _HEADS[options.localisation](nc, channels, options, kernels)
    head.iou_loss = options.iou_loss
    return head
