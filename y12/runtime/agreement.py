"""Whether the manifest of an .onnx and its graph say the same, found out when it is opened, before any image."""

import numpy as np

from y12.errors import ArtefactError
from y12.runtime.artefact.manifest import Manifest
from y12.runtime.artefact.onnx_header import NUMBERS, TensorHeader
from y12.runtime.artefact.opened import Artefact
from y12.runtime.tasks import default_options, task_for

__all__ = ["check_agreement"]

_MAX_OUTPUT = 1 << 26  # numbers that a network may give of one image; masks of 4096x4096 pixels have 14 million

Shape = tuple[int | None, ...]


def check_agreement(artefact: Artefact, input_shape: Shape) -> None:
    """Refuse an .onnx that its own manifest does not describe.

    The input's fixed axes are compared one by one. What the outputs hold is compared by decoding them once, as if they
    were zeros of the sizes that the graph states: where it leaves none free, nothing can turn out different later.

    Args:
        artefact: the file.
        input_shape: the graph's (B, 3, H, W); None where an axis is free.

    Raises:
        ArtefactError: they contradict each other, or an output is of no use; which one is said.
    """
    try:
        _check_input(artefact.manifest, input_shape)
        shapes = {tensor.name: _checked_output(tensor, input_shape[0]) for tensor in artefact.outputs}
        known = {name: tuple(s for s in shape if s is not None) for name, shape in shapes.items()}
        if known == shapes:
            _rehearse(artefact.manifest, known)
    except ArtefactError as error:
        raise ArtefactError(f"{artefact.path}: {error}") from error


def _check_input(manifest: Manifest, shape: Shape) -> None:
    profile = manifest.profile
    if shape[1] not in (3, None):
        raise ArtefactError(f"expected images of 3 colours as the graph's input, found {shape}")
    axes = {
        "batch": (profile.batch, shape[0]),
        "height": (profile.height, shape[2]),
        "width": (profile.width, shape[3]),
    }
    for name, (axis, size) in axes.items():
        if size is not None and (axis.min, axis.max) != (size, size):
            raise ArtefactError(
                f"expected a graph whose {name} is {axis.min} to {axis.max}, as its manifest says, found {size} fixed "
                "in it: export again"
            )


def _checked_output(tensor: TensorHeader, batch: int | None) -> Shape:
    """Return an output's shape without the batch axis."""
    if not tensor.has_rank or not tensor.shape:
        raise ArtefactError(f"expected an output (B, …), found '{tensor.name:.60}' without a known rank: export again")
    if tensor.dtype not in NUMBERS:
        raise ArtefactError(f"expected an output of numbers, found '{tensor.name:.60}' of {tensor.dtype}: export again")
    if batch is not None and tensor.shape[0] not in (batch, None):
        raise ArtefactError(
            f"expected results for each of {batch} images in the output '{tensor.name:.60}', found {tensor.shape}: "
            "export again"
        )
    return tensor.shape[1:]


def _rehearse(manifest: Manifest, shapes: dict[str, tuple[int, ...]]) -> None:
    """Decode outputs of zeros, which take no memory."""
    for name, shape in shapes.items():
        if np.prod(shape, dtype=np.float64) > _MAX_OUTPUT:
            raise ArtefactError(f"expected at most {_MAX_OUTPUT} numbers in the output '{name:.60}', found {shape}")
    task = task_for(manifest)
    _, frame = task.fit(np.zeros((1, 1, 3), np.uint8), manifest.profile.opt_hw)
    zeros = {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}
    task.decode(zeros, frame, default_options(manifest))
