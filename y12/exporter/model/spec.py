"""A model YAML as values: every row resolved, nothing evaluated as code. No torch here."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from y12.errors import ModelSpecError
from y12.exporter.model.rows import ModelSpec, RowReader, is_value, nearest
from y12.exporter.model.signature import MAX_CHANNELS
from y12.exporter.safe_yaml import mapping_from_yaml
from y12.text import shown

_REQUIRED = ("nc", "scales", "backbone", "head")
_OPTIONAL = ("by_scale", "values", "kpt_shape", "tasks", "neck", "names", "bit")
_SECTIONS = ("backbone", "neck", "head")
_MAX_YAML_BYTES = 1 << 16
_MAX_YAML_DEPTH = 16
_MAX_ROWS, _MAX_CLASSES = 512, 100_000

# A published name → our file: the scale letter follows the family, the rest is the variant.
_NAME = re.compile(r"(?P<family>yolov?\d+|[a-z]+(?=-))(?:-?(?P<scale>[nsmlx]))?(?P<variant>(-[a-z0-9]+)*)")
_FAMILY_ALIASES = {"yolo12": "yolov12-v1"}
# "yolov12n-seg": what an ending of a name is called under `tasks`, which lists last rows by task or by form of head.
TASK_SUFFIXES = {
    "seg": "segment",
    "pose": "pose",
    "obb": "obb",
    "cls": "classify",
    "anchors": "anchors",
    "heatmap": "heatmap",
}


def models_dir() -> Path:
    """Return the folder with the shipped model YAMLs: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "configs" / "models"
    return installed if installed.is_dir() else package.parents[1] / "configs" / "models"


def spec_from_name(name: str, *, nc: int | None = None, scale: str | None = None) -> ModelSpec:
    """Resolve a shipped model's name ("yolov12l", "yolo12n") or the path of a model YAML ("my/yolov12s.yaml").

    Raises:
        ModelSpecError: no such model, no scale given, or the YAML is wrong.
    """
    path = Path(name)
    is_path = path.suffix in (".yaml", ".yml")
    stem = path.stem if is_path else name
    family, named_scale, variant = _split_name(stem)
    if scale and named_scale and scale != named_scale:
        raise ModelSpecError(f"'{name}' names the scale '{named_scale}', --scale says '{scale}': drop one of them")
    scale = scale or named_scale
    file, task = _file_at(path, family, variant) if is_path else _shipped_file(name, family, variant)
    own_name = is_path and not family[-1:].isdigit()  # a file of the user's, named as they like
    full_name = _full_name(family, scale, variant) if scale and not own_name else stem
    return spec_from_yaml(_read_yaml(file), str(file.name), full_name, scale=scale, nc=nc, task=task)


def _full_name(family: str, scale: str, variant: str) -> str:
    """Return "yolov12n-seg" or, where the family does not end in a number, "bitfalcon-n"."""
    return f"{family}{'' if family[-1:].isdigit() else '-'}{scale}{variant}"


def specs_at_scale(scale: str, nc: int | None) -> Iterator[ModelSpec]:
    """Yield every shipped network of a scale, each file for all of its tasks."""
    for file in sorted(models_dir().glob("*.yaml")):
        data = _read_yaml(file)
        for task in data.get("tasks", [None]):
            suffix = next((f"-{short}" for short, long in TASK_SUFFIXES.items() if long == task), "")
            family, _, variant = file.stem.partition("-")
            name = _full_name(family, scale, f"{'-' * bool(variant)}{variant}{suffix}")
            yield spec_from_yaml(data, file.name, name, scale=scale, nc=nc, task=task)


def _file_at(path: Path, family: str, variant: str) -> tuple[Path, str | None]:
    """Find the YAML a path means, "my/yolov12s-pose.yaml", with the task where the file found names several."""
    for stem, task in ((path.stem, None), *_stems(f"{family}{variant}")):
        file = path.with_name(f"{stem}{path.suffix}")
        if os.path.isfile(file):  # unlike Path.is_file, it takes a name that is too long
            return file, task
    raise ModelSpecError(f"expected a model YAML, found no file {path}")


