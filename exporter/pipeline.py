"""The whole story of an export: source → trace → simplify → precision → NMS → engine → verification → files."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import onnx

from exporter.engine.build import (
    RTX_DEFAULT_SMS,
    BuildOptions,
    BuiltEngine,
    bindings_for_build,
    engine_from_onnx,
)
from exporter.engine.inspect import EngineFacts, facts_of
from exporter.errors import EngineBuildError, RecipeError
from exporter.graph.nms import Predictions, predictions_of, with_nms
from exporter.graph.simplify import simplify
from exporter.output import Outputs, output_folder
from exporter.precision.calibrate import calibrate, calibration_images
from exporter.precision.cast import cast_to_fp16
from exporter.precision.qdq import QdqReport, quantize, tensors_to_calibrate
from exporter.recipe import Recipe
from exporter.report.report import ExportReport
from exporter.source import Source, source_from_recipe
from exporter.trace.deploy import deploy_from_detector
from exporter.trace.to_onnx import DEFAULT_OPSET, INPUT_NAME, TraceOptions, onnx_from_deploy
from exporter.verify.options import VerifyOptions
from exporter.verify.verify import Proof, prove
from exporter.verify.weights import check_weights
from runtime.manifest import ONNX_KEY, InputProfile, Manifest, NmsSettings

__all__ = ["ExportResult", "export"]

Progress = Callable[[str], AbstractContextManager[None]]


@dataclass(frozen=True)
class ExportResult:
    """What an export made: the report, and the artefact the user asked for by path."""

    report: ExportReport
    artefact: str


def export(recipe: Recipe, progress: Progress) -> ExportResult:
    """Do one export.

    Args:
        recipe: what is asked for.
        progress: a context manager that shows what is going on while a stage runs.

    Raises:
        Y12Error: the child says which stage failed; nothing is written then.
    """
    clock = _Clock(progress)
    with output_folder(recipe.output) as outputs:
        with clock("load"):
            source = source_from_recipe(recipe)
            images = calibration_images(recipe.int8.images) if recipe.int8 is not None else []
        stem = _stem(recipe, source)
        profile = _profile(recipe, source)
        report = ExportReport(source.model, source.file, recipe.precision, _in_words(profile), list(source.notes))
        simplified = _graph(recipe, source, profile, report, clock)
        manifest = _manifest(recipe, source, profile)
        typed = _typed(recipe, images, simplified, manifest, report, clock)
        final = typed
        if manifest.nms is not None:
            with clock("nms"):
                final = with_nms(typed, manifest.nms, _predictions(typed, manifest))
                report.nms = _nms_in_words(manifest.nms)
        _embed(manifest, final)
        built = None
        if recipe.format == "engine":
            with clock("engine"):
                built, manifest = _engine(recipe, final, manifest, report)
        if recipe.verify is not None:
            with clock("verify"):
                report.weights_checked = check_weights(simplified, typed)
                proof = Proof(source.detector, source.graph, simplified, typed, final, built, manifest)
                report.verification = prove(proof, _verify_options(images, recipe.verify))
        report.seconds = clock.seconds
        with clock("write"):
            _write(outputs, stem, final, built, manifest, report)
    return ExportResult(report, report.files[0])


class _Clock:
    """Times stages while showing progress."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        with self._progress(stage):
            yield
        self.seconds[stage] = time.perf_counter() - started


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
    asked, has = recipe.shapes.profile(max(source.strides, default=1), source.task), source.profile
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
            graph = onnx_from_deploy(
                deploy_from_detector(source.detector), TraceOptions(profile, recipe.opset or DEFAULT_OPSET)
            )
    if recipe.simplify:
        with clock("simplify"):
            graph, report.simplification = simplify(graph, profile)
    return graph


def _typed(
    recipe: Recipe,
    images: list[Path],
    simplified: onnx.ModelProto,
    manifest: Manifest,
    report: ExportReport,
    clock: _Clock,
) -> onnx.ModelProto:
    """Write the precision into the graph; the images are those to calibrate on."""
    if recipe.precision == "fp16":
        with clock("precision"):
            typed, report.cast = cast_to_fp16(simplified)
        return typed
    if recipe.int8 is None:
        return simplified
    options = recipe.int8.quantize
    with clock("calibrate"):
        tensors = tensors_to_calibrate(simplified, options)
        ranges = calibrate(simplified, tensors, images, manifest, recipe.int8.calibration)
    report.notes += ranges.notes
    report.calibration = f"{ranges.images} images, {ranges.method}"
    with clock("precision"):
        typed, report.quantization = quantize(simplified, ranges, options)
    return typed


