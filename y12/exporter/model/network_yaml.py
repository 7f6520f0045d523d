"""A model YAML's mapping as values: every row resolved at one scale, nothing evaluated as code. No torch here."""

from collections.abc import Mapping
from typing import Any

from y12.errors import ModelSpecError
from y12.exporter.model.rows import ModelSpec, RowReader
from y12.exporter.model.scaling import CAPPED_AFTER, MAX_RATIO, PUBLISHED, RULES, Ratios, Scaling
from y12.exporter.model.signature import MAX_CHANNELS
from y12.exporter.model.signatures import DESIGN_MODULES
from y12.exporter.model.values import is_value, nearest
from y12.text import is_text, shown

__all__ = ["REQUIRED", "check_row_count", "spec_from_yaml"]

REQUIRED = ("nc", "scales", "backbone", "head")
_OPTIONAL = ("by_scale", "values", "kpt_shape", "tasks", "neck", "names", "bit", "scaling")
_SECTIONS = ("backbone", "neck", "head")
_MAX_ROWS, _MAX_CLASSES = 512, 100_000


def spec_from_yaml(
    data: Mapping[str, Any],
    origin: str,
    name: str,
    *,
    scale: str | None = None,
    ratios: Ratios = Ratios(),  # noqa: B008
    nc: int | None = None,
    task: str | None = None,
) -> ModelSpec:
    """Resolve a parsed YAML at one scale.

    Args:
        data: the YAML's mapping.
        origin: what to call it in messages, such as its file name.
        name: the spec's name.
        scale: a key of `scales`; may be left out where there is one only, or where `ratios` has depth and width.
        ratios: what to take in place of the scale's numbers.
        nc: replaces the YAML's number of classes.
        task: a key of `tasks`, whose row then ends the network; "detect" where the YAML has several and none is asked.

    Raises:
        ModelSpecError: with `origin`, the row and, where something is unknown, the nearest known name.
    """
    for key in data:
        if key not in REQUIRED + _OPTIONAL:
            raise ModelSpecError(f"{origin}: unknown key {shown(key)}{nearest(key, REQUIRED + _OPTIONAL)}")
    for key in REQUIRED:
        if key not in data and not (key == "head" and "tasks" in data):
            raise ModelSpecError(f"{origin}: expected the keys {', '.join(REQUIRED)}; '{key}' is missing")
    chosen = _chosen_scale(data["scales"], scale, ratios, origin)
    classes = data["nc"] if nc is None else nc
    if not is_value(classes, int) or not 1 <= classes <= _MAX_CLASSES:
        raise ModelSpecError(f"{origin}: nc must be a whole number from 1 to {_MAX_CLASSES}, found {shown(classes)}")
    bit = data.get("bit")
    if bit is not None and not isinstance(bit, bool):
        raise ModelSpecError(f"{origin}: bit must be true or false, found {shown(bit)}")
    values = {"nc": classes, **_values(data, chosen, origin)}
    rows = [row for section in _SECTIONS if section in data for row in _rows(data[section], section, origin)]
    rows += _task_rows(data.get("tasks"), task, origin)
    check_row_count(len(rows), origin)
    scaling = _scaling(data, chosen, ratios, rows, origin)
    reader = RowReader(origin, scaling, values, bit)
    for row in rows:
        reader.read(row)
    return reader.finish(name, classes, _class_names(data, classes, origin))


def check_row_count(count: int, origin: str) -> None:
    """Refuse more rows than any network has.

    Raises:
        ModelSpecError: there are more.
    """
    if count > _MAX_ROWS:
        raise ModelSpecError(f"{origin}: expected at most {_MAX_ROWS} rows, found {count}")


def _chosen_scale(scales: object, scale: str | None, ratios: Ratios, origin: str) -> str | None:
    if not isinstance(scales, dict) or not scales:
        raise ModelSpecError(
            f"{origin}: scales must be a mapping such as {{n: [0.5, 0.25, 1024]}}, found {shown(scales)}"
        )
    known = ", ".join(str(shown(key)).strip("'") for key in scales)
    if scale is None and len(scales) == 1:
        return str(next(iter(scales)))
    if scale is None and (ratios.depth is None or ratios.width is None):
        raise ModelSpecError(
            f"{origin}: which scale? Put it into the name (yolov12n) or pass --scale, or --depth and --width; "
            f"known: {known}"
        )
    if scale is not None and scale not in scales:
        raise ModelSpecError(f"{origin}: unknown scale {shown(scale)}; known: {known}")
    return scale


def _scaling(data: Mapping[str, Any], scale: str | None, ratios: Ratios, rows: list[Any], origin: str) -> Scaling:
    """Return the numbers of the scale, of `ratios` where it has them, and the rule by which they scale.

    A file that names no rule follows that of y12's own networks where it has a module of theirs.
    """
    modules = {row[2] for row in rows if isinstance(row, list | tuple) and len(row) > 2 and isinstance(row[2], str)}
    rule = data.get("scaling", CAPPED_AFTER if modules & DESIGN_MODULES else PUBLISHED)
    if rule not in RULES:
        raise ModelSpecError(f"{origin}: scaling must be {' or '.join(RULES)}, found {shown(rule)}")
    if scale is None:
        numbers = [_scale_numbers(value, str(key), origin) for key, value in data["scales"].items()]
        depth, width, limit = 1.0, 1.0, max(limit for _, _, limit in numbers)
    else:
        depth, width, limit = _scale_numbers(data["scales"][scale], scale, origin)
    return Scaling(
        depth if ratios.depth is None else ratios.depth,
        width if ratios.width is None else ratios.width,
        limit if ratios.max_channels is None else ratios.max_channels,
        rule,
    )


def _scale_numbers(numbers: object, scale: str, origin: str) -> tuple[float, float, int]:
    if isinstance(numbers, list | tuple) and len(numbers) == 3:
        depth, width, limit = numbers
        typed = is_value(depth, (int, float)) and is_value(width, (int, float)) and is_value(limit, int)
        if typed and 0 < depth <= MAX_RATIO and 0 < width <= MAX_RATIO and 8 <= limit <= MAX_CHANNELS:
            return float(depth), float(width), limit
    raise ModelSpecError(
        f"{origin}: scale '{scale}' must be [depth, width, max_channels] with 0 < depth, width <= {MAX_RATIO} "
        f"and max_channels from 8 to {MAX_CHANNELS}; found {shown(numbers)}"
    )


def _values(data: Mapping[str, Any], scale: str | None, origin: str) -> dict[str, Any]:
    """Return what the words in a row's args stand for: `values`, those of `by_scale` at one scale, and `kpt_shape`."""
    values, by_scale = data.get("values", {}), data.get("by_scale", {})
    for section, table in (("values", values), ("by_scale", by_scale)):
        if not isinstance(table, dict):
            raise ModelSpecError(f"{origin}: {section} must be a mapping, found {shown(table)}")
        for name in table:
            if name in REQUIRED + _OPTIONAL:
                raise ModelSpecError(f"{origin}: {section} cannot set '{name}', which has a key of its own")
    for name, numbers in by_scale.items():
        if scale is None:
            raise ModelSpecError(
                f"{origin}: {shown(name)} has a value by scale: add --scale, whose value is taken beside --depth and "
                "--width"
            )
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
    if not isinstance(names, list) or not all(is_text(name) and name for name in names):
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
