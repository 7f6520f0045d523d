"""What each convolution reads on calibration images, as sums over places drawn from its output.

    given = sum x,   seen = sum x^,   squares = sum x^ x^T     with x^ = dq(q(x)), x what the kernel sees at a place

The convolutions' inputs are those of the FP32 graph, so that one run of it serves all of them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from exporter.precision.activations import activations
from exporter.precision.improve.layers import Layer
from exporter.precision.improve.patches import patches, positions
from runtime.manifest import Manifest

__all__ = ["Moments", "Progress", "in_portions", "moments_of"]

PLACES = 128  # drawn from each image and convolution: with 128 images seven times the inputs of the widest kernel
_MOST_BYTES = 256 << 20  # of the squares that are kept at a time
_SEED = 12

Progress = Callable[[int, int], None]


@dataclass
class Moments:
    """The sums of one convolution over `count` places; (G, K), and (G, K, K) where they were asked for.

    Attributes:
        errors: sum of y^ - y, (O,), with y^ of the integers rounded to nearest.
        squared_errors: sum of (y^ - y)², (O,).
    """

    count: int
    given: NDArray[np.float64]
    seen: NDArray[np.float64]
    squares: NDArray[np.float32] | None
    errors: NDArray[np.float64]
    squared_errors: NDArray[np.float64]

    def add(self, layer: Layer, values: NDArray[np.float32], where: NDArray[np.intp]) -> None:
        """Add the places `where`, (P, 3), of an input (B, C, H, W)."""
        given = patches(values, layer.window, where, layer.groups)  # (G, P, K)
        seen = layer.grid.rounded(given)
        self.count += len(where)
        self.given += given.sum(axis=1, dtype=np.float64)
        self.seen += seen.sum(axis=1, dtype=np.float64)
        if self.squares is not None:
            self.squares += seen.transpose(0, 2, 1) @ seen
        weights, rounded = (
            w.reshape(layer.groups, -1, layer.taps).transpose(0, 2, 1)
            for w in (layer.values, layer.nearest.dequantized())
        )
        errors = (seen @ rounded - given @ weights).astype(np.float64)  # (G, P, O / G)
        self.errors += errors.sum(axis=1).ravel()
        self.squared_errors += (errors**2).sum(axis=1).ravel()


def in_portions(layers: Sequence[Layer]) -> Iterator[Sequence[Layer]]:
    """Give the convolutions in portions whose squares fit into memory together; one may be larger than all of it."""
    portion: list[Layer] = []
    used = 0
    for layer in layers:
        size = 4 * layer.groups * layer.taps**2
        if portion and used + size > _MOST_BYTES:
            yield portion
            portion, used = [], 0
        portion.append(layer)
        used += size
    if portion:
        yield portion


def moments_of(
    graph: onnx.ModelProto,
    layers: Sequence[Layer],
    images: Sequence[Path],
    manifest: Manifest,
    squares: bool,
    progress: Progress | None = None,
) -> dict[str, Moments]:
    """Run the FP32 graph on the images, and give the sums of each convolution by its name.

    The places are drawn with a seed of their own for each image and convolution, whatever portion it is in.
    """
    found = {layer.name: _nothing(layer, squares) for layer in layers}
    tensors = list(dict.fromkeys(layer.tensor for layer in layers))
    for done, _, values in activations(graph, tensors, images, manifest):
        for layer in layers:
            shape = values[layer.tensor].shape
            random = np.random.Generator(np.random.PCG64([_SEED, done, layer.taps, shape[2], shape[3]]))
            where = positions(layer.window, shape, PLACES * shape[0], random)
            found[layer.name].add(layer, values[layer.tensor], where)
        if progress is not None:
            progress(done, len(images))
    return found


def _nothing(layer: Layer, squares: bool) -> Moments:
    sums = [np.zeros((layer.groups, layer.taps)) for _ in range(2)]
    products = np.zeros((layer.groups, layer.taps, layer.taps), np.float32) if squares else None
    errors = [np.zeros(len(layer.values)) for _ in range(2)]
    return Moments(0, sums[0], sums[1], products, errors[0], errors[1])
