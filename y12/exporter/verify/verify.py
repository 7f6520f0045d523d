"""Prove that what was exported computes what the model does: run both on real images and compare."""

from dataclasses import dataclass, field, replace

import onnx

from y12.errors import InconclusiveError, VerificationError, Y12Error
from y12.exporter.engine.build_engine import BuiltEngine, gpu_problem
from y12.exporter.graph.foreign.raw_outputs import Given
from y12.exporter.graph.token_rounding import token_roundings, without_token_rounding
from y12.exporter.model.blocks.bit import bit_layers, plain_form
from y12.exporter.model.detector import Detector
from y12.exporter.verify.backends import TorchExecutor
from y12.exporter.verify.check_best_rows import check_best_rows, compare_best_rows
from y12.exporter.verify.check_nms import check_nms, compare_after_nms
from y12.exporter.verify.check_rows import check_rows
from y12.exporter.verify.compare import Ran, compare, outputs_of
from y12.exporter.verify.differences import Comparison
from y12.exporter.verify.fp32 import check_fp32, loosened, nudged
from y12.exporter.verify.headline import headline
from y12.exporter.verify.verify_images import TestImage, load_images
from y12.exporter.verify.verify_options import ROUNDED, TOLERANCES, Tolerance, VerifyOptions
from y12.runtime.artefact.manifest import Manifest
from y12.runtime.artefact.output_layout import OutputLayout, output_layout
from y12.runtime.backends.onnx_runtime import OrtExecutor
from y12.runtime.backends.tensorrt.executor import TrtExecutor
from y12.runtime.executor import Executor

__all__ = ["Verification", "VerificationInput", "verify"]


@dataclass(frozen=True)
class VerificationInput:
    """What is to be compared with what.

    Attributes:
        detector: the model; None where the export started from an ONNX graph.
        original: that ONNX graph; None where there is a model.
        simplified: the FP32 graph made from it.
        typed: the graph with its precision written in.
        final: the same, with NMS or the choice of the best rows where that is part of the graph.
        built: the engine, if one was built.
        manifest: of the artefact.
        trained: the model with INT8's rounding in it, where it was trained so: what an INT8 artefact must equal.
        given: another exporter's graph as it was given; None of y12's own.
    """

    detector: Detector | None
    original: onnx.ModelProto | None
    simplified: onnx.ModelProto
    typed: onnx.ModelProto
    final: onnx.ModelProto
    built: BuiltEngine | None
    manifest: Manifest
    trained: Detector | None = None
    given: Given | None = None

    @property
    def model(self) -> str:
        """What the artefact must equal, in words."""
        halves = self.given is not None and self.given.halves
        return "the given FP16 weights, computed in FP32," if halves else "the model"


@dataclass
class Verification:
    """What was verified.

    Attributes:
        comparisons: one for each executor that was compared with the model.
        engine_executed: whether the engine was run here, and if not, why; empty where there is none.
        unstable_images: those on which the model's own output moves when its input is rounded.
        nms_checked: detections that NMS in the graph and the runtime's own NMS both leave of the same predictions.
        rows_checked: rows that the graph chooses and that are the best of the same predictions.
        verdict: of the export, in a line that says no more than was measured.
    """

    comparisons: list[Comparison] = field(default_factory=list)
    engine_executed: str = ""
    unstable_images: list[str] = field(default_factory=list)
    nms_checked: int | None = None
    rows_checked: int | None = None
    verdict: str = ""


def verify(inputs: VerificationInput, options: VerifyOptions) -> Verification:
    """Compare the typed graph, and the engine where a GPU is, with the model.

    Where NMS is part of the graph, or the choice of the best rows, the predictions before it are compared, and then
    what it leaves of them with what the runtime's own NMS does, or with the best rows. Where activations are rounded to
    8 bits inside the network, all is compared without that rounding first, as exactly as of any network, and then with
    it, within what a rounding to whole steps leaves.

    Raises:
        VerificationError: they differ beyond tolerance.
        InconclusiveError: too few detections to tell, and `options` does not allow that.
    """
    manifest, verification = inputs.manifest, Verification()
    images = load_images(options, manifest.profile.opt_hw, manifest.task)
    batch, precision = manifest.profile.batch.opt, manifest.precision
    reference, tolerance = _reference(inputs, images), TOLERANCES[precision]
    if inputs.given is not None and inputs.given.nms is not None:
        rows = _ran("the given ONNX", OrtExecutor(inputs.given.graph.SerializeToString(), "cpu"), images, batch)
        check_rows(reference, rows, replace(manifest, nms=inputs.given.nms))
    plain = _without_rounding(inputs)
    exact = reference if plain is inputs else _reference(plain, images)
    if plain.detector is not None:
        graph = OrtExecutor(plain.simplified.SerializeToString(), provider="cpu")
        model = TorchExecutor(plain.detector)
        verification.unstable_images = check_fp32(
            model, graph, manifest.profile, manifest.task, images, exact.outputs, options
        )
    if plain is not inputs and precision != "int8":  # INT8's own steps have taken the place of the rounding
        verification.comparisons.append(_exactly(plain, exact, images, options))
        tolerance = ROUNDED
    if inputs.trained is not None:
        reference = _ran("the model as trained, with its rounding,", TorchExecutor(inputs.trained), images, batch=1)
    typed = _ran(f"{precision.upper()} ONNX", _typed_executor(inputs.typed, manifest), images, batch)
    verification.comparisons.append(_compared(inputs, reference, typed, images, tolerance, options))
    if manifest.nms is not None:
        final = _ran("", _typed_executor(inputs.final, manifest), images, batch).outputs
        if manifest.output == "end2end":
            verification.rows_checked = check_best_rows(typed.outputs, final, manifest)
        else:
            verification.nms_checked = check_nms(typed.outputs, final, manifest)
    engine = _engine_executor(inputs.built, verification) if inputs.built is not None else None
    if engine is not None:
        built = _ran(f"{precision.upper()} engine", engine, images, batch)
        verification.comparisons.append(_compared_engine(reference, built, manifest, tolerance, options))
    _judge(verification, options, inputs.model)
    return verification


