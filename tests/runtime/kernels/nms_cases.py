"""Cases for NMS, upright and oriented, and how the kernels are launched on them: for the shim, the twin and a GPU."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from tests.runtime.kernels.references.nms import Candidates, keep_twin, mask_twin
from y12.runtime.kernels.layout import SELECT_HEADER
from y12.runtime.kernels.nms_layout import KEEP_THREADS, TILE, mask_grid, nms_options, result_dtype, tiles_of
from y12.runtime.postprocess.nms import nms, rotated_nms
from y12.runtime.results.oriented import probiou

__all__ = [
    "HUGE",
    "ORIENTED",
    "ORIENTED_HUGE",
    "SMALL",
    "THRESHOLDS",
    "Case",
    "border_pairs",
    "candidates_of",
    "check_kernels",
    "launch",
    "oriented_border_pairs",
]

CAPACITY = 256
THRESHOLDS = (0.0, 0.1, 1 / 3, 0.45, 0.5, 0.7, 0.9, 0.99, 1.0)


@dataclass(frozen=True)
class Case:
    """Candidates of one image, in any order, and the options."""

    name: str
    boxes: np.ndarray  # (N, 4 or 5) float32
    scores: np.ndarray
    class_ids: np.ndarray
    iou: float = 0.5
    max_det: int = 300
    agnostic: bool = False
    capacity: int = CAPACITY

    @property
    def expected(self) -> list[int]:
        """What the runtime's own NMS keeps."""
        suppress = nms if self.boxes.shape[1] == 4 else rotated_nms
        kept = suppress(self.boxes, self.scores, self.class_ids, self.iou, self.max_det, self.agnostic)
        return kept.tolist()


def candidates_of(cases: list[Case], capacity: int) -> Candidates:
    """Return the cases as the images of a batch, sorted as select.cu sorts; anchors are the places in the case.

    What lies beyond a count is what suppresses most: a box as large as all others together, of every class.
    """
    values = cases[0].boxes.shape[1]
    boxes = np.full((len(cases), capacity, values), [0, 0, 1e4, 1e4, 0][:values], np.float32)
    scores = np.ones((len(cases), capacity), np.float32)
    class_ids, anchors = np.zeros((2, len(cases), capacity), np.int32)
    for image, case in enumerate(cases):
        order = np.argsort(-case.scores, kind="stable")
        count = len(order)
        boxes[image, :count], scores[image, :count] = case.boxes[order], case.scores[order]
        class_ids[image, :count], anchors[image, :count] = case.class_ids[order], order
    headers = np.zeros(len(cases), SELECT_HEADER)
    headers["count"] = [len(case.scores) for case in cases]
    images = np.arange(len(cases))
    headers["candidates"], headers["truncated"], headers["nonfinite"] = (
        headers["count"] + 5,
        images % 2,
        images % 4 == 3,
    )
    return Candidates(boxes, scores, class_ids, anchors, headers)


