"""Where an export starts: a checkpoint, a model's name, or an ONNX graph, brought to one form."""

import copy
import hashlib
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import onnx
from torch import nn

from y12.errors import CalibrationError, CheckpointError, OptionsError
from y12.exporter.checkpoint.load import Checkpoint, detector_from_checkpoint, read_checkpoint
from y12.exporter.checkpoint.metadata import UNKNOWN_LICENCE
from y12.exporter.config_parts import nms_of
from y12.exporter.export_config import CHECKPOINTS, ExportConfig, named_spec
from y12.exporter.graph.best_rows import row_count
from y12.exporter.graph.foreign.raw_outputs import Given, with_raw_outputs
from y12.exporter.graph.foreign.read import graph_from_file
from y12.exporter.model.build import seeded_detector
from y12.exporter.model.detector import Detector
from y12.exporter.model.spec import models_dir
from y12.exporter.precision.qat.learned import LearnedRanges
from y12.exporter.precision.quantization_options import LEAST_OPSET
from y12.exporter.verify.verify_images import scenes_dir
from y12.runtime.artefact.manifest import LOCALISATIONS, TARGETS, InputProfile, Manifest
from y12.runtime.artefact.nms_settings import NmsSettings, end_to_end
from y12.runtime.artefact.opened import Artefact, open_artefact
from y12.text import visible

__all__ = ["Source", "demo_weights", "manifest_of", "source_from_config", "with_nms_where_needed"]

_END2END_NOTE = (
    "exported end to end: of its branches that predict each object once the best rows are chosen in the graph, which "
    "need no NMS; --no-end2end exports the others"
)
_NMS_NOTE = (
    "--nms is for its branches that predict an object at several places; without it, those are exported that do not"
)


@dataclass(frozen=True)
class Source:
    """What is exported.

    Attributes:
        stem: what the artefacts' names begin with.
        model: the architecture's name.
        file: the weights' file name; empty where they are seeded.
        sha256: of that file.
        task: what it is for, one of `y12.runtime.artefact.manifest.TASKS`.
        names: class names by id.
        strides: of the detection levels, in pixels.
        kpt_shape: (K, D) of the keypoints it predicts; None where it predicts none.
        licence: what the user has to know of the weights' licence.
        detector: the torch network; None for an ONNX graph.
        graph: the ONNX graph, with raw outputs; None for a torch network.
        given: another exporter's graph as it was given; None of y12's own.
        profile: the shapes an ONNX graph accepts; None for a torch network, which takes any.
        learned: ranges of activations that were learned with the weights; None where there are none.
        side: of the images that it was trained on, in pixels; None where its file does not tell.
        photos: images to verify it on where none are named; None for y12's photographs.
        notes: what the user must be told.
        localisation: how its anchor points tell objects, one of `y12.runtime.artefact.manifest.LOCALISATIONS`.
        end2end: its predictions are to be exported end to end, the best rows chosen in the graph.
    """

    stem: str
    model: str
    task: str
    names: tuple[str, ...]
    strides: tuple[int, ...]
    kpt_shape: tuple[int, int] | None = None
    file: str = ""
    sha256: str = ""
    licence: str = ""
    detector: Detector | None = None
    graph: onnx.ModelProto | None = None
    given: Given | None = None
    profile: InputProfile | None = None
    learned: LearnedRanges | None = None
    side: int | None = None
    photos: Path | None = None
    notes: tuple[str, ...] = ()
    localisation: str = LOCALISATIONS[0]
    end2end: bool = False


def demo_weights() -> Path:
    """Return the file of the demo model: `yolov12n-multitask` trained on drawn scenes (docs/training.md)."""
    return models_dir().with_name("weights") / "yolov12n-shapes.safetensors"


def source_from_config(config: ExportConfig) -> Source:
    """Read the model that an export is asked for.

    Raises:
        Y12Error: a child of it that says what is wrong with the file or the name.
    """
    source = _source(config)
    if config.task is not None and source.task != config.task:
        raise OptionsError(
            f"--task: expected a model for {config.task}, found {source.file or source.model}, which is for "
            f"{source.task}; name another model, or drop --task"
        )
    return _with_branches(source, config)


def _with_branches(source: Source, config: ExportConfig) -> Source:
    """Choose which branches the predictions are from, where a network has two of each.

    Raises:
        OptionsError: NMS is asked for, and branches that leave nothing for it to do.
    """
    head = None if source.detector is None else source.detector.head
    if head is None or not head.has_one_to_one:
        return source
    head.end2end = config.nms is None if config.end2end is None else config.end2end
    if head.end2end and config.nms is not None:
        raise OptionsError(
            f"--end2end: {source.model} predicts each object once, which leaves nothing for NMS and its options to do: "
            "drop them, or take --no-end2end"
        )
    notes = source.notes
    if config.end2end is None:
        notes += (_END2END_NOTE if head.end2end else _NMS_NOTE,)
    return replace(source, end2end=head.end2end, notes=notes)


def with_nms_where_needed(config: ExportConfig, source: Source) -> ExportConfig:
    """Return the options with NMS where detections are asked for, of a network that predicts an object many times."""
    if not config.end2end or source.end2end or config.nms is not None:
        return config
    return replace(config, nms=nms_of({}, {}, wanted=True))


def _choice_of(config: ExportConfig, source: Source, profile: InputProfile) -> NmsSettings | None:
    """Return how the graph is to choose among its predictions; None where they stay raw."""
    if not source.end2end:
        return config.nms
    if source.given is None or source.given.nms is None:
        return end_to_end(row_count(profile, source.strides))
    strides = tuple(8 << i for i in range(8) if 8 << i <= max(source.strides))  # a given file tells the largest alone
    return end_to_end(row_count(profile, strides, source.given.nms.candidates))


