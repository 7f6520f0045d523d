"""A model YAML as values: every row resolved, nothing evaluated as code. No torch here."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from exporter.errors import ModelSpecError
from exporter.model.rows import MAX_CHANNELS, ModelSpec, RowReader, is_value, nearest

_REQUIRED = ("nc", "scales", "backbone", "head")
_OPTIONAL = ("by_scale",)
_MAX_YAML_BYTES = 1 << 20
_MAX_ROWS, _MAX_CLASSES = 512, 100_000

# A published name → our file: the scale letter follows the family, the rest is the variant.
_NAME = re.compile(r"(?P<family>yolov?\d+|[a-z]+-?)(?P<scale>[nsmlx])(?P<variant>(-[a-z0-9]+)*)")
_FAMILY_ALIASES = {"yolo12": "yolov12-v1"}


def models_dir() -> Path:
    """Give the folder with the shipped model YAMLs: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "configs" / "models"
    return installed if installed.is_dir() else package.parent / "configs" / "models"


def spec_from_name(name: str, *, nc: int | None = None, scale: str | None = None) -> ModelSpec:
    """Resolve a shipped model's name ("yolov12l", "yolo12n") or the path of a model YAML ("my/yolov12s.yaml").

    Raises:
        ModelSpecError: no such model, no scale given, or the YAML is wrong.
    """
    path = Path(name)
    stem = path.stem if path.suffix in (".yaml", ".yml") else path.name
    base, named_scale = _split_name(stem)
    chosen = scale or named_scale
    if path.suffix in (".yaml", ".yml"):
        file = path if path.is_file() else path.with_name(f"{base}{path.suffix}")
        if not file.is_file():
            raise ModelSpecError(f"expected a model YAML, found no file {path}")
    else:
        file = models_dir() / f"{base}.yaml"
        if not file.is_file():
            known = [f"{p.stem}" for p in sorted(models_dir().glob("*.yaml"))]
            raise ModelSpecError(
                f"unknown model '{name}'{nearest(base, known)}; "
                f"shipped: {', '.join(known)}, each with a scale letter, such as yolov12n or yolov12n-v1"
            )
    return spec_from_yaml(_read_yaml(file), str(file.name), stem, scale=chosen, nc=nc)


def _split_name(stem: str) -> tuple[str, str | None]:
    """Split "yolov12l-v1" into its file's stem "yolov12-v1" and the scale "l"; None where it names no scale."""
    match = _NAME.fullmatch(stem)
    if match is None:
        return _FAMILY_ALIASES.get(stem, stem), None
    base = _FAMILY_ALIASES.get(match["family"], match["family"]) + match["variant"]
    return base, match["scale"]


def _read_yaml(path: Path) -> dict[str, Any]:
    if path.stat().st_size > _MAX_YAML_BYTES:
        raise ModelSpecError(f"{path}: expected a YAML of at most {_MAX_YAML_BYTES} bytes")
    try:
        text = path.read_text(encoding="utf-8")
        # An alias in a few hundred bytes can stand for gigabytes; no model needs one.
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text, Loader=yaml.SafeLoader)):
            raise ModelSpecError(f"{path}: YAML aliases are not allowed in a model")
        data = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        problem = str(error).replace("\n", " ")
        raise ModelSpecError(f"{path}: not readable as YAML: {problem:.200}") from error
    if not isinstance(data, dict):
        raise ModelSpecError(f"{path}: expected a mapping with {', '.join(_REQUIRED)}; found {type(data).__name__}")
    return data


def spec_from_yaml(
    data: Mapping[str, Any], origin: str, name: str, *, scale: str | None = None, nc: int | None = None
) -> ModelSpec:
    """Resolve a parsed YAML at one scale.

    Args:
        data: the YAML's mapping.
        origin: what to call it in messages, such as its file name.
        name: the spec's name.
        scale: a key of `scales`; may be left out where there is one only.
        nc: replaces the YAML's number of classes.

    Raises:
        ModelSpecError: with `origin`, the row and, where something is unknown, the nearest known name.
    """
    for key in data:
        if key not in _REQUIRED + _OPTIONAL:
            raise ModelSpecError(f"{origin}: unknown key '{key}'{nearest(str(key), _REQUIRED + _OPTIONAL)}")
    for key in _REQUIRED:
        if key not in data:
            raise ModelSpecError(f"{origin}: expected the keys {', '.join(_REQUIRED)}; '{key}' is missing")
    chosen = _chosen_scale(data["scales"], scale, origin)
    classes = data["nc"] if nc is None else nc
    if not is_value(classes, int) or not 1 <= classes <= _MAX_CLASSES:
        raise ModelSpecError(f"{origin}: nc must be a whole number from 1 to {_MAX_CLASSES}, found {classes!r}")
    values = {"nc": classes, **_values_by_scale(data.get("by_scale", {}), chosen, origin)}
    reader = RowReader(origin, _scale_numbers(data["scales"][chosen], chosen, origin), values)
    rows = [row for section in ("backbone", "head") for row in _rows(data[section], section, origin)]
    if len(rows) > _MAX_ROWS:
        raise ModelSpecError(f"{origin}: expected at most {_MAX_ROWS} rows, found {len(rows)}")
    for row in rows:
        reader.read(row)
    return reader.finish(name, classes)


def _chosen_scale(scales: object, scale: str | None, origin: str) -> str:
    if not isinstance(scales, dict) or not scales:
        raise ModelSpecError(
            f"{origin}: scales must be a mapping such as {{n: [0.5, 0.25, 1024]}}, found {scales!r:.60}"
        )
    if scale is None and len(scales) == 1:
        scale = next(iter(scales))
    if scale is None:
        raise ModelSpecError(
            f"{origin}: which scale? Put it into the name (yolov12n) or pass --scale; "
            f"known: {', '.join(map(str, scales))}"
        )
    if scale not in scales:
        raise ModelSpecError(f"{origin}: unknown scale '{scale}'; known: {', '.join(map(str, scales))}")
    return scale


def _scale_numbers(numbers: object, scale: str, origin: str) -> tuple[float, float, int]:
    if isinstance(numbers, list | tuple) and len(numbers) == 3:
        depth, width, limit = numbers
        typed = is_value(depth, (int, float)) and is_value(width, (int, float)) and is_value(limit, int)
        if typed and 0 < depth <= 8 and 0 < width <= 8 and 8 <= limit <= MAX_CHANNELS:
            return float(depth), float(width), limit
    raise ModelSpecError(
        f"{origin}: scale '{scale}' must be [depth, width, max_channels] with 0 < depth, width <= 8 "
        f"and max_channels from 8 to {MAX_CHANNELS}; found {numbers!r:.60}"
    )


def _values_by_scale(table: object, scale: str, origin: str) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise ModelSpecError(f"{origin}: by_scale must be a mapping, found {table!r:.60}")
    for name, values in table.items():
        if not isinstance(values, dict) or scale not in values:
            raise ModelSpecError(f"{origin}: by_scale '{name}' has no value for scale '{scale}'")
    return {str(name): values[scale] for name, values in table.items()}


def _rows(section: object, name: str, origin: str) -> list[Any]:
    if not isinstance(section, list) or not section:
        raise ModelSpecError(f"{origin}: {name} must be a list of rows [from, repeats, module, args]")
    return section
