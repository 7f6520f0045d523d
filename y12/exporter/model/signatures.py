"""The modules a model YAML can name: their arguments and what they make of channels and strides. No torch here.

A new module is an entry here and its class in `y12.exporter.model.build.MODULES`; the parser does not change.
"""

from typing import Any

from y12.exporter.model import head_problems, problems
from y12.exporter.model.signature import Arg, Signature
from y12.runtime.artefact.manifest import LOCALISATIONS

_C2 = Arg("c2", int)
_NC = Arg("nc", int)
_MASKS, _HIDDEN = Arg("masks", int, 32, maximum=256), Arg("hidden", int, 256)
_DEPTHWISE = Arg("depthwise", bool, True)
_NUMBER = (int, float)
# Of a distance's distribution, 1 where there is none; and whether there are branches that predict each object once.
_BRANCHES = (Arg("bins", int, 16, maximum=64), Arg("one_to_one", bool, False))
_SHORTCUT = Arg("shortcut", bool, False)
_C1 = Arg("c1", (int, type(None)), None)
_STEP = Arg("s", int, 1, maximum=2)
_AREA = Arg("area", (int, list), 1, maximum=problems.MAX_AREA)  # bands, or [rows, columns] of a grid
_NUM_HEADS = Arg("num_heads", (int, type(None)), None, maximum=512)
_OWN_AREA = Arg("area", (int, list, type(None)), None, maximum=problems.MAX_AREA)  # null: the finest grid, up to 4x4
_MLP_RATIO = Arg("mlp_ratio", _NUMBER, 2.0, minimum=0.1, maximum=16)
_HYBRID = (  # what the rows of hybrid heads end in
    Arg("localisation", str, "distances", choices=LOCALISATIONS),
    Arg("kernels", (list, type(None)), None),
    Arg("iou_loss", str, "ciou", choices=("giou", "diou", "ciou")),
    Arg("anchors", (list, type(None)), None),
)


def _with_input(args: list[Any]) -> tuple[list[Any], dict[str, Any]]:
    """Read [c1, c2] beside [c2, ...]: a second number that is no stride is the output, the first then the input."""
    two = len(args) >= 2 and all(type(value) is int for value in args[:2])
    if two and (args[0] == args[1] or args[1] > 2):
        return [args[1], *args[2:]], {"c1": args[0]}
    return args, {}


