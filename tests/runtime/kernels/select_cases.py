"""Outputs of networks for the selection kernels: used by twin, shim and GPU alike."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from tests.runtime.kernels.references.select import Given, Selected, selected
from y12.runtime.kernels.layout import (
    SELECT_BEST_BLOCK,
    SELECT_COUNTERS,
    SELECT_HEADER,
    SELECT_SCAN_BLOCK,
    SelectShape,
    select_plan,
    select_scan_grid,
    wanted_classes,
)
from y12.runtime.options import DetectOptions

__all__ = ["CASES", "SelectCase", "SelectRun"]


@dataclass(frozen=True)
class SelectCase:
    """What a network gives: rows x, y, w, h, objectness if any, classes, angle if any, others; or `separate` scores."""

    name: str
    anchors: int
    classes: int
    options: DetectOptions = field(default_factory=DetectOptions)
    limit: int = 64
    batch: int = 2
    objectness: bool = False
    angle: bool = False
    others: int = 0  # rows behind all that is looked at
    separate: bool = False  # scores are an output of their own
    levels_hw: tuple[tuple[int, int], ...] | None = None
    levels: int = 0  # scores are one of so many values: ties
    broken: int = 0  # so many numbers are NaN or infinite

    def __str__(self) -> str:
        return self.name

    @property
    def rows(self) -> int:
        """Of the output that has the boxes."""
        return 4 + self.objectness + (0 if self.separate else self.classes) + self.angle + self.others

    @property
    def shape(self) -> SelectShape:
        stride = self.rows * self.anchors
        score_stride = self.classes * self.anchors if self.separate else stride
        return SelectShape(self.anchors, self.classes, stride, score_stride, self.angle, self.levels_hw)

    def outputs(self) -> tuple[np.ndarray, np.ndarray]:
        """Return (B, rows, A), (B, nc, A): boxes of up to 640 pixels, scores of 0 to 1, angles up to a quarter turn.

        The second is empty where scores are rows of the first.
        """
        rng = np.random.default_rng(7)
        whole = rng.random((self.batch, self.rows + self.separate * self.classes, self.anchors), np.float32)
        outputs, separate = whole[:, : self.rows], whole[:, self.rows :]
        if self.levels:
            for part in (outputs[:, 4:], separate):
                part[...] = np.ceil(part * np.float32(self.levels)) / np.float32(self.levels)
        outputs[:, :4] *= 640
        places = rng.integers(0, whole.size, self.broken)
        whole.reshape(-1)[places] = rng.choice([np.nan, np.inf, -np.inf], self.broken).astype(np.float32)
        return np.ascontiguousarray(outputs), np.ascontiguousarray(separate)

    def given(self, output: np.ndarray, separate: np.ndarray) -> Given:
        """Name the parts of one image's outputs (rows, A), (nc, A)."""
        first = 4 + self.objectness
        scores = separate if self.separate else output[first : first + self.classes]
        objectness = output[4] if self.objectness else None
        angles = output[self.angle_row] if self.angle else None
        return Given(output[:4], scores, objectness, angles, self.levels_hw)

    @property
    def angle_row(self) -> int:
        return self.rows - self.others - 1

    def expected(self) -> list[Selected]:
        """Return what the twin selects of each image."""
        images = zip(*self.outputs(), strict=True)
        return [selected(self.given(*image), self.options, self.limit) for image in images]


def _many(**chosen) -> DetectOptions:
    return DetectOptions(multi_label=True, **chosen)


PYRAMID = ((9, 12), (5, 6), (3, 3), (1, 1))


def _peaks(name: str, levels_hw, classes: int = 3, options: DetectOptions | None = None, **chosen) -> SelectCase:
    anchors = sum(h * w for h, w in levels_hw)
    options = options or DetectOptions(conf=0.1)
    return SelectCase(f"peaks: {name}", anchors, classes, options, levels_hw=levels_hw, limit=512, **chosen)


