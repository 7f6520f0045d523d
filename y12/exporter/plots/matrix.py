"""The confusion matrix; of many classes those that are confused most, the others put together."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from y12.exporter.evaluate.confusion import BACKGROUND, Confusion
from y12.exporter.plots.canvas import chart_png, empty, name_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["MOST_SHOWN", "ShownMatrix", "matrix_picture", "shown_matrix"]

MOST_SHOWN = 30  # rows that can be read
_CHOSEN = 25  # classes of more than that
_REST = -2  # in the place of a class: the classes that have no row of their own
_LARGE = 12  # rows with names and numbers of full size


@dataclass(frozen=True)
class ShownMatrix:
    """The rows and columns that are shown.

    Attributes:
        rows, columns: their names, the labelled and the found ones.
        counts: (rows, columns) how often.
        note: what is left out; "" where nothing is.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    counts: NDArray[np.int64]
    note: str


def shown_matrix(confusion: Confusion) -> ShownMatrix:
    """Return a matrix that can be read: classes that occur, at most `MOST_SHOWN`; then the rest and the background."""
    occurring = sorted({k for pair in confusion.counts for k in pair if k != BACKGROUND})
    chosen = occurring if len(occurring) <= MOST_SHOWN else _most_confused(confusion.counts, occurring)
    with_background = occurring and confusion.conf is not None
    order = [*chosen, *[_REST] * (len(chosen) < len(occurring)), *[BACKGROUND] * bool(with_background)]
    places = {k: at for at, k in enumerate(order)}
    counts = np.zeros((len(order), len(order)), np.int64)
    for (labelled, found), count in confusion.counts.items():
        counts[places.get(labelled, places.get(_REST, -1)), places.get(found, places.get(_REST, -1))] += count
    special = {_REST: f"{len(occurring) - len(chosen)} other classes", BACKGROUND: "background"}
    names = tuple(special[k] if k in special else confusion.names[k] for k in order)
    silent = len(confusion.names) - len(occurring)
    left = [
        f"the {len(chosen)} classes that are confused most, of {len(occurring)}" if _REST in order else "",
        f"{silent} of {len(confusion.names)} classes are neither labelled nor found, and have no row" if silent else "",
    ]
    return ShownMatrix(names, names, counts, "; ".join(filter(None, left)))


def matrix_picture(confusion: Confusion) -> bytes:
    """Return the matrix as PNG: how often, coloured by the share of the row."""
    shown = shown_matrix(confusion)
    rows = len(shown.rows)
    side = 3.2 + 0.5 * rows if rows <= _LARGE else 3.0 + 0.27 * rows
    return chart_png(lambda axes: _draw(axes, confusion, shown), (side + 1.2, side), shown.rows)


def _most_confused(counts: Mapping[tuple[int, int], int], occurring: list[int]) -> list[int]:
    """Return the classes most often taken for another one, or another one for them; then those most often lost."""
    between: Counter[int] = Counter()
    lost: Counter[int] = Counter()
    for (labelled, found), count in counts.items():
        if labelled == found:
            continue
        for k in {labelled, found} - {BACKGROUND}:
            (lost if BACKGROUND in (labelled, found) else between)[k] += count
    ranked = sorted(occurring, key=lambda k: (-between[k], -lost[k], k))
    return sorted(ranked[:_CHOSEN])


def _draw(axes: "Axes", confusion: Confusion, shown: ShownMatrix) -> None:
    words = f"{confusion.of}: labelled (rows) and found (columns)"
    if confusion.conf is not None:
        words += f"\nconfidence above {confusion.conf:g}, overlap from {confusion.iou:g}"
    axes.set_title("\n".join([words, *filter(None, shown.note.split("; "))]), fontsize=9)
    axes.grid(visible=False)
    if not shown.counts.size or not shown.counts.any():
        axes.set(xticks=[], yticks=[])
        empty(axes, "nothing is labelled, and nothing found")
        return
    totals = shown.counts.sum(axis=1, keepdims=True)
    shares = np.divide(shown.counts, totals, out=np.zeros(shown.counts.shape), where=totals > 0)
    image = axes.imshow(shares, cmap="BuGn", vmin=0, vmax=1, aspect="equal")
    axes.figure.colorbar(image, ax=axes, shrink=0.6, label="share of the row")
    count, size = len(shown.rows), 9 if len(shown.rows) <= _LARGE else 7
    length = 24 if count <= _LARGE else 18
    ticks = range(count)
    axes.set_xticks(ticks, [name_of(n, length) for n in shown.columns], rotation=90, fontsize=size)
    axes.set_yticks(ticks, [name_of(n, length) for n in shown.rows], fontsize=size)
    axes.set(xlabel="found", ylabel="labelled")
    for row, column in zip(*np.nonzero(shown.counts), strict=True):
        number = int(shown.counts[row, column])
        colour = "white" if shares[row, column] > 0.6 else "#1f2933"
        small = size - (2 if number >= 1000 else 0)
        axes.text(column, row, f"{number}", ha="center", va="center", fontsize=small, color=colour)
