"""The picture of a training run: accuracy with its best step, losses, and the learning rate, against the steps."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

from y12.exporter.plots.canvas import COLOURS, QUIET, RULE, empty, picture_of
from y12.exporter.train.log import ACCURACY_FILE, STEPS_FILE, rows_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Curve", "RunCurves", "best_point", "curves_of", "curves_png"]

_POINTS = 360  # along a curve: more than can be told apart
_SIZE = (8, 8.5)
_DECADE = 10  # a loss that falls by more is drawn on a logarithmic axis
_MANTISSAS = (1, 2, 5)  # of the numbers on such an axis

Curve = Sequence[tuple[float, float]]  # (step, value)
RunCurves = Mapping[str, Mapping[str, Curve]]  # by panel, then by name


def curves_png(folder: Path) -> bytes:
    """Return what a run's log in `folder` says so far, as PNG; of losses each value is the mean of some steps."""
    curves = curves_of(folder)
    return picture_of(lambda figure: _draw(figure, curves), _SIZE)


def curves_of(folder: Path) -> RunCurves:
    """Return the curves of a run's log: "accuracy", "loss" and "learning rate"."""
    steps = {name: _averaged(curve) for name, curve in _columns(rows_of(folder / STEPS_FILE)).items()}
    losses = {name: curve for name, curve in steps.items() if name not in ("lr", "seconds")}
    rates = {"learning rate": steps["lr"]} if "lr" in steps else {}
    return {"accuracy": _columns(rows_of(folder / ACCURACY_FILE)), "loss": losses, "learning rate": rates}


def best_point(accuracy: Mapping[str, Curve]) -> tuple[float, float] | None:
    """Return step and value of the best accuracy, the first of equal ones; the leading figure decides, as in the loop.

    None where nothing was measured, or where step 0 alone was, and found nothing.
    """
    points = [point for point in next(iter(accuracy.values()), ()) if point != (0, 0)]
    return max(points, key=lambda point: (point[1], -point[0]), default=None)


def _columns(rows: Sequence[Mapping[str, str]]) -> dict[str, Curve]:
    names = [name for name in (rows[0] if rows else ()) if name != "step"]
    return {name: [(float(row["step"]), float(row[name])) for row in rows] for name in names}


def _averaged(curve: Curve) -> Curve:
    """Return at most `_POINTS` means of neighbouring values."""
    size = -(-len(curve) // _POINTS) or 1
    groups = [curve[i : i + size] for i in range(0, len(curve), size)]
    return [(group[-1][0], sum(value for _, value in group) / len(group)) for group in groups]


def _draw(figure: "Figure", curves: RunCurves) -> None:
    panels = figure.subplots(3, 1, sharex=True, height_ratios=(4, 4, 2))
    for axes, (title, ones) in zip(panels, curves.items(), strict=True):
        axes.set_title(title)
        if not ones:
            empty(axes, "nothing yet")
        few = any(len(curve) < 60 for curve in ones.values())
        for (name, curve), colour in zip(ones.items(), cycle(COLOURS), strict=False):
            axes.plot(*zip(*curve, strict=True), color=colour, lw=1.6, marker="." if few else "", label=name)
    accuracy, losses, rate = panels
    accuracy.set_ylim(bottom=0)
    _mark_best(accuracy, best_point(curves["accuracy"]))
    _scale(losses, [value for curve in curves["loss"].values() for _, value in curve])
    rate.set_ylim(bottom=0)
    rate.set_xlabel("steps")
    rate.xaxis.get_major_locator().set_params(integer=True)
    for axes, ones in ((accuracy, curves["accuracy"]), (losses, curves["loss"])):
        if ones:
            axes.legend(loc="best")


def _mark_best(axes: "Axes", best: tuple[float, float] | None) -> None:
    if best is not None:
        step, value = best
        axes.axvline(step, color=RULE, lw=1.2, ls=":", label=f"best: {value:.4f} after step {step:g}")
        axes.plot([step], [value], "o", mfc="none", mec=RULE, ms=9, mew=1.6)


def _scale(axes: "Axes", values: Sequence[float]) -> None:
    """Give losses a logarithmic axis with plain numbers where they fall by more than a decade."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    positive = [value for value in values if value > 0]
    if not positive or max(positive) < _DECADE * min(positive):
        axes.set_ylim(bottom=0)
        return
    axes.set_yscale("log", nonpositive="mask")
    axes.yaxis.set_major_locator(LogLocator(subs=_MANTISSAS))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.tick_params(axis="y", labelcolor=QUIET)
