"""Read the model YAML inside a published checkpoint.

Its rows leave out what the publishing parser adds by scale. All of that shows in the weights, so it is read off their
names and shapes and written into the rows; see `configs/models/` for rows that say everything.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from y12.errors import ModelSpecError
from y12.exporter.model.network_yaml import check_row_count, spec_from_yaml
from y12.exporter.model.rows import ModelSpec
from y12.exporter.model.signatures import SIGNATURES
from y12.exporter.model.spec import TASK_SUFFIXES
from y12.text import shown

__all__ = ["spec_from_published_yaml"]

# Where the heads' argument `depthwise` stands.
_DEPTHWISE_AT = {
    module: [arg.name for arg in signature.args].index("depthwise")
    for module, signature in SIGNATURES.items()
    if any(arg.name == "depthwise" for arg in signature.args)
}
# A block that only that family has, in this order; YOLO26 has those of YOLO11, and one thing that shows in its head.
_FAMILIES = {"A2C2f": "yolov12", "PSA": "yolov10", "C2PSA": "yolo11", "C2f": "yolov8"}
# Heads that differ from ours by name only: what sets them apart shows in the weights.
_HEADS = {"v10Detect": "Detect", "Segment26": "Segment"}
_MAX_ARGS = 64  # of a row; no module has as many


def spec_from_published_yaml(data: Mapping[str, Any], state: Mapping[str, Tensor], origin: str) -> ModelSpec:
    """Resolve a checkpoint's own YAML, with what it leaves out taken from the weights.

    Args:
        data: the YAML's mapping, with `scale`.
        state: the checkpoint's tensors by name.
        origin: what to call it in messages.

    Raises:
        ModelSpecError: it names modules that are not ours, or is no sound YAML.
    """
    backbone, head = data.get("backbone"), data.get("head")
    if not isinstance(backbone, list) or not isinstance(head, list):
        raise ModelSpecError(f"{origin}: it has no rows under 'backbone' and 'head'")
    check_row_count(len(backbone) + len(head), origin)
    scale = data.get("scale")
    if scale is None or scale == "":
        scale = "n"
    if not isinstance(scale, str):
        raise ModelSpecError(f"{origin}: expected its scale as a letter, found {shown(scale)}")
    multiples = [data.get("depth_multiple", 1.0), data.get("width_multiple", 1.0), 1024]
    scales = data["scales"] if isinstance(data.get("scales"), dict) else {scale: multiples}
    layout = "turbo" if any(key.endswith("attn.qk.conv.weight") for key in state) else "v1"
    explicit = {
        "nc": data.get("nc"),
        "scales": scales,
        "backbone": [_explicit_row(i, row, state, layout) for i, row in enumerate(backbone)],
        "head": [_explicit_row(len(backbone) + i, row, state, layout) for i, row in enumerate(head)],
        **({"kpt_shape": data["kpt_shape"]} if "kpt_shape" in data else {}),
    }
    return spec_from_yaml(explicit, origin, _name(explicit, scale, layout), scale=scale)


def _name(explicit: Mapping[str, Any], scale: str, layout: str) -> str:
    """Return the name a shipped YAML of the same network has: by the blocks it is made of, and its head."""
    rows = [*explicit["backbone"], *explicit["head"]]
    modules = [row[2] if isinstance(row, list) and len(row) > 2 else None for row in rows]
    family = next((name for block, name in _FAMILIES.items() if block in modules), "yolo")
    options = rows[-1][4] if modules and isinstance(rows[-1], list) and len(rows[-1]) > 4 else {}
    if family == "yolo11" and isinstance(options, dict) and options.get("one_to_one"):
        family = "yolo26"
    head = SIGNATURES.get(modules[-1]) if modules and isinstance(modules[-1], str) else None
    suffixes = [f"-{suffix}" for suffix, task in TASK_SUFFIXES.items() if head is not None and task == head.head]
    v1 = "-v1" if family == "yolov12" and layout == "v1" else ""
    return f"{family}{scale}{v1}{''.join(suffixes)}"


def _explicit_row(index: int, row: Any, state: Mapping[str, Tensor], layout: str) -> Any:
    """Write into a row what its weights say; a row that makes no sense is left for the parser to refuse."""
    if not isinstance(row, list | tuple) or len(row) != 4 or not isinstance(row[3], list | tuple):
        return row
    source, repeats, module, args = row
    if not isinstance(module, str) or len(args) > _MAX_ARGS:
        return row
    prefix = f"model.{index}."
    if module == "C3k2" and len(args) >= 1:
        c3k, attn = (f"{prefix}m.0.{key}.conv.weight" in state for key in ("cv3", "1.attn.qkv"))
        return [source, repeats, module, [args[0], c3k, *args[2:3]], {"attn": attn}]
    if module == "A2C2f" and len(args) >= 1:
        return [source, repeats, module, _a2c2f_args(prefix, args, state, layout)]
    module = _HEADS.get(module, module)
    if module in _DEPTHWISE_AT:
        args = _head_args(module, args, f"{prefix}cv3.0.0.0.conv.weight" in state)
        return [source, repeats, module, args, _head_options(module, prefix, state)]
    return [source, repeats, module, list(args)]


def _head_args(module: str, args: Any, depthwise: bool) -> list[Any]:
    """Add to a head's args that its class branches have depthwise convolutions, or not; YOLOv8's have not."""
    missing = SIGNATURES[module].args[len(args) : _DEPTHWISE_AT[module]]
    if len(args) > _DEPTHWISE_AT[module] or any(arg.default is ... for arg in missing):
        return list(args)
    return [*args, *(arg.default for arg in missing), depthwise]


def _head_options(module: str, prefix: str, state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return what else a head's weights say of it: bins, branches, and what its prototypes are made of."""
    side = state.get(f"{prefix}cv2.0.2.bias")
    options = {
        **({} if side is None else {"bins": side.numel() // 4}),
        "one_to_one": f"{prefix}one2one_cv2.0.2.bias" in state,
        "fused": f"{prefix}proto.feat_refine.0.conv.weight" in state,
    }
    known = [arg.name for arg in SIGNATURES[module].args]
    return {name: value for name, value in options.items() if value and name in known}


def _a2c2f_args(prefix: str, args: Any, state: Mapping[str, Tensor], layout: str) -> list[Any]:
    hidden = state.get(f"{prefix}m.0.0.mlp.0.conv.weight")
    if hidden is None or hidden.ndim != 4 or 0 in hidden.shape:
        return [args[0], False]
    area = args[2] if len(args) > 2 else 1
    return [args[0], True, area, f"{prefix}gamma" in state, _mlp_ratio(hidden), layout]


def _mlp_ratio(weight: Tensor) -> float:
    """Invert `hidden = int(dim * ratio)` for a weight (hidden, dim, 1, 1)."""
    hidden, dim = weight.shape[:2]
    for published in (2.0, 1.5, 1.2, 1.0):
        if int(dim * published) == hidden:
            return published
    return (hidden + 0.5) / dim
