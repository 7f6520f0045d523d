"""The network's outputs as they are, fetched to be decoded on the host: of a network that picks the objects itself.

Some hundred rows are a few kilobytes: no kernel could save anything. Prototypes of masks go along whole.
"""

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from y12.runtime.gpu.device import Device, DeviceTensor
from y12.runtime.gpu.packed_buffer import PackedBuffer, Part
from y12.runtime.options import DetectOptions
from y12.runtime.preprocess.letterbox import Letterbox
from y12.runtime.results.detections import Detections
from y12.runtime.tasks import Decode

__all__ = ["Download"]


class Download:
    """Downloads the outputs of one batch.

    Args:
        device: whose stream they are made on.
        outputs: by name, (B, ...).
        decode: the task's.

    Attributes:
        params: nothing.
    """

    def __init__(self, device: Device, outputs: Mapping[str, DeviceTensor], decode: Decode) -> None:
        self._device, self._outputs, self._decode = device, outputs, decode
        self.params: dict[str, Part] = {}
        self._copies: dict[str, NDArray[Any]] = {}
        with contextlib.ExitStack() as undo:
            for name, tensor in outputs.items():
                size_bytes = math.prod(tensor.shape) * tensor.dtype.itemsize
                memory = device.pinned(size_bytes)
                undo.callback(memory.close)
                self._copies[name] = memory.host[:size_bytes].view(tensor.dtype).reshape(tensor.shape)
            self.close = undo.pop_all().close

    def write(self, params: PackedBuffer, options: DetectOptions) -> None:
        """Do nothing: the thresholds are used on the host."""

    def enqueue(self, params: PackedBuffer) -> None:
        """Put the downloads on the stream."""
        for name, tensor in self._outputs.items():
            self._device.download(self._copies[name], tensor.address)

    def read(self, frames: Sequence[Letterbox], options: DetectOptions) -> list[Callable[[], Detections]]:
        """Copy what was downloaded; give for each image what decodes it."""
        decoders: list[Callable[[], Detections]] = []
        for image, frame in enumerate(frames):
            outputs = {name: copy[image].astype(np.float32) for name, copy in self._copies.items()}
            decoders.append(partial(self._decode, outputs, frame, options))
        return decoders
