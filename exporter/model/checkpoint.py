"""From a weights file to a detector: what the file is, which network it fits, and a strict load."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from exporter.errors import CheckpointError, ModelSpecError
from exporter.model.build import detector_from_spec
from exporter.model.detector import Detector
from exporter.model.pickles import read_pickled_zip
from exporter.model.published import spec_from_published_yaml
from exporter.model.records import Record, modules_of, tensors_of
from exporter.model.rows import ModelSpec
from exporter.model.shown import shown
from exporter.model.spec import models_dir, spec_from_name

__all__ = ["Checkpoint", "detector_from_checkpoint", "read_checkpoint", "spec_from_checkpoint"]

_MAX_NAMES = 100_000


@dataclass(frozen=True)
class Checkpoint:
    """What a weights file holds.

    Attributes:
        path: the file.
        sha256: of the file.
        state: parameter and buffer name → tensor, as stored (often half precision).
        yaml: the model YAML in the file, if any.
        model: a shipped model's name written in the file, if any.
        names: class names by id; empty where the file tells none.
        batch_norm_eps: of its BatchNorm modules; None where the file does not tell.
        architecture: the class of the pickled network, for messages.
    """

    path: Path
    sha256: str
    state: Mapping[str, Tensor]
    yaml: Mapping[str, Any] | None = None
    model: str = ""
    names: tuple[str, ...] = ()
    batch_norm_eps: float | None = None
    architecture: str = ""


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a .pt or .safetensors file; nothing in it is executed.

    Raises:
        CheckpointError: no such file, or it is truncated, damaged, malicious or of another kind.
    """
    if not path.is_file():
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
        return Checkpoint(path, _sha256(path), _without_wrappers({str(k): v for k, v in model.items()}))
    if not isinstance(model, Record):
        raise CheckpointError(
            f"{path}: expected a network under 'ema' or 'model', or a state dict; found {type(model).__name__}"
        )
    state = dict(tensors_of(model))
    if not state:
        raise CheckpointError(f"{path}: '{model.qualified_name}' holds no weights")
    yaml = model.get("yaml")
    return Checkpoint(
        path,
        _sha256(path),
        state,
        yaml=yaml if isinstance(yaml, dict) else None,
        names=_names(model.get("names"), path),
        batch_norm_eps=_batch_norm_eps(model, path),
        architecture=model.qualified_name,
    )


def _batch_norm_eps(model: Record, path: Path) -> float | None:
    found = [m.get("eps") for _, m in modules_of(model) if m.short_name == "BatchNorm2d" and m.get("eps") is not None]
    if not found:
        return None
    if not isinstance(found[0], float) or not 0 < found[0] < 1 or any(eps is not found[0] != eps for eps in found):
        raise CheckpointError(f"{path}: expected one BatchNorm eps throughout, from 0 to 1; found {shown(found)}")
    return found[0]


def _read_safetensors(path: Path) -> Checkpoint:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 -- no mapping: it has no __iter__
        names = json.loads(metadata.get("names", "[]"))
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not a sound .safetensors file ({error!s:.120})") from error
    return Checkpoint(path, _sha256(path), state, model=metadata.get("model", ""), names=_names(names, path))


def _names(names: object, path: Path) -> tuple[str, ...]:
    """Check class names: a list, or a mapping of ids 0..n-1."""
    if isinstance(names, dict):
        if sorted(names, key=str) != sorted(range(len(names)), key=str):
            raise CheckpointError(
                f"{path}: expected class names for the ids 0 to {len(names) - 1}, found the ids {list(names)!r:.80}"
            )
        names = [names[i] for i in range(len(names))]
    if names is None:
        return ()
    if not isinstance(names, list | tuple) or len(names) > _MAX_NAMES or not all(isinstance(n, str) for n in names):
        raise CheckpointError(f"{path}: expected class names as strings, found {names!r:.80}")
    return tuple(names)


