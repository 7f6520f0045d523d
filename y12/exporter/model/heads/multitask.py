"""Boxes, classes, masks and, as an option, keypoints of the same objects, from parallel branches of one network."""

from torch import Tensor, nn

from y12.exporter.model.heads.detect import Detect
from y12.exporter.model.heads.head import branch, per_anchor, prototype_axes
from y12.exporter.model.heads.pose import keypoints_from_logits
from y12.exporter.model.heads.segment import Proto

__all__ = ["MultiTask"]


class MultiTask(Detect):
    """Every task's branch beside the others, every prediction an output of its own.

    Args:
        nc: number of classes.
        channels: channels of the input maps, finest first.
        masks: number of mask prototypes.
        hidden: channels of the prototypes' convolutions.
        kpt_shape: (K, D) of the keypoints; None leaves them out.
    """

    def __init__(
        self,
        nc: int,
        channels: tuple[int, ...],
        masks: int,
        hidden: int,
        kpt_shape: tuple[int, int] | None = None,
    ) -> None:
        axes = {"boxes": per_anchor(4), "scores": per_anchor(nc), "mask_coefficients": per_anchor(masks)}
        axes["protos"] = prototype_axes(masks)
        super().__init__(nc, channels, extra=masks, axes=axes)
        self.proto = Proto(channels[0], hidden, masks)
        self.kpt_shape = kpt_shape
        if kpt_shape is not None:
            values = kpt_shape[0] * kpt_shape[1]
            self.axes["keypoints"] = per_anchor(values)
            self.cv5 = nn.ModuleList(branch(c, max(channels[0] // 4, values), values) for c in channels)

    def branches(self) -> dict[nn.ModuleList, int]:
        """Return the branches in the order of their logits, each with what it predicts for each anchor."""
        if self.kpt_shape is None:
            return super().branches()
        return {**super().branches(), self.cv5: self.kpt_shape[0] * self.kpt_shape[1]}

    def forward(self, maps: list[Tensor]) -> dict[str, Tensor]:
        """Map the pyramid (B, Ci, Hi, Wi) to the outputs.

        Returns:
            boxes (B, 4, A): centre x, y, width, height in input pixels; scores (B, nc, A); mask_coefficients
            (B, masks, A) of protos (B, masks, H/4, W/4); and keypoints (B, K*D, A) where there are any, in input
            pixels.
        """
        box, cls, coefficients, *points = self.logits(maps)
        grid = self.grid(maps)
        outputs = {
            "boxes": self.boxes(box, grid),
            "scores": cls.sigmoid(),
            "mask_coefficients": coefficients,
            "protos": self.proto(maps[0]),
        }
        if self.kpt_shape is not None:
            outputs["keypoints"] = keypoints_from_logits(points[0], self.kpt_shape, grid)
        return outputs
