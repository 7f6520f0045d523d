"""A published state dict brought to the form of y12's networks."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from y12.errors import CheckpointError
from y12.text import shown

__all__ = ["published_state"]


def published_state(
    state: Mapping[str, Tensor], own: Mapping[str, Tensor], path: Path, unread: tuple[int, ...]
) -> dict[str, Tensor]:
    """Return the tensors in FP32, with biases before BatchNorm folded into it, under the keys of y12's network.

    Args:
        state: the tensors as published; their floating-point numbers may have half precision.
        own: what y12's network has under its keys.
        path: of the file, for messages.
        unread: rows that the network leaves out; their tensors are left out, and later rows count on without them.

    Raises:
        CheckpointError: a bias has no BatchNorm behind it.
    """
    floats = {k: v.float() if v.is_floating_point() else v for k, v in _less_unread(state, unread).items()}
    # Some published files carry a bias in pe.conv: BN(conv(x) + b) equals BN with the mean less b.
    for key in [k for k in floats if k.endswith(".pe.conv.bias") and k not in own]:
        bias = floats.pop(key)
        mean = key.replace(".conv.bias", ".bn.running_mean")
        if mean not in floats or floats[mean].shape != bias.shape:
            raise CheckpointError(f"{path}: {shown(key)} has no matching 'bn.running_mean'")
        floats[mean] = floats[mean] - bias
    return floats


def _less_unread(state: Mapping[str, Tensor], unread: tuple[int, ...]) -> dict[str, Tensor]:
    kept = {}
    for key, value in state.items():
        model, _, rest = key.partition(".")
        row, _, name = rest.partition(".")
        if model != "model" or not row.isdecimal() or not unread:
            kept[key] = value
        elif int(row) not in unread:
            kept[f"model.{int(row) - sum(i < int(row) for i in unread)}.{name}"] = value
    return kept
