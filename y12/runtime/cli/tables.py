"""Tables of what was found, as CSV: of objects by class, and of every object."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from y12.errors import OutputError
from y12.files import write_atomically
from y12.text import visible

if TYPE_CHECKING:
    from y12.runtime.cli.sources import Frame
    from y12.runtime.results.detections import Detections

__all__ = ["CountTable", "ObjectTable"]


class CountTable:
    """How many objects of each class each image, or frame of a video, shows: a CSV file with a column for each class.

    Args:
        place: the file, which is written when all is done.
        names: the model's classes; those of one name share a column.
    """

    needs_image = needs_masks = False

    def __init__(self, place: Path, names: Sequence[str]) -> None:
        self.place, self.count, self._names = place, 0, tuple(dict.fromkeys(names))
        self._rows: list[list[object]] = [["source", "frame", *(visible(name) for name in self._names)]]

    def take(self, frame: "Frame", found: "Detections") -> dict[str, Any]:
        """Take note of a picture."""
        counts = found.counts()
        self._rows.append([*_picture(frame), *(counts.get(name, 0) for name in self._names)])
        self.count += 1
        return {}

    def close(self) -> None:
        """Write the file."""
        if self.count:
            _write_table(self.place, self._rows)


class ObjectTable:
    """Every object, or class of a picture that a classifier names: a CSV file with a row for each."""

    needs_image = needs_masks = False

    def __init__(self, place: Path) -> None:
        self.place, self.count = place, 0
        self._rows: list[list[object]] = []

    def take(self, frame: "Frame", found: "Detections") -> dict[str, Any]:
        """Take note of a picture's objects."""
        for record in found.as_records():
            where = [*record["box_xyxy"], *record.get("xywhr", ())]
            own = [record["class_id"], visible(record["class_name"]), record["confidence"]]
            self._rows.append([*_picture(frame), "" if frame.time_s is None else round(frame.time_s, 6), *own, *where])
        self.count += 1
        return {}

    def close(self) -> None:
        """Write the file."""
        if not self.count:
            return
        header = ["source", "frame", "time_s", "class_id", "class_name", "confidence", "x1", "y1", "x2", "y2"]
        oriented = max(map(len, self._rows), default=0) > len(header)
        _write_table(self.place, [[*header, *["x", "y", "width", "height", "angle"] * oriented], *self._rows])


def _picture(frame: "Frame") -> list[object]:
    return [visible(frame.path), "" if frame.number is None else frame.number]


def _write_table(path: Path, rows: Sequence[Sequence[object]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_atomically(path, text.getvalue().encode(), OutputError)
