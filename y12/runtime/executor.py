"""The seam between the runtime and whatever executes the network."""

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@runtime_checkable
class Executor(Protocol):
    """Run one network: a batch of images in, its named outputs out.

    Implementations, in `y12.runtime.backends`: `OrtExecutor` (ONNX Runtime) and `TrtExecutor` (TensorRT and
    TensorRT-RTX). A test hands in its own; nothing else of the runtime knows which one runs.
    """

    @property
    def description(self) -> str:
        """Name what really runs, for logs and reports, such as "ONNX Runtime 1.31.1 (CPU)"."""

    def run(self, images: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Return the outputs by name for `images`, (B, 3, H, W) float32 RGB in 0-1.

        Raises:
            InputError: the shape is outside what the network accepts.
            ExecutorError: the vendor's library failed.
        """

    def close(self) -> None:
        """Free what the executor holds; a second call does nothing."""


@runtime_checkable
class Interruptible(Protocol):
    """An executor whose runs can be stopped."""

    def interrupt(self, thread: int) -> None:
        """End the run that is under way in a thread, by its number; where there is none, do nothing."""
