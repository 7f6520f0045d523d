"""Where training examples come from: a user's images, or scenes that are drawn; both give any example at any time."""

from dataclasses import replace
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from y12.errors import DatasetError, OptionsError
from y12.exporter.train.examples.augment import Fitted, augmented, plain
from y12.exporter.train.examples.example import Example, reduced_mask
from y12.exporter.train.examples.options import COCO_FLIP, UNCHANGED, AugmentOptions
from y12.exporter.train.examples.user import TrainingData
from y12.exporter.train.scenes.forms import CLASS_NAMES
from y12.exporter.train.scenes.scene import draw_scene
from y12.runtime.preprocess.images import image_from
from y12.runtime.preprocess.letterbox import Letterbox, letterbox

__all__ = [
    "CACHE_BYTES",
    "DRAWS",
    "STRIDE",
    "ShapesSource",
    "Source",
    "UserSource",
    "check_side",
    "drawn_example",
    "permutation",
]

CACHE_BYTES = 256 << 20  # a thousand images at 320 pixels, 280 at 640
STRIDE = 32  # of the networks' coarsest grid: pictures' sides are multiples of it
_LARGEST_SIDE = 4096
_ORDER, DRAWS = 0, 1  # what a random generator is for: its seed differs


class Source(Protocol):
    """What a training set is made of.

    Attributes:
        names: the class names, by class id.
        imgsz: side of the examples' images, in pixels.
        masks, points, oriented: what the labels tell, as in `TrainingData`.
        notes: what a reader of the run's report has to know of the data.
    """

    names: tuple[str, ...]
    imgsz: int
    masks: bool
    points: int | None
    oriented: bool
    notes: tuple[str, ...]

    def __len__(self) -> int:
        """Return the images of an epoch."""

    def example(self, seed: int, epoch: int, position: int) -> Example:
        """Return the example at a position, 0 or more, of an epoch: a pure function of its arguments."""


class ShapesSource:
    """Drawn scenes; each is shown once only, an "epoch" is a number of them.

    Args:
        images_per_epoch: that number.
        imgsz: side of the scenes, in pixels.

    Raises:
        OptionsError: one of these is out of range.
    """

    names: tuple[str, ...] = CLASS_NAMES
    masks = True
    points: int | None = None
    oriented = False
    notes: tuple[str, ...] = ("the images are drawn scenes of shapes",)

    def __init__(self, images_per_epoch: int, imgsz: int) -> None:
        if images_per_epoch < 1:
            raise OptionsError(f"images_per_epoch: expected 1 or more, found {images_per_epoch}")
        check_side(imgsz, smallest=64)
        self.imgsz, self._count = imgsz, images_per_epoch

    def __len__(self) -> int:
        return self._count

    def example(self, seed: int, epoch: int, position: int) -> Example:
        """Return a scene that no other epoch has; positions from the epoch's images on show its first scenes again."""
        return drawn_example(seed, epoch * self._count + position % self._count, self.imgsz)


def drawn_example(seed: int, index: int, side: int) -> Example:
    """Return a scene as training is given it; see `draw_scene`."""
    drawn = draw_scene(seed, index, side)
    return Example(drawn.image, drawn.labels, drawn.boxes, reduced_mask(drawn.masks))


