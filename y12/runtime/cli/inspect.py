"""y12-inspect: what an artefact is and where it runs, without running it; what two differ in; and one made again."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from y12.errors import ArtefactError, OptionsError
from y12.runtime.cli.addresses import ByAddress
from y12.runtime.cli.app import Command, main_of
from y12.runtime.cli.common import put, put_json, require_packages
from y12.runtime.cli.options import Json
from y12.runtime.cli.progress import stage
from y12.text import NAME, visible

if TYPE_CHECKING:
    from y12.runtime.artefact.manifest import AxisRange
    from y12.runtime.artefact.opened import Artefact


REBUILD = "y12.exporter.rebuild"  # by name, and only where it is asked for: the runtime knows nothing of the exporter
_REBUILDS_WITH = ("torch", "onnx", "onnxruntime", "onnxsim", "jinja2", "pycocotools", "safetensors", "yaml")
HASHED_BYTES = 1 << 30  # a second or so; a larger file may be far larger than what it takes on the disk
_BOXES = {
    "distances": "",  # the usual way needs no words
    "heatmap": "at the peaks of a heatmap of centres",
    "anchors": "from anchors; a score is objectness times class score",
}


@dataclass(frozen=True, kw_only=True)
class Inspect(ByAddress):
    """What can be asked of y12-inspect."""

    least_mib: ClassVar[int] = 0

    artefact: Annotated[
        str,
        typer.Argument(metavar="ARTEFACT", show_default=False, help="an .onnx or .engine, or its https:// address"),
    ]
    json: Json = False
    rebuild: Annotated[
        bool,
        typer.Option("--rebuild", help="make it again from its manifest, say what differs: needs the extra export"),
    ] = False
    source: Annotated[
        Path | None,
        typer.Option("--source", metavar="FILE", show_default=False, help="of --rebuild: what it was made from"),
    ] = None
    diff: Annotated[
        str | None,
        typer.Option(
            "--diff",
            metavar="OTHER",
            show_default=False,
            help="say what this artefact and OTHER differ in; of one export's engines by two TensorRTs also whether "
            "OTHER is worse: exit code 21, or 22 if not",
        ),
    ] = None

    def run(self) -> int:
        """Print what the artefact is, or what it differs in from another."""
        from y12.runtime.artefact.opened import open_artefact

        if self.rebuild or self.diff is not None or self.source is not None:
            return self._compared()
        facts = facts_from(open_artefact(self.fetched(self.artefact)))
        if self.json:
            put_json(json.dumps(facts, ensure_ascii=False, indent=2))
        else:
            put(*_lines(facts))
        return 0

    def _compared(self) -> int:
        """Print what the artefact differs in from another, or from itself made again; the exit code says it too."""
        if self.rebuild and self.diff is not None:
            raise OptionsError("--rebuild contradicts --diff, which compares with a file that is there: drop one")
        if self.source is not None and not self.rebuild:
            raise OptionsError("--source is of --rebuild: add it, or drop --source")
        if self.diff is not None:
            return self._told_apart(self.diff)
        require_packages(_REBUILDS_WITH, "export", "y12-inspect --rebuild")
        with stage("start"):  # torch takes seconds to load
            rebuilt = import_module(REBUILD).rebuilt
        found = rebuilt(Path(self.fetched(self.artefact)), self.source, stage)
        return self._said(found.code, str(found), asdict(found))

    def _told_apart(self, other: str) -> int:
        from y12.runtime.artefact.difference import CODES, difference, with_whole_recipe
        from y12.runtime.artefact.opened import open_artefact
        from y12.runtime.artefact.upgrade import upgrade_between

        first, second = (with_whole_recipe(open_artefact(path)) for path in (self.fetched(self.artefact), other))
        found = difference(first, second)
        upgrade = upgrade_between(first, second, found)
        if upgrade is None:
            return self._said(found.code, str(found), asdict(found))
        code = CODES.get(upgrade.verdict, found.code)
        return self._said(code, f"{found}; {upgrade}", asdict(found) | {"upgrade": upgrade.to_data()})

    def _said(self, code: int, line: str, data: dict[str, Any]) -> int:
        """Print what was found, and return the exit code that says it too."""
        if self.json:
            put_json(json.dumps({"exit_code": code, **data}, ensure_ascii=False, indent=2))
        else:
            put(visible(line))
        return code


COMMAND = Command("y12-inspect", "Say what an artefact is and where it runs; needs no GPU.", Inspect)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, run, give the exit code."""
    return main_of(COMMAND, argv)


def facts_from(artefact: "Artefact") -> dict[str, Any]:
    """Gather what there is to say of an artefact, JSON-able, in the order in which it is read."""
    manifest = artefact.manifest
    profile = manifest.profile
    header = artefact.plan_header
    size = artefact.path.stat().st_size
    sha256 = artefact.sha256() if size <= HASHED_BYTES else None
    return {
        "file": str(artefact.path),
        "kind": artefact.kind,
        "bytes": size,
        "sha256": sha256,
        "model": manifest.model,
        "task": manifest.task,
        "precision": manifest.precision,
        "target": manifest.target,
        "classes": len(manifest.names),
        "names": list(manifest.names),
        "strides": list(manifest.strides),
        "kpt_shape": manifest.kpt_shape,
        "localisation": manifest.localisation,
        "nms": asdict(manifest.nms) if manifest.nms else None,
        "thresholds": asdict(manifest.thresholds) if manifest.thresholds else None,
        "input": f"images ({_axis(profile.batch)}, 3, {_axis(profile.height)}, {_axis(profile.width)})",
        "profile": asdict(profile),
        "graph_inputs": [asdict(tensor) for tensor in artefact.inputs],
        "graph_outputs": [asdict(tensor) for tensor in artefact.outputs],
        "built_by": header.product if header else "",
        "engine": dict(manifest.engine),
        **_build(artefact, sha256),
        "producer": manifest.producer,
        "source": manifest.source,
        "source_sha256": manifest.source_sha256,
        "licence": manifest.licence,
        "manifest_from": artefact.manifest_from,
        "notes": list(artefact.notes),
    }


