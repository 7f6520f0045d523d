"""How objects look when they are drawn: colours, and which keypoints are joined."""

import colorsys

__all__ = [
    "MASK_OPACITY",
    "SKELETONS",
    "VISIBLE",
    "Rgb",
    "class_colour",
    "edges_by_colour",
    "side_colour",
    "text_colour",
    "thickness_for",
]

Rgb = tuple[int, int, int]
_GOLDEN_RATIO = 0.618034  # steps of it round the colour circle never come close to an earlier one
_DARK, _LIGHT = (0, 0, 0), (255, 255, 255)
_LEFT, _RIGHT = (255, 200, 0), (0, 170, 255)  # of a body: yellow and blue, which the colour-blind tell apart too
MASK_OPACITY = 0.45
VISIBLE = 0.5  # keypoints with a lower visibility are not drawn
# COCO's person: which of the 17 keypoints are joined, counted from 0 (nose, eyes, ears, shoulders, … ankles).
_PERSON = (
    *((15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8)),
    *((7, 9), (8, 10), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6)),
)
SKELETONS = {17: _PERSON}  # by the number of keypoints; others are drawn as points only


def class_colour(class_id: int) -> Rgb:
    """Return the RGB colour of a class, the same in every image."""
    red, green, blue = colorsys.hsv_to_rgb(class_id * _GOLDEN_RATIO % 1.0, 0.85, 0.95)
    return round(red * 255), round(green * 255), round(blue * 255)


def text_colour(background: Rgb) -> Rgb:
    """Return black or white, whichever is read more easily on `background` (ITU-R BT.601 luma)."""
    red, green, blue = background
    return _DARK if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else _LIGHT


def side_colour(points: tuple[int, ...], count: int, middle: Rgb) -> Rgb:
    """Return the colour of a keypoint, or of a line between two, of `count`: `middle` where it is of no one side.

    COCO's person has odd points on its left, and even ones but the nose on its right.
    """
    if count not in SKELETONS or 0 in points or len({point % 2 for point in points}) > 1:
        return middle
    return _LEFT if points[0] % 2 else _RIGHT


def edges_by_colour(count: int, middle: Rgb) -> dict[Rgb, list[tuple[int, int]]]:
    """Return which of `count` keypoints are joined, by the lines' colour, in the order in which they are drawn."""
    edges: dict[Rgb, list[tuple[int, int]]] = {}
    for edge in SKELETONS.get(count, ()):
        edges.setdefault(side_colour(edge, count, middle), []).append(edge)
    return edges


def thickness_for(side: int) -> int:
    """Return the lines' thickness for an image's longest side, in pixels."""
    return max(1, round(side / 400))
