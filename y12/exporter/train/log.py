"""The record of a training run: one CSV row a step, and one for each measured accuracy."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from y12.exporter.train.loop import StepLog
from y12.files import write_atomically

__all__ = ["ACCURACY_FILE", "STEPS_FILE", "RunLog", "rows_of"]

STEPS_FILE, ACCURACY_FILE = "steps.csv", "accuracy.csv"


class RunLog:
    """Writes the two files of a run; a resumed run goes on in them.

    Args:
        folder: the run's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def started(self, step: int) -> None:
        """Drop what was written of steps after `step`, which are done again; of a run begun anew, everything."""
        if step == 0:
            for name in (STEPS_FILE, ACCURACY_FILE):
                (self._folder / name).unlink(missing_ok=True)
        for name in (STEPS_FILE, ACCURACY_FILE):
            rows = rows_of(self._folder / name)
            kept = [row for row in rows if int(row["step"]) <= step]
            if rows:
                write_atomically(self._folder / name, _csv(list(rows[0]), kept).encode())

    def stepped(self, log: StepLog) -> None:
        """Add a step: its number, learning rate, seconds, and each loss."""
        losses = {name: f"{value:.9g}" for name, value in log.losses.items()}
        self._add(STEPS_FILE, {"step": log.step, "lr": f"{log.lr:.6g}", "seconds": f"{log.seconds:.3f}", **losses})

    def measured(self, step: int, figures: dict[str, float]) -> None:
        """Add an accuracy: the step's number, and each figure, 0-1."""
        self._add(ACCURACY_FILE, {"step": step, **{name: f"{value:.6f}" for name, value in figures.items()}})

    def _add(self, name: str, row: dict[str, object]) -> None:
        path = self._folder / name
        text = _csv(list(row), [row])
        with path.open("a", encoding="utf-8") as stream:
            stream.write(text.split("\n", 1)[1] if path.exists() and path.stat().st_size else text)


def rows_of(path: Path) -> list[dict[str, str]]:
    """Read a CSV with a row of names; nothing where there is no file. A last row cut short by a kill is left out."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    rows = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1]))
    return [row for row in rows if None not in row.values() and None not in row]


def _csv(names: list[str], rows: Sequence[dict[str, object]] | Sequence[dict[str, str]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
