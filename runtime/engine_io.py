"""The tensors of a TensorRT engine: its one input with the shapes it accepts, and its outputs."""

from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import ArtefactError, InputError

if TYPE_CHECKING:
    from runtime.trt import tensorrt


@dataclass(frozen=True)
class EngineIo:
    """What goes into an engine and what comes out.

    Attributes:
        input_name: the float32 input.
        smallest: the smallest shape it accepts.
        largest: the largest shape it accepts.
        outputs: the outputs' types, by name.
    """

    input_name: str
    smallest: tuple[int, ...]
    largest: tuple[int, ...]
    outputs: dict[str, np.dtype[Any]]

    def check(self, images: NDArray[np.float32]) -> None:
        """Refuse images the engine does not take.

        Raises:
            InputError: their type or shape is not between smallest and largest.
        """
        bounds = zip(self.smallest, images.shape, self.largest, strict=False)
        fits = images.ndim == len(self.smallest) and all(low <= size <= high for low, size, high in bounds)
        if not fits or images.dtype != np.float32:
            raise InputError(
                f"expected float32 images of a shape between {self.smallest} and {self.largest}, found "
                f"{images.dtype} {images.shape}: export with --dynamic or with the size and batch you need"
            )


def io_of_engine(trt: ModuleType, engine: "tensorrt.ICudaEngine") -> EngineIo:
    """Read the tensors; a fixed input has its own shape as both bounds.

    Raises:
        ArtefactError: the engine has not exactly one float32 input.
    """
    names = [str(engine.get_tensor_name(index)) for index in range(engine.num_io_tensors)]
    dtypes = {name: np.dtype(trt.nptype(engine.get_tensor_dtype(name))) for name in names}
    inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
    if len(inputs) != 1 or dtypes[inputs[0]] != np.float32:
        found = ", ".join(f"{name} {dtypes[name]}" for name in inputs) or "none"
        raise ArtefactError(f"expected an engine with one float32 input, found {found}: export it with y12")
    shape = tuple(int(size) for size in engine.get_tensor_shape(inputs[0]))
    smallest, largest = shape, shape
    if -1 in shape:
        profile = [tuple(int(n) for n in dims) for dims in engine.get_tensor_profile_shape(inputs[0], 0)]
        smallest, largest = profile[0], profile[2]
    outputs = {name: dtypes[name] for name in names if name not in inputs}
    return EngineIo(inputs[0], smallest, largest, outputs)