def _verify_options(images: list[Path], options: VerifyOptions) -> VerifyOptions:
    """Compare an INT8 graph on images of its own kind, spread over those it was calibrated on, where none are named."""
    if not images or options.images is not None:
        return options
    return replace(options, images=tuple(images[:: max(1, len(images) // options.max_images)]))


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
    )


def _predictions(graph: onnx.ModelProto, manifest: Manifest) -> Predictions:
    """Say where a raw graph has what NMS needs.

    Raises:
        RecipeError: there is nothing NMS could do.
    """
    if manifest.task == "classify":
        raise RecipeError(f"--nms: expected a model that finds boxes, found {manifest.model}, a classifier; drop --nms")
    keypoints = manifest.kpt_shape[0] * manifest.kpt_shape[1] if manifest.kpt_shape else 0
    return predictions_of(graph, manifest.task, len(manifest.names), keypoints)


def _embed(manifest: Manifest, graph: onnx.ModelProto) -> None:
    """Write the manifest into the graph's metadata; what another exporter said there is no longer true."""
    del graph.metadata_props[:]
    graph.metadata_props.add(key=ONNX_KEY, value=manifest.to_json())


def _engine(
    recipe: Recipe, graph: onnx.ModelProto, manifest: Manifest, report: ExportReport
) -> tuple[BuiltEngine, Manifest]:
    bindings = bindings_for_build(recipe.target.tensorrt)
    sms = recipe.target.sms or RTX_DEFAULT_SMS
    gpus = (
        f"SM {', '.join(map(str, sms))} (not Hopper, not Jetson)"
        if bindings.flavour == "rtx"
        else "the kind of GPU it was built on"
    )
    manifest = replace(manifest, engine={"builder": bindings.product, "gpus": gpus})
    options = BuildOptions(
        manifest.profile,
        INPUT_NAME,
        recipe.target.workspace_gib,
        recipe.target.sms,
        manifest.to_network_name(),
    )
    built = engine_from_onnx(graph.SerializeToString(), options, bindings)
    report.builder, report.gpus = bindings.product, gpus
    report.engine = facts_of(built.layers, graph)
    _check_precision(recipe.precision, report.engine, report.quantization)
    report.notes += _engine_notes(recipe.precision, report.engine, bindings.flavour)
    return built, manifest


def _check_precision(precision: str, facts: EngineFacts, quantization: QdqReport | None) -> None:
    """Refuse an engine that computes in another precision what the graph says.

    Raises:
        EngineBuildError: it does.
    """
    asked = f"asked for {precision.upper()}, but TensorRT"
    if precision != "fp32" and facts.fp32_convolutions:
        raise EngineBuildError(
            f"{asked} left {len(facts.fp32_convolutions)} convolutions in FP32, first {facts.fp32_convolutions[0]}"
        )
    found = facts.convolutions_by_precision.get("int8", 0)
    if quantization is not None and found < quantization.quantized:
        raise EngineBuildError(f"{asked} computes {found} of the {quantization.quantized} INT8 convolutions in INT8")


def _engine_notes(precision: str, facts: EngineFacts, flavour: str) -> Iterator[str]:
    """Give what the user must be told of an engine."""
    if precision == "int8" and flavour == "rtx":
        yield (
            "TensorRT-RTX runs what follows an INT8 convolution (bias, activation) as a kernel of its own; with its "
            f"{facts.kernels} kernels this engine may be slower than --half: measure both with y12-bench"
        )
    if precision == "fp32" and facts.unfused and flavour == "rtx":
        yield "TensorRT-RTX does not fuse attention in FP32; --half fuses it"
    if precision != "fp32" and facts.unfused:
        yield (
            f"{len(facts.unfused)} of {facts.attentions_expected} attentions are not fused, "
            f"first {facts.unfused[0]}; export from the checkpoint to get the form that fuses"
        )


def _write(
    outputs: Outputs,
    stem: str,
    graph: onnx.ModelProto,
    built: BuiltEngine | None,
    manifest: Manifest,
    report: ExportReport,
) -> None:
    if built is not None:
        outputs.add(f"{stem}.engine", built.plan)
        outputs.add(f"{stem}.engine.json", manifest.to_json(indent=2).encode())
    outputs.add(f"{stem}.onnx", graph.SerializeToString())
    report.files = [*outputs.paths, outputs.path(f"{stem}.report.json")]
    outputs.add(f"{stem}.report.json", report.to_json().encode())
    outputs.commit()


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