def _without_rounding(inputs: VerificationInput) -> VerificationInput:
    """Return the same without the rounding of activations in front of Bit convolutions, or itself where is none."""
    graphs = [graph for graph in (inputs.original, inputs.simplified, inputs.typed) if graph is not None]
    bit = inputs.detector is not None and bool(bit_layers(inputs.detector))
    if not bit and not any(map(token_roundings, graphs)):
        return inputs
    return replace(
        inputs,
        detector=None if inputs.detector is None else plain_form(inputs.detector),
        original=None if inputs.original is None else without_token_rounding(inputs.original),
        simplified=without_token_rounding(inputs.simplified),
        typed=without_token_rounding(inputs.typed),
    )


def _exactly(
    plain: VerificationInput, reference: Ran, images: tuple[TestImage, ...], options: VerifyOptions
) -> Comparison:
    """Compare the typed graph with the model, both without the rounding of activations."""
    manifest, name = plain.manifest, f"{plain.manifest.precision.upper()} ONNX without its rounding of activations"
    typed = _ran(name, _typed_executor(plain.typed, manifest), images, manifest.profile.batch.opt)
    return _compared(plain, reference, typed, images, TOLERANCES[manifest.precision], options)


def _compared(
    inputs: VerificationInput,
    reference: Ran,
    typed: Ran,
    images: tuple[TestImage, ...],
    tolerance: Tolerance,
    options: VerifyOptions,
) -> Comparison:
    """Compare the typed graph with the model; an FP32 graph may differ by what rounding moves the model itself."""
    read = _read(inputs.manifest)
    comparison = compare(reference, typed, *read, tolerance, options)
    if comparison.verdict != "different" or inputs.manifest.precision != "fp32":
        return comparison
    movement = compare(reference, _reference(inputs, nudged(images)), *read, tolerance, options)
    return compare(reference, typed, *read, loosened(tolerance, movement), options)


def _compared_engine(
    reference: Ran, built: Ran, manifest: Manifest, tolerance: Tolerance, options: VerifyOptions
) -> Comparison:
    if manifest.output == "end2end":
        return compare_best_rows(reference, built, manifest, tolerance, options)
    if manifest.nms is None:
        return compare(reference, built, *_read(manifest), tolerance, options)
    return compare_after_nms(reference, built, manifest, tolerance, options)


def _read(manifest: Manifest) -> tuple[OutputLayout | None, tuple[int, int]]:
    """Return how the outputs are to be read."""
    return output_layout(manifest.of_predictions), manifest.profile.opt_hw


def _ran(name: str, executor: Executor, images: tuple[TestImage, ...], batch: int) -> Ran:
    """Run an executor on the images, and close it."""
    ran = Ran(f"{name} in {executor.description}", outputs_of(executor, images, batch))
    executor.close()
    return ran


def _typed_executor(graph: onnx.ModelProto, manifest: Manifest) -> Executor:
    """Return what runs a graph of the artefact: INT8 in one way, with NMS and without, as it rounds to whole steps."""
    return OrtExecutor(graph.SerializeToString(), "cpu", integers=manifest.is_for_cpu)


def _reference(inputs: VerificationInput, images: tuple[TestImage, ...]) -> Ran:
    """Return the outputs that the artefact must equal."""
    if inputs.detector is not None:
        model = TorchExecutor(inputs.detector)
        return Ran(model.description, outputs_of(model, images, batch=1))
    assert inputs.original is not None
    graph = OrtExecutor(inputs.original.SerializeToString(), provider="cpu")
    outputs = outputs_of(graph, images, inputs.manifest.profile.batch.opt)
    return Ran(f"the given ONNX in {graph.description}", outputs)


def _engine_executor(built: BuiltEngine, verification: Verification) -> Executor | None:
    """Return the engine on the GPU at hand; where there can be none, note why."""
    try:
        if gpu_problem():
            verification.engine_executed = "built, not executed (no GPU)"
            return None
        executor = TrtExecutor(built.plan)
    except Y12Error as error:
        verification.engine_executed = f"built, not executed ({error})"
        return None
    verification.engine_executed = f"executed in {executor.description}"
    return executor


def _judge(verification: Verification, options: VerifyOptions, model: str) -> None:
    different = [c for c in verification.comparisons if c.verdict == "different"]
    unsure = [c for c in verification.comparisons if c.verdict == "inconclusive"]
    if different:
        verification.verdict = "different"
        failures = "; ".join(different[0].failures)
        raise VerificationError(
            f"{different[0].candidate} differs from the model: {failures}{_instability(verification)}"
        )
    verification.verdict = headline(verification.comparisons, verification.engine_executed, model)
    if unsure and not options.allow_inconclusive:
        raise InconclusiveError(
            f"inconclusive: expected at least {options.min_matched} matched detections, found {unsure[0].matched}; "
            "pass --images with photographs that show the model's objects, or --allow-inconclusive"
        )


def _instability(verification: Verification) -> str:
    if not verification.unstable_images:
        return ""
    names = ", ".join(verification.unstable_images)
    return f". On {names} the model itself is unstable (rounding its input moves its output): are the weights sound?"
