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
_FAMILIES = {"A2C2f": "yolov12", "C2PSA": "yolo11", "C2f": "yolov8"}  # a block only that family has, in this order
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
        c3k = f"{prefix}m.0.cv3.conv.weight" in state
        return [source, repeats, module, [args[0], c3k, *args[2:3]]]
    if module == "A2C2f" and len(args) >= 1:
        return [source, repeats, module, _a2c2f_args(prefix, args, state, layout)]
    if module in _DEPTHWISE_AT:
        return [source, repeats, module, _head_args(module, args, f"{prefix}cv3.0.0.0.conv.weight" in state)]
    return [source, repeats, module, list(args)]


def _head_args(module: str, args: Any, depthwise: bool) -> list[Any]:
    """Add to a head's args that its class branches have depthwise convolutions, or not; YOLOv8's have not."""
    missing = SIGNATURES[module].args[len(args) : _DEPTHWISE_AT[module]]
    if len(args) > _DEPTHWISE_AT[module] or any(arg.default is ... for arg in missing):
        return list(args)
    return [*args, *(arg.default for arg in missing), depthwise]


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