class UserSource:
    """A user's images in an order of each epoch's own, varied.

    Args:
        data: the images and their labels.
        imgsz: side of the examples' images, in pixels, a multiple of 32.
        options: how much to vary; None shows each image as inference would see it.
        mosaic_epochs: from this epoch on there are no mosaics; None: there always may be.
        cache_bytes: memory for fitted images, of each process that reads.

    Raises:
        OptionsError: an option is out of range, or does not fit the data.
    """

    def __init__(
        self,
        data: TrainingData,
        imgsz: int,
        options: AugmentOptions | None = None,
        *,
        mosaic_epochs: int | None = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        check_side(imgsz, smallest=STRIDE)
        self.names, self.masks, self.points, self.oriented = data.names, data.masks, data.points, data.oriented
        self.imgsz = imgsz
        self._data = data
        self._options, mirroring = _mirroring(data, options or UNCHANGED)
        self._mosaic_epochs = mosaic_epochs
        self._cache: dict[int, NDArray[np.uint8]] = {}
        self._cache_left = cache_bytes
        self.notes = (*data.notes, *mirroring, *self._own_notes())

    def __len__(self) -> int:
        return len(self._data.paths)

    def example(self, seed: int, epoch: int, position: int) -> Example:
        """Return an example; positions from the epoch's images on show its first images again, varied otherwise.

        Raises:
            InputError, DatasetError: an image can no longer be read, or has changed its size since it was checked.
        """
        order = permutation(seed, epoch, len(self))
        first = int(order[position % len(order)])
        options = self._options
        if options == UNCHANGED:
            return plain(self._fitted(first))
        rng = np.random.default_rng([seed, epoch, position, DRAWS])
        if self._mosaic_epochs is not None and epoch >= self._mosaic_epochs:
            options = replace(options, mosaic=0)
        chosen = [first]
        if rng.random() < options.mosaic:
            chosen += rng.integers(len(order), size=3).tolist()
        return augmented([self._fitted(i) for i in chosen], options, rng)

    def _fitted(self, i: int) -> Fitted:
        """Decode and resize an image as inference does, or take it from the cache."""
        objects = self._data.objects[i]
        frame = Letterbox.fit(objects.image_hw, (self.imgsz, self.imgsz))
        image = self._cache.get(i)
        if image is None:
            image = self._decoded(i, frame)
            if image.nbytes <= self._cache_left:  # images come in random order: which ones are kept makes no difference
                self._cache[i] = image
                self._cache_left -= image.nbytes
        return Fitted(image, frame, objects)

    def _decoded(self, i: int, frame: Letterbox) -> NDArray[np.uint8]:
        path = self._data.paths[i]
        bgr = image_from(path, self._data.bits)
        if bgr.shape[:2] != frame.image_hw:
            height, width = frame.image_hw
            raise DatasetError(
                f"{path}: expected {width}x{height} pixels, as when training started, "
                f"found {bgr.shape[1]}x{bgr.shape[0]}: the file was changed"
            )
        padded, _ = letterbox(bgr, frame.input_hw)
        height, width = frame.resized_hw
        inside = padded[frame.top : frame.top + height, frame.left : frame.left + width]
        return np.ascontiguousarray(inside[:, :, ::-1])

    def _own_notes(self) -> list[str]:
        notes = []
        if small := sum(self._too_small(i) for i in range(len(self))):
            notes.append(f"{small} objects are less than 2 pixels wide or high at imgsz {self.imgsz}: not trained on")
        return notes

    def _too_small(self, i: int) -> int:
        """Count the objects of an image that are too small to be labelled where it is not enlarged."""
        objects = self._data.objects[i]
        scale = min(self.imgsz / objects.image_hw[0], self.imgsz / objects.image_hw[1])
        sides = objects.boxes[:, 2:] - objects.boxes[:, :2]
        return int((sides.min(1, initial=np.inf) * scale < 2).sum())


def _mirroring(data: TrainingData, options: AugmentOptions) -> tuple[AugmentOptions, list[str]]:
    """Return the options with which point each keypoint becomes in a mirrored picture, and what is to be told of it."""
    if not options.flip or not data.points or options.flips(data.points) is not None:
        return options, []
    if data.flip_idx is not None:
        return replace(options, flip_indices=data.flip_idx), []
    if data.names == ("person",) and data.points == len(COCO_FLIP):
        note = "there is no flip_idx: the points of persons are taken for COCO's when images are mirrored"
        return replace(options, flip_indices=COCO_FLIP), [note]
    note = f"images are not mirrored: which of the {data.points} keypoints become each other is not known (flip_idx)"
    return replace(options, flip=0), [note]


@lru_cache(maxsize=4)
def permutation(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """Return the order (count,) in which an epoch shows its images."""
    order = np.random.default_rng([seed, epoch, _ORDER]).permutation(count)
    order.setflags(write=False)  # it is shared by all who ask
    return order


def check_side(imgsz: int, smallest: int) -> None:
    """Refuse a picture's side that the networks cannot take.

    Raises:
        OptionsError: it is out of range.
    """
    if not smallest <= imgsz <= _LARGEST_SIDE or imgsz % STRIDE:
        raise OptionsError(
            f"imgsz: expected {smallest} to {_LARGEST_SIDE} pixels, a multiple of {STRIDE}, found {imgsz}"
        )
