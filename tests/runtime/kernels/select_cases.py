"""Outputs of networks for the selection kernels: used by twin, shim and GPU alike."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from runtime.kernels.layouts import (
    SELECT_BEST_BLOCK,
    SELECT_COUNTERS,
    SELECT_HEADER,
    SELECT_SCAN_BLOCK,
    SelectShape,
    select_plan,
    select_scan_grid,
    wanted_classes,
)
from runtime.kernels.select_twin import Selected
from runtime.options import DetectOptions

__all__ = ["CASES", "SelectCase", "SelectRun"]


@dataclass(frozen=True)
class SelectCase:
    name: str
    shape: SelectShape
    options: DetectOptions = field(default_factory=DetectOptions)
    limit: int = 64
    batch: int = 2
    levels: int = 0  # scores are one of so many values: ties
    broken: int = 0  # so many numbers are NaN or infinite

    def __str__(self) -> str:
        return self.name

    def outputs(self) -> np.ndarray:
        """Give (B, rows, A): boxes of up to 640 pixels, scores of 0 to 1, angles of up to a quarter turn."""
        rng = np.random.default_rng(7)
        shape = self.shape
        outputs = rng.random((self.batch, shape.rows, shape.anchors), np.float32)
        scores = outputs[:, 4 : 4 + shape.objectness + shape.classes]
        if self.levels:
            scores[...] = np.ceil(scores * np.float32(self.levels)) / np.float32(self.levels)
        outputs[:, :4] *= 640
        places = rng.integers(0, outputs.size, self.broken)
        outputs.reshape(-1)[places] = rng.choice([np.nan, np.inf, -np.inf], self.broken).astype(np.float32)
        return outputs


def _many(**chosen) -> DetectOptions:
    return DetectOptions(multi_label=True, **chosen)


CASES = (
    SelectCase("a few", SelectShape(100, 3, 7), DetectOptions(conf=0.9)),
    SelectCase("none", SelectShape(100, 3, 7), DetectOptions(conf=1.0)),
    SelectCase("all, cut at the limit", SelectShape(333, 5, 9), DetectOptions(conf=0.0), limit=100),
    SelectCase("as many as the limit", SelectShape(64, 2, 6), DetectOptions(conf=0.0), limit=64),
    SelectCase("one more than the limit", SelectShape(65, 2, 6), DetectOptions(conf=0.0), limit=64),
    SelectCase("a limit of one", SelectShape(65, 2, 6), DetectOptions(conf=0.0), limit=1),
    SelectCase("all scores equal", SelectShape(500, 4, 8), DetectOptions(conf=0.1), limit=70, levels=1),
    SelectCase("many ties, cut", SelectShape(700, 9, 13), _many(conf=0.2), limit=128, levels=3),
    SelectCase("scores of exactly conf", SelectShape(80, 2, 6), DetectOptions(conf=0.5), levels=2),
    SelectCase("scores of exactly conf, every class", SelectShape(80, 2, 6), _many(conf=0.5), limit=128, levels=2),
    SelectCase("every class", SelectShape(77, 40, 44), _many(conf=0.7), limit=1024),
    SelectCase("some classes", SelectShape(200, 70, 74), DetectOptions(conf=0.3, classes=(0, 31, 32, 69)), limit=256),
    SelectCase("some classes of every", SelectShape(90, 33, 37), _many(conf=0.3, classes=(5, 32)), limit=256),
    SelectCase("one class", SelectShape(129, 1, 5), DetectOptions(conf=0.5), limit=300),
    SelectCase("objectness", SelectShape(150, 4, 9, objectness=True), DetectOptions(conf=0.3), limit=512),
    SelectCase("objectness, every class", SelectShape(150, 4, 11, objectness=True), _many(conf=0.3), limit=128),
    SelectCase("other rows", SelectShape(64, 2, 38), DetectOptions(conf=0.5)),
    SelectCase("oriented", SelectShape(140, 15, 20, angle_row=19), DetectOptions(conf=0.9), limit=128),
    SelectCase("not finite", SelectShape(150, 10, 14), DetectOptions(conf=0.3), limit=128, broken=150),
    SelectCase("not finite, every class", SelectShape(90, 5, 10, True), _many(conf=0.1), limit=512, broken=60),
    SelectCase("not finite, oriented", SelectShape(90, 5, 10, angle_row=9), DetectOptions(conf=0.1), broken=60),
    SelectCase("not finite below conf", SelectShape(10, 2, 6), DetectOptions(conf=1.0), broken=3),
    SelectCase("the most", SelectShape(5000, 2, 6), DetectOptions(conf=0.0), limit=4096, batch=1, levels=900),
)


class SelectRun:
    """Buffers of one case and the two launches; what a test changes between runs is public."""

    def __init__(self, case: SelectCase, capacity: int | None = None) -> None:
        shape, batch, limit = case.shape, case.batch, case.limit
        places = shape.capacity(case.options.multi_label)
        self.case, self.outputs = case, case.outputs()
        self.outputs.flags.writeable = False
        self.plan = select_plan(shape, case.options, limit, places)
        self.plan["capacity"] = places if capacity is None else capacity
        self.wanted = wanted_classes(case.options, shape.classes)
        self.keys = np.full((batch, int(self.plan["capacity"][0])), 2**64 - 1, np.uint64)
        self.counters = np.zeros(batch, SELECT_COUNTERS)
        self.boxes = np.full((batch, limit, shape.box_size), np.nan, np.float32)
        self.scores = np.full((batch, limit), np.nan, np.float32)
        self.class_ids, self.anchors = np.full((2, batch, limit), -1, np.int32)
        self.headers = np.full(batch, -1, np.int32).repeat(4).view(SELECT_HEADER)

    def launch(self, kernels: Mapping[str, Callable[..., None]], **options) -> None:
        """Run both kernels."""
        scan_grid = select_scan_grid(self.case.shape.anchors, self.case.batch)
        scan = (self.outputs, self.plan, self.wanted, self.keys, self.counters)
        kernels["select_scan"](scan_grid, SELECT_SCAN_BLOCK, *scan, **options)
        results = (self.boxes, self.scores, self.class_ids, self.anchors, self.headers)
        best = (self.outputs, self.plan, self.keys, self.counters, *results)
        kernels["select_best"]((self.case.batch,), SELECT_BEST_BLOCK, *best, **options)

    def check(self, expected: list[Selected]) -> None:
        """Compare every image bit for bit; what lies beyond the count must not have been written."""
        assert len(expected) == len(self.headers)
        for i, (header, best) in enumerate(zip(self.headers, expected, strict=True)):
            count = len(best.scores)
            assert header.tolist() == (count, best.found, int(best.found > count), int(best.nonfinite))
            for name in ("boxes", "scores", "class_ids", "anchors"):
                found = getattr(self, name)[i]
                np.testing.assert_array_equal(found[:count], getattr(best, name), strict=True)
                beyond = found[count:]
                assert np.isnan(beyond).all() if found.dtype == np.float32 else (beyond == -1).all()
        assert not self.counters.view(np.uint32).any()
