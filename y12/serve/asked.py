"""What a request asks of the results: thresholds and classes, by their names in `DetectOptions`."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from y12.errors import InputError
from y12.runtime.options import DetectOptions, class_ids_from
from y12.runtime.session import Runtime
from y12.serve.refusals import bad

__all__ = ["NAMES", "options_from"]

NAMES = ("conf", "iou", "max_det", "classes")


def options_from(asked: Mapping[str, Any], runtime: Runtime) -> DetectOptions:
    """Return the artefact's own options with what was asked in their place; numbers may be given as text.

    Raises:
        Refusal: a value cannot be used, or the artefact cannot follow it.
    """
    values: dict[str, Any] = {}
    for name, value in asked.items():
        if name == "classes":
            values[name] = value
        else:
            values[name] = _number(name, value, int if name == "max_det" else float)
    try:
        if "classes" in values:
            values["classes"] = class_ids_from(_words(values["classes"]), runtime.manifest.names)
        return runtime.resolved_options(replace(runtime.options, **values))
    except InputError as error:
        raise bad(str(error)) from error


def _words(value: Any) -> Any:
    """Return names and ids out of a text such as "person,2"."""
    if not isinstance(value, str):
        return value
    words = [word.strip() for word in value.split(",")]
    return [int(word) if word.isdecimal() and len(word) < 7 else word for word in words]


def _number(name: str, value: Any, kind: type[int] | type[float]) -> int | float:
    wanted = f"{name}: expected a {'whole number' if kind is int else 'number'}"
    if isinstance(value, bool) or not isinstance(value, str | int | float) or len(str(value)) > 40:
        raise bad(f"{wanted}, found something else")
    try:
        return kind(value) if isinstance(value, str) or kind is float or isinstance(value, int) else _whole(value)
    except (ValueError, OverflowError):
        raise bad(f"{wanted}, found {value!r}") from None


def _whole(value: float) -> int:
    if not value.is_integer():
        raise ValueError
    return int(value)
