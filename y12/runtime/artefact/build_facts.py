"""What an engine's build showed of it: kernels, fused attentions, precisions; as the report beside it has it.

y12-export reads it from TensorRT's build log, which nobody has later, and writes it into NAME.report.json. A report
tells of an engine where it has the SHA-256 of that very file, whatever both are called now.
"""

import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from y12.errors import ArtefactError
from y12.files import check_file
from y12.runtime.artefact import fields
from y12.text import is_text, visible

__all__ = ["BuildFacts", "build_facts", "report_beside"]

_MAX_REPORT_BYTES = 64 << 20  # a report of some thousand layers has one megabyte
_MAX_COUNT = 1 << 62


@dataclass(frozen=True)
class BuildFacts:
    """What the final layers of an engine are.

    Attributes:
        kernels: launches per inference.
        attentions_expected: attentions of the graph.
        unfused: the softmax node of each that is not one kernel.
        convolutions: of the graph, name → the precision that the engine computes it in: "int8", "fp16", "bf16",
            "fp32", or "unknown" where the log does not tell.
        bytes_moved: what all kernels read and write in an inference, but for weights.
    """

    kernels: int
    attentions_expected: int
    unfused: tuple[str, ...]
    convolutions: Mapping[str, str]
    bytes_moved: int

    @property
    def attentions_fused(self) -> int:
        """How many attentions are one kernel each."""
        return self.attentions_expected - len(self.unfused)

    @property
    def convolutions_by_precision(self) -> dict[str, int]:
        """How many convolutions are computed in each precision."""
        return dict(sorted(Counter(self.convolutions.values()).items()))


def report_beside(engine: Path) -> Path:
    """Name the file beside an engine that holds its export's report: model.engine -> model.report.json."""
    return engine.with_suffix(".report.json")


def build_facts(engine: Path, sha256: str) -> BuildFacts:
    """Return what the report beside an engine says of its build.

    Args:
        engine: the file; it is not opened.
        sha256: of the file, in hex.

    Raises:
        ArtefactError: there is no report, it is damaged or of another file, or the build log was not understood.
    """
    report = report_beside(engine)
    if not os.path.exists(report):  # unlike Path's, it takes a name that is too long
        raise ArtefactError(f"{report}, the report of its export, is not beside it")
    data = _read(report)
    hashes = data.get("sha256")
    if not isinstance(hashes, dict) or sha256 not in hashes.values():
        raise ArtefactError(f"{report} beside it is the report of another file, by its SHA-256")
    if data.get("engine") is None:
        unread = data.get("unread")
        why = visible(unread, 200) if is_text(unread) and unread else "it does not say why"
        raise ArtefactError(f"{report} has nothing of the build: {why}")
    try:
        return _facts(data["engine"])
    except ArtefactError as error:
        what = str(error).removeprefix("manifest: ")
        raise ArtefactError(f"{report} is damaged, or of another release of y12: {what}") from error


def _read(report: Path) -> dict[str, object]:
    check_file(report, "the report of an export", _MAX_REPORT_BYTES, ArtefactError)
    try:
        data = json.loads(report.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ArtefactError(f"{report} cannot be read ({type(error).__name__})") from error
    return data if isinstance(data, dict) else {}


def _facts(engine: object) -> BuildFacts:
    if not isinstance(engine, dict):
        raise fields.wrong("engine", "a mapping", engine)
    whole = {key: fields.whole(engine.get(key), f"engine.{key}", 0, _MAX_COUNT) for key in ("kernels", "bytes_moved")}
    unfused = fields.listed(engine.get("unfused"), "engine.unfused", 0, fields.MAX_CLASSES)
    convolutions = engine.get("convolutions")
    if not isinstance(convolutions, dict) or not all(map(is_text, (*convolutions, *convolutions.values()))):
        raise fields.wrong("engine.convolutions", "a mapping of texts", convolutions)
    return BuildFacts(
        whole["kernels"],
        fields.whole(engine.get("attentions_expected"), "engine.attentions_expected", len(unfused), _MAX_COUNT),
        tuple(fields.text(name, "each of engine.unfused") for name in unfused),
        convolutions,
        whole["bytes_moved"],
    )