def _build(artefact: "Artefact", sha256: str | None) -> dict[str, Any]:
    """Return what the report beside an engine says of its build, or why that is not known."""
    from y12.runtime.artefact.build_facts import build_facts

    if artefact.kind != "engine":
        return {}
    if sha256 is None:
        return {"build": None, "build_unknown": "it has too many bytes to look which report is its own"}
    try:
        found = build_facts(artefact.path, sha256)
    except ArtefactError as error:
        return {"build": None, "build_unknown": str(error)}
    build = asdict(found) | {
        "attentions_fused": found.attentions_fused,
        "convolutions_by_precision": found.convolutions_by_precision,
    }
    return {"build": build, "build_unknown": ""}


def _build_lines(facts: dict[str, Any]) -> dict[str, str]:
    """Lay out what is known of an engine's build; nothing of an .onnx, which has none."""
    if (build := facts.get("build")) is None:
        unknown = facts.get("build_unknown")
        return {"kernels": f"not known, nor what is fused and moved: {unknown}"} if unknown else {}
    counts = build["convolutions_by_precision"].items()
    return {
        "kernels": f"{build['kernels']}, which read and write {build['bytes_moved'] / 1e6:.1f} MB",
        "attention": f"{build['attentions_fused']} of {build['attentions_expected']} fused",
        "convolutions": ", ".join(f"{count} {precision.upper()}" for precision, count in counts),
    }


def _axis(axis: "AxisRange") -> str:
    return str(axis.opt) if axis.is_fixed else f"{axis.min}..{axis.max}, made for {axis.opt}"


def _nms(nms: dict[str, Any]) -> str:
    """Say in words what the NMS in the graph does; what is False or None is left out."""
    if nms["form"] == "rows" and nms["options"]["iou"] == 1 and nms["options"]["multi_label"]:
        return f"none: end to end, the {nms['candidates']} best scores are the objects"
    options = ", ".join(
        f"{name} {value}" for name, value in nms["options"].items() if value is not None and value is not False
    )
    return f"in the graph ({nms['form']}), of the best {nms['candidates']} boxes: {options}"


def _thresholds(table: dict[str, Any]) -> dict[str, str]:
    """Lay the table of confidences out across the page, a column a confidence of the reference."""
    columns = [["-    " if value is None else f"{value:<5g}" for value in row] for row in table["rows"]]
    heads = (f"conf of {table['against']}", "keeps precision", "keeps recall")
    lines = {head: " ".join(cells).rstrip() for head, cells in zip(heads, zip(*columns, strict=True), strict=True)}
    return {"thresholds": f"measured on {table['data']}"} | lines


def _lines(facts: dict[str, Any]) -> list[str]:
    """Lay the facts out for reading, one a line; what is empty is left out."""
    lines = {key: facts[key] for key in ("file", "kind", "bytes", "sha256", "model", "task", "precision")}
    lines["sha256"] = lines["sha256"] or f"left out, as the file has more than {HASHED_BYTES >> 20} MiB"
    lines["written for"] = "ONNX Runtime on a CPU" if facts["target"] == "cpu" else ""
    names = facts["names"]
    shown = ", ".join(visible(name, NAME) for name in names[:8]) + (", …" if len(names) > 8 else "")
    lines["classes"] = f"{len(names)}: {shown}"
    lines["input"] = facts["input"]
    lines["keypoints"] = "{} points of {} values".format(*facts["kpt_shape"]) if facts["kpt_shape"] else ""
    lines["boxes"] = _BOXES[facts["localisation"]] if facts["task"] != "classify" else ""
    lines["nms"] = _nms(facts["nms"]) if facts["nms"] else ""
    lines |= _thresholds(facts["thresholds"]) if facts["thresholds"] else {}
    for tensor in facts["graph_outputs"]:
        shape = ", ".join("any" if size is None else str(size) for size in tensor["shape"])
        lines[f"output {visible(tensor['name'], NAME)}"] = f"({shape}) {tensor['dtype']}"
    lines["built by"] = facts["built_by"]
    lines["runs on"] = facts["engine"].get("gpus", "")
    lines |= _build_lines(facts)
    lines |= {key: facts[key] for key in ("producer", "source", "source_sha256", "licence")}
    lines["manifest"] = f"found in {facts['manifest_from']}"
    lines["notes"] = "; ".join(facts["notes"])
    width = max(map(len, lines))
    return [f"{key.replace('_', ' '):<{width}}  {visible(value)}" for key, value in lines.items() if value]


if __name__ == "__main__":
    sys.exit(main())
