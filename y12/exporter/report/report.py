"""What an export made and what was proved of it, as JSON and as a few lines for the terminal."""

import json
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from typing import Self

from y12.exporter.engine.inspect import EngineFacts
from y12.exporter.evaluate.results import Accuracy, Budget, Speed
from y12.exporter.graph.simplify import SimplifyReport
from y12.exporter.precision.cast import CastReport
from y12.exporter.precision.qdq.qdq import QdqReport
from y12.exporter.report.layers import LayerRow, macs_by_precision
from y12.exporter.report.provenance import Made, Replaced
from y12.exporter.report.words import allowed, share
from y12.exporter.verify.differences import Comparison
from y12.exporter.verify.verify import Verification
from y12.runtime.thresholds import ConfidenceTable
from y12.text import printable_json

__all__ = ["SCHEMA", "ExportReport"]

SCHEMA = 1  # of the JSON: one more where a key is gone or means something else

# What a comparison shows of its shifts, with the digits that matter.
_SHOWN = {
    "box_px": ("boxes px", ".3f"),
    "score": ("scores", ".5f"),
    "logit": ("logits", ".4f"),
    "keypoint_px": ("points px", ".3f"),
    "mask": ("1-IoU", ".4f"),
    "angle_deg": ("angle deg", ".3f"),
}


