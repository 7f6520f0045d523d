"""Examples of one size as a batch, padded to the most objects that any of them has."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from y12.exporter.train.batch import Batch, Targets
from y12.exporter.train.examples.example import Example

__all__ = ["collate"]

_FIELDS = ("labels", "boxes", "masks", "keypoints", "angles")


def collate(examples: Sequence[Example]) -> Batch:
    """Put examples in a batch; objects keep their order, and M is the most of any example, which may be 0.

    Raises:
        ValueError: there are no examples, their images differ in size, or some have a kind of label (masks,
            keypoints, angles) that others lack.
    """
    shapes = {example.image.shape for example in examples}
    if len(shapes) != 1:
        raise ValueError(f"expected one or more examples of one size, found {sorted(shapes) or 'none'}")
    images = np.stack([example.image.transpose(2, 0, 1) for example in examples])
    count = np.array([len(example.labels) for example in examples])
    most = int(count.max())
    columns = {name: _padded([getattr(example, name) for example in examples], name, most) for name in _FIELDS}
    present = np.arange(most)[None] < count[:, None]
    targets = Targets(present=torch.from_numpy(present), **columns)  # type: ignore[arg-type]
    return Batch(torch.from_numpy(images).float().div_(255), targets)


def _padded(values: Sequence[NDArray[np.generic] | None], name: str, most: int) -> torch.Tensor | None:
    """Stack arrays (N, ...) to (B, M, ...), zeros after each one's N rows."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    if len(known) != len(values):
        raise ValueError(f"{name}: expected them in all examples or in none, found {len(known)} of {len(values)}")
    out = np.zeros((len(known), most, *known[0].shape[1:]), known[0].dtype)
    for row, value in zip(out, known, strict=True):
        row[: len(value)] = value
    return torch.from_numpy(out)
