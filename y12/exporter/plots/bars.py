"""AP by class and by object size, and a classifier's top-1 by class, as bars."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from y12.exporter.evaluate.coco import KIND_NAMES
from y12.exporter.evaluate.confusion import Confusion
from y12.exporter.evaluate.study import KindStudy
from y12.exporter.plots.canvas import ACCENT, COLOURS, QUIET, chart_png, empty, name_of
from y12.exporter.plots.curves import NOTHING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["SIZES", "Bar", "class_bars", "class_picture", "size_picture", "top1_bars", "top1_picture"]

SIZES = {"small": "below 32² px", "medium": "32² to 96² px", "large": "above 96² px"}  # pixels, as COCO has them
_MOST, _ENDS = 40, 20  # bars; of more classes the lowest and the highest


@dataclass(frozen=True)
class Bar:
    """One class: its name, its figure 0-1, the figure marked beside it, and how many labels it has."""

    name: str
    value: float
    mark: float | None
    labels: int


def class_bars(study: KindStudy) -> list[Bar]:
    """Return AP50-95, and AP50 as the mark, of the classes that have labels, the best first."""
    bars = [Bar(c.name, c.ap, c.ap50, c.labels) for c in study.figures.classes if c.ap is not None]
    return sorted(bars, key=lambda bar: -bar.value)


def top1_bars(confusion: Confusion) -> list[Bar]:
    """Return the share of each class' images that are found as it, the best first."""
    bars = []
    for k, name in enumerate(confusion.names):
        if labels := confusion.labels_of(k):
            bars.append(Bar(name, confusion.counts.get((k, k), 0) / labels, None, labels))
    return sorted(bars, key=lambda bar: -bar.value)


def class_picture(study: KindStudy) -> bytes:
    """Return AP by class as PNG."""
    return _picture(class_bars(study), f"{KIND_NAMES[study.figures.kind]}: AP by class", "AP50-95", "AP50")


def top1_picture(confusion: Confusion) -> bytes:
    """Return a classifier's top-1 by class as PNG."""
    return _picture(top1_bars(confusion), "top-1 by class", "top-1", "")


def size_picture(study: KindStudy) -> bytes:
    """Return AP by the size of objects as PNG."""
    return chart_png(lambda axes: _draw_sizes(axes, study), (6.4, 2.9))


def _draw_sizes(axes: "Axes", study: KindStudy) -> None:
    values, sizes = study.figures.values, list(study.labels_by_size)
    axes.set_title(f"{KIND_NAMES[study.figures.kind]}: AP50-95 by object size")
    axes.grid(visible=False, axis="y")
    for row, size in enumerate(sizes):
        value, labels = values.get(f"AP{size}"), study.labels_by_size[size]
        axes.barh(row, value or 0, color=ACCENT, height=0.6)
        words = "no labels" if value is None else f"{value:.4f}   {labels} label{'s' * (labels != 1)}"
        axes.text((value or 0) + 0.01, row, words, va="center")
    axes.set_yticks(range(len(sizes)), [f"{size}, {SIZES[size]}" for size in sizes])
    axes.set(xlim=(0, 1.25), xlabel="AP50-95", xticks=[0, 0.2, 0.4, 0.6, 0.8, 1])
    axes.invert_yaxis()


def _picture(bars: Sequence[Bar], title: str, figure: str, mark: str) -> bytes:
    shown = list(bars) if len(bars) <= _MOST else [*bars[:_ENDS], *bars[-_ENDS:]]
    if len(shown) < len(bars):
        title += f": the best {_ENDS} and the worst {_ENDS} of {len(bars)}"
    size = (6.4, max(2.2, 1.3 + 0.24 * len(shown)))
    return chart_png(lambda axes: _draw(axes, shown, title, figure, mark), size, [bar.name for bar in shown])


def _draw(axes: "Axes", bars: Sequence[Bar], title: str, figure: str, mark: str) -> None:
    axes.set_title(title)
    axes.grid(visible=False, axis="y")
    axes.set(xlim=(0, 1.32), xlabel=figure, xticks=[0, 0.2, 0.4, 0.6, 0.8, 1])
    if not bars:
        axes.set(yticks=[])
        empty(axes, NOTHING)
        return
    rows = range(len(bars))
    axes.barh(rows, [bar.value for bar in bars], color=ACCENT, height=0.65, label=figure)
    marked = [(bar.mark, row) for row, bar in zip(rows, bars, strict=True) if bar.mark is not None]
    if marked:
        axes.plot(*zip(*marked, strict=True), "|", color=COLOURS[1], ms=9, mew=2, label=mark)
        axes.legend(loc="lower right")
    for row, bar in zip(rows, bars, strict=True):
        right = max(bar.value, bar.mark or 0) + 0.015
        axes.text(right, row, f"{bar.value:.3f}  {bar.labels}", va="center", fontsize=8, color=QUIET)
    axes.set_yticks(rows, [name_of(bar.name) for bar in bars], fontsize=8.5)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.set_xlabel(f"{figure}; behind each bar the figure and how many labels")
