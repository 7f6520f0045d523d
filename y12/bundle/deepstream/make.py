"""Put a detector into a folder that deepstream-app runs."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from y12.bundle.deepstream.configs import (
    LABELS,
    NVINFER,
    Bundle,
    app_config,
    checked_uri,
    labels_of,
    nvinfer_config,
)
from y12.bundle.deepstream.parsers import check, parser_for
from y12.bundle.folder import write_folder
from y12.errors import ArtefactError, InputError
from y12.runtime.artefact.manifest import INPUT_NAME, InputProfile, Manifest
from y12.runtime.artefact.opened import Artefact, onnx_beside, open_artefact
from y12.text import shown

__all__ = ["DeepStreamOptions", "make_bundle"]

SAMPLE = "file:///opt/nvidia/deepstream/deepstream/samples/streams/sample_1080p_h264.mp4"
APP, CHECK, BUILD, SHAPES = "deepstream_app_config.txt", "check_parser.sh", "build_engine.sh", "shapes.txt"
ENGINE = "model.engine"
_HERE = Path(__file__).parent


@dataclass(frozen=True)
class DeepStreamOptions:
    """What can be chosen of the folder.

    Attributes:
        conf: objects scored below this are dropped; None: what the graph keeps.
        sources: URIs of what is looked at; none: DeepStream's sample video.
        library: where the parser's library is, on the machine that runs it; None: where it usually is.

    Raises:
        InputError: a source or the library cannot stand in a configuration.
    """

    conf: float | None = None
    sources: Sequence[str] = ()
    library: str | None = None

    def __post_init__(self) -> None:
        for uri in self.sources:
            checked_uri(uri)
        if self.library is not None and (not self.library.strip() or not self.library.isprintable()):
            raise InputError(f"--parser-library: expected a path that can be printed, found {shown(self.library)}")


def make_bundle(
    path: str | Path, folder: Path, options: DeepStreamOptions, exist_ok: bool = False
) -> tuple[list[Path], list[str]]:
    """Write the folder; give its files, and what the user must be told.

    Raises:
        ArtefactError: nvinfer or the parser cannot take the artefact.
        InputError: `conf` is below the graph's, or no score.
        OutputError: the folder holds something, or cannot be written.
    """
    artefact = open_artefact(path)
    nms = check(artefact)
    parser, manifest = parser_for(nms), artefact.manifest
    conf = _checked_conf(options.conf, nms.options.conf)
    graph, beside = _graph_of(artefact)
    onnx = None if graph is None else f"model_{graph.sha256()[:8]}.onnx"  # an engine of another graph is never taken
    bundle = Bundle(
        manifest=manifest,
        conf=conf,
        max_det=nms.options.max_det,
        function=parser.function,
        library=options.library or parser.library,
        onnx=onnx,
        engine=ENGINE if artefact.kind == "engine" else _name_by_nvinfer(onnx, manifest),
    )
    labels, notes = labels_of(manifest.names)
    texts = {
        NVINFER: nvinfer_config(bundle),
        APP: app_config(bundle, options.sources or (SAMPLE,)),
        LABELS: labels,
    }
    scripts = [CHECK]
    if artefact.kind == "onnx":
        scripts.append(BUILD)
        notes += _notes_on_building(manifest)
        texts[SHAPES] = _shapes(manifest.profile)
    files: dict[str, bytes | Path] = {name: text.encode() for name, text in texts.items()}
    files |= {name: _HERE / name for name in scripts}
    if graph is not None and onnx is not None:
        files[onnx] = graph.path
    if artefact.kind == "engine":
        files[ENGINE] = artefact.read_model() if artefact.plan_offset else artefact.path
    write_folder(folder, "deepstream", artefact.path.stem, files, exist_ok)
    return [folder / name for name in sorted(files)], [*notes, *beside]


def _checked_conf(asked: float | None, of_graph: float) -> float:
    """Return the threshold.

    Raises:
        InputError: it is below the graph's, or no score.
    """
    if asked is None:
        return of_graph
    if not of_graph <= asked <= 1:
        raise InputError(
            f"--conf: expected {of_graph:g} or more, up to 1, found {asked:g}: the graph has left out all that is "
            "scored less; export with a lower --conf"
        )
    return asked


def _graph_of(artefact: Artefact) -> tuple[Artefact | None, list[str]]:
    """Return the .onnx that goes along, and what there is to say of it."""
    if artefact.kind == "onnx":
        return artefact, []
    path = onnx_beside(artefact.path)
    if not path.is_file():
        return None, [
            f"no {path.name} lies beside the engine: where its TensorRT is not DeepStream's, there is no other"
        ]
    with suppress(ArtefactError):
        graph = open_artefact(path)
        if _of_network(graph.manifest) == _of_network(artefact.manifest):
            return graph, []
    return None, [f"{path.name} beside the engine is of another export, and is left out"]


def _of_network(manifest: Manifest) -> tuple[object, ...]:
    return manifest.names, manifest.nms, manifest.precision, manifest.profile, manifest.source_sha256


def _name_by_nvinfer(onnx: str | None, manifest: Manifest) -> str:
    """Return how nvinfer names an engine that it builds, so that it finds it again."""
    return f"{onnx}_b{manifest.profile.batch.max}_gpu0_{manifest.precision}.engine"


def _notes_on_building(manifest: Manifest) -> list[str]:
    if manifest.precision == "int8":
        return [f"run {BUILD} first: nvinfer builds no INT8 engine from a graph that carries its own ranges"]
    if manifest.precision == "fp16":
        return [f"run {BUILD} first: an engine that nvinfer builds may compute the decode in FP16"]
    return []


def _shapes(profile: InputProfile) -> str:
    """Return what trtexec is told of free axes, an argument a line; nothing where there are none."""
    if profile.is_fixed:
        return ""
    height, width = profile.opt_hw
    batches = {"min": profile.batch.min, "opt": profile.batch.max, "max": profile.batch.max}
    return "".join(f"--{kind}Shapes={INPUT_NAME}:{batch}x3x{height}x{width}\n" for kind, batch in batches.items())
