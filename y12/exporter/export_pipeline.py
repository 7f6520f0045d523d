"""The whole story of an export: source → trace → simplify → precision → NMS → engine → verification → files."""

from dataclasses import dataclass, replace

import onnx
from torch import nn

from y12.errors import OptionsError
from y12.exporter.data.image_lists import evenly
from y12.exporter.engine.build_engine import bindings_for_build
from y12.exporter.engine.engine import Engine, engine_for
from y12.exporter.engine.inspect import EngineFacts
from y12.exporter.engine.releases import check_int8
from y12.exporter.evaluate.evaluation_set import EvaluationSet, open_evaluation_set
from y12.exporter.evaluate.precisions import Measured, measured
from y12.exporter.evaluate.results import Speed
from y12.exporter.evaluate.speed import speeds
from y12.exporter.export_config import ExportConfig, with_local_model
from y12.exporter.graph.best_rows import with_best_rows
from y12.exporter.graph.nms.nms import with_nms
from y12.exporter.graph.rtx.write_for_rtx import write_for_rtx
from y12.exporter.graph.simplify import FOREIGN_PASSES, OWN_PASSES, SimplifyReport, cpu_passes, simplify
from y12.exporter.input_profile import with_profile
from y12.exporter.int8 import Int8Images, Typed, as_trained, int8_from_fp32, int8_images
from y12.exporter.output import (
    ExportedArtefact,
    files_of,
    left_behind,
    output_folder,
    stem_of,
    what_is_replaced,
    write_files,
)
from y12.exporter.precision.cast import cast_to_fp16
from y12.exporter.recipe import engine_options, graph_recipe
from y12.exporter.report.layers import layer_rows
from y12.exporter.report.pictures import Picture, pictures_of
from y12.exporter.report.provenance import made_now
from y12.exporter.report.report import ExportReport
from y12.exporter.report.words import choice_in_words, profile_in_words
from y12.exporter.source import Source, manifest_of, source_from_config, with_nms_where_needed
from y12.exporter.stages import Clock, Progress, silent
from y12.exporter.trace.deploy import deploy_from_detector
from y12.exporter.trace.to_onnx import DEFAULT_OPSET, TraceOptions, onnx_from_deploy
from y12.exporter.verify.engine_precision import check_engine_precision, engine_notes
from y12.exporter.verify.verify import Verification, VerificationInput, verify
from y12.exporter.verify.verify_options import VerifyOptions
from y12.exporter.verify.weights import check_weights
from y12.runtime.artefact.manifest import ONNX_KEY, InputProfile, Manifest
from y12.runtime.artefact.output_layout import OutputLayout, output_layout
from y12.runtime.artefact.recipe import RANGES_KEY

__all__ = ["ExportResult", "export"]


@dataclass(frozen=True)
class ExportResult:
    """What an export made: the report, and the artefact the user asked for by path."""

    report: ExportReport
    artefact: str


