"""From a weights file to a detector: what the file is, which network it fits, and a strict load."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from y12.errors import CheckpointError, ModelSpecError
from y12.exporter.checkpoint.metadata import class_names, metadata_from
from y12.exporter.checkpoint.pickles import read_pickled_zip
from y12.exporter.checkpoint.published_state import for_training_only, published_state, unfolded, with_biases
from y12.exporter.checkpoint.records import Record, check_total, modules_of, tensors_of
from y12.exporter.model.build import detector_from_spec
from y12.exporter.model.detector import Detector
from y12.exporter.model.network_yaml import spec_from_yaml
from y12.exporter.model.one_thread import one_thread
from y12.exporter.model.published import spec_from_published_yaml
from y12.exporter.model.rows import ModelSpec
from y12.exporter.model.spec import spec_from_name, specs_at_scale
from y12.files import file_sha256
from y12.text import shown

__all__ = ["Checkpoint", "detector_from_checkpoint", "read_checkpoint", "spec_from_checkpoint"]


@dataclass(frozen=True)
class Checkpoint:
    """What a weights file holds.

    Attributes:
        path: the file.
        sha256: of the file.
        state: parameter and buffer name → tensor, as stored (often half precision).
        yaml: the model YAML in the file, if any: as published, or, beside a `model`, with every row resolved.
        model: a model's name written in the file, if any; that of a shipped one where there is no YAML.
        names: class names by id; empty where the file tells none.
        batch_norm_eps: of its BatchNorm modules; None where the file does not tell.
        architecture: the class of the pickled network, for messages.
        ranges: of activations, learned with the weights, JSON that nothing has looked at; empty where there are none.
        side: of the images that it was trained on, in pixels; None where the file does not tell.
        licence: of the weights, in words; empty where the file does not tell.
    """

    path: Path
    sha256: str
    state: Mapping[str, Tensor]
    yaml: Mapping[str, Any] | None = None
    model: str = ""
    names: tuple[str, ...] = ()
    batch_norm_eps: float | None = None
    architecture: str = ""
    ranges: str = ""
    side: int | None = None
    licence: str = ""


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a .pt or .safetensors file; nothing in it is executed.

    Raises:
        CheckpointError: no such file, or it is truncated, damaged, malicious or of another kind.
    """
    if not os.path.isfile(path):  # unlike Path.is_file, it takes a name that is too long
        raise CheckpointError(f"expected a weights file, found no file {path}")
    readers = {".pt": _read_pt, ".pth": _read_pt, ".safetensors": _read_safetensors}
    if path.suffix not in readers:
        raise CheckpointError(f"{path}: expected a .pt or .safetensors file, found '{path.suffix}'")
    return readers[path.suffix](path)


def _read_pt(path: Path) -> Checkpoint:
    root = read_pickled_zip(path)
    model = (
        next((root[k] for k in ("ema", "model") if root.get(k) is not None), root) if isinstance(root, dict) else root
    )
    if isinstance(model, dict) and "state_dict" in model:
        model = model["state_dict"]
    if isinstance(model, dict) and model and all(isinstance(v, Tensor) for v in model.values()):
        check_total(model, path)
        return Checkpoint(path, file_sha256(path), _without_wrappers({str(k): v for k, v in model.items()}))
    if not isinstance(model, Record):
        raise CheckpointError(
            f"{path}: expected a network under 'ema' or 'model', or a state dict; found {type(model).__name__}"
        )
    state = dict(tensors_of(model, path))
    if not state:
        raise CheckpointError(f"{path}: {shown(model.qualified_name)} holds no weights")
    check_total(state, path)
    yaml = model.get("yaml")
    return Checkpoint(
        path,
        file_sha256(path),
        state,
        yaml=yaml if isinstance(yaml, dict) else None,
        names=class_names(model.get("names"), path),
        batch_norm_eps=_batch_norm_eps(model, path),
        architecture=shown(model.qualified_name, 80).strip("'"),
    )


