"""What can be wrong with a row of a model YAML beyond the types of its arguments. No torch here.

Each function takes the channels of all inputs and the bound arguments, and gives what is wrong in words, or "".
"""

from collections.abc import Mapping
from typing import Any

from y12.exporter.model.attention_heads import divisors
from y12.runtime.artefact.manifest import MAX_KEYPOINTS
from y12.text import shown

MAX_AREA = 64


def conv_problem(channels: tuple[int, ...], args: Mapping[str, Any]) -> str:
    """Refuse groups that do not divide the channels, and paddings that change the size."""
    c1 = channels[0]
    if c1 % args["g"] or args["c2"] % args["g"]:
        return f"Conv 'g' must divide its {c1} input and {args['c2']} output channels, found {args['g']}"
    k, s, p = args["k"], args["s"], args["k"] // 2 if args["p"] is None else args["p"]
    if not 2 * p < k <= 2 * p + s:
        return f"Conv must make its map exactly 's' times smaller: 2p < k <= 2p + s; found k {k}, s {s}, p {p}"
    return ""


def given_input_problem(channels: tuple[int, ...], args: Mapping[str, Any]) -> str:
    """Refuse a row's own number of input channels where the row before has another."""
    if args["c1"] in (None, channels[0]):
        return ""
    return f"'c1' is {args['c1']} after scaling, but the row it reads has {channels[0]} channels; leave it out"


def csp_problem(_channels: tuple[int, ...], args: Mapping[str, Any]) -> str:
    """Refuse a hidden part without channels, and one that the heads of its attention do not fit."""
    hidden = int(args["c2"] * args["e"])
    if hidden < 2:
        return f"C3k2 'e' must leave 2 or more of its {args['c2']} channels, found {args['e']}"
    if args["attn"] and hidden % 64:
        return (
            f"C3k2 with 'attn' needs 'c2' times 'e' to be a multiple of 64 after scaling (heads of 64), found {hidden}"
        )
    return ""


def scdown_problem(_channels: tuple[int, ...], args: Mapping[str, Any]) -> str:
    """Refuse kernels that change the size otherwise than by the stride."""
    k, s = args["k"], args["s"]
    if not 2 * (k // 2) < k <= 2 * (k // 2) + s:
        return f"SCDown must make its map exactly 's' times smaller: 'k' must be odd, found k {k}, s {s}"
    return ""


def a2c2f_problem(channels: tuple[int, ...], args: Mapping[str, Any]) -> str:
    """Refuse widths that the heads, or the residual, do not fit, and areas that are neither bands nor a grid."""
    c1 = channels[0]
    if args["a2"] and args["c2"] % 64:
        return f"A2C2f with attention needs 'c2' to be a multiple of 64 after scaling (heads of 32), found {args['c2']}"
    if args["a2"] and args["residual"] and c1 != args["c2"]:
        return f"A2C2f with a residual needs as many input as output channels, found {c1} and {args['c2']}"
    return _grid_problem(args["area"])


def sppf_problem(channels: tuple[int, ...], args: Mapping[str, Any]) -> str:
    """Refuse an even kernel, and a shortcut to another number of channels."""
    if args["k"] % 2 == 0:
        return f"SPPF 'k' must be odd, so that its map keeps its size; found {args['k']}"
    if args["shortcut"] and channels[0] != args["c2"]:
        return f"SPPF with a shortcut needs as many input as output channels, found {channels[0]} and {args['c2']}"
    return ""


def c2psa_problem(channels: tuple[int, ...], args: Mapping[str, Any]) -> str:
    """Refuse widths that the heads do not fit."""
    c1 = channels[0]
    if args["c2"] % 128 or c1 != args["c2"]:
        return (
            "C2PSA and PSA need as many input as output channels, a multiple of 128 after scaling (two halves, heads "
            f"of 64); found {c1} and {args['c2']}"
        )
    return ""


def keypoint_problem(_channels: tuple[int, ...], args: Mapping[str, Any]) -> str:
    """Refuse what is not [K, D]."""
    shape = args["kpt_shape"]
    if shape is None:
        return ""
    points, values = shape if len(shape) == 2 else (None, None)
    if type(points) is int and 1 <= points <= MAX_KEYPOINTS and type(values) is int and values in (2, 3):
        return ""
    return (
        f"kpt_shape must be [K, D], 1 to {MAX_KEYPOINTS} points of 2 values (x, y) or 3 (and visibility), "
        f"found {shown(shape)}"
    )


def area_problem(_channels: tuple[int, ...], args: Mapping[str, Any]) -> str:
    """Refuse heads that do not divide the channels, and areas that are neither bands nor a grid."""
    return _heads_problem(args["c2"], args["num_heads"]) or _grid_problem(args["area"])


def _heads_problem(c2: int, heads: int | None) -> str:
    if heads is None or c2 % heads == 0:
        return ""
    return f"'num_heads' must divide its {c2} channels: one of {divisors(c2)}; found {heads}"


def finest_grid(side: float) -> Any:
    """Return the finest grid of areas, up to 4x4, that divides a map of `side` cells a side."""
    count = next(n for n in (4, 2, 1) if side % n == 0 or n == 1)
    return (count, count) if count > 1 else 1


def _grid_problem(area: Any) -> str:
    if area is None:
        return ""
    grid = area if isinstance(area, list | tuple) else (area, 1)
    if len(grid) != 2 or not all(type(n) is int and 1 <= n <= MAX_AREA for n in grid):
        return f"'area' must be a number of bands or [rows, columns], each from 1 to {MAX_AREA}, found {shown(area)}"
    return ""


def aggregate_problem(channels: tuple[int, ...], args: Mapping[str, Any]) -> str:
    """Refuse a single input, and widths that the heads of its attention do not fit."""
    if len(channels) < 2:
        return "Aggregate needs two or more rows in 'from', found one"
    return _heads_problem(args["c2"], args["num_heads"]) if args["method"] == "attention" else ""
