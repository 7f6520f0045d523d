"""Objects in images for the mask kernels: used by twin, shim and GPU alike."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from tests.runtime.kernels.references.masks import Drawn, drawn, placed
from y12.runtime.kernels.layout import letterbox_images
from y12.runtime.kernels.masks_layout import (
    DRAW_BLOCK,
    MASK_HEADER,
    MASK_PLACE,
    PLACE_BLOCK,
    MaskShape,
    mask_draw_grid,
    mask_plan,
)
from y12.runtime.kernels.nms_layout import result_dtype
from y12.runtime.preprocess.letterbox import Letterbox, scale_xy

__all__ = ["BORDER", "CASES", "LARGE", "MaskCase", "MaskRun"]

ROWS_BEFORE = 6  # of the output, before the coefficients
ROWS_AFTER = 1
POISON = 0xA5A5_A5A5


@dataclass(frozen=True)
class MaskCase:
    """Images, and boxes (N, 4) of each in its pixels; the same network for all."""

    name: str
    image_hws: tuple[tuple[int, int], ...]
    boxes: tuple[tuple[tuple[float, ...], ...], ...]
    input_hw: tuple[int, int] = (64, 64)
    protos_mhw: tuple[int, int, int] = (4, 16, 16)
    room: int = 10
    anchors: int = 40
    few_values: bool = False  # of prototypes: logits are 0 but for rounding at many pixels

    def __str__(self) -> str:
        return self.name

    def frames(self) -> list[Letterbox]:
        return [Letterbox.fit(image_hw, self.input_hw) for image_hw in self.image_hws]

    def shape(self) -> MaskShape:
        stride = (ROWS_BEFORE + self.protos_mhw[0] + ROWS_AFTER) * self.anchors
        return MaskShape(self.anchors, stride, self.protos_mhw, self.input_hw, self.room)


class MaskRun:
    """Buffers of one case and the two launches; what a test changes between runs is public.

    Attributes:
        outputs: (B, rows, A), the coefficients among them.
        protos: (B, M, Hp, Wp), smooth enough for masks to have parts.
        result: (B,) as NMS leaves it, boxes in pixels of the network's input.
    """

    def __init__(self, case: MaskCase, arena_words: int | None = None) -> None:
        rng = np.random.default_rng(5)
        batch, (count, height, width) = len(case.image_hws), case.protos_mhw
        self.case, self.frames = case, case.frames()
        rows = ROWS_BEFORE + count + ROWS_AFTER
        self.outputs = rng.normal(size=(batch, rows, case.anchors)).astype(np.float32)
        self.protos = rng.normal(size=(batch, count, height, width)).astype(np.float32)
        if case.few_values:
            self.protos = (rng.integers(-3, 4, self.protos.shape) * 0.1).astype(np.float32)
        self.result = np.zeros(batch, result_dtype(case.room, 4))
        self.result["rows"]["anchor"] = rng.integers(0, case.anchors, (batch, case.room))
        self.result["rows"]["box"] = [0, 0, *case.input_hw[::-1]]  # beyond the count: as large as can be
        for image, (frame, boxes) in enumerate(zip(self.frames, case.boxes, strict=True)):
            self.result["header"]["count"][image] = len(boxes)
            scale, offset = np.tile(scale_xy(frame), 2), [frame.left, frame.top] * 2
            self.result["rows"]["box"][image, : len(boxes)] = np.reshape(boxes, (-1, 4)) * scale + offset
        if arena_words is None:
            arena_words = max(1, *(int(header["words"][0]) for _, header in self.places_by_twin(2**40)))
        self.arena_words = arena_words
        self.places = np.full(batch * case.room * MASK_PLACE.itemsize, 0xA5, np.uint8).view(MASK_PLACE)
        self.headers = np.full(batch * MASK_HEADER.itemsize, 0xA5, np.uint8).view(MASK_HEADER)
        self.arena = np.full((batch, arena_words), POISON, np.uint32)

    def launch(self, kernels: Mapping[str, Callable[..., None]], blocks: int | None = None, **options) -> None:
        """Run both kernels."""
        case, batch = self.case, len(self.frames)
        pitches = [3 * width for _, width in case.image_hws]
        images = letterbox_images([0] * batch, pitches, self.frames)
        plan = mask_plan(case.shape(), self.arena_words)
        state = (self.places, self.headers)
        kernels["mask_place"]((batch,), PLACE_BLOCK, images, self.result, plan, *state, **options)
        coefficients = self.outputs.reshape(-1)[ROWS_BEFORE * case.anchors :]
        for array in (coefficients, self.protos, *state):
            array.flags.writeable = False
        grid = mask_draw_grid(batch) if blocks is None else (blocks, batch)
        given = (images, self.result, coefficients, self.protos, plan)
        kernels["mask_draw"](grid, DRAW_BLOCK, *given, *state, self.arena, **options)

    def boxes(self, image: int) -> np.ndarray:
        return self.result["rows"]["box"][image, : len(self.case.boxes[image])]

    def anchors(self, image: int) -> np.ndarray:
        return self.result["rows"]["anchor"][image, : len(self.case.boxes[image])]

    def coefficients(self, image: int) -> np.ndarray:
        """Return those of the kept rows, (N, M)."""
        rows = slice(ROWS_BEFORE, ROWS_BEFORE + self.case.protos_mhw[0])
        return self.outputs[image, rows][:, self.anchors(image)].T

    def places_by_twin(self, arena_words: int) -> list[tuple[np.ndarray, np.ndarray]]:
        return [
            placed(self.boxes(image), self.anchors(image), frame, arena_words)
            for image, frame in enumerate(self.frames)
        ]

    def drawn_by_twin(self) -> list[Drawn]:
        return [
            drawn(places, self.coefficients(image), self.protos[image], self.frames[image], self.arena_words)
            for image, (places, _) in enumerate(self.places_by_twin(self.arena_words))
        ]

    def check(self) -> None:
        """Compare with the twin byte for byte; words that belong to no mask must not have been written."""
        expected = self.drawn_by_twin()
        for image, (places, header) in enumerate(self.places_by_twin(self.arena_words)):
            found = self.places.reshape(len(self.frames), -1)[image]
            assert found[: len(places)].tobytes() == places.tobytes()
            assert not found[len(places) :].tobytes().strip(b"\0")
            assert self.headers[image : image + 1].tobytes() == header.tobytes()
            words = expected[image].words
            np.testing.assert_array_equal(self.arena[image, : len(words)], words)
            assert (self.arena[image, len(words) :] == POISON).all()
        assert self.result["header"]["nonfinite"].tolist() == [int(drawn.nonfinite) for drawn in expected]


def _boxes(height: int, width: int) -> tuple[tuple[float, ...], ...]:
    """Return boxes in and round an image, that have many pixels, one, or none."""
    return (
        (0, 0, width, height),
        (width * 0.2, height * 0.1, width * 0.71, height * 0.93),
        (-5, -5, width * 0.5, height * 0.5),  # reaches outside
        (width * 0.4, height * 0.6, width + 1e4, height + 1e30),
        (width + 3, 2, width + 9, 8),  # is outside
        (3, 2, 4, 3),  # one pixel
        (3.6, 2.6, 4.4, 3.4),  # between pixel centres
        (3.5, 2.5, 4.5, 3.5),  # on them: the first is inside
        (6, 6, 2, 2),  # crossed corners
        (2, 2, 2, 9),  # a line
    )


def _case(name: str, *image_hws: tuple[int, int], **chosen) -> MaskCase:
    return MaskCase(name, image_hws, tuple(_boxes(*image_hw) for image_hw in image_hws), **chosen)


def _grid(height: int, width: int, count: int, side: float) -> tuple[tuple[float, ...], ...]:
    rng = np.random.default_rng(count)
    corners = rng.random((count, 2)) * [width - side, height - side]
    return tuple(map(tuple, np.concatenate([corners, corners + rng.random((count, 2)) * side], axis=1)))


SIDES = (1, 31, 32, 33, 127, 128, 129)
CASES = (
    _case("as it is", (64, 64)),
    _case("padding above and below", (48, 64)),
    _case("enlarged, odd padding", (37, 53)),
    _case("made smaller, odd padding to the right", (90, 61)),
    _case("tall", (150, 21)),
    _case("wide", (9, 140)),
    _case("an oblong input", (20, 50), input_hw=(32, 96), protos_mhw=(3, 8, 24)),
    _case("prototypes at another stride on each axis", (33, 40), protos_mhw=(3, 13, 16)),
    _case("one prototype pixel", (12, 12), protos_mhw=(2, 1, 1)),
    _case("prototypes finer than the input", (30, 30), input_hw=(32, 32), protos_mhw=(2, 50, 70)),
    _case("one pixel", (1, 1)),
    _case("five by three, prototypes far denser", (5, 3), input_hw=(320, 320), protos_mhw=(5, 160, 160)),
    _case("denser than a patch holds", (44, 130), input_hw=(256, 256), protos_mhw=(3, 256, 256)),
    _case("one coefficient", (40, 40), protos_mhw=(1, 16, 16)),
    _case("32 coefficients", (40, 40), protos_mhw=(32, 16, 16)),
    _case("128 coefficients", (24, 24), protos_mhw=(128, 8, 8)),
    _case("a batch of sizes", (48, 64), (9, 140), (1, 1), (100, 30)),
    MaskCase("nothing found", ((30, 40), (30, 40)), ((), _boxes(30, 40))),
    MaskCase("all rows taken", ((30, 40),), (_boxes(30, 40)[:3],), room=3),
    MaskCase("more rows than threads", ((60, 80),), (_grid(60, 80, 300, 9),), room=300),
    MaskCase("rows for twice as many", ((60, 80),), (_grid(60, 80, 257, 5),), room=600),
    MaskCase(
        "sides round the sizes of words and tiles",
        ((140, 140),),
        (tuple((3, 5, 3 + w, 5 + h) for w in SIDES for h in (1, 31, 32, 33)),),
        room=28,
    ),
)

BORDER = _case("few values", (128, 128), (100, 64), protos_mhw=(1, 32, 32), few_values=True)

LARGE = MaskCase(
    "large",
    ((1200, 2000),),
    (((10, 20, 1990, 1190), (1500, 900, 2000, 1200), (3.2, 4.7, 90.1, 100.5)),),
    input_hw=(640, 640),
    protos_mhw=(8, 160, 160),
)