def export(config: "ExportConfig | nn.Module | str", progress: Progress = silent) -> ExportResult:
    """Do one export; long, as it is the story of all its stages and puts their results together.

    Args:
        config: what is asked for; a model alone (a network of `y12.models`, a file or a name) is `ExportConfig(model)`.
        progress: a context manager that shows what is going on while a stage runs; may give what takes counts.

    Raises:
        Y12Error: the child says which stage failed; nothing is written then.
    """
    config = _for_builder(with_local_model(config if isinstance(config, ExportConfig) else ExportConfig(config)))
    clock, made = Clock(progress), made_now(config.command)
    with output_folder(config.output) as outputs:
        with clock("load"):
            source = source_from_config(config)
            images = None if config.int8 is None else int8_images(config.int8, source.learned)
        config = with_nms_where_needed(config, source)
        stem = stem_of(config, source.stem, given=source.graph is not None)
        replaces = what_is_replaced(config, stem)
        source, profile = with_profile(config, source)
        manifest = manifest_of(config, source, profile)
        evaluation_set = _evaluation_set(config, source, clock)
        simplified, simplification = _simplified(config, source, manifest.profile, clock)
        typed = _typed(config, images, simplified, manifest, clock)
        accuracy, pictures = _measured(evaluation_set, simplified, typed, manifest, clock)
        calibration = () if images is None else images.calibration
        thresholds = config.thresholds if accuracy is None else accuracy.thresholds
        manifest = replace(manifest, thresholds=thresholds, recipe=graph_recipe(config, typed.ranges, calibration))
        final = _final(typed, manifest, clock)
        engine = _engine(config, typed, final, manifest, clock)
        if engine is not None:
            if config.precision == "int8" and engine.flavour == "rtx":
                with clock("compare with FP16"):
                    engine = replace(engine, half=_half_of(config, simplified, manifest))
            manifest = engine.manifest
        built = None if engine is None else engine.built
        verification, weights_checked = None, None
        if config.verify is not None:
            with clock("verify"):
                weights_checked = check_weights(simplified, typed.graph)
                trained = None if images is None else as_trained(source.detector, simplified, images, typed)
                compared = (simplified, typed.graph, final, built, manifest, trained)
                inputs = VerificationInput(source.detector, source.graph, *compared, source.given)
                verification = verify(inputs, _verify_options(images, source, config.verify))
        speed: tuple[Speed, ...] = ()
        if _runs_here(typed, verification):
            with clock("speed"):
                speed = speeds(simplified, typed.graph, built, manifest.precision, manifest.profile)
        with clock("write"):
            facts = None if engine is None else engine.facts
            files = files_of(stem, engine=built is not None, curve=typed.budget is not None)
            report = ExportReport(
                model=source.model,
                source=source.file,
                precision=config.precision,
                input=profile_in_words(manifest.profile),
                notes=[
                    *_notes(source, simplification, typed, evaluation_set, accuracy, engine),
                    *left_behind(config.output, stem, files),
                ],
                simplification=simplification,
                cast=typed.cast,
                calibration=typed.calibration,
                quantization=typed.quantization,
                weights_checked=weights_checked,
                engine=facts,
                builder="" if engine is None else engine.builder,
                gpus="" if engine is None else engine.gpus,
                nms=choice_in_words(manifest),
                verification=verification,
                unread="" if built is None else built.unread,
                layers=layer_rows(simplified, manifest.profile, manifest.precision, typed.quantization, facts),
                accuracy=None if accuracy is None else accuracy.accuracy,
                budget=typed.budget,
                thresholds=manifest.thresholds,
                speed=speed,
                licence=source.licence,
                seconds=clock.seconds,
                files=[outputs.path(name) for name in files],
                made=made,
                replaces=replaces,
                source_sha256=source.sha256,
            )
            report = write_files(outputs, stem, ExportedArtefact(final, built, manifest, pictures), report)
    return ExportResult(report, report.files[0])


def _for_builder(config: ExportConfig) -> ExportConfig:
    """Leave depthwise convolutions in FP16 where TensorRT-RTX is to build INT8 ones (decision 13), if it can at all."""
    if config.int8 is None or config.format != "engine":
        return config
    check_int8(bindings_for_build(config.target.tensorrt))
    if not _is_for_rtx(config):
        return config
    return replace(config, int8=replace(config.int8, quantize=replace(config.int8.quantize, depthwise=False)))


def _is_for_rtx(config: ExportConfig) -> bool:
    return config.format == "engine" and bindings_for_build(config.target.tensorrt).flavour == "rtx"


def _evaluation_set(config: ExportConfig, source: Source, clock: Clock) -> EvaluationSet | None:
    """Return the images that the accuracy is measured on, where any are named."""
    if config.val is None:
        return None
    with clock("load images"):
        return replace(open_evaluation_set(config.val, source.task, source.names, source.kpt_shape), bits=config.bits)


def _simplified(
    config: ExportConfig, source: Source, profile: InputProfile, clock: Clock
) -> tuple[onnx.ModelProto, SimplifyReport | None]:
    graph, passes, is_foreign = source.graph, FOREIGN_PASSES, source.graph is not None
    if graph is None:
        assert source.detector is not None
        with clock("trace"):
            deploy = deploy_from_detector(source.detector, tokens=config.int8 is None)
            graph, passes = onnx_from_deploy(deploy, TraceOptions(profile, config.opset or DEFAULT_OPSET)), OWN_PASSES
    if not config.simplify:
        return graph, None
    if config.is_for_cpu:
        passes = cpu_passes(foreign=is_foreign, integers=config.int8 is not None)
    with clock("simplify"):
        return simplify(graph, profile, passes, check=config.verify is not None)


def _typed(
    config: ExportConfig, images: Int8Images | None, simplified: onnx.ModelProto, manifest: Manifest, clock: Clock
) -> Typed:
    if config.precision == "fp32":
        return Typed(simplified)
    if config.int8 is not None and images is not None:
        typed = int8_from_fp32(simplified, manifest, images, config.int8, clock)
    else:
        with clock("precision"):
            graph, cast = cast_to_fp16(simplified)
        typed = Typed(graph, cast=cast)
    if config.simplify and _is_for_rtx(config):
        write_for_rtx(typed.graph)
    return typed