@dataclass(frozen=True)
class ExportReport:
    """Results of an export's stages; what has not been run is None.

    Attributes:
        model: the architecture.
        source: the weights' file; empty where they are seeded.
        precision: "fp32", "fp16" or "int8".
        input: the input shapes in words.
        notes: what the user must be told.
        simplification: what the graph passes changed.
        cast: what the FP16 pass changed.
        calibration: on how many images, and how; empty where there was none.
        quantization: what the INT8 pass changed.
        weights_checked: weights of the typed graph found equal to the model's.
        engine: what the engine's final layers verify.
        unread: why it is not known what the engine computes in; empty where it is, or without one.
        builder: what built the engine.
        gpus: where the engine runs.
        nms: how the graph chooses among its predictions, in words; empty where it does not.
        verification: what was proved.
        layers: every convolution and attention with its precision.
        accuracy: of FP32, FP16 and INT8 on the same images; None where it was not measured.
        budget: what `--max-drop` led to; None where it was not asked for.
        thresholds: confidences that keep FP32's precision and recall; None where they were not measured.
        speed: of what could be run here.
        licence: what the user has to know of the weights' licence.
        seconds: by stage.
        files: what was written.
        made: when, how and with what; None where that was not noted.
        replaces: the export that lay there before; None where none did.
        source_sha256: of the weights' file; empty where they are seeded.
        sha256: of the files that were written, but for the report itself, by their names.
    """

    model: str
    source: str
    precision: str
    input: str
    notes: list[str] = field(default_factory=list)
    simplification: SimplifyReport | None = None
    cast: CastReport | None = None
    calibration: str = ""
    quantization: QdqReport | None = None
    weights_checked: int | None = None
    engine: EngineFacts | None = None
    unread: str = ""
    builder: str = ""
    gpus: str = ""
    nms: str = ""
    verification: Verification | None = None
    layers: tuple[LayerRow, ...] = ()
    accuracy: Accuracy | None = None
    budget: Budget | None = None
    thresholds: ConfidenceTable | None = None
    speed: tuple[Speed, ...] = ()
    licence: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    made: Made | None = None
    replaces: Replaced | None = None
    source_sha256: str = ""
    sha256: dict[str, str] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """What the export was found to be."""
        found = "not verified" if self.verification is None else self.verification.verdict
        return f"{found}; what the engine computes in was not read" if self.unread else found

    @property
    def macs(self) -> dict[str, float]:
        """The share of the MACs of all layers that is done in each precision, 0 to 1."""
        return macs_by_precision(self.layers)

    @property
    def without_times(self) -> Self:
        """The report but for how long anything took: the same for every export of the same."""
        graph = None if self.simplification is None else replace(self.simplification, seconds=None)
        return replace(self, simplification=graph, speed=(), seconds={})

    def to_json(self, indent: int | None = 2, *, ascii_only: bool = False) -> str:
        """Return the report as JSON text."""
        data = {"schema": SCHEMA, "verdict": self.verdict, "macs": self.macs, **asdict(self)}
        text = json.dumps(data, indent=indent, ensure_ascii=ascii_only)
        return printable_json(text)

    def summary(self) -> list[str]:
        """Return the report as lines for people."""
        lines = [f"model        {self.model} from {self.source or 'seeded random weights'}"]
        lines += [f"input        {self.input}, {self.precision}"]
        if self.replaces is not None:
            lines.append(f"replaces     {self.replaces}")
        if (done := self.simplification) is not None:
            lines.append(f"graph        {done.nodes_before} -> {done.nodes_after} nodes {done.words}")
        if self.cast is not None:
            halves, floats, casts = self.cast.half_nodes, self.cast.float_nodes, self.cast.casts
            lines.append(f"precision    {halves} nodes FP16, {floats} FP32 (the decode), {casts} casts")
        if self.quantization is not None:
            lines += self._int8_lines(self.quantization)
        if self.builder:
            lines.append(f"engine       {self.builder}; runs on {self.gpus}")
        if self.engine is not None:
            lines += self._engine_lines(self.engine)
        lines += self._measured_lines()
        lines += self._proof_lines(self.verification or Verification())
        stages = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in self.seconds.items())
        lines.append(f"took         {sum(self.seconds.values()):.1f} s ({stages})")
        lines += [f"wrote        {file}" for file in self.files]
        return lines

    def _int8_lines(self, done: QdqReport) -> list[str]:
        attentions = [row for row in self.layers if row.operator == "Attention"]
        reasons = Counter(row.why for row in self.layers if row.why)
        inside = f"{done.quantized} of {done.convolutions} convolutions"
        if attentions:
            inside += f" and {sum(row.graph == 'int8' for row in attentions)} of {len(attentions)} attentions"
        lines = [f"calibrated   {self.calibration}", f"precision    {inside} INT8, for {done.target}"]
        if self.macs:
            parts = ", ".join(f"{share(part)} {precision.upper()}" for precision, part in self.macs.items())
            lines.append(f"             MACs: {parts}")
        if reasons:
            lines.append(f"not in INT8  {'; '.join(f'{count} {why}' for why, count in reasons.most_common())}")
        return lines

    def _measured_lines(self) -> list[str]:
        lines = []
        if self.budget is not None:
            chosen, budget = self.budget.chosen, self.budget
            kept = f"{budget.remainder.upper()} for it: {', '.join(chosen.fp16_blocks) or 'no block'}"
            lines.append(
                f"budget       {chosen.drop:.2f} points lost, 90 % interval and one object more {chosen.low:.2f} to "
                f"{chosen.high:.2f}, of {budget.max_drop:g} allowed ({budget.measure}; {budget.data}; {budget.truth})"
            )
            lines += [
                f"             {loss.figure} by {loss.truth}: {loss.points:.2f} ({loss.low:.2f} to {loss.high:.2f})"
                for loss in chosen.losses
            ]
            lines.append(f"             {share(chosen.int8_macs)} of the MACs in INT8; kept in {kept}")
        if self.accuracy is not None:
            lines.append(f"accuracy     {self.accuracy.data}; {self.accuracy.truth}")
            lines += [
                f"             {score.precision.upper()} "
                + ", ".join(f"{name} {value:.4f}" for name, value in score.figures.items())
                for score in self.accuracy.scores
            ]
        lines += [f"speed        {one.what}: median {one.median_ms:.1f} ms of {one.runs} runs" for one in self.speed]
        return lines

    def _proof_lines(self, proved: Verification) -> list[str]:
        lines = [line for comparison in proved.comparisons for line in _comparison_lines(comparison)]
        if self.nms:
            same = "" if proved.nms_checked is None else f"; {proved.nms_checked} detections, as y12's own NMS gives"
            if proved.rows_checked is not None:
                same = f"; {proved.rows_checked} rows, the best of the same predictions"
            lines.append(f"nms          {self.nms}{same}")
        if proved.engine_executed:
            lines.append(f"engine run   {proved.engine_executed}")
        return [*lines, f"verdict      {self.verdict}"]

    def _engine_lines(self, facts: EngineFacts) -> list[str]:
        def counted(counts: object) -> str:
            assert isinstance(counts, dict)
            return ", ".join(f"{n} {precision.upper()}" for precision, n in counts.items())

        return [
            f"kernels      {facts.kernels}, of which {facts.moving_kernels} only move data: "
            f"{counted(facts.layers_by_precision)}; {facts.bytes_moved / 1e6:.1f} MB read and written",
            f"convolutions {counted(facts.convolutions_by_precision)}",
            f"attention    {facts.attentions_fused} of {facts.attentions_expected} fused",
        ]


def _comparison_lines(c: Comparison) -> list[str]:
    return [
        f"compared     {c.candidate} with {c.reference}: {c.verdict}",
        f"             {c.images} images, {c.matched} of {c.detections} detections matched "
        f"({c.above_threshold} above 0.25), {c.lost} lost (allowed {c.max_lost}), {c.new} new (allowed {c.max_lost})",
        *(f"             {_shift_line(name, c)}" for name in c.shifts if name in _SHOWN),
    ]


def _shift_line(name: str, c: Comparison) -> str:
    """Return how far one thing lies from the model's, each figure with its limit where it has one."""
    words, digits = _SHOWN[name]
    figures = [
        f"{statistic} {value:{digits}}{allowed(c.limits[name].get(statistic))}"
        for statistic, value in c.shifts[name].items()
    ]
    return f"{words:<9} {', '.join(figures)}"