def _shipped_file(name: str, family: str, variant: str) -> tuple[Path, str | None]:
    base = _FAMILY_ALIASES.get(family, family) + variant
    shipped = {file.stem: file for file in sorted(models_dir().glob("*.yaml"), key=lambda file: file.stem)}
    for stem, task in _stems(base):
        if stem in shipped:
            return shipped[stem], task
    raise ModelSpecError(
        f"unknown model {shown(name)}{nearest(base, shipped)}; shipped: {', '.join(shipped)}, each with a scale "
        f"letter, such as yolov12n or yolov12n-v1, and for other tasks or heads -{', -'.join(TASK_SUFFIXES)}"
    )


def _stems(base: str) -> list[tuple[str, str | None]]:
    """Return the files that can hold a model: its own, and for "yolov12-pose" the one of several tasks, "yolov12"."""
    stem, _, suffix = base.rpartition("-")
    return [(base, None), *([(stem, TASK_SUFFIXES[suffix])] if suffix in TASK_SUFFIXES else [])]


def _split_name(stem: str) -> tuple[str, str | None, str]:
    """Split "yolov12l-v1" into the family "yolov12", the scale "l" and the variant "-v1"; the scale may be missing."""
    match = _NAME.fullmatch(stem)
    return (match["family"], match["scale"], match["variant"]) if match else (stem, None, "")


def _read_yaml(path: Path) -> dict[str, Any]:
    if path.stat().st_size > _MAX_YAML_BYTES:
        raise ModelSpecError(f"{path}: expected a YAML of at most {_MAX_YAML_BYTES} bytes")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ModelSpecError(f"{path}: not readable as YAML: {error!s:.200}") from error
    return mapping_from_yaml(text, path, ModelSpecError, keys=", ".join(_REQUIRED), max_depth=_MAX_YAML_DEPTH)


def spec_from_yaml(
    data: Mapping[str, Any],
    origin: str,
    name: str,
    *,
    scale: str | None = None,
    nc: int | None = None,
    task: str | None = None,
) -> ModelSpec:
    """Resolve a parsed YAML at one scale.

    Args:
        data: the YAML's mapping.
        origin: what to call it in messages, such as its file name.
        name: the spec's name.
        scale: a key of `scales`; may be left out where there is one only.
        nc: replaces the YAML's number of classes.
        task: a key of `tasks`, whose row then ends the network; "detect" where the YAML has several and none is asked.

    Raises:
        ModelSpecError: with `origin`, the row and, where something is unknown, the nearest known name.
    """
    for key in data:
        if key not in _REQUIRED + _OPTIONAL:
            raise ModelSpecError(f"{origin}: unknown key {shown(key)}{nearest(key, _REQUIRED + _OPTIONAL)}")
    for key in _REQUIRED:
        if key not in data and not (key == "head" and "tasks" in data):
            raise ModelSpecError(f"{origin}: expected the keys {', '.join(_REQUIRED)}; '{key}' is missing")
    chosen = _chosen_scale(data["scales"], scale, origin)
    classes = data["nc"] if nc is None else nc
    if not is_value(classes, int) or not 1 <= classes <= _MAX_CLASSES:
        raise ModelSpecError(f"{origin}: nc must be a whole number from 1 to {_MAX_CLASSES}, found {shown(classes)}")
    bit = data.get("bit")
    if bit is not None and not isinstance(bit, bool):
        raise ModelSpecError(f"{origin}: bit must be true or false, found {shown(bit)}")
    values = {"nc": classes, **_values(data, chosen, origin)}
    reader = RowReader(origin, _scale_numbers(data["scales"][chosen], chosen, origin), values, bit)
    rows = [row for section in _SECTIONS if section in data for row in _rows(data[section], section, origin)]
    rows += _task_rows(data.get("tasks"), task, origin)
    if len(rows) > _MAX_ROWS:
        raise ModelSpecError(f"{origin}: expected at most {_MAX_ROWS} rows, found {len(rows)}")
    for row in rows:
        reader.read(row)
    return reader.finish(name, classes, _class_names(data, classes, origin))


