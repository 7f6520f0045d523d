"""Images to train a classifier on: a folder for each class; an example has one label, and a box about all of it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from y12.errors import DatasetError
from y12.exporter.data.data_yaml import read_data_yaml
from y12.exporter.data.sizes import Progress, checked_sizes
from y12.exporter.data.splits import class_folder
from y12.exporter.evaluate.classification import class_tree
from y12.exporter.train.examples.augment import recoloured
from y12.exporter.train.examples.example import Example
from y12.exporter.train.examples.options import UNCHANGED, AugmentOptions, DataOptions
from y12.exporter.train.examples.sources import DRAWS, STRIDE, check_side, permutation
from y12.runtime.preprocess.crop import centre_crop
from y12.runtime.preprocess.images import image_from
from y12.text import is_text, shown

__all__ = ["ClassFolders", "ClassSource", "class_folders"]


@dataclass(frozen=True)
class ClassFolders:
    """Images by class.

    Attributes:
        origin: the folder or the data.yaml.
        names: the class names, by class id: those of the data.yaml, or of the folders in their order.
        paths: the images.
        labels: the class of each.
        notes: what a reader has to know.
        bits: how many bits 16-bit images hold; None goes by each file.
    """

    origin: Path
    names: tuple[str, ...]
    paths: tuple[Path, ...]
    labels: tuple[int, ...]
    notes: tuple[str, ...] = ()
    bits: int | None = None


def class_folders(data: Path, options: DataOptions | None = None, progress: Progress | None = None) -> ClassFolders:
    """Find the images to train a classifier on, and check them.

    Args:
        data: a folder with `train/`, or with the classes' folders themselves; or a data.yaml whose `train` is that.
        options: how to read it; `images` is not used.
        progress: told how many images are checked.

    Raises:
        DatasetError: there are no images, or some cannot be read.
    """
    options = options or DataOptions()
    split: str | None = options.split or "train"
    if data.suffix.lower() in (".yaml", ".yml"):
        names = read_data_yaml(data).names
    else:
        inside = class_folder(data, split)
        if not inside.is_dir():
            if options.split is not None or class_folder(data, "val").is_dir():
                raise DatasetError(f"{data}: expected the classes' folders in {inside}, found no such folder")
            inside, split = data, None
        names = tuple(sorted(path.name for path in inside.iterdir() if path.is_dir())) if inside.is_dir() else ()
    wrong = [name for name in names if not is_text(name)]
    if wrong:
        raise DatasetError(f"{data}: expected folders whose names are UTF-8, found {shown(wrong[0])}: rename it")
    tree = class_tree(data, split, names)
    checked_sizes(tree.samples, data, decode=options.check == "decode", progress=progress, bits=options.bits)
    empty = [name for i, name in enumerate(names) if i not in set(tree.labels)]
    notes = (f"{len(empty)} of {len(names)} classes have no images, {empty[0]!r:.60} among them",) if empty else ()
    return ClassFolders(data, names, tuple(sample.path for sample in tree.samples), tree.labels, notes, options.bits)


class ClassSource:
    """A classifier's images in an order of each epoch's own, varied.

    Of `AugmentOptions`, `scale` is how much of the centre's side is cut away at most, anywhere; `flip`, `hue`,
    `saturation` and `brightness` are as told there; the others are for boxes and not used.

    Args:
        data: the images and their labels.
        imgsz: side of the examples' images, in pixels, a multiple of 32.
        options: how much to vary; None shows each image as inference would see it.

    Raises:
        OptionsError: the side is out of range.
    """

    masks = False
    points: int | None = None
    oriented = False

    def __init__(self, data: ClassFolders, imgsz: int, options: AugmentOptions | None = None) -> None:
        check_side(imgsz, smallest=STRIDE)
        self.names, self.notes, self.imgsz = data.names, data.notes, imgsz
        self._data, self._options = data, options or UNCHANGED

    def __len__(self) -> int:
        return len(self._data.paths)

    def example(self, seed: int, epoch: int, position: int) -> Example:
        """Return an example; positions from the epoch's images on show its first images again, varied otherwise.

        Raises:
            InputError: an image can no longer be read.
        """
        order = permutation(seed, epoch, len(self))
        i = int(order[position % len(order)])
        rgb = np.ascontiguousarray(image_from(self._data.paths[i], self._data.bits)[:, :, ::-1])
        picture, frame = centre_crop(rgb, (self.imgsz, self.imgsz))  # channels do not mix
        if self._options != UNCHANGED:
            rng = np.random.default_rng([seed, epoch, position, DRAWS])
            picture = self._varied(rgb, frame.region_xyxy, rng)
        box = np.array([[0, 0, self.imgsz, self.imgsz]], np.float32)
        return Example(np.ascontiguousarray(picture), np.array([self._data.labels[i]], np.int64), box)

    def _varied(
        self, rgb: NDArray[np.uint8], region: tuple[float, float, float, float], rng: np.random.Generator
    ) -> NDArray[np.uint8]:
        """Resize a part of the region that inference sees, as `centre_crop` does; mirror and recolour it."""
        from PIL import Image

        left, top, right, bottom = region
        share = 1 - rng.uniform(0, self._options.scale)
        width, height = (right - left) * share, (bottom - top) * share
        x, y = left + rng.random() * (right - left - width), top + rng.random() * (bottom - top - height)
        resized = Image.fromarray(rgb).resize(
            (self.imgsz, self.imgsz), Image.Resampling.BILINEAR, box=(x, y, x + width, y + height)
        )
        picture = np.asarray(resized, dtype=np.uint8)
        if rng.random() < self._options.flip:
            picture = picture[:, ::-1]
        colours = torch.from_numpy(picture.transpose(2, 0, 1)[None].astype(np.float32)).div_(255)
        changed = recoloured(colours, self._options, rng)
        return changed[0].permute(1, 2, 0).mul(255).round_().to(torch.uint8).numpy()
