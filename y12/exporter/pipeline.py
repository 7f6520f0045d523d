"""The whole story of an export: source → trace → simplify → precision → NMS → engine → verification → files."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import onnx

from y12.errors import RecipeError
from y12.exporter.data.image_lists import evenly
from y12.exporter.engine.engine import engine_for
from y12.exporter.evaluate.accuracy_stage import measured_on, pictures_of, speeds
from y12.exporter.evaluate.evaluation_set import trial_from
from y12.exporter.export_files import Made, write_files
from y12.exporter.graph.nms.nms import Places, Predictions, predictions_of, with_nms
from y12.exporter.graph.simplify import simplify
from y12.exporter.int8 import Int8Images, Typed, as_trained, int8_from_fp32, int8_images
from y12.exporter.output import output_folder
from y12.exporter.precision.cast import cast_to_fp16
from y12.exporter.recipe import Recipe
from y12.exporter.report.layers import layer_rows
from y12.exporter.report.pictures import Picture
from y12.exporter.report.report import ExportReport
from y12.exporter.source import Source, source_from_recipe
from y12.exporter.trace.deploy import deploy_from_detector
from y12.exporter.trace.to_onnx import DEFAULT_OPSET, TraceOptions, onnx_from_deploy
from y12.exporter.verify.options import VerifyOptions
from y12.exporter.verify.verify import Proof, prove
from y12.exporter.verify.weights import check_weights
from y12.runtime.artefact.manifest import ONNX_KEY, InputProfile, Manifest, NmsSettings

__all__ = ["ExportResult", "export"]

Advance = Callable[[int, int], None]  # how much is done, and how much there is
Progress = Callable[[str], AbstractContextManager[Advance | None]]


@dataclass(frozen=True)
class ExportResult:
    """What an export made: the report, and the artefact the user asked for by path."""

    report: ExportReport
    artefact: str


def export(recipe: Recipe, progress: Progress) -> ExportResult:
    """Do one export.

    Args:
        recipe: what is asked for.
        progress: a context manager that shows what is going on while a stage runs; may give what takes counts.

    Raises:
        Y12Error: the child says which stage failed; nothing is written then.
    """
    clock = _Clock(progress)
    with output_folder(recipe.output) as outputs:
        with clock("load"):
            source = source_from_recipe(recipe)
            images = None if recipe.int8 is None else int8_images(recipe.int8, source.learned)
        stem = _stem(recipe, source)
        profile = _profile(recipe, source)
        manifest = _manifest(recipe, source, profile)
        trial = None
        if recipe.val is not None:
            with clock("load images"):
                trial = trial_from(recipe.val, manifest)
        report = ExportReport(source.model, source.file, recipe.precision, _in_words(profile), list(source.notes))
        report.licence = source.licence
        simplified = _graph(recipe, source, profile, report, clock)
        typed = _typed(recipe, images, simplified, manifest, clock)
        _note_precision(typed, report)
        pictures: tuple[Picture, ...] = ()
        if trial is not None:
            with clock("accuracy") as advance:
                found = measured_on(trial, simplified, typed.graph, manifest, advance)
                manifest = replace(manifest, thresholds=found.thresholds)
                pictures = pictures_of(found, simplified, typed.graph, manifest)
                report.accuracy, report.thresholds = found.accuracy, found.thresholds
                report.notes += [note for note in trial.notes if note not in report.notes]
        final = typed.graph
        if manifest.nms is not None:
            with clock("nms"):
                final = with_nms(typed.graph, manifest.nms, _predictions(typed.graph, manifest))
                report.nms = _nms_in_words(manifest.nms)
        _embed(manifest, final)
        built = None
        if recipe.format == "engine":
            with clock("engine"):
                built, manifest = engine_for(recipe.target, final, manifest, report)
        report.layers = layer_rows(simplified, manifest, report.quantization, report.engine)
        if recipe.verify is not None:
            with clock("verify"):
                report.weights_checked = check_weights(simplified, typed.graph)
                trained = None if images is None else as_trained(source.detector, simplified, images, typed)
                proof = Proof(source.detector, source.graph, simplified, typed.graph, final, built, manifest, trained)
                report.verification = prove(proof, _verify_options(images, source, recipe.verify))
        if _runs_here(typed, report):
            with clock("speed"):
                report.speed = speeds(simplified, typed.graph, built, manifest)
        report.seconds = clock.seconds
        with clock("write"):
            write_files(outputs, stem, Made(final, built, manifest, report, pictures))
    return ExportResult(report, report.files[0])


class _Clock:
    """Times stages while showing progress."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[Advance | None]:
        started = time.perf_counter()
        with self._progress(stage) as advance:
            yield advance
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - started


def _stem(recipe: Recipe, source: Source) -> str:
    """Give what the artefacts' names begin with.

    Raises:
        RecipeError: an artefact would take the place of the file it is made from.
    """
    suffix = "" if recipe.precision == "fp32" else f"_{recipe.precision}"
    stem = source.stem.removesuffix(suffix) + suffix
    if source.graph is not None and (recipe.output / f"{stem}.onnx").resolve() == Path(recipe.model or "").resolve():
        raise RecipeError(f"--output: '{stem}.onnx' would overwrite the file it is made from; name another folder")
    return stem


