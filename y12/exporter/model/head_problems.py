"""What can be wrong with a head's row of a model YAML beyond the types of its arguments. No torch here.

Each function takes the channels of all inputs and the bound arguments, and gives what is wrong in words, or "".
"""

from collections.abc import Mapping
from typing import Any

from y12.text import shown

__all__ = ["anchor_problem", "fused_problem", "hybrid_problem"]

MAX_ANCHORS = 16  # of a level
MAX_SIDE = 65536  # pixels; no image is larger
MAX_KERNEL = 31


def anchor_problem(channels: tuple[int, ...], args: Mapping[str, Any]) -> str:
    """Refuse anchors that are not, for each map the head reads, as many [width, height] as for every other."""
    levels = args["anchors"]
    if not isinstance(levels, list | tuple) or len(levels) != len(channels):
        return f"'anchors' must be {len(channels)} lists of [width, height], one for each map, found {shown(levels)}"
    counts = [len(level) if isinstance(level, list | tuple) else 0 for level in levels]
    if len(set(counts)) != 1 or not 1 <= counts[0] <= MAX_ANCHORS:
        return (
            f"'anchors' must have as many [width, height] for each map, 1 to {MAX_ANCHORS}, found {counts} in "
            f"{shown(levels)}"
        )
    unfit = [anchor for level in levels for anchor in level if not _is_shape(anchor)]
    if unfit:
        return f"'anchors' must be [width, height] in pixels, above 0 and up to {MAX_SIDE}, found {shown(unfit[0])}"
    return ""


def hybrid_problem(channels: tuple[int, ...], args: Mapping[str, Any]) -> str:
    """Refuse kernels that do not fit the maps, and anchors that the localisation does not go with."""
    kernels = args["kernels"]
    if kernels is not None and (len(kernels) != len(channels) or not all(map(_is_kernel, kernels))):
        return (
            f"'kernels' must be an odd number from 1 to {MAX_KERNEL} for each of the {len(channels)} maps, or null, "
            f"found {shown(kernels)}"
        )
    if args["localisation"] == "anchors":
        return anchor_problem(channels, args)
    if args["anchors"] is not None:
        return f"'anchors' must be null where 'localisation' is {args['localisation']}, found {shown(args['anchors'])}"
    return ""


def _is_shape(anchor: object) -> bool:
    """Return whether something is two numbers that may be sides; NaN compares as false."""
    if not isinstance(anchor, list | tuple) or len(anchor) != 2:
        return False
    return all(type(side) in (int, float) and 0 < side <= MAX_SIDE for side in anchor)


def _is_kernel(size: object) -> bool:
    return type(size) is int and 1 <= size <= MAX_KERNEL and size % 2 == 1


def fused_problem(channels: tuple[int, ...], args: Mapping[str, Any]) -> str:
    """Refuse prototypes of all maps where there is one only."""
    if args["fused"] and len(channels) < 2:
        return "Segment with 'fused' makes its prototypes of all maps: it must read two or more, found one"
    return ""
