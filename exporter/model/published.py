"""Read the model YAML inside a published checkpoint.

Its rows leave out what the publishing parser adds by scale. All of that shows in the weights, so it is read off their
names and shapes and written into the rows; see `configs/models/` for rows that say everything.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from exporter.errors import ModelSpecError
from exporter.model.rows import ModelSpec
from exporter.model.shown import shown
from exporter.model.spec import spec_from_yaml

__all__ = ["spec_from_published_yaml"]


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
    scale = data.get("scale")
    if scale is None or scale == "":
        scale = "n"
    if not isinstance(scale, str):
        raise ModelSpecError(f"{origin}: expected its scale as a letter, found {shown(scale)}")
    multiples = [data.get("depth_multiple", 1.0), data.get("width_multiple", 1.0), 1024]
    scales = data["scales"] if isinstance(data.get("scales"), dict) else {scale: multiples}
    layout = "v1" if any(key.endswith("attn.qkv.conv.weight") for key in state) else "turbo"
    explicit = {
        "nc": data.get("nc"),
        "scales": scales,
        "backbone": [_explicit_row(i, row, state, layout) for i, row in enumerate(backbone)],
        "head": [_explicit_row(len(backbone) + i, row, state, layout) for i, row in enumerate(head)],
    }
    name = f"yolov12{scale}{'-v1' if layout == 'v1' else ''}"
    return spec_from_yaml(explicit, origin, name, scale=scale)


def _explicit_row(index: int, row: Any, state: Mapping[str, Tensor], layout: str) -> Any:
    """Write into a row what its weights say; a row that makes no sense is left for the parser to refuse."""
    if not isinstance(row, list | tuple) or len(row) != 4 or not isinstance(row[3], list | tuple):
        return row
    source, repeats, module, args = row
    prefix = f"model.{index}."
    if module == "C3k2" and len(args) >= 1:
        c3k = f"{prefix}m.0.cv3.conv.weight" in state
        return [source, repeats, module, [args[0], c3k, *args[2:3]]]
    if module == "A2C2f" and len(args) >= 1:
        return [source, repeats, module, _a2c2f_args(prefix, args, state, layout)]
    return [source, repeats, module, list(args)]


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
