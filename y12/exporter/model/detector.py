"""The network: rows wired as the spec says, ending in a head."""

from torch import Tensor, nn

from y12.exporter.model.heads.head import Head
from y12.exporter.model.rows import ModelSpec
from y12.exporter.model.signatures import SIGNATURES

__all__ = ["Detector"]


class Detector(nn.Module):
    """A network of `spec.layers`; `model.i` is row i, as in the published state dicts.

    Args:
        spec: what the network is.
        layers: one module a row, the head last.
    """

    def __init__(self, spec: ModelSpec, layers: nn.ModuleList) -> None:
        super().__init__()
        self.spec = spec
        self.model = layers
        self.names: tuple[str, ...] = spec.names or tuple(f"class{i}" for i in range(spec.nc))
        self.head.strides = spec.strides
        self._kept = {source for layer in spec.layers for source in layer.sources}

    @property
    def head(self) -> Head:
        """The last row."""
        head = self.model[-1]
        assert isinstance(head, Head)
        return head

    def maps(self, images: Tensor) -> list[Tensor]:
        """Map images (B, 3, H, W), RGB in 0-1, H and W multiples of the largest stride, to what the head reads."""
        outputs: dict[int, Tensor] = {-1: images}
        *rows, head = self.spec.layers
        for layer, module in zip(rows, self.model[:-1], strict=True):
            inputs = [outputs[s] for s in layer.sources]
            x = module(inputs if SIGNATURES[layer.module].many else inputs[0])
            if layer.index in self._kept:
                outputs[layer.index] = x
        return [outputs[s] for s in head.sources]

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Map images, as `maps` does, to the head's outputs by name."""
        maps = self.maps(images)
        return dict(self.head(maps if SIGNATURES[self.spec.layers[-1].module].many else maps[0]))
