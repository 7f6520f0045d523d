"""Kept objects for `gather`, and halves for `widen`: used by twin, shim and GPU alike."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from tests.runtime.kernels.references.keypoints import gathered
from y12.runtime.kernels.layout import GATHER_BLOCK, WIDEN_BLOCK, gather_grid, widen_grid
from y12.runtime.kernels.nms_layout import result_dtype

__all__ = ["GATHER_CASES", "GatherCase", "check_widen", "halves"]


@dataclass(frozen=True)
class GatherCase:
    """So many kept rows of each image, and where keypoint rows lie in the output."""

    name: str
    counts: tuple[int, ...]
    values: int = 51
    room: int = 20
    box_values: int = 4
    before: int = 5  # rows of the output before the keypoints
    after: int = 0
    anchors: int = 70
    broken: tuple[tuple[int, int, int], ...] = ()  # image, kept row, value: NaN

    def __str__(self) -> str:
        return self.name

    def outputs(self) -> np.ndarray:
        """Return (B, rows, A)."""
        rows = self.before + self.values + self.after
        outputs = np.random.default_rng(3).normal(size=(len(self.counts), rows, self.anchors)).astype(np.float32)
        result = self.result()
        for number, (image, row, value) in enumerate(self.broken):
            bad = (np.nan, np.inf, -np.inf)[number % 3]
            outputs[image, self.before + value, result["rows"]["anchor"][image, row]] = bad
        return outputs

    def result(self) -> np.ndarray:
        """Return the block of NMS, (B,): anchors differ from each other, rows beyond the counts have some too."""
        rng = np.random.default_rng(4)
        result = np.zeros(len(self.counts), result_dtype(self.room, self.box_values))
        result["header"]["count"] = self.counts
        result["header"]["candidates"] = 99
        for rows in result["rows"]:
            rows["anchor"] = rng.permutation(self.anchors)[: self.room]
            rows["box"], rows["score"], rows["class_id"] = 7, 0.5, 3
        return result

    def check(self, kernels: Mapping[str, Callable[..., None]], **options) -> np.ndarray:
        """Compare with the twin bit for bit; gives the headers."""
        outputs, result = self.outputs(), self.result()
        keypoints = outputs[:, self.before : self.before + self.values]
        expected, told = gathered(keypoints, result)
        out = np.full((len(self.counts), self.room, self.values), -1e9, np.float32)
        rows = outputs.reshape(-1)[self.before * self.anchors :]
        rows.flags.writeable = False
        stride = np.int64(outputs[0].size)
        sizes = map(np.int32, (self.values, self.box_values, self.room))
        grid = gather_grid(self.values, self.room, len(self.counts))
        given = (rows, result, out, np.int32(self.anchors), stride, *sizes)
        kernels["gather"](grid, GATHER_BLOCK, *given, **options)
        np.testing.assert_array_equal(out, expected)
        assert result.tobytes() == told.tobytes()
        return result["header"]


GATHER_CASES = (
    GatherCase("a few", (3, 20, 0)),
    GatherCase("none", (0, 0)),
    GatherCase("all", (20,), after=4),
    GatherCase("one value", (2, 1), values=1, room=3),
    GatherCase("oriented", (4, 7), values=6, box_values=5),
    GatherCase("more values than threads", (5, 2), values=301, room=7),
    GatherCase("an output of its own", (6, 9), values=34, before=0),
    GatherCase("not finite", (5, 5, 5), broken=((0, 0, 0), (0, 4, 50), (2, 2, 7))),
    GatherCase("not finite beyond the count", (5, 5), broken=((0, 5, 3), (1, 19, 0))),
)


def halves() -> np.ndarray:
    """Return every number that FP16 has, and both infinities and every NaN."""
    return np.arange(1 << 16, dtype=np.uint16).view(np.float16)


def check_widen(
    kernels: Mapping[str, Callable[..., None]], values: np.ndarray, blocks: int | None = None, **options
) -> None:
    """Compare `widen` with numpy, bit for bit but for NaN."""
    out = np.full(len(values), -1e9, np.float32)
    given = np.ascontiguousarray(values).view(np.uint16)
    given.flags.writeable = False
    grid = widen_grid(len(values)) if blocks is None else (blocks,)
    kernels["widen"](grid, WIDEN_BLOCK, given, out, np.int64(len(values)), **options)
    expected = values.astype(np.float32)
    is_nan = np.isnan(expected)
    assert np.isnan(out[is_nan]).all()
    np.testing.assert_array_equal(out[~is_nan].view(np.uint32), expected[~is_nan].view(np.uint32))