def _batch_norm_eps(model: Record, path: Path) -> float | None:
    modules = (module for _, module in modules_of(model, path) if module.short_name == "BatchNorm2d")
    values = [module.get("eps") for module in modules if module.get("eps") is not None]
    if not all(isinstance(eps, float) and 0 < eps < 1 for eps in values) or len(set(values)) > 1:
        raise CheckpointError(f"{path}: expected one BatchNorm eps throughout, from 0 to 1; found {shown(values)}")
    return values[0] if values else None


def _read_safetensors(path: Path) -> Checkpoint:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            entries = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 -- no mapping: it has no __iter__
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not a sound .safetensors file ({shown(str(error), 120)})") from error
    metadata = metadata_from(entries, path)
    return Checkpoint(
        path,
        file_sha256(path),
        state,
        yaml=metadata.yaml,
        model=metadata.model,
        names=metadata.names,
        batch_norm_eps=metadata.batch_norm_eps,
        ranges=metadata.ranges,
        side=metadata.side,
        licence=metadata.licence,
    )


def _without_wrappers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Drop what DataParallel and compile put before every key."""
    for prefix in ("module.", "_orig_mod."):
        if all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def spec_from_checkpoint(checkpoint: Checkpoint) -> ModelSpec:
    """Return which network a checkpoint fits: by its own YAML, by the name written in it, or by its shapes.

    Raises:
        CheckpointError: its architecture is none of ours, which the message names, or its images are not RGB.
    """
    _check_channels(checkpoint)
    try:
        if checkpoint.yaml is not None and checkpoint.model:
            return spec_from_yaml(checkpoint.yaml, "its model YAML", checkpoint.model)
        if checkpoint.yaml is not None:
            return spec_from_published_yaml(checkpoint.yaml, checkpoint.state, "its model YAML")
        if checkpoint.model:
            return spec_from_name(checkpoint.model, nc=_class_count(checkpoint))
    except ModelSpecError as error:
        architecture = f" ({checkpoint.architecture})" if checkpoint.architecture else ""
        raise CheckpointError(f"{checkpoint.path}: not an architecture y12 knows{architecture}: {error}") from error
    return _spec_by_shapes(checkpoint)


def _check_channels(checkpoint: Checkpoint) -> None:
    first = checkpoint.state.get("model.0.conv.weight")  # a stem of another kind has none of that name
    if first is not None and first.ndim == 4 and first.shape[1] != 3:
        raise CheckpointError(
            f"{checkpoint.path}: expected a network for images of 3 channels, found one of {first.shape[1]}: y12 runs "
            "RGB images only; train it on three channels (a grey image repeated)"
        )


def _spec_by_shapes(checkpoint: Checkpoint) -> ModelSpec:
    shapes = _shapes(unfolded(checkpoint.state))
    nc = _class_count(checkpoint)
    for spec in (spec for scale in "nsmlx" for spec in specs_at_scale(scale, nc)):
        last = f"model.{spec.layers[-1].index}."
        width = (spec.layers[0].channels,) if spec.layers[0].module == "Conv" else ()  # of the stem; others have none
        if shapes.get("model.0.conv.weight", ())[:1] != width or not any(key.startswith(last) for key in shapes):
            continue  # building each network to compare takes a while
        with torch.device("meta"):
            expected = detector_from_spec(spec).state_dict()
        if _shapes(expected) == shapes:
            return spec
    raise CheckpointError(
        f"{checkpoint.path}: its {len(shapes)} tensors fit none of the shipped models; "
        f"first: {', '.join(shown(key) for key in list(shapes)[:3])}"
    )


def _shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of what tells networks apart: batch counts may be missing, and some files have a bias in pe."""
    uncertain = ("num_batches_tracked", ".pe.conv.bias")
    return {
        key: tuple(value.shape)
        for key, value in state.items()
        if not key.endswith(uncertain) and not for_training_only(key)
    }


def _class_count(checkpoint: Checkpoint) -> int | None:
    """Return the number of classes by the weights, else by the names."""
    return _class_count_of_weights(checkpoint.state) or len(checkpoint.names) or None


