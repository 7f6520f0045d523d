"""A published state dict brought to the form of y12's networks."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from y12.errors import CheckpointError
from y12.exporter.model.blocks.conv import BATCH_NORM_EPS
from y12.text import shown

__all__ = ["for_training_only", "published_state", "unfolded", "with_biases"]


def published_state(
    state: Mapping[str, Tensor], own: Mapping[str, Tensor], path: Path, unread: tuple[int, ...]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the tensors as they are stored under the keys of y12's network, and the biases that it has no place for.

    Nothing is copied: whether names and shapes fit is found out before memory is taken.

    Args:
        state: the tensors as published; their floating-point numbers may have half precision.
        own: what y12's network has under its keys.
        path: of the file, for messages.
        unread: rows that the network leaves out; their tensors are left out, and later rows count on without them.

    Returns:
        The tensors, and each bias under the key of the BatchNorm's mean that it can be folded into.

    Raises:
        CheckpointError: a bias has no BatchNorm behind it.
    """
    tensors, biases = unfolded(_less_unread(state, unread)), {}
    tensors = {key: value for key, value in tensors.items() if key in own or not for_training_only(key)}
    # Some published files carry a bias in pe.conv: BN(conv(x) + b) equals BN with the mean less b.
    for key in [k for k in tensors if k.endswith(".pe.conv.bias") and k not in own]:
        bias = tensors.pop(key)
        mean = key.replace(".conv.bias", ".bn.running_mean")
        if mean not in tensors or tensors[mean].shape != bias.shape:
            raise CheckpointError(f"{path}: {shown(key)} has no matching 'bn.running_mean'")
        biases[mean] = bias
    return tensors, biases


def unfolded(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state in which convolutions whose BatchNorm was folded into them have one that only adds their bias.

    That is how files saved after `fuse()` have them. Its variance makes the square root of variance and eps 1.
    """
    tensors: dict[str, Tensor] = {}
    for key, value in state.items():
        norm = key.removesuffix("conv.bias") + "bn."
        if key.endswith(".conv.bias") and value.ndim == 1 and f"{norm}running_mean" not in state:
            ones = torch.ones(len(value), dtype=torch.float32)
            tensors |= {f"{norm}weight": ones, f"{norm}bias": value, f"{norm}running_mean": torch.zeros_like(ones)}
            tensors[f"{norm}running_var"] = ones - BATCH_NORM_EPS
        else:
            tensors[key] = value
    return tensors


def for_training_only(key: str) -> bool:
    """Return whether a tensor is of what nothing reads once a network is trained: YOLO26's classes of pixels."""
    return ".proto.semseg." in key


def with_biases(state: Mapping[str, Tensor], biases: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state whose means have the biases folded into them, these in FP32."""
    return {**state, **{mean: state[mean].float() - bias.float() for mean, bias in biases.items()}}


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
