"""An artefact on disk: an .onnx or a TensorRT engine, and the manifest that says how to feed it.

Where the manifest is looked for, first find wins:
    .onnx    the metadata entry `y12.runtime.artefact.manifest.ONNX_KEY`; else Ultralytics' metadata entries, put right
             by what operators and weights show.
    .engine  JSON put before the plan (Ultralytics); else the network's name inside the plan, which cannot be
             parted from it; else the sidecar file beside it.
"""

import json
import mmap
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from y12.errors import ArtefactError
from y12.files import check_file, file_sha256
from y12.runtime.artefact.class_count import check_class_count
from y12.runtime.artefact.manifest import MAX_JSON_BYTES, ONNX_KEY, Manifest
from y12.runtime.artefact.nms_settings import NmsSettings
from y12.runtime.artefact.onnx_header import OnnxHeader, TensorHeader, read_onnx_header
from y12.runtime.artefact.plan import PlanHeader, network_name_in_plan, plan_problem, read_plan_header
from y12.runtime.artefact.ultralytics_metadata import is_foreign_metadata, manifest_from_metadata

if TYPE_CHECKING:
    from y12.runtime.artefact.graph_outputs import GraphOutputs

MAX_ENGINE_BYTES = 8 << 30


@dataclass(frozen=True)
class Artefact:
    """A file that can be run.

    Attributes:
        path: the file.
        kind: what it is.
        manifest: what it says of itself.
        manifest_from: where the manifest was found, in words.
        plan_offset: for an engine, where the plan begins: 0 unless something was put before it.
        inputs, outputs: the graph's, for an .onnx; empty for an engine.
        plan_header: for an engine, what its first bytes say.
        found: for another exporter's .onnx, what its operators say of its outputs.
        notes: what the user must be told of it.
    """

    path: Path
    kind: Literal["onnx", "engine"]
    manifest: Manifest
    manifest_from: str
    plan_offset: int = 0
    inputs: tuple[TensorHeader, ...] = ()
    outputs: tuple[TensorHeader, ...] = ()
    plan_header: PlanHeader | None = None
    found: "GraphOutputs | None" = None
    notes: tuple[str, ...] = ()

    def read_model(self) -> bytes:
        """Return what the vendor's library loads: the ONNX bytes or the plain plan.

        Raises:
            ArtefactError: the file cannot be read any more.
        """
        with _named(self.path), self.path.open("rb") as stream:
            stream.seek(self.plan_offset)
            return stream.read()

    def sha256(self) -> str:
        """Return the hash of the whole file, in hex.

        Raises:
            ArtefactError: the file cannot be read any more.
        """
        with _named(self.path):
            return file_sha256(self.path)


def open_artefact(path: str | Path) -> Artefact:
    """Look into an .onnx, .engine or .plan file; nothing is executed and no vendor's library is needed.

    Raises:
        ArtefactError: the file is missing, empty, cut short or foreign, or says nothing of what it is.
    """
    path = Path(path)
    opener = _OPENERS.get(path.suffix.lower())
    if opener is None:
        advice = "; run y12-export on it first" if path.suffix in (".pt", ".safetensors", ".yaml") else ""
        raise ArtefactError(f"{path}: expected a file named {', '.join('*' + s for s in _OPENERS)}{advice}")
    return opener(path)


def sidecar_of(engine: Path) -> Path:
    """Name the file beside an engine that holds its manifest as JSON: model.engine -> model.engine.json."""
    return engine.with_name(engine.name + ".json")


def onnx_beside(engine: Path) -> Path:
    """Name the .onnx that an engine was built from, whether or not it is there."""
    return engine.with_suffix(".onnx")


def _open_onnx(path: Path) -> Artefact:
    header = read_onnx_header(path)
    with _named(path):
        if ONNX_KEY in header.metadata:
            manifest = Manifest.from_json(header.metadata[ONNX_KEY])
            images = _images(header.inputs)
            check_class_count(manifest, header.outputs)
            return Artefact(path, "onnx", manifest, "the model's metadata", inputs=(images,), outputs=header.outputs)
        if is_foreign_metadata(header.metadata):
            return _open_foreign(path, header)
        raise ArtefactError(
            f"expected metadata with task, names and stride, found {sorted(header.metadata)!r:.80}, and the outputs "
            f"{_outputs(header):.120}: export the model with y12-export or with Ultralytics' exporter, which write them"
        )


