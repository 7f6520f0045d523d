"""Prove that what was exported computes what the model does: run both on real images and compare."""

from dataclasses import dataclass

import onnx

from exporter.engine.build import BuiltEngine, gpu_problem
from exporter.errors import InconclusiveError, VerificationError
from exporter.model.detector import Detector
from exporter.verify.backends import TorchExecutor
from exporter.verify.compare import Ran, compare, outputs_of
from exporter.verify.fp32 import check_fp32
from exporter.verify.images import TestImage, load_images
from exporter.verify.nms import check_nms, compare_after_nms
from exporter.verify.options import TOLERANCES, VerifyOptions
from exporter.verify.report import ExportReport
from exporter.verify.shifts import Comparison
from runtime.errors import Y12Error
from runtime.executor import Executor
from runtime.manifest import Manifest
from runtime.ort import OrtExecutor
from runtime.trt import TrtExecutor

__all__ = ["Proof", "prove"]


@dataclass(frozen=True)
class Proof:
    """What is to be compared with what.

    Attributes:
        detector: the model; None where the export started from an ONNX graph.
        original: that ONNX graph; None where there is a model.
        simplified: the FP32 graph made from it.
        typed: the graph with its precision written in.
        final: the same, with NMS where that is part of the graph.
        built: the engine, if one was built.
        manifest: of the artefact.
    """

    detector: Detector | None
    original: onnx.ModelProto | None
    simplified: onnx.ModelProto
    typed: onnx.ModelProto
    final: onnx.ModelProto
    built: BuiltEngine | None
    manifest: Manifest


def prove(proof: Proof, options: VerifyOptions, report: ExportReport) -> None:
    """Compare the typed graph, and the engine where a GPU is, with the model; write the outcome into the report.

    Where NMS is part of the graph, the predictions before it are compared, and then what it leaves of them with what
    the runtime's own NMS does.

    Raises:
        VerificationError: they differ beyond tolerance.
        InconclusiveError: too few detections to tell, and `options` does not allow that.
    """
    manifest = proof.manifest
    images = load_images(options, manifest.profile.opt_hw, manifest.task)
    batch, precision = manifest.profile.batch.opt, manifest.precision
    reference = _reference(proof, images)
    if proof.detector is not None:
        graph = OrtExecutor(proof.simplified.SerializeToString(), provider="cpu")
        model = TorchExecutor(proof.detector)
        report.unstable_images = check_fp32(model, graph, manifest, images, reference.outputs, options)
    typed = _ran(f"{precision.upper()} ONNX", OrtExecutor(proof.typed.SerializeToString(), "cpu"), images, batch)
    report.comparisons.append(compare(reference, typed, manifest, TOLERANCES[precision], options))
    if manifest.nms is not None:
        final = _ran("", OrtExecutor(proof.final.SerializeToString(), "cpu"), images, batch)
        report.nms_checked = check_nms(typed.outputs, final.outputs, manifest)
    engine = _engine_executor(proof.built, report) if proof.built is not None else None
    if engine is not None:
        built = _ran(f"{precision.upper()} engine", engine, images, batch)
        how = compare if manifest.nms is None else compare_after_nms
        report.comparisons.append(how(reference, built, manifest, TOLERANCES[precision], options))
    _judge(report, options)


def _ran(name: str, executor: Executor, images: tuple[TestImage, ...], batch: int) -> Ran:
    """Run an executor on the images, and close it."""
    ran = Ran(f"{name} in {executor.description}", outputs_of(executor, images, batch))
    executor.close()
    return ran


def _reference(proof: Proof, images: tuple[TestImage, ...]) -> Ran:
    """Run what the artefact must equal."""
    if proof.detector is not None:
        model = TorchExecutor(proof.detector)
        return Ran(model.description, outputs_of(model, images, batch=1))
    assert proof.original is not None
    graph = OrtExecutor(proof.original.SerializeToString(), provider="cpu")
    outputs = outputs_of(graph, images, proof.manifest.profile.batch.opt)
    return Ran(f"the given ONNX in {graph.description}", outputs)


def _engine_executor(built: BuiltEngine, report: ExportReport) -> Executor | None:
    """Load the engine on the GPU at hand; where that cannot be, say why in the report."""
    try:
        if gpu_problem():
            report.engine_executed = "built, not executed (no GPU)"
            return None
        executor = TrtExecutor(built.plan)
    except Y12Error as error:
        report.engine_executed = f"built, not executed ({error})"
        return None
    report.engine_executed = f"executed in {executor.description}"
    return executor


def _judge(report: ExportReport, options: VerifyOptions) -> None:
    different = [c for c in report.comparisons if c.verdict == "different"]
    unsure = [c for c in report.comparisons if c.verdict == "inconclusive"]
    if different:
        report.verdict = "different"
        failures = "; ".join(different[0].failures)
        raise VerificationError(f"{different[0].candidate} differs from the model: {failures}{_instability(report)}")
    report.verdict = "inconclusive" if unsure else _equal(report.comparisons)
    if unsure and not options.allow_inconclusive:
        raise InconclusiveError(
            f"inconclusive: expected at least {options.min_matched} matched detections, found {unsure[0].matched}; "
            "pass --images with photographs that show the model's objects, or --allow-inconclusive"
        )


def _equal(comparisons: list[Comparison]) -> str:
    return f"verified: equal to the model within tolerance ({', '.join(c.candidate for c in comparisons)})"


def _instability(report: ExportReport) -> str:
    if not report.unstable_images:
        return ""
    names = ", ".join(report.unstable_images)
    return f". On {names} the model itself is unstable (rounding its input moves its output): are the weights sound?"