def _with_residual(args: list[Any]) -> tuple[list[Any], dict[str, Any]]:
    """Read [c2, residual], and in its place a stride, as files of before y12 0.2 have it."""
    args, named = _with_input(args)
    if len(args) == 2 and type(args[1]) is int:
        return args[:1], {**named, "s": args[1]}
    return args, named


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
        problem=problems.conv_problem,
    ),
    "C2f": Signature((_C2, _SHORTCUT), repeats="inner"),
    "C2fCIB": Signature((_C2, _SHORTCUT, Arg("wide", bool, False)), repeats="inner"),
    "SCDown": Signature(
        (_C2, Arg("k", int, 3, maximum=63), Arg("s", int, 2, maximum=8)),
        stride=lambda args: int(args["s"]),
        problem=problems.scdown_problem,
    ),
    "C3k2": Signature(
        (_C2, Arg("c3k", bool, False), Arg("e", _NUMBER, 0.5, minimum=0.01, maximum=4), Arg("attn", bool, False)),
        repeats="inner",
        problem=problems.csp_problem,
    ),
    "A2C2f": Signature(
        (
            _C2,
            Arg("a2", bool, True),
            _AREA,
            Arg("residual", bool, False),
            _MLP_RATIO,
            Arg("layout", str, "turbo", choices=("turbo", "v1")),
        ),
        repeats="inner",
        problem=problems.a2c2f_problem,
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
    "SPPF": Signature(
        (_C2, Arg("k", int, 5, maximum=63), Arg("n", int, 3, maximum=16), _SHORTCUT), problem=problems.sppf_problem
    ),
    "C2PSA": Signature((_C2,), repeats="inner", problem=problems.c2psa_problem),
    "PSA": Signature((_C2,), problem=problems.c2psa_problem),
    "RELAN": Signature(
        (_C2, Arg("residual", bool, True), _STEP, _C1),
        repeats="inner",
        widths=("c2", "c1"),
        stride=lambda args: int(args["s"]),
        arranged=_with_residual,
        problem=problems.given_input_problem,
    ),
    "SepConv7x7": Signature(
        (_C2, _STEP, _C1),
        widths=("c2", "c1"),
        stride=lambda args: int(args["s"]),
        arranged=_with_input,
        problem=problems.given_input_problem,
    ),
    "AreaAttn": Signature(
        (_C2, _OWN_AREA, _NUM_HEADS, _MLP_RATIO),
        repeats="inner",
        problem=problems.area_problem,
    ),
    "UpConv": Signature((_C2,), repeats="once", stride=lambda _args: 0.5),
    "PatchEmbed": Signature(
        (_C2, Arg("patch_size", int, 4, choices=(2, 4, 8, 16, 32))),
        repeats="once",
        stride=lambda args: int(args["patch_size"]),
    ),
    "TransformerStage": Signature(
        (_C2, _NUM_HEADS, _AREA, _MLP_RATIO, _STEP),
        repeats="inner",
        stride=lambda args: int(args["s"]),
        problem=problems.area_problem,
    ),
    "SpatialAttn": Signature((_C2, _NUM_HEADS, _AREA), problem=problems.area_problem),
    "ChannelAttn": Signature((Arg("ratio", int, 16),), widths=()),
    "Aggregate": Signature(
        (_C2, Arg("method", str, "attention", choices=("attention", "concat", "sum")), _NUM_HEADS),
        repeats="once",
        many=True,
        problem=problems.aggregate_problem,
    ),
    "Detect": Signature((_NC, _DEPTHWISE, *_BRANCHES), many=True, widths=(), head="detect"),
    "BitDetect": Signature((_NC, _DEPTHWISE), many=True, widths=(), head="detect", bit=True),
    "Segment": Signature(
        (_NC, _MASKS, _HIDDEN, _DEPTHWISE, *_BRANCHES, Arg("fused", bool, False)),
        many=True,
        widths=("hidden",),
        head="segment",
        problem=head_problems.fused_problem,
    ),
    "AnchorDetect": Signature(
        (_NC, Arg("anchors", list)), many=True, widths=(), head="detect", problem=head_problems.anchor_problem
    ),
    "HybridDetect": Signature(
        (_NC, *_HYBRID), many=True, widths=(), head="detect", problem=head_problems.hybrid_problem
    ),
    "HybridSegment": Signature(
        (_NC, _MASKS, _HIDDEN, *_HYBRID),
        many=True,
        widths=("hidden",),
        head="segment",
        problem=head_problems.hybrid_problem,
    ),
    "Pose": Signature(
        (_NC, Arg("kpt_shape", list), _DEPTHWISE), many=True, widths=(), head="pose", problem=problems.keypoint_problem
    ),
    "OBB": Signature((_NC, Arg("angles", int, 1, choices=(1,)), _DEPTHWISE), many=True, widths=(), head="obb"),
    "Classify": Signature((_NC,), widths=(), head="classify"),
    "MultiTask": Signature(
        (_NC, _MASKS, _HIDDEN, Arg("kpt_shape", (list, type(None)), None)),
        many=True,
        widths=("hidden",),
        head="multitask",
        problem=problems.keypoint_problem,
    ),
}

# What only y12's own networks have: a YAML with one of them follows their rule of scaling where it names none.
DESIGN_MODULES = frozenset(
    {"RELAN", "SepConv7x7", "AreaAttn", "BitDetect", "PatchEmbed", "UpConv", "TransformerStage", "SpatialAttn"}
    | {"ChannelAttn", "Aggregate", "HybridDetect", "HybridSegment"}
)