def _open_foreign(path: Path, header: OnnxHeader) -> Artefact:
    """Open another exporter's .onnx: what its operators and weights show goes before what its metadata say."""
    from y12.runtime.artefact.graph_outputs import graph_outputs, precision_of  # y12's own files need neither
    from y12.runtime.artefact.onnx_graph import read_onnx_graph

    graph = read_onnx_graph(path)
    images = _images(tuple(tensor for tensor in header.inputs if tensor.name not in graph.weights))
    said = manifest_from_metadata(header.metadata, images.shape)
    found = graph_outputs(graph, header.outputs, said.task)
    shown = replace(said, precision=precision_of(graph), nms=found.nms)
    check_class_count(shown, header.outputs, found.classes)
    said_shown = {"precision": (said.precision, shown.precision), "outputs": (_ends(said.nms), _ends(shown.nms))}
    notes = tuple(
        f"{path.name}: its metadata say {what} {claim}, its graph has {fact}: y12 goes by the graph"
        for what, (claim, fact) in said_shown.items()
        if claim != fact
    )
    source = "Ultralytics' metadata"
    return Artefact(path, "onnx", shown, source, inputs=(images,), outputs=header.outputs, found=found, notes=notes)


def _images(inputs: tuple[TensorHeader, ...]) -> TensorHeader:
    """Return a graph's one input."""
    if len(inputs) != 1:
        names = ", ".join(tensor.name for tensor in inputs)
        raise ArtefactError(
            f"expected one input, images (B, 3, H, W), found {len(inputs)}: {names:.120}; export a graph that takes "
            "images alone"
        )
    return inputs[0]


def _outputs(header: OnnxHeader) -> str:
    """Return a graph's outputs in words."""
    sizes = (", ".join("any" if n is None else str(n) for n in tensor.shape) for tensor in header.outputs)
    return ", ".join(f"{tensor.name} ({size})" for tensor, size in zip(header.outputs, sizes, strict=True)) or "none"


def _ends(nms: NmsSettings | None) -> str:
    """Return in words how a graph picks objects."""
    if nms is None:
        return "raw predictions"
    return "rows of objects, end to end" if nms.is_end_to_end else "rows of objects after an NMS"


def _open_engine(path: Path) -> Artefact:
    check_file(path, "a TensorRT engine", MAX_ENGINE_BYTES, ArtefactError)
    # Mapped, not read: what is no engine is refused by its first bytes, however large it is.
    with (
        _named(path),
        path.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as content,
    ):
        metadata, offset = _json_prefix(content)
        with content[offset:] as plan:
            if problem := plan_problem(plan):
                raise ArtefactError(problem)
            manifest, source = _manifest_of_plan(plan, metadata, sidecar_of(path))
            header = read_plan_header(plan)
    return Artefact(path, "engine", manifest, source, offset, plan_header=header)


def _manifest_of_plan(plan: memoryview, metadata: Mapping[str, object] | None, sidecar: Path) -> tuple[Manifest, str]:
    """Return an engine's manifest and where it was found."""
    if metadata is not None:
        return manifest_from_metadata(metadata), "Ultralytics' JSON before the plan"
    name = network_name_in_plan(plan)
    manifest = Manifest.from_network_name(name) if name else None
    if manifest:
        return manifest, "the network's name"
    if os.path.exists(sidecar):  # unlike Path's, it takes a name that is too long
        return manifest_from_sidecar(sidecar), f"the file {sidecar.name}"
    raise ArtefactError(
        f"expected a manifest in the engine or in {sidecar.name} beside it, found none: of another tool? "
        "Build it with y12-export --format engine"
    )


def _json_prefix(content: memoryview) -> tuple[dict[str, object] | None, int]:
    """Read Ultralytics' prefix, a 4-byte little-endian length and JSON, and say where the plan begins after it."""
    if len(content) < 5 or content[4] != ord("{"):
        return None, 0
    end = 4 + int.from_bytes(content[:4], "little")
    if not 6 <= end < min(len(content), MAX_JSON_BYTES):
        raise ArtefactError(
            f"expected {end - 4} bytes of JSON and an engine after them, found {len(content)} bytes in all: "
            "cut short or no engine; copy or export it again"
        )
    try:
        metadata = json.loads(bytes(content[4:end]))
    except (ValueError, RecursionError) as error:
        raise ArtefactError(f"the JSON before the plan is damaged ({type(error).__name__})") from error
    if not isinstance(metadata, dict) or not is_foreign_metadata(metadata):
        raise ArtefactError("expected task, names and stride in the JSON before the plan")
    return metadata, end


def manifest_from_sidecar(sidecar: Path) -> Manifest:
    """Return the manifest that lies beside an engine.

    Raises:
        ArtefactError: there is none, or it is damaged.
    """
    check_file(sidecar, "the engine's manifest", MAX_JSON_BYTES, ArtefactError)
    try:
        return Manifest.from_json(sidecar.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ArtefactError(f"{sidecar.name} is no UTF-8 text: export again") from error


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Put the file's name before what is wrong with it."""
    try:
        yield
    except ArtefactError as error:
        message = str(error)
        raise ArtefactError(message if message.startswith(str(path)) else f"{path}: {message}") from error
    except OSError as error:
        raise ArtefactError(f"{path}: cannot be read ({error.strerror or error})") from error


_OPENERS: dict[str, Callable[[Path], Artefact]] = {
    ".onnx": _open_onnx,
    ".engine": _open_engine,
    ".plan": _open_engine,
}
