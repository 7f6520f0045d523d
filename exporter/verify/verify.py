"""Prove that what was exported computes what the model does: run both on real images and compare."""

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from exporter.engine.build import BuiltEngine, gpu_problem
from exporter.errors import InconclusiveError, VerificationError
from exporter.model.detector import Detector
from exporter.verify.backends import TorchExecutor
from exporter.verify.compare import Comparison, compare, outputs_of
from exporter.verify.fp32 import check_fp32
from exporter.verify.images import TestImage, load_images
from exporter.verify.options import TOLERANCES, VerifyOptions
from exporter.verify.report import ExportReport
from runtime.errors import Y12Error
from runtime.executor import Executor
from runtime.manifest import InputProfile
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
        built: the engine, if one was built.
        profile: the input shapes.
        precision: of the typed graph.
    """

    detector: Detector | None
    original: onnx.ModelProto | None
    simplified: onnx.ModelProto
    typed: onnx.ModelProto
    built: BuiltEngine | None
    profile: InputProfile
    precision: str


def prove(proof: Proof, options: VerifyOptions, report: ExportReport) -> None:
    """Compare the typed graph, and the engine where a GPU is, with the model; write the outcome into the report.

    Raises:
        VerificationError: they differ beyond tolerance.
        InconclusiveError: too few detections to tell, and `options` does not allow that.
    """
    images = load_images(options, proof.profile.opt_hw)
    batch = proof.profile.batch.opt
    reference, expected = _reference(proof, images)
    if proof.detector is not None:
        graph = OrtExecutor(proof.simplified.SerializeToString(), provider="cpu")
        model = TorchExecutor(proof.detector)
        report.unstable_images = check_fp32(model, graph, proof.profile, images, expected, options)
    candidates: list[tuple[str, Executor]] = [
        (f"{proof.precision.upper()} ONNX", OrtExecutor(proof.typed.SerializeToString(), provider="cpu"))
    ]
    if proof.built is not None:
        engine = _engine_executor(proof.built, report)
        if engine is not None:
            candidates.append((f"{proof.precision.upper()} engine", engine))
    for name, executor in candidates:
        found = outputs_of(executor, images, batch)
        comparison = compare(
            (reference, expected),
            (f"{name} in {executor.description}", found),
            proof.profile.opt_hw,
            TOLERANCES[proof.precision],
            options,
        )
        report.comparisons.append(comparison)
        executor.close()
    _judge(report, options)


def _reference(proof: Proof, images: tuple[TestImage, ...]) -> tuple[str, list[NDArray[np.float32]]]:
    """Run what the artefact must equal; give its description and outputs."""
    if proof.detector is not None:
        model = TorchExecutor(proof.detector)
        return model.description, outputs_of(model, images, batch=1)
    assert proof.original is not None
    graph = OrtExecutor(proof.original.SerializeToString(), provider="cpu")
    return f"the given ONNX in {graph.description}", outputs_of(graph, images, proof.profile.batch.opt)


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
