"""What is drawn, as numbers: for JSON, and for the page's tables."""

import json
import math
from typing import Any

from y12.exporter.evaluate.confusion import BACKGROUND, Confusion
from y12.exporter.evaluate.curves import CONFS
from y12.exporter.evaluate.report import ValReport
from y12.exporter.evaluate.study import KindStudy, Study
from y12.text import printable_json

__all__ = ["best_of", "class_rows", "json_of", "summary_of"]

_STEP = 10  # of the curves' points every tenth is written: one each 0.01


def json_of(report: ValReport, study: Study) -> str:
    """Return the report's JSON with one more member, "plots"."""
    whole = json.loads(report.to_json()) | {"plots": summary_of(study)}
    return printable_json(json.dumps(whole, ensure_ascii=False, indent=1))


def summary_of(study: Study) -> dict[str, Any]:
    """Return what is drawn as JSON values; what is not defined is None."""
    worst = [{"image": one.name, **vars(one.mistakes), "f1": one.mistakes.f1} for one in study.worst]
    return {
        "kinds": {kind.figures.kind: _kind(kind) for kind in study.kinds},
        "confusion": _confusion(study.confusion),
        "images_with_mistakes": study.mistaken,
        "worst": worst,
    }


def best_of(study: KindStudy) -> dict[str, float] | None:
    """Return the confidence of the best mean F1, and what the means are there; None where nothing is right."""
    curves, best = study.curves, study.curves.best
    if best is None:
        return None
    return {
        "conf": float(CONFS[best]),
        "f1": float(curves.mean_f1[best]),
        "precision": float(curves.mean_precision[best]),
        "recall": float(curves.mean_recall[best]),
    }


def class_rows(study: KindStudy) -> list[dict[str, Any]]:
    """Return of each class with labels its AP, and precision, recall and F1 at the confidence of the best mean F1."""
    curves, best = study.curves, study.curves.best
    rows = []
    for at, k in enumerate(curves.classes):
        one = study.figures.classes[k]
        row: dict[str, Any] = {"name": one.name, "labels": one.labels, "ap": one.ap, "ap50": one.ap50}
        for name in ("precision", "recall", "f1"):
            row[name] = None if best is None else _number(getattr(curves, name)[at, best])
        rows.append(row)
    return rows


def _kind(study: KindStudy) -> dict[str, Any]:
    curves = {
        name: [_number(value) for value in getattr(study.curves, f"mean_{name}")[::_STEP]]
        for name in ("precision", "recall", "f1")
    }
    return {
        "best_f1": best_of(study),
        "labels_by_size": dict(study.labels_by_size),
        "classes": class_rows(study),
        "curves": {"conf": [round(float(conf), 3) for conf in CONFS[::_STEP]], **curves},
    }


def _confusion(confusion: Confusion) -> dict[str, Any]:
    cells = [
        {"labelled": _class(a), "found": _class(b), "count": count}
        for (a, b), count in sorted(confusion.counts.items())
    ]
    return {
        "of": confusion.of,
        "conf": confusion.conf,
        "iou": confusion.iou,
        "classes": list(confusion.names),
        "cells": cells,
    }


def _class(class_id: int) -> int | None:
    return None if class_id == BACKGROUND else class_id


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