def _without_wrappers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Drop what DataParallel and compile put before every key."""
    for prefix in ("module.", "_orig_mod."):
        if all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def spec_from_checkpoint(checkpoint: Checkpoint) -> ModelSpec:
    """Tell which network a checkpoint fits: by its own YAML, by the name written in it, or by its shapes.

    Raises:
        CheckpointError: its architecture is none of ours; the message names it.
    """
    try:
        if checkpoint.yaml is not None:
            return spec_from_published_yaml(checkpoint.yaml, checkpoint.state, str(checkpoint.path))
        if checkpoint.model:
            return spec_from_name(checkpoint.model, nc=len(checkpoint.names) or None)
    except ModelSpecError as error:
        architecture = f" ({checkpoint.architecture})" if checkpoint.architecture else ""
        raise CheckpointError(f"not an architecture y12 knows{architecture}: {error}") from error
    return _spec_by_shapes(checkpoint)


def _spec_by_shapes(checkpoint: Checkpoint) -> ModelSpec:
    shapes = {key: tuple(value.shape) for key, value in checkpoint.state.items()}
    for file in sorted(models_dir().glob("*.yaml")):
        for scale in "nsmlx":
            nc = len(checkpoint.names) or _class_count(shapes)
            spec = spec_from_name(str(file), scale=scale, nc=nc)
            with torch.device("meta"):
                expected = detector_from_spec(spec).state_dict()
            if {k: tuple(v.shape) for k, v in expected.items() if "num_batches" not in k}.items() <= shapes.items():
                name = f"{spec.name.split('-')[0]}{scale}{''.join(spec.name.partition('-')[1:])}"
                return spec_from_name(name, nc=nc)
    raise CheckpointError(
        f"{checkpoint.path}: its {len(shapes)} tensors fit none of the shipped models; "
        f"first: {', '.join(list(shapes)[:3])}. Name the model with --model"
    )


def _class_count(shapes: Mapping[str, tuple[int, ...]]) -> int | None:
    """Read the number of classes off the last convolution of the finest class branch."""
    counts = [shape[0] for key, shape in shapes.items() if key.endswith("cv3.0.2.bias")]
    return counts[0] if len(counts) == 1 else None


def detector_from_checkpoint(checkpoint: Checkpoint, spec: ModelSpec | None = None) -> Detector:
    """Build the network and load the weights, in FP32. Every key must be there and none may be left over.

    Args:
        checkpoint: the weights.
        spec: the network; found from the checkpoint where None.

    Raises:
        CheckpointError: keys or shapes disagree; the message names the first ones.
    """
    spec = spec or spec_from_checkpoint(checkpoint)
    detector = detector_from_spec(spec)
    state = _published_state(checkpoint, detector)
    _check_fit(checkpoint.path, state, detector.state_dict(), spec)
    detector.load_state_dict(state)
    for module in detector.modules():
        if isinstance(module, nn.BatchNorm2d) and checkpoint.batch_norm_eps:
            module.eps = checkpoint.batch_norm_eps
    if checkpoint.names:
        if len(checkpoint.names) != spec.nc:
            raise CheckpointError(
                f"{checkpoint.path}: it has {len(checkpoint.names)} class names, but its network {spec.nc} classes"
            )
        detector.names = checkpoint.names
    return detector


def _published_state(checkpoint: Checkpoint, detector: Detector) -> dict[str, Tensor]:
    """Bring a published state dict to our form: FP32, constants restored, biases before BatchNorm folded into it."""
    own = detector.state_dict()
    state = {k: v.float() if v.is_floating_point() else v for k, v in checkpoint.state.items()}
    for key, tensor in own.items():
        if key.endswith("num_batches_tracked"):
            state.setdefault(key, tensor)
        # A constant, which damaged files hold as zeros.
        if key.endswith("dfl.conv.weight") and key in state and state[key].shape == tensor.shape:
            state[key] = tensor
    # Some published files carry a bias in pe.conv: BN(conv(x) + b) equals BN with the mean less b.
    for key in [k for k in state if k.endswith(".pe.conv.bias") and k not in own]:
        bias = state.pop(key)
        mean = key.replace(".conv.bias", ".bn.running_mean")
        if mean not in state or state[mean].shape != bias.shape:
            raise CheckpointError(f"{checkpoint.path}: '{key}' has no matching '{mean}'")
        state[mean] = state[mean] - bias
    return state


def _check_fit(path: Path, state: Mapping[str, Tensor], own: Mapping[str, Tensor], spec: ModelSpec) -> None:
    missing = [k for k in own if k not in state]
    unexpected = [k for k in state if k not in own]
    shapes = [
        f"{k} is {tuple(state[k].shape)}, expected {tuple(own[k].shape)}"
        for k in own
        if k in state and state[k].shape != own[k].shape
    ]
    for problem, found in (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes)):
        if found:
            more = f" and {len(found) - 2} more" if len(found) > 2 else ""
            raise CheckpointError(
                f"{path}: its weights contradict its network ({spec.name}): {problem}: {'; '.join(found[:2])}{more}"
            )
