"""What a .safetensors file says beside its tensors: the network, its class names, and what else goes with the weights.

    model           the network's name
    yaml            its model YAML, every row resolved: a network of the user's own is read back from it
    names           class names by id, a JSON list
    batch_norm_eps  of its BatchNorm modules
    ranges          of activations, learned with the weights: JSON that `y12.exporter.precision.ranges` reads
    imgsz           side of the images that it was trained on, in pixels
    licence         of the weights, in words

All of it is a stranger's text when it is read: bounded, parsed as plain values, refused in one line.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from y12.errors import CheckpointError, ModelSpecError
from y12.exporter.model.detector import Detector
from y12.exporter.model.rows import LayerSpec, ModelSpec
from y12.exporter.model.signature import MAX_CHANNELS
from y12.exporter.model.signatures import SIGNATURES
from y12.exporter.safe_yaml import mapping_from_yaml
from y12.text import is_text, shown

__all__ = [
    "LICENCE_KEY",
    "MAX_LICENCE",
    "RANGES_KEY",
    "SIDE_KEY",
    "UNKNOWN_LICENCE",
    "Metadata",
    "class_names",
    "metadata_from",
    "metadata_of",
    "yaml_of_spec",
]

RANGES_KEY, SIDE_KEY, LICENCE_KEY = "ranges", "imgsz", "licence"
UNKNOWN_LICENCE = (
    "Exporting weights does not change their licence. Weights trained with AGPL-3.0 code, as the published YOLO "
    "checkpoints are, stay under AGPL-3.0 in this file."
)
_MAX_TEXT = 1 << 22  # characters of one entry: 100,000 class names of forty
_MAX_NAMES = 100_000
_MAX_YAML = 1 << 18
_MAX_YAML_DEPTH = 16
_SHIPPED = re.compile(r"[a-z0-9-]{1,64}")  # no path: one would make us read any file
_MAX_NAME = 255  # of a network whose YAML is in the file
MAX_LICENCE = 500
_SCALE = re.compile(r"(?:yolov?\d+|[a-z]+-)([nsmlx])")


@dataclass(frozen=True)
class Metadata:
    """What was read.

    Attributes:
        model: the network's name; empty where the file tells none.
        yaml: its model YAML, if any.
        names: class names by id.
        batch_norm_eps: of its BatchNorm modules; None where the file does not tell.
        ranges: of activations, as JSON text that nothing has looked at; empty where there are none.
        side: of the images that it was trained on, in pixels; None where the file does not tell.
        licence: of the weights, in words; empty where the file does not tell.
    """

    model: str = ""
    yaml: Mapping[str, Any] | None = None
    names: tuple[str, ...] = ()
    batch_norm_eps: float | None = None
    ranges: str = ""
    side: int | None = None
    licence: str = ""


def metadata_of(detector: Detector) -> dict[str, str]:
    """Return what a file has to say so that a detector can be built again, by key."""
    eps = {m.eps for m in detector.modules() if isinstance(m, nn.BatchNorm2d)}
    if len(eps) > 1:
        raise CheckpointError(f"to be written: expected one BatchNorm eps throughout, found {sorted(eps)}")
    return {
        "model": detector.spec.name,
        "yaml": yaml_of_spec(detector.spec),
        "names": json.dumps(detector.names, ensure_ascii=False),
        **({"batch_norm_eps": repr(*eps)} if eps else {}),
    }


def yaml_of_spec(spec: ModelSpec) -> str:
    """Return a model YAML of one scale that `spec_from_yaml` reads as the same rows."""
    scale = _SCALE.match(spec.name)
    rows = [f"  - {json.dumps(_row(layer))}" for layer in spec.layers]
    lines = [
        f"nc: {spec.nc}",
        # Widths and depths stand in the rows.
        f"scales: {{ {scale[1] if scale else 'n'}: [1.0, 1.0, {MAX_CHANNELS}] }}",
        *("backbone:", *rows[:-1]),
        *("head:", rows[-1]),
    ]
    return "\n".join((*lines, ""))


def _row(layer: LayerSpec) -> list[Any]:
    source = list(layer.sources) if SIGNATURES[layer.module].many else layer.sources[0]
    options = [] if layer.bit == SIGNATURES[layer.module].bit else [{"bit": layer.bit}]
    return [source, layer.repeats, layer.module, list(layer.args.values()), *options]  # JSON writes tuples as lists


def metadata_from(entries: Mapping[str, str], path: Path) -> Metadata:
    """Read a file's entries.

    Raises:
        CheckpointError: one is too long, or not what its key says.
    """
    long = [key for key in ("model", "yaml", "names", RANGES_KEY) if len(entries.get(key, "")) > _MAX_TEXT]
    if long:
        raise CheckpointError(
            f"{path}: expected at most {_MAX_TEXT} characters under '{long[0]}', found {len(entries[long[0]])}"
        )
    network = _yaml(entries.get("yaml"), path)
    try:
        names = json.loads(entries.get("names", "[]"))
    except (ValueError, RecursionError) as error:
        problem = shown(f"class names: {error}", 120)
        raise CheckpointError(f"{path}: not a sound .safetensors file ({problem})") from error
    model = _model(entries.get("model", ""), network is not None, path)
    return Metadata(
        model,
        network,
        batch_norm_eps=_eps(entries, path),
        ranges=entries.get(RANGES_KEY, ""),
        side=_side(entries.get(SIDE_KEY), path),
        licence=_licence(entries.get(LICENCE_KEY, ""), path),
        names=class_names(names, path),
    )


def class_names(names: object, path: Path) -> tuple[str, ...]:
    """Return class names from a list, or a mapping of ids 0..n-1.

    Raises:
        CheckpointError: they are neither, too many, or no texts.
    """
    if isinstance(names, dict):
        if any(type(key) is not int or not 0 <= key < len(names) for key in names):
            raise CheckpointError(
                f"{path}: expected class names for the ids 0 to {len(names) - 1}, found the ids {shown(list(names))}"
            )
        names = [names[i] for i in range(len(names))]
    if names is None:
        return ()
    if not isinstance(names, list | tuple) or len(names) > _MAX_NAMES or not all(map(is_text, names)):
        raise CheckpointError(f"{path}: expected class names as strings, found {shown(names)}")
    return tuple(names)


def _model(name: str, has_yaml: bool, path: Path) -> str:
    if has_yaml and not (name and name.isprintable() and len(name) <= _MAX_NAME):
        raise CheckpointError(f"{path}: expected a name for the model YAML in it, found {shown(name)}")
    if name and not has_yaml and not _SHIPPED.fullmatch(name):
        raise CheckpointError(f"{path}: expected the name of a shipped model in it, found {shown(name)}")
    return name


def _yaml(text: str | None, path: Path) -> dict[str, Any] | None:
    if text is None:
        return None
    if len(text) > _MAX_YAML:
        raise CheckpointError(f"{path}: expected a model YAML of at most {_MAX_YAML} characters, found {len(text)}")
    keys = "nc, scales, backbone, head"
    try:
        return mapping_from_yaml(text, Path("its model YAML"), ModelSpecError, keys=keys, max_depth=_MAX_YAML_DEPTH)
    except ModelSpecError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _eps(entries: Mapping[str, str], path: Path) -> float | None:
    text = entries.get("batch_norm_eps")
    if text is None:
        return None
    try:
        eps = float(text[:32])
    except ValueError:
        eps = 0.0
    if not 0 < eps < 1:
        raise CheckpointError(f"{path}: expected a BatchNorm eps from 0 to 1, found {shown(text)}")
    return eps


def _side(text: str | None, path: Path) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 5):
        raise CheckpointError(f"{path}: expected an imgsz in pixels, found {shown(text)}")
    return int(text)


def _licence(text: str, path: Path) -> str:
    if len(text) > MAX_LICENCE or not text.isprintable():
        raise CheckpointError(f"{path}: expected a licence of at most {MAX_LICENCE} characters, found {shown(text)}")
    return text
