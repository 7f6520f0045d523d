"""The worst images twice: what is labelled, and what is found; for the page, and as a sheet of their own."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from y12.exporter.data.rle import decoded
from y12.exporter.evaluate.coco import Result
from y12.exporter.evaluate.study import Study, WorstImage
from y12.runtime.preprocess.images import image_from
from y12.runtime.results.detections import Detections
from y12.runtime.results.draw import annotated
from y12.runtime.results.fonts import font_for
from y12.runtime.results.masks import Masks
from y12.text import visible

__all__ = ["Pair", "pairs_of", "sheet_png", "words_for"]

_SIDE = 480  # pixels of an image on the page at most
_QUALITY = 80
_CELL_WH, _LINE = (320, 240), 22  # of the sheet
_ACROSS = 2  # pairs


@dataclass(frozen=True)
class Pair:
    """One image: its name, what is wrong with it in words, and twice as JPEG."""

    name: str
    words: str
    labelled: bytes
    found: bytes


def pairs_of(study: Study) -> tuple[Pair, ...]:
    """Draw the worst images that are at hand.

    Raises:
        InputError: an image cannot be read any more.
    """
    return tuple(_pair(image, study.names, study.bits) for image in study.worst if image.path is not None)


def words_for(image: WorstImage, names: Sequence[str]) -> str:
    """Say what is wrong with an image."""
    one = image.mistakes
    if image.labels and "bbox" not in image.labels[0] and "segmentation" not in image.labels[0] and image.found:
        found = image.found[0]
        taken, label = visible(names[found["category_id"]], 60), visible(names[image.labels[0]["category_id"]], 60)
        return f"labelled {label}, found {taken} {found['score']:.2f}"
    parts = {"missed": one.missed, "without a label": one.extra, "as another class": one.confused}
    wrong = ", ".join(f"{count} {words}" for words, count in parts.items() if count)
    return f"{wrong}; {one.right} right; F1 {one.f1:.2f}"


def sheet_png(pairs: Sequence[Pair]) -> bytes:
    """Return the pairs below each other, the labels left and what is found right, as PNG."""
    from PIL import Image, ImageDraw

    wide, high = _CELL_WH
    rows = -(-len(pairs) // _ACROSS)
    sheet = Image.new("RGB", (min(len(pairs), _ACROSS) * 2 * wide, rows * (high + _LINE) + _LINE), "white")
    draw = ImageDraw.Draw(sheet)
    title = "the worst images: labels left, what is found right"
    draw.text((4, 4), title, fill="#64748b", font=font_for(title, 12))
    for i, pair in enumerate(pairs):
        left, top = i % _ACROSS * 2 * wide, _LINE + i // _ACROSS * (high + _LINE)
        name = visible(pair.name, 24)
        draw.text((left + 4, top + 4), f"{name}: {visible(pair.words, 80)}", fill="#1f2933", font=font_for(name, 12))
        for k, jpeg in enumerate((pair.labelled, pair.found)):
            with Image.open(io.BytesIO(jpeg)) as picture:
                picture.thumbnail((wide - 4, high - 4))
                sheet.paste(picture, (left + k * wide + 2, top + _LINE))
    with io.BytesIO() as file:
        sheet.save(file, "PNG")
        return file.getvalue()


def _pair(image: WorstImage, names: tuple[str, ...], bits: int | None) -> Pair:
    assert image.path is not None
    pixels = image_from(image.path, bits)
    hw = (pixels.shape[0], pixels.shape[1])
    labelled, found = (_jpeg(annotated(pixels, _objects(each, names, hw))) for each in (image.labels, image.found))
    return Pair(image.name, words_for(image, names), labelled, found)


def _jpeg(image_bgr: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(image_bgr[..., ::-1]))
    picture.thumbnail((_SIDE, _SIDE))  # never larger than it was
    with io.BytesIO() as file:
        picture.save(file, "JPEG", quality=_QUALITY, subsampling=0)  # subsampling would blur thin coloured lines
        return file.getvalue()


def _objects(entries: Sequence[Result], names: tuple[str, ...], image_hw: tuple[int, int]) -> Detections:
    """Return COCO's entries, or a classifier's classes, as they are drawn, the best first."""
    entries = sorted(entries, key=lambda entry: -entry.get("score", 0.0))
    height, width = image_hw
    masks = [_bitmap(entry, image_hw) for entry in entries]
    whole = bool(entries) and "bbox" not in entries[0] and masks[0] is None
    boxes = [_box(entry, mask, image_hw) for entry, mask in zip(entries, masks, strict=True)]
    return Detections(
        xyxy=np.array(boxes, np.float32).reshape(-1, 4),
        confidence=np.array([entry.get("score", np.nan) for entry in entries], np.float32),
        class_id=np.array([entry["category_id"] for entry in entries], np.int64),
        names=names,
        image_hw=(height, width),
        masks=_masks(masks),
        keypoints=_rows(entries, "keypoints", (-1, 3)),
        xywhr=_rows(entries, "xywhr", (5,)),
        whole_image=whole,
    )


def _bitmap(entry: Result, image_hw: tuple[int, int]) -> NDArray[np.bool_] | None:
    """Return the mask of an entry, (H, W); None where it has none."""
    outline: Any = entry.get("segmentation")
    if not outline:
        return None
    from pycocotools import mask

    if isinstance(outline, list):
        outline = mask.merge(mask.frPyObjects(outline, *image_hw))
    elif isinstance(outline["counts"], list):
        outline = mask.frPyObjects(outline, *image_hw)
    return decoded(outline).astype(np.bool_)


def _box(entry: Result, bitmap: NDArray[np.bool_] | None, image_hw: tuple[int, int]) -> tuple[float, ...]:
    """Return left, top, right and bottom; of a whole image its edges."""
    if "bbox" in entry:
        left, top, width, height = entry["bbox"]
        return left, top, left + width, top + height
    if bitmap is None:
        return 0.0, 0.0, float(image_hw[1]), float(image_hw[0])
    rows, columns = np.flatnonzero(bitmap.any(axis=1)), np.flatnonzero(bitmap.any(axis=0))
    if not rows.size:
        return 0.0, 0.0, 0.0, 0.0
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def _masks(bitmaps: Sequence[NDArray[np.bool_] | None]) -> Masks | None:
    """Return the masks, where every object has one."""
    there = [bitmap for bitmap in bitmaps if bitmap is not None]
    return Masks.from_bitmaps(np.stack(there)) if there and len(there) == len(bitmaps) else None


def _rows(entries: Sequence[Result], key: str, shape: tuple[int, ...]) -> NDArray[np.float32] | None:
    """Return a column of arrays, where every object has one."""
    if not entries or not all(key in entry for entry in entries):
        return None
    return np.array([np.reshape(entry[key], shape) for entry in entries], np.float32)
