"""Compare the FP32 graph with the model number by number, before precision blurs what differs."""

from dataclasses import replace

from y12.errors import VerificationError
from y12.exporter.graph.simplify import NUDGE, ROUNDINGS, checked_shapes, relative_difference
from y12.exporter.verify.compare import outputs_of
from y12.exporter.verify.differences import Comparison
from y12.exporter.verify.verify_images import TestImage, load_images
from y12.exporter.verify.verify_options import Tolerance, VerifyOptions
from y12.runtime.artefact.manifest import InputProfile
from y12.runtime.executor import Executor
from y12.runtime.postprocess.predictions import Outputs

__all__ = ["check_fp32", "loosened", "nudged"]

# Relative to each channel's largest value: 7e-5 was measured between torch and ONNX Runtime on trained networks. One
# changed weight, swapped operands or a wrong stride exceed it.
MAX_FP32_DIFFERENCE = 2e-4


def check_fp32(
    model: Executor,
    graph: Executor,
    profile: InputProfile,
    task: str,
    images: tuple[TestImage, ...],
    expected: list[Outputs],
    options: VerifyOptions,
) -> list[str]:
    """Compare the model with the FP32 graph made from it; return the images on which the model itself is unstable.

    Where axes are free it is done at a second shape too: what tracing made a constant is right at the first only. An
    image is unstable where the model's own output moves beyond the limit when its input is changed by a rounding error:
    there no implementation can be as near as the limit, and a multiple of that movement is allowed.

    Args:
        model: the model in FP32.
        graph: the simplified graph.
        profile: the graph's input shapes.
        task: of the model.
        images: at the size the graph is tuned for.
        expected: what the model makes of them.
        options: where images of another size come from.

    Raises:
        VerificationError: the graph computes something else.
    """
    shots = [(images, expected, outputs_of(graph, images, profile.batch.opt))]
    for batch, _, height, width in checked_shapes(profile)[1:]:
        others = load_images(options, (height, width), task)[: max(batch, 2)]
        shots.append((others, outputs_of(model, others, batch), outputs_of(graph, others, batch)))
    unstable: dict[str, None] = {}
    for group, model_outputs, graph_outputs in shots:
        for image, e, f in zip(group, model_outputs, graph_outputs, strict=True):
            difference = _difference(e, f)
            if difference <= MAX_FP32_DIFFERENCE:
                continue
            movement = _movement(model, image, e)
            if not difference <= max(MAX_FP32_DIFFERENCE, ROUNDINGS * movement):
                raise VerificationError(
                    f"the traced FP32 graph is not the model: expected a relative difference of at most "
                    f"{MAX_FP32_DIFFERENCE:g}, found {difference:.3g} on {image.name}"
                )
            unstable[image.name] = None
    return list(unstable)


def _difference(expected: Outputs, actual: Outputs) -> float:
    """Return the largest relative difference of all outputs of one image."""
    if expected.keys() != actual.keys():
        return float("inf")
    return max(relative_difference(expected[name][None], actual[name][None]) for name in expected)


def _movement(model: Executor, image: TestImage, outputs: Outputs) -> float:
    """Return how far the model's output moves when its input changes by a rounding error."""
    return _difference(outputs, outputs_of(model, nudged((image,)), batch=1)[0])


def nudged(images: tuple[TestImage, ...]) -> tuple[TestImage, ...]:
    """Return images changed by a rounding error."""
    return tuple(TestImage(image.name, image.blob * NUDGE) for image in images)


def loosened(tolerance: Tolerance, movement: Comparison) -> Tolerance:
    """Return the limits, or the multiple of a model's own movement under a rounding error where that is more.

    How far two right implementations of an unstable model are apart hangs on the processor; without this, an export
    would be refused on one and made on another.

    Args:
        tolerance: for models that are stable.
        movement: of the model with itself on images that are `nudged`.
    """
    shifts = {}
    for what, limit in tolerance.shifts.items():
        statistic, name = what.split()
        shifts[what] = max(limit, ROUNDINGS * movement.shifts.get(name, {}).get(statistic, 0.0))
    lost = ROUNDINGS * max(movement.lost, movement.new) / max(movement.detections, 1)
    return replace(tolerance, shifts=shifts, max_lost=max(tolerance.max_lost, lost))
