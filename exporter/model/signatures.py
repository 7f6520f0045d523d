"""The modules a model YAML can name: their arguments and what they make of channels and strides. No torch here.

A new module is an entry here and its class in `exporter.model.build.MODULES`; the parser does not change.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from exporter.model.shown import shown
from runtime.manifest import MAX_KEYPOINTS

MAX_CHANNELS = 16384

ArgType = type | tuple[type, ...]


@dataclass(frozen=True)
class Arg:
    """One argument of a module: its name, the types it may have, and the default (`...`: it must be given).

    A number lies from `minimum` to `maximum`; `choices` lists all values where there are few.
    """

    name: str
    types: ArgType
    default: Any = ...
    choices: tuple[Any, ...] = ()
    minimum: float = 1
    maximum: float = MAX_CHANNELS


@dataclass(frozen=True)
class Signature:
    """How a row `[from, repeats, module, args]` is to be read for one module.

    Attributes:
        args: the row's arguments, in order.
        repeats: "chain" puts `repeats` copies one after the other, "inner" hands the number to the module as `n`.
        many: whether `from` is a list of rows.
        widths: the args that are numbers of channels, scaled by width and max_channels; a module whose output
            channels are one of them, `c2`, can be repeated.
        stride: the factor by which the output map is smaller than the input (0.5: twice as large).
        head: the task the module is a head of; empty where it is no head.
        problem: given the input channels and the args, says what is wrong with them; empty where nothing is.
    """

    args: tuple[Arg, ...]
    repeats: Literal["chain", "inner"] = "chain"
    many: bool = False
    widths: tuple[str, ...] = ("c2",)
    stride: Callable[[Mapping[str, Any]], float] = lambda _args: 1
    head: str = ""
    problem: Callable[[int, Mapping[str, Any]], str] = lambda _c1, _args: ""

    @property
    def gives_c2(self) -> bool:
        """Whether the output has `c2` channels; else it has those of the inputs together, or is a head's."""
        return "c2" in self.widths


def _conv_problem(c1: int, args: Mapping[str, Any]) -> str:
    if c1 % args["g"] or args["c2"] % args["g"]:
        return f"Conv 'g' must divide its {c1} input and {args['c2']} output channels, found {args['g']}"
    k, s, p = args["k"], args["s"], args["k"] // 2 if args["p"] is None else args["p"]
    if not 2 * p < k <= 2 * p + s:
        return f"Conv must make its map exactly 's' times smaller: 2p < k <= 2p + s; found k {k}, s {s}, p {p}"
    return ""


def _csp_problem(_c1: int, args: Mapping[str, Any]) -> str:
    if int(args["c2"] * args["e"]) < 2:
        return f"C3k2 'e' must leave 2 or more of its {args['c2']} channels, found {args['e']}"
    return ""


def _a2c2f_problem(c1: int, args: Mapping[str, Any]) -> str:
    if args["a2"] and args["c2"] % 64:
        return f"A2C2f with attention needs 'c2' to be a multiple of 64 after scaling (heads of 32), found {args['c2']}"
    if args["a2"] and args["residual"] and c1 != args["c2"]:
        return f"A2C2f with a residual needs as many input as output channels, found {c1} and {args['c2']}"
    return ""


def _sppf_problem(_c1: int, args: Mapping[str, Any]) -> str:
    return "" if args["k"] % 2 else f"SPPF 'k' must be odd, so that its map keeps its size; found {args['k']}"


def _c2psa_problem(c1: int, args: Mapping[str, Any]) -> str:
    if args["c2"] % 128 or c1 != args["c2"]:
        return (
            "C2PSA needs as many input as output channels, a multiple of 128 after scaling (two halves, heads of 64); "
            f"found {c1} and {args['c2']}"
        )
    return ""


def _keypoint_problem(_c1: int, args: Mapping[str, Any]) -> str:
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


_C2 = Arg("c2", int)
_NC = Arg("nc", int)
_MASKS, _HIDDEN = Arg("masks", int, 32, maximum=256), Arg("hidden", int, 256)
_DEPTHWISE = Arg("depthwise", bool, True)
_NUMBER = (int, float)

SIGNATURES: dict[str, Signature] = {
    "Conv": Signature(
        (
            _C2,
            Arg("k", int, 1, maximum=63),
            Arg("s", int, 1, maximum=8),
            Arg("p", (int, type(None)), None, minimum=0, maximum=31),
            Arg("g", int, 1),
        ),
        stride=lambda args: int(args["s"]),
        problem=_conv_problem,
    ),
    "C2f": Signature((_C2, Arg("shortcut", bool, False)), repeats="inner"),
    "C3k2": Signature(
        (_C2, Arg("c3k", bool, False), Arg("e", _NUMBER, 0.5, minimum=0.01, maximum=4)),
        repeats="inner",
        problem=_csp_problem,
    ),
    "A2C2f": Signature(
        (
            _C2,
            Arg("a2", bool, True),
            Arg("area", int, 1, maximum=64),
            Arg("residual", bool, False),
            Arg("mlp_ratio", _NUMBER, 2.0, minimum=0.1, maximum=16),
            Arg("layout", str, "turbo", choices=("turbo", "v1")),
        ),
        repeats="inner",
        problem=_a2c2f_problem,
    ),
    "nn.Upsample": Signature(
        (
            Arg("size", type(None), None),
            Arg("scale_factor", int, 2, maximum=8),
            Arg("mode", str, "nearest", choices=("nearest",)),
        ),
        widths=(),
        stride=lambda args: 1 / args["scale_factor"],
    ),
    "Concat": Signature((Arg("dimension", int, 1, choices=(1,)),), many=True, widths=()),
    "SPPF": Signature((_C2, Arg("k", int, 5, maximum=63)), problem=_sppf_problem),
    "C2PSA": Signature((_C2,), repeats="inner", problem=_c2psa_problem),
    "Detect": Signature((_NC, _DEPTHWISE), many=True, widths=(), head="detect"),
    "Segment": Signature((_NC, _MASKS, _HIDDEN, _DEPTHWISE), many=True, widths=("hidden",), head="segment"),
    "Pose": Signature(
        (_NC, Arg("kpt_shape", list), _DEPTHWISE), many=True, widths=(), head="pose", problem=_keypoint_problem
    ),
    "OBB": Signature((_NC, Arg("angles", int, 1, choices=(1,)), _DEPTHWISE), many=True, widths=(), head="obb"),
    "Classify": Signature((_NC,), widths=(), head="classify"),
    "MultiTask": Signature(
        (_NC, _MASKS, _HIDDEN, Arg("kpt_shape", (list, type(None)), None)),
        many=True,
        widths=("hidden",),
        head="multitask",
        problem=_keypoint_problem,
    ),
}
