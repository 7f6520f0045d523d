"""What an evaluation tells: one value, as JSON or as a table to read."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from y12.exporter.evaluate.coco import KIND_NAMES, ClassFigures, Figures
from y12.text import NAME, printable_json, visible

__all__ = ["COLUMNS", "ValReport", "plain"]

COLUMNS = {
    "AP": "AP50-95",
    "AP50": "AP50",
    "AP75": "AP75",
    "APsmall": "small",
    "APmedium": "medium",
    "APlarge": "large",
    "AR100": "AR",
}
_NAME_WIDTH, _WIDTH = 16, 9


@dataclass(frozen=True)
class ValReport:
    """What was evaluated, how, and with which result.

    Attributes:
        artefact: the artefact's file, or the results'.
        data: the labels' file.
        description: what ran the network; empty for results from a file.
        images: how many there are, `background` of them without labels, with `labels` labels altogether.
        settings: the thresholds and sizes it was run with.
        figures: COCO's, one for each kind.
        top1, top5: for classification, the share of images whose class is the best, or among the best five.
        ms_per_image: the time of each stage, as the runtime measured it.
        evaluation_s: how long pycocotools took, in seconds.
        notes: what a reader of the figures has to know.
    """

    artefact: str
    data: str
    images: int
    labels: int
    background: int = 0
    description: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    figures: tuple[Figures, ...] = ()
    top1: float | None = None
    top5: float | None = None
    ms_per_image: Mapping[str, float] = field(default_factory=dict)
    evaluation_s: float = 0.0
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Return all of it as one JSON object; a figure that is not defined is null."""
        data = {key: value for key, value in asdict(self).items() if key != "figures"}
        data["figures"] = {
            f.kind: {"values": dict(f.values), "classes": list(map(asdict, f.classes))} for f in self.figures
        }
        return printable_json(json.dumps(data, ensure_ascii=False))

    def lines(self, *, per_class: bool = False) -> Iterator[str]:
        """Yield the report as lines of text, with a table of the classes if asked for."""
        yield f"{self.artefact} on {self.data}"
        yield f"{self.images} images, {self.background} of them without labels; {self.labels} labels"
        if self.settings:
            yield ", ".join(f"{name} {plain(value)}" for name, value in self.settings.items())
        if self.figures:
            yield _row("", COLUMNS.values())
            for figures in self.figures:
                values = {**figures.values}
                values.setdefault("AR100", values.get("AR"))
                yield _row(KIND_NAMES[figures.kind], (_number(values.get(name)) for name in COLUMNS))
        if self.top1 is not None:
            yield _row("", ("top-1", "top-5"))
            yield _row("classes", (_number(self.top1), _number(self.top5)))
        if per_class:
            yield from self._class_lines()
        if self.ms_per_image:
            stages = ", ".join(f"{name} {ms:.1f}" for name, ms in self.ms_per_image.items())
            yield f"ms per image, {self.description}: {stages}; evaluation {self.evaluation_s:.1f} s"

    def _class_lines(self) -> Iterator[str]:
        for figures in self.figures:
            yield ""
            yield _row(KIND_NAMES[figures.kind], ("labels", "AP50-95", "AP50"))
            for one in _labelled(figures.classes):
                yield _row(one.name, (str(one.labels), _number(one.ap), _number(one.ap50)))


def _labelled(classes: Sequence[ClassFigures]) -> list[ClassFigures]:
    return [one for one in classes if one.labels]


def _row(name: str, cells: Any) -> str:
    return f"{visible(name, NAME):<{_NAME_WIDTH}}" + "".join(f"{cell:>{_WIDTH}}" for cell in cells)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def plain(value: Any) -> str:
    """Return a setting in words."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
