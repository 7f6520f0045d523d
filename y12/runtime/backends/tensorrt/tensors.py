"""The tensors of a TensorRT engine: its one input with the shapes it accepts, and its outputs.

An engine has one or more optimisation profiles, each a range of shapes with kernels that were timed at one shape of
it; a shape runs under any profile whose range it lies in.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from y12.errors import ArtefactError, InputError

if TYPE_CHECKING:
    from y12.runtime.backends.tensorrt.bindings import tensorrt

__all__ = ["EngineIo", "ShapeRange", "io_of_engine"]

Shape = tuple[int, ...]
INPUT_TYPES = (np.dtype(np.float32), np.dtype(np.float16))


@dataclass(frozen=True)
class ShapeRange:
    """The input shapes of one optimisation profile, axis by axis.

    Attributes:
        smallest: the smallest size along each axis.
        best: the shape the kernels were timed at.
        largest: the largest size along each axis.
    """

    smallest: Shape
    best: Shape
    largest: Shape

    def holds(self, shape: Shape) -> bool:
        """Return whether `shape` lies in the range."""
        return len(shape) == len(self.smallest) and all(
            low <= size <= high for low, size, high in zip(self.smallest, shape, self.largest, strict=True)
        )

    def distance(self, shape: Shape) -> float:
        """How far `shape` is from the best: the sum of |log(size / best size)|, so that half is as far as double."""
        sizes = zip(shape, self.best, strict=True)
        return sum(abs(math.log(max(1, size) / max(1, best))) for size, best in sizes)


@dataclass(frozen=True)
class EngineIo:
    """What goes into an engine and what comes out.

    Attributes:
        input_name: the one input.
        input_dtype: its type, float32 or float16.
        profiles: the shapes it accepts, one range a profile, in the engine's order.
        outputs: the outputs' types, by name.
    """

    input_name: str
    input_dtype: np.dtype[Any]
    profiles: tuple[ShapeRange, ...]
    outputs: dict[str, np.dtype[Any]]

    def check(self, images: NDArray[np.float32]) -> None:
        """Refuse images the engine does not take.

        Raises:
            InputError: they are not float32, or no profile holds their shape.
        """
        if images.dtype != np.float32:
            raise InputError(f"expected float32 images, found {images.dtype}: convert them to RGB in 0-1 first")
        self.profile_for(images.shape)

    def profile_for(self, shape: Shape) -> int:
        """Return the index of the profile to run `shape` under: of those that hold it, the one timed nearest to it.

        Raises:
            InputError: no profile holds it.
        """
        held = [index for index, profile in enumerate(self.profiles) if profile.holds(shape)]
        if not held:
            ranges = ", or ".join(f"between {profile.smallest} and {profile.largest}" for profile in self.profiles)
            raise InputError(
                f"expected images of a shape {ranges}, found {tuple(shape)}: export with --dynamic or with the size "
                "and batch you need"
            )
        return min(held, key=lambda index: self.profiles[index].distance(shape))


def io_of_engine(trt: "tensorrt.Module", engine: "tensorrt.ICudaEngine") -> EngineIo:
    """Read the tensors; a fixed input has its own shape as its only range.

    Raises:
        ArtefactError: the engine has not exactly one input of float32 or float16, or a tensor is not a dense array
            in the GPU's memory.
    """
    names = [str(engine.get_tensor_name(index)) for index in range(engine.num_io_tensors)]
    dtypes = {name: np.dtype(trt.nptype(engine.get_tensor_dtype(name))) for name in names}
    inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
    if len(inputs) != 1 or dtypes[inputs[0]] not in INPUT_TYPES:
        found = ", ".join(f"{name} {dtypes[name]}" for name in inputs) or "none"
        raise ArtefactError(f"expected an engine with one input, float32 or float16, found {found}: export it with y12")
    for name in names:
        layout = engine.get_tensor_format(name)
        if engine.get_tensor_location(name) != trt.TensorLocation.DEVICE or layout != trt.TensorFormat.LINEAR:
            raise ArtefactError(
                f"expected the tensor '{name}' as a dense array in the GPU's memory, found the format {layout} or the "
                "host's memory: build the engine without special formats, or export it with y12"
            )
    outputs = {name: dtypes[name] for name in names if name != inputs[0]}
    return EngineIo(inputs[0], dtypes[inputs[0]], _profiles(engine, inputs[0]), outputs)


def _profiles(engine: "tensorrt.ICudaEngine", name: str) -> tuple[ShapeRange, ...]:
    shape = tuple(int(size) for size in engine.get_tensor_shape(name))
    if -1 not in shape:
        return (ShapeRange(shape, shape, shape),)
    ranges = [engine.get_tensor_profile_shape(name, index) for index in range(engine.num_optimization_profiles)]
    return tuple(ShapeRange(*(tuple(int(n) for n in dims) for dims in shapes)) for shapes in ranges)