def _measured(
    evaluation_set: EvaluationSet | None, simplified: onnx.ModelProto, typed: Typed, manifest: Manifest, clock: Clock
) -> tuple[Measured | None, tuple[Picture, ...]]:
    """Return the accuracy, and pictures of the images on which FP32 and the artefact differ most."""
    if evaluation_set is None:
        return None, ()
    with clock("accuracy") as advance:
        graphs = {"fp32": simplified}
        if manifest.precision != "fp32":
            graphs["fp16"] = typed.graph if manifest.precision == "fp16" else cast_to_fp16(simplified)[0]
            graphs[manifest.precision] = typed.graph
        results = measured(graphs, evaluation_set, manifest, advance)
        return results, pictures_of(results, simplified, typed.graph, manifest, evaluation_set.bits)


def _final(typed: Typed, manifest: Manifest, clock: Clock) -> onnx.ModelProto:
    """Return the typed graph with the NMS or the best rows that were asked for; in its metadata manifest and ranges."""
    graph, nms = typed.graph, manifest.nms
    if nms is not None and nms.is_end_to_end:
        graph = with_best_rows(graph, _layout(manifest), nms.candidates)
    elif nms is not None:
        with clock("nms"):
            graph = with_nms(graph, nms, _layout(manifest))
    del graph.metadata_props[:]  # what another exporter said there is no longer true
    graph.metadata_props.add(key=ONNX_KEY, value=manifest.to_json())
    if typed.ranges is not None:
        graph.metadata_props.add(key=RANGES_KEY, value=typed.ranges.to_json())
    return graph


def _engine(
    config: ExportConfig, typed: Typed, final: onnx.ModelProto, manifest: Manifest, clock: Clock
) -> Engine | None:
    """Return the engine, which computes in the precision that was asked for; None where none was asked for."""
    if config.format != "engine":
        return None
    with clock("engine"):
        recipe = manifest.recipe
        if recipe is not None:
            recipe = replace(recipe, options={**recipe.options, **engine_options(config)})
        engine = engine_for(config.target, final, replace(manifest, recipe=recipe))
        check_engine_precision(config.precision, engine.facts, typed.quantization)
    return engine


def _half_of(config: ExportConfig, simplified: onnx.ModelProto, manifest: Manifest) -> EngineFacts | None:
    """Return what FP16's engine would be: building it alone tells."""
    typed = _typed(replace(config, precision="fp16", int8=None), None, simplified, manifest, Clock(silent))
    return engine_for(config.target, _final(typed, manifest, Clock(silent)), manifest).facts


def _notes(
    source: Source,
    simplification: SimplifyReport | None,
    typed: Typed,
    evaluation_set: EvaluationSet | None,
    accuracy: Measured | None,
    engine: Engine | None,
) -> list[str]:
    """Return what the user must be told, each once."""
    of_graph = () if simplification is None else simplification.notes
    of_images = () if evaluation_set is None else evaluation_set.notes
    of_figures = () if accuracy is None else accuracy.accuracy.notes
    of_engine = () if engine is None else engine_notes(engine)
    return list(dict.fromkeys([*source.notes, *of_graph, *typed.notes, *of_images, *of_figures, *of_engine]))


def _runs_here(typed: Typed, verification: Verification | None) -> bool:
    """Return whether this machine can run what the artefact is for: ONNX Runtime tells nothing of TensorRT's speed."""
    executed = verification is not None and verification.engine_executed.startswith("executed")
    return executed or (typed.quantization is not None and typed.quantization.target == "cpu")


def _verify_options(images: Int8Images | None, source: Source, options: VerifyOptions) -> VerifyOptions:
    """Return options that name images where none are: an INT8 graph's are spread over those it was calibrated on."""
    if options.images is not None:
        return options
    if images is None or not images.calibration:
        return replace(options, images=source.photos)
    return replace(options, images=tuple(evenly(images.calibration, options.max_images)))


def _layout(manifest: Manifest) -> OutputLayout:
    """Return where a graph without NMS has what NMS needs.

    Raises:
        OptionsError: there is nothing NMS could do.
    """
    layout = output_layout(manifest.of_predictions)
    if layout is None:
        raise OptionsError(
            f"--nms: expected a model that finds boxes, found {manifest.model}, a classifier; drop --nms"
        )
    return layout
