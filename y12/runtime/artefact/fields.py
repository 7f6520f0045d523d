"""The fields of a stranger's manifest: each has a type and a range, and a refusal names both."""

from collections.abc import Collection
from typing import Any

from y12.errors import ArtefactError
from y12.runtime.thresholds import MAX_ROWS, ConfidenceTable, ShiftRow
from y12.text import is_text, shown

MAX_CLASSES = 100_000
MAX_NAME = 1000  # characters of a class name
MAX_TEXT = 4096  # characters of any other text
MAX_INPUT = 1 << 28  # numbers of the fewest images that one run takes
MAX_ENTRIES = 64  # of a mapping from texts to texts


def wrong(field: str, expected: str, found: object) -> ArtefactError:
    """Return the refusal of a field."""
    return ArtefactError(f"manifest: expected {field} as {expected}, found {shown(found)}")


def text(value: object, field: str, limit: int = MAX_TEXT) -> str:
    """Return a text of at most `limit` characters.

    Raises:
        ArtefactError: it is none.
    """
    if not is_text(value) or len(value) > limit:
        raise wrong(field, f"a text of at most {limit} characters", value)
    return value


def whole(value: object, field: str, low: int, high: int) -> int:
    """Return a whole number from `low` to `high`.

    Raises:
        ArtefactError: it is none.
    """
    if type(value) is not int or not low <= value <= high:
        raise wrong(field, f"a whole number from {low} to {high}", value)
    return value


def share(value: object, field: str) -> float:
    """Return a number from 0 to 1.

    Raises:
        ArtefactError: it is none.
    """
    if type(value) not in (int, float) or not 0 <= value <= 1:  # type: ignore[operator]  # False for NaN
        raise wrong(field, "a number from 0 to 1", value)
    return value  # type: ignore[return-value]


def measured(value: object) -> float | None:
    """Return an entry of the table of confidences: a number from 0 to 1, or None where none was found.

    Raises:
        ArtefactError: it is neither.
    """
    return None if value is None else share(value, "thresholds.rows")


def flag(value: object, field: str) -> bool:
    """Return true or false.

    Raises:
        ArtefactError: it is neither.
    """
    if not isinstance(value, bool):
        raise wrong(field, "true or false", value)
    return value


def listed(value: object, field: str, low: int, high: int) -> list[Any]:
    """Return a list of `low` to `high` values.

    Raises:
        ArtefactError: it is none.
    """
    if not isinstance(value, list) or not low <= len(value) <= high:
        raise wrong(field, f"a list of {low} to {high} values", value)
    return value


def mapping(value: object, field: str, required: Collection[str], optional: Collection[str] = ()) -> dict[str, Any]:
    """Return a mapping that has all required keys and no others but optional ones.

    Raises:
        ArtefactError: it is none.
    """
    if not isinstance(value, dict):
        raise wrong(field, "a mapping", value)
    lacking = [key for key in required if key not in value]
    unknown = next((key for key in value if key not in required and key not in optional), None)
    if lacking or unknown is not None:
        raise wrong(field, f"a mapping with {', '.join(required)}", unknown if unknown is not None else list(value))
    return value


def texts_by_text(value: object, field: str) -> dict[str, str]:
    """Return a mapping from texts to texts.

    Raises:
        ArtefactError: it is none, or a large one.
    """
    if not isinstance(value, dict) or len(value) > MAX_ENTRIES:
        raise wrong(field, f"a mapping of at most {MAX_ENTRIES} texts", value)
    return {text(key, f"a key of {field}"): text(entry, f"{field}.{key:.40}") for key, entry in value.items()}


def class_names(value: object, field: str = "names") -> tuple[str, ...]:
    """Return class names from a list.

    Raises:
        ArtefactError: it is no list of texts.
    """
    return tuple(text(name, f"each of {field}", MAX_NAME) for name in listed(value, field, 1, MAX_CLASSES))


def check_input_size(batch: int, height: int, width: int) -> None:
    """Refuse an input that takes more memory than a machine can be expected to have for it.

    Raises:
        ArtefactError: the fewest images that one run takes are that large.
    """
    numbers = 3 * batch * height * width
    if numbers > MAX_INPUT:
        raise ArtefactError(
            f"expected an input of at most {MAX_INPUT} numbers (1 GiB in FP32), found {batch} images of "
            f"{height}x{width}: {4 * numbers / 2**30:.3g} GiB"
        )


def confidence_table(value: object) -> ConfidenceTable | None:
    """Return a table of confidences; None where there is none.

    Raises:
        ArtefactError: it is of another form, or contradicts itself.
    """
    if value is None:
        return None
    table = mapping(value, "thresholds", ("against", "data", "rows"))
    rows = [
        listed(row, "each of thresholds.rows", 3, 3) for row in listed(table["rows"], "thresholds.rows", 1, MAX_ROWS)
    ]
    return ConfidenceTable(
        text(table["against"], "thresholds.against"),
        text(table["data"], "thresholds.data"),
        tuple(ShiftRow(share(row[0], "thresholds.rows"), *map(measured, row[1:])) for row in rows),
    )