def _profile(recipe: Recipe, source: Source) -> InputProfile:
    asked, has = recipe.shapes.profile(max(source.strides, default=1), source.task, source.side), source.profile
    if source.detector is not None:
        source.detector.head.check_image_size((asked.height.max, asked.width.max))
    if has is None:
        return asked
    for axis in ("batch", "height", "width"):
        wanted, given = getattr(asked, axis), getattr(has, axis)
        if given.is_fixed and wanted != given:
            raise RecipeError(
                f"{source.file}: its {axis} is fixed to {given.opt}, asked for {wanted.min} to {wanted.max}; "
                "pass --imgsz and --batch as the graph has them, or export from the checkpoint"
            )
    return asked


def _graph(
    recipe: Recipe, source: Source, profile: InputProfile, report: ExportReport, clock: _Clock
) -> onnx.ModelProto:
    if source.graph is not None:
        graph = source.graph
    else:
        assert source.detector is not None
        with clock("trace"):
            deploy = deploy_from_detector(source.detector, tokens=recipe.int8 is None)
            graph = onnx_from_deploy(deploy, TraceOptions(profile, recipe.opset or DEFAULT_OPSET))
    if recipe.simplify:
        with clock("simplify"):
            graph, report.simplification = simplify(graph, profile)
    return graph


def _typed(
    recipe: Recipe, images: Int8Images | None, simplified: onnx.ModelProto, manifest: Manifest, clock: _Clock
) -> Typed:
    """Write the precision into the graph."""
    if recipe.int8 is not None and images is not None:
        return int8_from_fp32(simplified, manifest, images, recipe.int8, clock)
    if recipe.precision == "fp16":
        with clock("precision"):
            graph, cast = cast_to_fp16(simplified)
        return Typed(graph, cast=cast)
    return Typed(simplified)


def _note_precision(typed: Typed, report: ExportReport) -> None:
    report.cast, report.quantization, report.budget = typed.cast, typed.quantization, typed.budget
    report.calibration = typed.calibration
    report.notes += typed.notes


def _runs_here(typed: Typed, report: ExportReport) -> bool:
    """Tell whether this machine can run what the artefact is for, so that its time says something.

    A graph for TensorRT says nothing of TensorRT's speed when ONNX Runtime runs it.
    """
    executed = report.verification is not None and report.verification.engine_executed.startswith("executed")
    return executed or (typed.quantization is not None and typed.quantization.target == "cpu")


def _verify_options(images: Int8Images | None, source: Source, options: VerifyOptions) -> VerifyOptions:
    """Compare an INT8 graph on images of its own kind, spread over those it was calibrated on, where none are named."""
    if options.images is not None:
        return options
    if images is None or not images.calibration:
        return replace(options, images=source.photos)
    return replace(options, images=tuple(evenly(images.calibration, options.max_images)))


def _manifest(recipe: Recipe, source: Source, profile: InputProfile) -> Manifest:
    return Manifest(
        task=source.task,
        names=source.names,
        strides=source.strides,
        profile=profile,
        precision=recipe.precision,
        producer=f"y12 {metadata.version('y12')}",
        model=source.model,
        source=source.file,
        source_sha256=source.sha256,
        licence=source.licence,
        kpt_shape=source.kpt_shape,
        nms=recipe.nms,
        localisation=source.localisation,
    )


def _predictions(graph: onnx.ModelProto, manifest: Manifest) -> Predictions:
    """Say where a raw graph has what NMS needs.

    Raises:
        RecipeError: there is nothing NMS could do.
    """
    if manifest.task == "classify":
        raise RecipeError(f"--nms: expected a model that finds boxes, found {manifest.model}, a classifier; drop --nms")
    keypoints = manifest.kpt_shape[0] * manifest.kpt_shape[1] if manifest.kpt_shape else 0
    places = Places(manifest.localisation, manifest.strides)
    return predictions_of(graph, manifest.task, len(manifest.names), keypoints, places)


def _embed(manifest: Manifest, graph: onnx.ModelProto) -> None:
    """Write the manifest into the graph's metadata; what another exporter said there is no longer true."""
    del graph.metadata_props[:]
    graph.metadata_props.add(key=ONNX_KEY, value=manifest.to_json())


def _nms_in_words(nms: NmsSettings) -> str:
    options = nms.options
    classes = "all classes" if options.classes is None else f"classes {', '.join(map(str, options.classes))}"
    return (
        f"{nms.form}, conf {options.conf:g}, iou {options.iou:g}, max_det {options.max_det} of the best "
        f"{nms.candidates} candidates, {classes}{', agnostic' * options.agnostic}"
    )


def _in_words(profile: InputProfile) -> str:
    def axis(name: str) -> str:
        span = getattr(profile, name)
        return str(span.opt) if span.is_fixed else f"{span.min}..{span.opt}..{span.max}"

    return f"batch {axis('batch')}, {axis('height')}x{axis('width')} pixels"
