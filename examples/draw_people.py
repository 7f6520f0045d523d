"""Draw a small data set of persons and their faces: `python examples/draw_people.py FOLDER [--images 64] [--side 192]`.

What the tutorial "From nothing to an engine" (docs/training.md) trains on where there are no photographs of your own:
FOLDER gets images/{train,val}, labels/{train,val} in YOLO's form (class, then centre x, centre y, width and height as
shares of the image) and a data.yaml with the classes person and face. A person is a body with a head on it, its box
holds both; the face's box lies within it. One in eight images shows nobody.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

NAMES = ("person", "face")
Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels


def person(draw: ImageDraw.ImageDraw, rng: np.random.Generator, side: int) -> tuple[Box, Box]:
    """Draw a person somewhere, and return the boxes of the whole and of the face."""
    height = rng.uniform(0.35, 0.9) * side
    width, head = height * rng.uniform(0.3, 0.45), height * rng.uniform(0.16, 0.22)
    left, top = rng.uniform(0, side - width), rng.uniform(0, side - height)
    right, bottom, middle = left + width, top + height, left + width / 2
    clothes, skin = (tuple(int(v) for v in rng.integers(low, high, 3)) for low, high in ((20, 200), (140, 240)))
    shoulders = top + head
    draw.rounded_rectangle((left, shoulders, right, top + height * 0.6), width / 4, fill=clothes)
    for leg in (left + width * 0.15, left + width * 0.55):
        draw.rectangle((leg, top + height * 0.55, leg + width * 0.3, bottom), fill=tuple(v // 2 for v in clothes))
    face = (middle - head / 2, top, middle + head / 2, top + head)
    draw.ellipse(face, fill=skin)
    for eye in (middle - head / 5, middle + head / 5):
        draw.ellipse((eye - head / 14, top + head * 0.4, eye + head / 14, top + head * 0.54), fill=(10, 10, 10))
    draw.arc((middle - head / 4, top + head * 0.5, middle + head / 4, top + head * 0.85), 20, 160, fill=(120, 20, 20))
    return (left, top, right, bottom), face


def picture(rng: np.random.Generator, side: int) -> tuple[Image.Image, list[tuple[int, Box]]]:
    """Return a picture of nobody to three persons before noise, and (class, box) of what it shows."""
    low = rng.integers(60, 220, (6, 6, 3), dtype=np.uint8)
    image = Image.fromarray(low).resize((side, side), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    count = 0 if rng.random() < 1 / 8 else int(rng.integers(1, 4))
    boxes = [box for _ in range(count) for box in enumerate(person(draw, rng, side))]
    noise = rng.normal(0, 6, (side, side, 3))
    return Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8)), boxes


def label(class_id: int, box: Box, side: int) -> str:
    """Return a label line."""
    left, top, right, bottom = (v / side for v in box)
    return f"{class_id} {(left + right) / 2:.6f} {(top + bottom) / 2:.6f} {right - left:.6f} {bottom - top:.6f}"


def main() -> None:
    """Draw the two parts of the data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=64, help="to train on; a quarter as many to measure on")
    parser.add_argument("--side", type=int, default=192, help="of an image, in pixels")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    for part, count in (("train", asked.images), ("val", max(asked.images // 4, 1))):
        rng = np.random.default_rng([asked.seed, part == "val"])
        for kind in ("images", "labels"):
            (asked.folder / kind / part).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            image, boxes = picture(rng, asked.side)
            image.save(asked.folder / "images" / part / f"{index:06d}.png")
            lines = [label(class_id, box, asked.side) for class_id, box in boxes]
            (asked.folder / "labels" / part / f"{index:06d}.txt").write_text("".join(f"{line}\n" for line in lines))
    names = "".join(f"  {i}: {name}\n" for i, name in enumerate(NAMES))
    (asked.folder / "data.yaml").write_text(f"path: .\ntrain: images/train\nval: images/val\nnames:\n{names}")


if __name__ == "__main__":
    main()