def _chosen_scale(scales: object, scale: str | None, origin: str) -> str:
    if not isinstance(scales, dict) or not scales:
        raise ModelSpecError(
            f"{origin}: scales must be a mapping such as {{n: [0.5, 0.25, 1024]}}, found {shown(scales)}"
        )
    if scale is None and len(scales) == 1:
        scale = next(iter(scales))
    if scale is None:
        raise ModelSpecError(
            f"{origin}: which scale? Put it into the name (yolov12n) or pass --scale; "
            f"known: {', '.join(map(str, scales))}"
        )
    if scale not in scales:
        raise ModelSpecError(f"{origin}: unknown scale {shown(scale)}; known: {shown(list(scales))}")
    return scale


def _scale_numbers(numbers: object, scale: str, origin: str) -> tuple[float, float, int]:
    if isinstance(numbers, list | tuple) and len(numbers) == 3:
        depth, width, limit = numbers
        typed = is_value(depth, (int, float)) and is_value(width, (int, float)) and is_value(limit, int)
        if typed and 0 < depth <= 8 and 0 < width <= 8 and 8 <= limit <= MAX_CHANNELS:
            return float(depth), float(width), limit
    raise ModelSpecError(
        f"{origin}: scale '{scale}' must be [depth, width, max_channels] with 0 < depth, width <= 8 "
        f"and max_channels from 8 to {MAX_CHANNELS}; found {shown(numbers)}"
    )


def _values(data: Mapping[str, Any], scale: str, origin: str) -> dict[str, Any]:
    """Return what the words in a row's args stand for: `values`, those of `by_scale` at one scale, and `kpt_shape`."""
    values, by_scale = data.get("values", {}), data.get("by_scale", {})
    for section, table in (("values", values), ("by_scale", by_scale)):
        if not isinstance(table, dict):
            raise ModelSpecError(f"{origin}: {section} must be a mapping, found {shown(table)}")
        for name in table:
            if name in _REQUIRED + _OPTIONAL:
                raise ModelSpecError(f"{origin}: {section} cannot set '{name}', which has a key of its own")
    for name, numbers in by_scale.items():
        if not isinstance(numbers, dict) or scale not in numbers:
            raise ModelSpecError(f"{origin}: by_scale {shown(name)} has no value for scale '{scale}'")
        if name in values:
            raise ModelSpecError(f"{origin}: {shown(name)} stands under values and under by_scale; leave one")
    named = {**values, **{name: numbers[scale] for name, numbers in by_scale.items()}}
    kpt_shape = {"kpt_shape": data["kpt_shape"]} if "kpt_shape" in data else {}
    return {**{str(name): value for name, value in named.items()}, **kpt_shape}


def _class_names(data: Mapping[str, Any], nc: int, origin: str) -> tuple[str, ...]:
    """Return the YAML's class names; none where it has none, or where another number of classes was asked for."""
    names = data.get("names", [])
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise ModelSpecError(f"{origin}: names must be a list of class names, found {shown(names)}")
    if names and len(names) != data["nc"]:
        raise ModelSpecError(f"{origin}: expected as many names as nc, {shown(data['nc'])}, found {len(names)}")
    return tuple(names) if len(names) == nc else ()


def _task_rows(tasks: object, task: str | None, origin: str) -> list[Any]:
    """Return the last row for a task; none where the YAML is of one task and says so with its own last row."""
    if tasks is None:
        if task is not None:
            raise ModelSpecError(f"{origin}: it is a network of one task; asked for '{task}', expected a key 'tasks'")
        return []
    if not isinstance(tasks, dict) or not tasks:
        raise ModelSpecError(f"{origin}: tasks must be a mapping from a task to a row, found {shown(tasks)}")
    wanted = task or "detect"
    if wanted not in tasks:
        raise ModelSpecError(f"{origin}: it has no row for the task '{wanted}'; known: {shown(list(tasks))}")
    return [tasks[wanted]]


def _rows(section: object, name: str, origin: str) -> list[Any]:
    if not isinstance(section, list) or not section:
        raise ModelSpecError(f"{origin}: {name} must be a list of rows [from, repeats, module, args]")
    return section
