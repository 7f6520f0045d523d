"""One class for the whole image."""

from torch import Tensor, nn

from y12.exporter.model.blocks.conv import Conv
from y12.exporter.model.heads.head import Head

__all__ = ["Classify"]

_WIDTH = 1280  # channels before pooling, in every published classifier


class Classify(Head):
    """`softmax(linear(pool(conv(x))))`.

    Args:
        nc: number of classes.
        c1: channels of the input map.
    """

    def __init__(self, nc: int, c1: int) -> None:
        super().__init__({"output0": ("batch", nc)})
        self.conv = Conv(c1, _WIDTH)
        self.linear = nn.Linear(_WIDTH, nc)

    def spread_predictions(self) -> None:
        """Make some classes clearly likelier than the others; averages over a map vary little."""
        self.linear.weight.data *= 8.0
        self.linear.bias.data.zero_()

    def logits(self, x: Tensor) -> Tensor:
        """Map (B, c1, H, W) to (B, nc)."""
        return self.linear(self.conv(x).mean((2, 3)))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Map (B, c1, H, W) to `output0` (B, nc), probabilities."""
        return {"output0": self.logits(x).softmax(1)}
