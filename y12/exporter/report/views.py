"""What the page's sections show of a report, as lists of texts; how it looks is the template's business."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from y12.exporter.engine.inspect import EngineFacts
from y12.exporter.evaluate.results import Score
from y12.exporter.graph.simplify import SimplifyReport
from y12.exporter.report.charts import macs_bar
from y12.exporter.report.layers import LayerRow, in_order, macs_by_precision, precision_of
from y12.exporter.report.report import ExportReport
from y12.exporter.report.words import number, points, points_lost, share
from y12.exporter.verify.headline import NO_OBJECT

__all__ = [
    "Block",
    "Reason",
    "accuracy_rows",
    "blocks_of",
    "built_rows",
    "highlights",
    "mood",
    "reasons_of",
]

_MOODS = {"verified": "good", "different": "bad"}
_NAMED = 3  # of the layers with the same reason; the table of all layers names the rest
SHIFTS = {
    "box_px": ("box sides, pixels", 3),
    "score": ("score", 5),
    "logit": ("logit of the score", 4),
    "keypoint_px": ("keypoints, pixels", 3),
    "mask": ("masks, 1 - IoU", 4),
    "angle_deg": ("angle, degrees", 3),
}


@dataclass(frozen=True)
class Block:
    """The layers of one block of the network.

    Attributes:
        name: such as "model.6".
        rows: its layers.
        macs: their share of all MACs, 0 to 1.
        counts: its layers by precision.
        bar: SVG of its MACs by precision.
    """

    name: str
    rows: Sequence[LayerRow]
    macs: float
    counts: Mapping[str, int]
    bar: str


@dataclass(frozen=True)
class Reason:
    """Why some layers are not in the precision asked for."""

    why: str
    count: int
    macs: float
    layers: str


def mood(verdict: str) -> str:
    """Return whether a verdict is "good", "bad" or neither: "unsure", as of one on images that showed nothing."""
    if NO_OBJECT in verdict:
        return "unsure"
    return next((mood for begin, mood in _MOODS.items() if verdict.startswith(begin)), "unsure")


def blocks_of(rows: Sequence[LayerRow]) -> list[Block]:
    """Group layers by their blocks, in the order in which they come."""
    grouped: dict[str, list[LayerRow]] = {}
    for row in rows:
        grouped.setdefault(row.block, []).append(row)
    blocks = []
    for name, own in grouped.items():
        macs, parts = sum(row.macs for row in own), macs_by_precision(own)
        bar = macs_bar({precision: part / macs for precision, part in parts.items()} if macs else {})
        blocks.append(Block(name, own, macs, Counter(map(precision_of, own)), bar))
    return blocks


def reasons_of(rows: Iterable[LayerRow]) -> list[Reason]:
    """Group the layers that are not in the precision asked for by the reason, the most MACs first."""
    grouped: dict[str, list[LayerRow]] = {}
    for row in rows:
        if row.why:
            grouped.setdefault(row.why, []).append(row)
    reasons = []
    for why, own in grouped.items():
        names = ", ".join(row.name for row in own[:_NAMED])
        more = f" and {len(own) - _NAMED} more" if len(own) > _NAMED else ""
        reasons.append(Reason(why, len(own), sum(row.macs for row in own), names + more))
    return sorted(reasons, key=lambda reason: -reason.macs)


def accuracy_rows(scores: Sequence[Score]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return for each figure its name, and for each graph its points and how many it is above the first one's."""
    names = dict.fromkeys(name for score in scores for name in score.figures)
    first = scores[0].figures
    return [
        (name, [(points(s.figures.get(name)), points_lost(s.figures.get(name), first.get(name))) for s in scores])
        for name in names
    ]


def built_rows(report: ExportReport) -> list[tuple[str, str]]:
    """Return what was built as pairs of a name and a text; what does not apply is left out."""
    graph, cast, int8 = report.simplification, report.cast, report.quantization
    rows = [
        ("model", report.model),
        ("weights", report.source or "seeded random weights"),
        ("input", report.input),
        ("precision", report.precision.upper()),
        ("graph", "not simplified" if graph is None else _graph_words(graph)),
    ]
    if cast is not None:
        rows.append(("FP16", f"{cast.half_nodes} nodes in FP16, {cast.float_nodes} in FP32, {cast.casts} casts"))
    if int8 is not None:
        rows.append(("calibrated on", report.calibration))
        rows.append(("INT8", f"{int8.quantized} of {int8.convolutions} convolutions, for {int8.target}"))
    if report.weights_checked is not None:
        rows.append(("weights checked", f"{report.weights_checked} of the graph found equal to the model's"))
    if report.nms:
        rows.append(("NMS in the graph", report.nms))
    if report.builder:
        rows += [("built by", report.builder), ("runs on", report.gpus)]
    if report.engine is not None:
        rows += _engine_rows(report.engine)
    return rows + _provenance_rows(report)


def _provenance_rows(report: ExportReport) -> list[tuple[str, str]]:
    rows = []
    if report.made is not None:
        versions = ", ".join(f"{name} {version}" for name, version in report.made.versions.items())
        rows += [("made", report.made.date), ("command", report.made.command or "none: asked for from Python")]
        rows.append(("versions", versions))
    if report.replaces is not None:
        rows.append(("replaces", str(report.replaces)))
    if report.source_sha256:
        rows.append(("SHA-256 of the weights' file", report.source_sha256))
    return rows + [(f"SHA-256 of {name}", digest) for name, digest in report.sha256.items()]


def highlights(report: ExportReport) -> list[tuple[str, str]]:
    """Return the few figures that a reader wants first: each with the words under it."""
    shown = []
    if report.macs:
        lowest, part = next(iter(report.macs.items()))
        shown.append((share(part), f"of the MACs in {lowest.upper()}"))
    if report.accuracy is not None and len(report.accuracy.scores) > 1 and report.accuracy.says_something:
        first, last = (report.accuracy.scores[i] for i in (0, -1))
        name = next(iter(first.figures))
        change = points_lost(last.figures.get(name), first.figures[name])
        shown.append((change, f"points of {name}, {last.precision.upper()} against {first.precision.upper()}"))
    if report.engine is not None:
        shown.append((number(report.engine.kernels), "kernels an inference"))
    if report.speed:
        fastest = min(report.speed, key=lambda speed: speed.median_ms)
        shown.append((f"{number(fastest.median_ms, 2)} ms", f"a run, {fastest.what}"))
    return shown


def file_names(files: Iterable[str]) -> list[str]:
    """Return the files' names alone: the page lies beside them, and need not tell where that is."""
    return [PurePath(file).name for file in files]


def _graph_words(graph: SimplifyReport) -> str:
    return f"{graph.nodes_before} nodes, {graph.nodes_after} after simplification {graph.words}"


def _engine_rows(engine: EngineFacts) -> list[tuple[str, str]]:
    fused, moving = engine.attentions_fused, engine.moving_kernels
    return [
        ("kernels", f"{engine.kernels}, {moving} of them only move data: {_counted(engine.layers_by_precision)}"),
        ("read and written", f"{number(engine.bytes_moved / 1e6, 1)} MB an inference by all kernels, weights apart"),
        ("convolutions", _counted(engine.convolutions_by_precision)),
        ("attention", f"{fused} of {engine.attentions_expected} fused"),
    ]


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{counts[precision]} {precision.upper()}" for precision in in_order(counts))
