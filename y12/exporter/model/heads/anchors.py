"""Boxes as shapes given beforehand, moved and stretched: YOLOv3's parametrisation with YOLOv4's reach."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from y12.errors import OptionsError
from y12.exporter.model.heads.head import (
    Channels,
    PlaceHead,
    cell_centres,
    last_convs,
    per_anchor,
    prototype_axes,
    rescale,
)
from y12.exporter.model.heads.segment import Proto

__all__ = ["REACH", "AnchorDetect", "AnchorGrid", "AnchorShapes"]

AnchorShapes = Sequence[Sequence[Sequence[float]]]  # by level, by anchor: width and height in pixels of the input

REACH = 2.0  # s: a centre lies up to (s - 1) / 2 of a cell outside its cell
# Of |tw| and |th|: a box is up to 62.5 times its anchor's side or that much less. Without a limit exp overflows.
_MOST_STRETCHED = math.log(1000 / 16)


class AnchorGrid(NamedTuple):
    """The A places of a pyramid: x, y of their cells' left top corners in cells, strides and anchors in pixels."""

    corners: Tensor  # (2, A)
    strides: Tensor  # (1, A)
    sizes: Tensor  # (2, A), width and height


class AnchorDetect(PlaceHead):
    """Per cell and anchor a box, whether there is an object at all, and its classes.

    With (cx, cy) the cell's column and row, (aw, ah) the anchor and s the `REACH` (YOLOv3, arXiv 1804.02767, section
    2.1; s is the "grid sensitivity" of YOLOv4, arXiv 2004.10934, section 3.4, without which a centre on a cell's edge
    would need an infinite tx):

        x = (s sigmoid(tx) - (s - 1) / 2 + cx) stride        w = aw exp(tw)
        y = (s sigmoid(ty) - (s - 1) / 2 + cy) stride        h = ah exp(th)

    A detection's score is objectness times class score; who reads the output multiplies them.

    Args:
        nc: number of classes.
        channels: channels of the input maps, finest first.
        anchors: for each map as many [width, height] in pixels of the input as for every other.
        masks: number of mask prototypes; 0 leaves masks out.
        hidden: channels of the prototypes' convolutions.
        kernels: see `PlaceHead`.
    """

    localisation = "anchors"

    def __init__(
        self,
        nc: int,
        channels: Channels,
        anchors: AnchorShapes,
        *,
        masks: int = 0,
        hidden: int = 256,
        kernels: tuple[int, ...] = (),
    ) -> None:
        axes = {"output0": per_anchor(5 + nc + masks)} | ({"protos": prototype_axes(masks)} if masks else {})
        super().__init__(axes, channels, (5, nc, masks), slots=len(anchors[0]), kernels=kernels)
        # Not a buffer: weights from a file must not bring the anchors of another network with them.
        self.anchors = tuple(tuple((float(w), float(h)) for w, h in level) for level in anchors)
        self.proto = Proto(channels[0], hidden, masks) if masks else None

    def spread_predictions(self) -> None:
        """Make few boxes pass the usual threshold, as in a trained network."""
        rescale(last_convs(self.cv2), 0.5, 0.0)
        rescale(last_convs(self.cv3), 4.0, 0.0)
        for conv in last_convs(self.cv2):
            assert conv.bias is not None
            conv.weight.data[4 * self.slots :] *= 8.0
            conv.bias.data[4 * self.slots :] = -5.0
        for others in list(self.branches())[2:]:
            rescale(last_convs(others), 1.0, 0.0)

    def start_scores_at(self, score: float) -> None:
        """Set the biases of objectness; the classes learn at objects only, where no background rules them."""
        for conv in last_convs(self.cv2):
            assert conv.bias is not None
            nn.init.constant_(conv.bias[4 * self.slots :], math.log(score / (1 - score)))

    def check_image_size(self, image_hw: tuple[int, int]) -> None:
        """Refuse images, height and width in pixels, that an anchor is larger than: no object could have its shape.

        Raises:
            OptionsError: there is one; the message names each.
        """
        h, w = image_hw
        unfit = [
            f"{anchor} of level {level} ({width:g} x {height:g})"
            for level, shapes in enumerate(self.anchors)
            for anchor, (width, height) in enumerate(shapes)
            if not (0 < width <= w and 0 < height <= h)
        ]
        if unfit:
            raise OptionsError(
                f"anchors: expected sides above 0 and up to the image's {w} x {h} pixels, found {', '.join(unfit)}; "
                "take a larger --imgsz, or a model YAML with other anchors"
            )

    def logits(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the logits of maps (B, Ci, Hi, Wi): boxes (B, 4, A), objectness (B, 1, A), classes, coefficients."""
        box, *others = super().logits(maps)
        return box[:, :4], box[:, 4:], *others

    def grid(self, maps: Sequence[Tensor]) -> AnchorGrid:
        """Return the A places of maps (B, Ci, Hi, Wi)."""
        levels = []
        for level, stride, shapes in zip(maps, self.strides, self.anchors, strict=True):
            centres, pixels = (values.repeat(1, self.slots) for values in cell_centres([level], (stride,)))
            sizes = level.new_tensor(shapes).T.unsqueeze(2)  # (2, n, 1)
            cells = level.shape[-2] * level.shape[-1]
            levels.append((centres - 0.5, pixels, sizes.expand(2, self.slots, cells).flatten(1)))
        return AnchorGrid(*(torch.cat(values, 1) for values in zip(*levels, strict=True)))

    def boxes(self, logits: Tensor, grid: AnchorGrid) -> Tensor:
        """Map box logits (B, 4, A) to (B, 4, A): centre x, y, width, height in input pixels."""
        t_xy, t_wh = logits.chunk(2, 1)
        xy = (t_xy.sigmoid() * REACH - (REACH - 1) / 2 + grid.corners) * grid.strides
        return torch.cat((xy, t_wh.clamp(-_MOST_STRETCHED, _MOST_STRETCHED).exp() * grid.sizes), 1)

    def forward(self, maps: list[Tensor]) -> dict[str, Tensor]:
        """Map the pyramid's (B, Ci, Hi, Wi) to `output0` (B, 5+nc+masks, A), and `protos` where there are masks.

        The rows are x, y, w, h in input pixels, objectness, class scores, mask coefficients; A runs over the levels,
        within each over its anchors, and for each of these row by row. `protos` is (B, masks, H/4, W/4).
        """
        box, objectness, cls, *coefficients = self.logits(maps)
        rows = (self.boxes(box, self.grid(maps)), objectness.sigmoid(), cls.sigmoid(), *coefficients)
        protos = {} if self.proto is None else {"protos": self.proto(maps[0])}
        return {"output0": torch.cat(rows, 1), **protos}