def launch(
    kernels: Mapping[str, Callable[..., None]], given: Candidates, options: np.ndarray, room: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Run the two kernels; give the mask, the dead words, and the result block.

    A kernel is called with grid, block, and its arguments: arrays, which it changes in place, and numpy scalars.
    """
    batch, capacity, values = given.boxes.shape
    mask = np.full((batch, capacity, tiles_of(capacity)), 0xA5A5_A5A5_A5A5_A5A5, np.uint64)
    dead = np.full((batch, tiles_of(capacity)), 0xA5A5_A5A5_A5A5_A5A5, np.uint64)
    result = np.full(batch * result_dtype(room, values).itemsize // 4, 0xA5A5_A5A5, np.uint32)
    size = np.int32(capacity)
    overlap = kernels["nms_mask" if values == 4 else "rotated_mask"]
    inputs = given.boxes, given.scores, given.class_ids
    overlap(mask_grid(batch, capacity), (TILE,), *inputs, given.headers, options, size, mask, dead)
    state = given.anchors, given.headers, options, mask, dead
    kernels["nms_keep"]((batch,), (KEEP_THREADS,), *inputs, *state, size, np.int32(values), np.int32(room), result)
    return mask, dead, result.view(result_dtype(room, values))


def check_kernels(kernels: Mapping[str, Callable[..., None]], cases: list[Case], room: int | None = None) -> np.ndarray:
    """Compare the kernels with the twin on a batch: every word of the mask they write, every byte of the result.

    Gives the twin's result.
    """
    case, capacity = cases[0], max(case.capacity for case in cases)
    given, options = candidates_of(cases, capacity), nms_options(case.iou, case.max_det, case.agnostic)
    room = case.max_det + 3 if room is None else room
    mask, dead, result = launch(kernels, given, options, room)
    expected_mask, expected_dead = mask_twin(given, options)
    word, place, count = np.arange(mask.shape[2]), np.arange(capacity)[:, None], given.headers["count"][:, None, None]
    written = (place < count) & (word >= place // TILE) & (word * TILE < count)
    np.testing.assert_array_equal(mask[written], expected_mask[written])
    full = word * TILE < count[:, 0]
    np.testing.assert_array_equal(dead[full], expected_dead[full])
    expected = keep_twin(given, options, expected_mask, expected_dead, room)
    assert result.tobytes() == expected.tobytes()
    return expected


def _case(name: str, boxes, class_ids=None, scores=None, **options) -> Case:
    boxes = np.asarray(boxes, np.float32)
    count = len(boxes)
    scores = np.linspace(1, 0.1, count) if scores is None else np.asarray(scores)
    class_ids = np.zeros(count) if class_ids is None else np.asarray(class_ids)
    options.setdefault("capacity", max(CAPACITY, -(-count // TILE) * TILE))
    return Case(name, boxes, scores.astype(np.float32), class_ids.astype(np.int32), **options)


def crowd(count: int, side: float, seed: int = 0, objects: int = 20) -> np.ndarray:
    """Return boxes round a few objects, as a network does, (count, 4)."""
    rng = np.random.default_rng(seed)
    corners = rng.random((objects, 4)) * [side, side, 60, 60] + [0, 0, 8, 8]
    xywh = corners[rng.integers(0, objects, count)] + rng.normal(0, 3, (count, 4))
    return np.concatenate([xywh[:, :2], xywh[:, :2] + np.abs(xywh[:, 2:])], axis=1).astype(np.float32)


def oriented_crowd(count: int, side: float, seed: int = 0, objects: int = 20) -> np.ndarray:
    """Return oriented boxes round a few objects, (count, 5); some are thin."""
    rng = np.random.default_rng(seed)
    shapes = np.exp(rng.random((objects, 2)) * 4)
    base = np.concatenate([rng.random((objects, 2)) * side, shapes, rng.random((objects, 1)) * 7 - 3], axis=1)
    return (base[rng.integers(0, objects, count)] + rng.normal(0, 0.5, (count, 5))).astype(np.float32)


def border_pairs(iou: float, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return two sets of boxes, (count, 4) each, that overlap pair by pair by `iou`, give or take three float32 steps.

    Half of them lie on integers, of which many overlap by exactly `iou` in exact arithmetic.
    """
    rng = np.random.default_rng(seed)
    whole = np.arange(count) % 2 == 0
    start = np.exp(rng.uniform(-2, np.log(1e4), (count, 2)))
    size = np.exp(rng.uniform(0, 6, (count, 2)))
    start[whole] = start[whole].round()
    size[whole] = rng.integers(1, 12, (whole.sum(), 2)) * 10
    one = np.concatenate([start, start + size], axis=1)
    other = one.copy()
    moved = np.arange(count) % 4 == 1  # these are moved to the side, the others cut
    shift = size[:, 0] * (1 - iou) / (1 + iou)
    other[moved, 0] += shift[moved]
    other[moved, 2] += shift[moved]
    other[~moved, 2] = (start[:, 0] + size[:, 0] * iou)[~moved]
    one, other = one.astype(np.float32), other.astype(np.float32)
    for step in range(3):
        further = rng.integers(0, 3, count) > step
        other[:, 2] = np.where(further & ~whole, np.nextafter(other[:, 2], np.float32(1e9)), other[:, 2])
    return one, other


def oriented_border_pairs(iou: float, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return two sets of oriented boxes, (n <= count, 5) each, whose `probiou` is `iou` give or take float32 steps."""
    rng = np.random.default_rng(seed)
    one, other = (
        np.concatenate(
            [rng.uniform(0, 600, (count, 2)), np.exp(rng.uniform(0, 5, (count, 2))), rng.random((count, 1)) * 7 - 3],
            axis=1,
        )
        for _ in range(2)
    )
    other[:, 2:] = one[:, 2:] * np.where(np.arange(count)[:, None] % 2, 1, rng.uniform(0.9, 1.1, (count, 3)))
    one[::3, 3], other[::3, 3] = one[::3, 2], other[::3, 2]  # squares: the bound on the distance is tight
    one, other = one.astype(np.float32), other.astype(np.float32)
    direction = rng.normal(size=(count, 2))
    low, high = np.zeros(count), np.full(count, 1e4)
    for _ in range(60):  # the overlap falls with the distance of the centres
        middle = (low + high) / 2
        other[:, :2] = one[:, :2] + middle[:, None] * direction
        above = probiou(one, other) > iou
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    met = low > 0
    return one[met], other[met]


def pairs_case(name: str, pairs: tuple[np.ndarray, np.ndarray], iou: float, **options) -> Case:
    """Return a case where each pair has a class of its own."""
    one, other = pairs
    boxes = np.concatenate([one, other])
    options.setdefault("max_det", len(boxes))
    return _case(name, boxes, np.tile(np.arange(len(one)), 2), iou=iou, **options)


SQUARE = [0, 0, 10, 10]
_steps = 3 * np.arange(200)[:, None]
CHAIN = np.array([[0, 0, 10, 10]]) + _steps * [0, 1, 0, 1]  # each overlaps the next by more than half, not the second

SMALL = [
    _case("none", np.empty((0, 4))),
    _case("one", [SQUARE]),
    _case("a tie: the first stays", [SQUARE, SQUARE], scores=[0.5, 0.5]),
    _case("the better one comes second", [SQUARE, SQUARE], scores=[0.4, 0.5]),
    _case("two classes", [SQUARE, SQUARE], [0, 1]),
    _case("two classes as one", [SQUARE, SQUARE], [0, 1], agnostic=True),
    _case("exactly the threshold", [SQUARE, [0, 0, 5, 10]]),
    _case("a step above the threshold", [SQUARE, [0, 0, 5.000001, 10]]),
    _case("empty, crossed, lines", [[5, 5, 5, 5], [5, 5, 5, 5], [10, 10, 0, 0], SQUARE, [0, 10, 10, 0], [0, 5, 10, 5]]),
    _case("touching", [SQUARE, [10, 0, 20, 10], [0, 10, 10, 20]], iou=0.0),
    _case("equal boxes above an IoU of 1", [SQUARE] * 70, iou=1.0),
    _case(
        "floats overflow", [[0, 0, 1e30, 1e30], [0, 0, 9e29, 1e30], [-3e38, -3e38, 3e38, 3e38], [-3e38, 0, 3e38, 3e38]]
    ),
    _case("floats underflow", np.array([SQUARE, [0, 0, 6, 10], [0, 0, 4, 10], [3, 0, 13, 10]]) * 1e-24, iou=0.55),
    _case("a threshold below float32", [[0, 0, 1.5e19, 1.5e19], [0, 0, 1e-4, 1e-4]], iou=1e-46),
    _case("a chain", CHAIN, [0] * 200),
    _case("a chain, three at most", CHAIN, [0] * 200, max_det=3),
    *(_case(f"{count} apart", crowd(256, 640)[:count], np.arange(count)) for count in (63, 64, 65, 127, 128, 129, 256)),
    _case("a count below the capacity, which is no multiple of a tile", crowd(90, 90), capacity=100),
    *(
        _case(f"a crowd, iou {iou:.2f}", crowd(250, 200, 3), np.arange(250) % 3, np.arange(250)[::-1] // 7, iou=iou)
        for iou in THRESHOLDS
    ),
    *(_case(f"{most} at most", crowd(250, 900, 4, 200), iou=0.9, max_det=most) for most in (1, 64, 65, 128)),
    *(pairs_case(f"border {iou:.2f}", border_pairs(iou, 128), iou) for iou in THRESHOLDS[1:]),
    pairs_case("border, areas below float32's", tuple(box * np.float32(2**-73) for box in border_pairs(0.7, 128)), 0.7),
]

HUGE = [
    _case("4096 of one class", crowd(4096, 640, objects=300), iou=0.7),
    _case("4096 of different classes", crowd(4096, 640), np.arange(4096), max_det=4096),
    _case("4096 of 80 classes", crowd(4096, 1280, 5, 200), np.arange(4096) % 80, iou=0.6),
    pairs_case("2048 pairs at the border", border_pairs(0.7, 2048, 6), 0.7),
]

BAR = [50, 50, 100, 4, 0.3]
ORIENTED = [
    _case("none", np.empty((0, 5))),
    _case("one", [BAR]),
    _case("the same twice", [BAR, BAR], iou=0.999),
    _case("the same twice, above an IoU of 1", [BAR, BAR], iou=1.0),
    _case("two classes", [BAR, BAR], [0, 1]),
    _case("two classes as one", [BAR, BAR], [0, 1], agnostic=True),
    _case("the same, named otherwise", [[0, 0, 20, 5, 0], [0, 0, 5, 20, np.pi / 2], [0, 0, 20, 5, np.pi]], iou=0.99),
    _case("across each other", [[50, 50, 100, 4, 0.3], [50, 50, 100, 4, 0.3 + np.pi / 2]], iou=0.1),
    _case("degenerate", [[5, 5, 0, 0, 0], [5, 5, 0, 0, 0], [5, 5, 10, 0, 0.2], [5, 5, -4, 5, 0], [5, 5, 10, 4, 0.2]]),
    _case("as high as the least side", [[0, 0, 10, 0, 0.2], [0, 0, 10, 0.002, 0.2]]),
    _case("as wide as the least side", [[0, 0, -1, 10, 0.2], [0, 0, 0.002, 10, 0.2]]),
    _case("thin", [[0, 0, 1e4, 0.1, r] for r in np.linspace(0, 1e-4, 60)], iou=0.5),
    _case("far away", oriented_crowd(120, 40, 1) + np.array([1e5, -1e5, 0, 0, 0]), iou=0.4),
    _case("exactly the threshold", [[0, 0, 10, 10, 0], [5, 0, 10, 10, 0]], iou=1 - np.sqrt(-np.expm1(-0.375))),
    _case("huge", [[0, 0, 1e19, 1e19, 0.4], [1e18, 0, 1e19, 2e19, 0.4], [3e38, 3e38, 1e20, 1e20, 0]], iou=0.3),
    *(_case(f"a crowd, iou {iou:.2f}", oriented_crowd(250, 200, 3), np.arange(250) % 3, iou=iou) for iou in THRESHOLDS),
    *(pairs_case(f"border {iou:.2f}", oriented_border_pairs(iou, 128), iou) for iou in THRESHOLDS[1:-1]),
]

ORIENTED_HUGE = [_case("4096 oriented boxes", oriented_crowd(4096, 640, 2, 300), np.arange(4096) % 3, iou=0.6)]