CASES = (
    SelectCase("a few", 100, 3, DetectOptions(conf=0.9)),
    SelectCase("none", 100, 3, DetectOptions(conf=1.0)),
    SelectCase("all, cut at the limit", 333, 5, DetectOptions(conf=0.0), limit=100),
    SelectCase("as many as the limit", 64, 2, DetectOptions(conf=0.0), limit=64),
    SelectCase("one more than the limit", 65, 2, DetectOptions(conf=0.0), limit=64),
    SelectCase("a limit of one", 65, 2, DetectOptions(conf=0.0), limit=1),
    SelectCase("all scores equal", 500, 4, DetectOptions(conf=0.1), limit=70, levels=1),
    SelectCase("many ties, cut", 700, 9, _many(conf=0.2), limit=128, levels=3),
    SelectCase("scores of exactly conf", 80, 2, DetectOptions(conf=0.5), levels=2),
    SelectCase("scores of exactly conf, every class", 80, 2, _many(conf=0.5), limit=128, levels=2),
    SelectCase("every class", 77, 40, _many(conf=0.7), limit=1024),
    SelectCase("some classes", 200, 70, DetectOptions(conf=0.3, classes=(0, 31, 32, 69)), limit=256),
    SelectCase("some classes of every", 90, 33, _many(conf=0.3, classes=(5, 32)), limit=256),
    SelectCase("one class", 129, 1, DetectOptions(conf=0.5), limit=300),
    SelectCase("objectness", 150, 4, DetectOptions(conf=0.3), limit=512, objectness=True),
    SelectCase("objectness, every class", 150, 4, _many(conf=0.3), limit=128, objectness=True, others=2),
    SelectCase("other rows", 64, 2, DetectOptions(conf=0.5), others=32),
    SelectCase("oriented", 140, 15, DetectOptions(conf=0.9), limit=128, angle=True),
    SelectCase("oriented, other rows", 70, 3, DetectOptions(conf=0.6), angle=True, others=3),
    SelectCase("scores apart", 150, 5, DetectOptions(conf=0.6), batch=3, separate=True),
    SelectCase("scores apart, every class", 90, 7, _many(conf=0.8), limit=256, separate=True, others=2),
    SelectCase("all apart", 90, 4, _many(conf=0.2), limit=512, separate=True, objectness=True, angle=True),
    SelectCase("not finite", 150, 10, DetectOptions(conf=0.3), limit=128, broken=150),
    SelectCase("not finite, every class", 90, 5, _many(conf=0.1), limit=512, broken=60, objectness=True),
    SelectCase("not finite, oriented", 90, 5, DetectOptions(conf=0.1), broken=60, angle=True),
    SelectCase("not finite, apart", 90, 5, DetectOptions(conf=0.1), broken=60, separate=True),
    SelectCase("not finite below conf", 10, 2, DetectOptions(conf=1.0), broken=3),
    _peaks("one cell", ((1, 1),)),
    _peaks("a row", ((1, 50),)),
    _peaks("a column", ((50, 1),), options=_many(conf=0.1)),
    _peaks("one level", ((12, 17),), classes=10),
    _peaks("levels", PYRAMID),
    _peaks("levels, every class", PYRAMID, options=_many(conf=0.1)),
    _peaks("eight levels", tuple((h, 9 - h) for h in range(1, 9)), options=_many(conf=0.1)),
    _peaks("equal neighbours", PYRAMID, options=_many(conf=0.1), levels=3),
    _peaks("all equal", PYRAMID, levels=1),
    _peaks("equal neighbours, best class", PYRAMID, classes=9, levels=3),
    _peaks("from zero", PYRAMID, options=_many(conf=0.0), levels=4),
    _peaks("scores of exactly conf", PYRAMID, options=_many(conf=0.5), levels=2),
    _peaks("scores apart", PYRAMID, separate=True, others=1),
    _peaks("objectness", PYRAMID, objectness=True, options=_many(conf=0.1)),
    _peaks("objectness, best class", PYRAMID, objectness=True, levels=4),
    _peaks("some classes", PYRAMID, options=DetectOptions(conf=0.1, classes=(0, 2))),
    _peaks("not finite", PYRAMID, options=_many(conf=0.1), broken=60),
    _peaks("not finite, best class", PYRAMID, broken=60),
    SelectCase("the most", 5000, 2, DetectOptions(conf=0.0), limit=4096, batch=1, levels=900),
)


class SelectRun:
    """Buffers of one case and the two launches; what a test changes between runs is public."""

    def __init__(self, case: SelectCase, capacity: int | None = None) -> None:
        shape, batch, limit = case.shape, case.batch, case.limit
        places = shape.capacity(case.options.multi_label)
        self.case, (self.outputs, self.separate) = case, case.outputs()
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
        case = self.case
        boxes, scores, objectness, angles = self._parts()
        heads = (boxes, scores, objectness, angles)
        grid = select_scan_grid(case.anchors, case.batch)
        state = (self.keys, self.counters)
        kernels["select_scan"](grid, SELECT_SCAN_BLOCK, *heads, self.plan, self.wanted, *state, **options)
        results = (self.boxes, self.scores, self.class_ids, self.anchors, self.headers)
        best = (boxes, angles, self.plan, *state, *results)
        kernels["select_best"]((case.batch,), SELECT_BEST_BLOCK, *best, **options)

    def _parts(self) -> tuple[np.ndarray | int, ...]:
        """Return boxes, scores, objectness and angles, each from its first row on, or a null pointer."""
        case, flat = self.case, self.outputs.reshape(-1)
        flat.flags.writeable = False
        scores = self.separate.reshape(-1) if case.separate else flat[(4 + case.objectness) * case.anchors :]
        scores.flags.writeable = False
        objectness = flat[4 * case.anchors :] if case.objectness else 0
        return flat, scores, objectness, flat[case.angle_row * case.anchors :] if case.angle else 0

    def check(self, expected: list[Selected]) -> None:
        """Compare every image bit for bit; what lies beyond the count must not have been written."""
        assert len(expected) == len(self.headers)
        for i, (header, best) in enumerate(zip(self.headers, expected, strict=True)):
            count = len(best.scores)
            assert header.tolist() == (count, best.candidates, int(best.candidates > count), int(best.nonfinite))
            for name in ("boxes", "scores", "class_ids", "anchors"):
                found = getattr(self, name)[i]
                np.testing.assert_array_equal(found[:count], getattr(best, name), strict=True)
                beyond = found[count:]
                assert np.isnan(beyond).all() if found.dtype == np.float32 else (beyond == -1).all()
        assert not self.counters.view(np.uint32).any()