def _class_count_of_weights(state: Mapping[str, Tensor]) -> int | None:
    """Return the size of the last convolution of the finest class branch, or of a classifier's last layer."""
    ends = (".cv3.0.2.bias", "linear.bias")
    biases = [value for key, value in state.items() if key.startswith("model.") and key.endswith(ends)]
    return biases[0].numel() or None if len(biases) == 1 else None


@one_thread()
def detector_from_checkpoint(checkpoint: Checkpoint, spec: ModelSpec | None = None) -> Detector:
    """Build the network and load the weights, in FP32. Every key must be there and none may be left over.

    Args:
        checkpoint: the weights.
        spec: the network; found from the checkpoint where None.

    Raises:
        CheckpointError: keys or shapes disagree; the message names the first ones.
    """
    spec = spec or spec_from_checkpoint(checkpoint)
    if checkpoint.names and len(checkpoint.names) != spec.nc:
        raise CheckpointError(
            f"{checkpoint.path}: it has {len(checkpoint.names)} class names, but its network {spec.nc} classes: "
            "save it again with a name for each class"
        )
    # Checked before memory is taken for the network: a stranger's YAML can ask for any amount.
    with torch.device("meta"):
        own = detector_from_spec(spec).state_dict()
    state, biases = published_state(checkpoint.state, own, checkpoint.path, spec.unread)
    _check_counts(checkpoint, spec, own)
    _check_fit(checkpoint.path, state, own, spec)
    detector = detector_from_spec(spec)
    detector.load_state_dict({**detector.state_dict(), **_without_lost_constants(with_biases(state, biases))})
    for module in detector.modules():
        if isinstance(module, nn.BatchNorm2d) and checkpoint.batch_norm_eps:
            module.eps = checkpoint.batch_norm_eps
    detector.names = checkpoint.names or detector.names
    return detector


def _without_lost_constants(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Leave out distance bins that a damaged file holds as zeros; others are taken as they are stored.

    They are the constants 0..15 in training, but a file whose weights were quantised once holds them rounded, and was
    judged with them.
    """
    return {k: v for k, v in state.items() if not k.endswith("dfl.conv.weight") or v.any()}


def _check_counts(checkpoint: Checkpoint, spec: ModelSpec, own: Mapping[str, Tensor]) -> None:
    """Refuse a number of classes or keypoints that the weights contradict, in words that say which."""
    nc, spec_nc = _class_count_of_weights(checkpoint.state), _class_count_of_weights(own)
    if nc and spec_nc and nc != spec_nc:
        classes = nc * spec.nc / spec_nc  # of a head with anchors there are as many for each of them
        raise CheckpointError(
            f"{checkpoint.path}: its network has nc {spec.nc}, but its weights are of {classes:g} classes"
        )
    if spec.task == "pose" and spec.kpt_shape is not None:
        points, values = spec.kpt_shape
        sizes = [value.numel() for key, value in checkpoint.state.items() if key.endswith("cv4.0.2.bias")]
        if sizes and sizes[0] != points * values:
            raise CheckpointError(
                f"{checkpoint.path}: its network has kpt_shape [{points}, {values}], {points * values} values, but its "
                f"weights are of {sizes[0]} values"
            )


def _check_fit(path: Path, state: Mapping[str, Tensor], own: Mapping[str, Tensor], spec: ModelSpec) -> None:
    missing = [k for k in own if k not in state and not k.endswith("num_batches_tracked")]
    unexpected = [shown(k, 120) for k in state if k not in own]
    both = [k for k in own if k in state]
    shapes = [
        f"{k} is {tuple(state[k].shape)}, expected {tuple(own[k].shape)}"
        for k in both
        if state[k].shape != own[k].shape
    ]
    types = [f"{k} holds {state[k].dtype}" for k in both if own[k].is_floating_point() > state[k].is_floating_point()]
    problems = {"missing": missing, "unexpected": unexpected, "of another shape": shapes, "not floating-point": types}
    for problem, entries in problems.items():
        if entries:
            more = f" and {len(entries) - 2} more" if len(entries) > 2 else ""
            raise CheckpointError(
                f"{path}: its weights contradict its network ({spec.name}): {problem}: {'; '.join(entries[:2])}{more}"
            )