def manifest_of(config: ExportConfig, source: Source, profile: InputProfile) -> Manifest:
    """Return what an export says of itself, as far as it is known before its work."""
    return Manifest(
        task=source.task,
        names=source.names,
        strides=source.strides,
        profile=profile,
        precision=config.precision,
        producer=f"y12 {metadata.version('y12')}",
        model=visible(source.model),
        source=visible(source.file),
        source_sha256=source.sha256,
        licence=source.licence,
        kpt_shape=source.kpt_shape,
        nms=_choice_of(config, source, profile),
        localisation=source.localisation,
        target="cpu" if config.is_for_cpu else TARGETS[0],
    )


def _source(config: ExportConfig) -> Source:
    if config.model is None:
        note = "no model was named: exporting y12's demo model, which finds the shapes of drawn scenes"
        return replace(_from_checkpoint(demo_weights()), photos=scenes_dir(), notes=(note,))
    if not isinstance(config.model, str):
        return _from_network(config.model)
    path = Path(config.model)
    if path.suffix in CHECKPOINTS:
        return _from_checkpoint(path)
    if path.suffix == ".onnx":
        return _from_onnx(path, config)
    spec = named_spec(config)
    note = f"{config.model} names a network without weights: they are seeded random ones, which detect nothing real"
    return _from_detector(seeded_detector(spec), spec.name, notes=(note, *spec.notes))


def _from_network(network: nn.Module) -> Source:
    """Take a network as it is now; what its owner does to it later changes nothing."""
    if not isinstance(network, Detector):
        raise OptionsError(
            f"model: expected a network of y12.models, or a file's name; found a {type(network).__name__}: y12 exports "
            "other torch networks from their .onnx"
        )
    return _from_detector(copy.deepcopy(network).cpu().float().eval(), network.spec.name, notes=network.spec.notes)


def _from_checkpoint(path: Path) -> Source:
    checkpoint = read_checkpoint(path)
    return replace(
        _from_detector(detector_from_checkpoint(checkpoint), path.stem),
        file=path.name,
        sha256=checkpoint.sha256,
        licence=checkpoint.licence or UNKNOWN_LICENCE,
        side=checkpoint.side,
        learned=_learned(checkpoint),
    )


def _from_detector(detector: Detector, stem: str, notes: tuple[str, ...] = ()) -> Source:
    spec = detector.spec
    return Source(
        stem,
        spec.name,
        spec.task,
        detector.names,
        spec.strides,
        spec.kpt_shape,
        detector=detector,
        notes=notes,
        localisation=detector.head.localisation,
    )


def _learned(checkpoint: Checkpoint) -> LearnedRanges | None:
    if not checkpoint.ranges:
        return None
    try:
        return LearnedRanges.from_json(checkpoint.ranges)
    except CalibrationError as error:
        raise CheckpointError(f"{checkpoint.path}: {error}") from error


def _from_onnx(path: Path, config: ExportConfig) -> Source:
    artefact = open_artefact(path)
    manifest, found = artefact.manifest, artefact.found
    _check_start(artefact, config)
    read = graph_from_file(path, 0 if config.int8 is None else LEAST_OPSET[config.int8.quantize.target])
    notes = (*artefact.notes, *read.notes)
    if manifest.nms is not None and not manifest.nms.is_end_to_end:
        own = manifest.nms.options
        notes = (
            *notes,
            f"its NMS (conf {own.conf:g}, iou {own.iou:g}, {own.max_det} rows), which TensorRT-RTX does not build, is "
            "left out: y12's own takes its place when the artefact is run; --nms puts that into the graph",
        )
    return Source(
        path.stem,
        manifest.model or path.stem,
        manifest.task,
        manifest.names,
        manifest.strides,
        manifest.kpt_shape,
        file=path.name,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        licence=manifest.licence or UNKNOWN_LICENCE,
        graph=read.model if found is None else with_raw_outputs(read.model, found),
        end2end=manifest.output == "end2end",
        given=None if found is None else Given(read.model, manifest.nms, manifest.precision == "fp16"),
        profile=manifest.profile,
        notes=notes,
        localisation=manifest.localisation,
    )


def _check_start(artefact: Artefact, config: ExportConfig) -> None:
    """Refuse an .onnx that is no start, by what it says of itself.

    Raises:
        OptionsError: its precision, or how it picks objects, leaves nothing to do.
    """
    path, manifest, is_foreign = artefact.path, artefact.manifest, artefact.found is not None
    if manifest.is_for_cpu and not config.is_for_cpu:
        raise OptionsError(
            f"{path}: expected a graph in the form that TensorRT fuses, found one for CPUs; export from the original, "
            "or add --target cpu"
        )
    if manifest.precision != "fp32" and not (is_foreign and manifest.precision == "fp16"):  # which is widened
        raise OptionsError(
            f"{path}: expected an FP32 graph to start from, found one in {manifest.precision}; export from the original"
        )
    if manifest.nms is not None and not is_foreign:
        raise OptionsError(
            f"{path}: expected raw predictions to start from, found NMS in the graph; export without --nms, "
            "or from what it was made of"
        )
    if manifest.nms is not None and manifest.nms.is_end_to_end and config.nms is not None:
        raise OptionsError(f"--nms: {path} picks its objects end to end, without NMS: drop --nms")
