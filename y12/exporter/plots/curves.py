"""Precision against recall, and precision, recall and F1 against confidence."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from y12.exporter.evaluate.coco import KIND_NAMES
from y12.exporter.evaluate.curves import CONFS
from y12.exporter.evaluate.study import KindStudy
from y12.exporter.plots.canvas import ACCENT, COLOURS, QUIET, RULE, chart_png, empty, in_unit_square, name_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

    Entry = tuple[str, Line2D]  # of a legend; two classes may have one name

__all__ = ["NOTHING", "OVERLAPS", "curve_pictures"]

OVERLAPS = {"bbox": "IoU", "segm": "mask IoU", "keypoints": "OKS", "obb": "ProbIoU"}
NOTHING = "no labelled object counts: there is nothing to draw"
_SIZE = (6.4, 4.9)
_NAMED = 10  # lines that can be told apart; of more classes all are gray
_DRAWN = 300  # lines that do not fill the picture
_RECALLS = np.linspace(0, 1, 101)


def curve_pictures(study: KindStudy) -> dict[str, bytes]:
    """Return the curves of one kind as PNG, by "pr", "f1", "precision" and "recall"."""
    names = [name_of(study.figures.classes[k].name) for k in study.curves.classes]
    curves = {"f1": study.curves.f1, "precision": study.curves.precision, "recall": study.curves.recall}
    return {
        "pr": chart_png(lambda axes: _precision_recall(axes, study, names), _SIZE, names),
        **{
            word: chart_png(
                partial(_confidence, study=study, word=word, curves=curves[word], names=names), _SIZE, names
            )
            for word in curves
        },
    }


def _precision_recall(axes: "Axes", study: KindStudy, names: Sequence[str]) -> None:
    kind, values = study.figures.kind, study.figures.values
    overlap = OVERLAPS[kind]
    in_unit_square(axes, "recall", "precision", f"{KIND_NAMES[kind]}: precision against recall")
    if not names:
        empty(axes, NOTHING)
        return
    precision = study.precision[:, :, study.curves.classes]  # (T, R, K)
    figures = [study.figures.classes[k].ap50 or 0.0 for k in study.curves.classes]
    words = [f"{ap:.3f} {name}" for ap, name in zip(figures, names, strict=True)]
    entries = _class_lines(axes, _RECALLS, precision[0].T, words)
    (mean,) = axes.plot(_RECALLS, precision[0].mean(axis=1), color=ACCENT, lw=2.5)
    (all_overlaps,) = axes.plot(_RECALLS, precision.mean(axis=(0, 2)), color=ACCENT, lw=2, ls="--")
    of_mean = f"AP50 {values['AP50'] or 0:.4f}: {overlap} 0.50, mean of the classes"
    of_all = f"AP50-95 {values['AP'] or 0:.4f}: {overlap} 0.50 to 0.95"
    _legend(axes, [(of_mean, mean), (of_all, all_overlaps), *entries])


def _confidence(axes: "Axes", study: KindStudy, word: str, curves: NDArray[np.float64], names: Sequence[str]) -> None:
    shown, kind = {"f1": "F1"}.get(word, word), study.figures.kind
    title = f"{KIND_NAMES[kind]}: {shown} against confidence, at {OVERLAPS[kind]} 0.50"
    in_unit_square(axes, "confidence", shown, title)
    if not names:
        empty(axes, NOTHING)
        return
    entries = _class_lines(axes, CONFS, curves, names)
    mean = getattr(study.curves, f"mean_{word}")
    (line,) = axes.plot(CONFS, mean, color=ACCENT, lw=2.5)
    entries = [("mean of the classes", line), *entries]
    best = study.curves.best
    if best is not None:
        at = axes.axvline(CONFS[best], color=RULE, lw=1.2, ls=":")
        words = "best F1" if word == "f1" else f"{shown} at the best F1"
        entries = [(f"{words}: {mean[best]:.3f} at {CONFS[best]:.3f}", at), *entries]
    else:
        empty(axes, "nothing is found rightly at any confidence")
    _legend(axes, entries)


def _legend(axes: "Axes", entries: "Sequence[Entry]") -> None:
    """Name the lines below the axes, where they are in the way of none."""
    lines, words = [line for _, line in entries], [words for words, _ in entries]
    axes.legend(lines, words, loc="upper left", bbox_to_anchor=(0, -0.14), ncols=2 if len(entries) > 3 else 1)


def _class_lines(
    axes: "Axes", x: NDArray[np.float64], curves: NDArray[np.float64], names: Sequence[str]
) -> "list[Entry]":
    """Draw a line for each class, of (K, X) curves, and return what the legend says of them."""
    if len(names) == 1:
        return []  # it is the mean
    if len(names) <= _NAMED:
        lines = [axes.plot(x, curve, lw=1.2, color=c)[0] for curve, c in zip(curves, COLOURS, strict=False)]
        return list(zip(names, lines, strict=True))
    drawn = curves[np.linspace(0, len(curves) - 1, min(_DRAWN, len(curves))).astype(int)]
    axes.plot(x, drawn.T, lw=0.6, color=QUIET, alpha=0.35)
    (strong,) = axes.plot([], [], lw=1, color=QUIET)  # a faint line cannot be seen in a legend
    return [(f"{len(drawn)} of the {len(names)} classes, each alone", strong)]
