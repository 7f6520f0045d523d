"""Images on their way to the letterbox kernel: from the host, or where they lie on the device."""

import ctypes
import math
import threading
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from y12.errors import InputError
from y12.runtime.gpu.device import ArrayView, Device, PinnedMemory, StagedArray, quietly
from y12.runtime.gpu.packed_buffer import aligned
from y12.runtime.preprocess.images import check_pixels

__all__ = ["Frames", "PinnedImages", "checked_view", "is_on_device"]

_ON_CUDA = (2, 13)  # kDLCUDA and kDLCUDAManaged of DLPack 1.1


def is_on_device(source: object) -> bool:
    """Return whether a library offers this as an array on a GPU: by `__cuda_array_interface__` or by DLPack."""
    if isinstance(source, np.ndarray):
        return False
    if hasattr(type(source), "__dlpack_device__"):
        return int(source.__dlpack_device__()[0]) in _ON_CUDA  # type: ignore[attr-defined]
    return hasattr(source, "__cuda_array_interface__")


def checked_view(view: ArrayView) -> tuple[tuple[int, int], int]:
    """Return height and width of an image on the device, and the bytes from one row to the next.

    Raises:
        InputError: it is not (h, w, 3) uint8 whose rows are dense.
    """
    strides = view.strides or tuple(math.prod(view.shape[axis + 1 :]) for axis in range(len(view.shape)))
    fits = view.dtype == np.uint8 and len(view.shape) == 3 and view.shape[2] == 3 and min(view.shape) > 0
    if not fits or (view.shape[1] > 1 and strides[1] != 3) or strides[2] != 1:
        raise InputError(
            "expected an image on the GPU as a uint8 BGR array (H, W, 3) whose rows are dense, found "
            f"{view.dtype} {view.shape} with strides {strides}: make a contiguous copy of it on the GPU"
        )
    height, width = view.shape[0], view.shape[1]
    check_pixels(height, width)
    pitch = strides[0] if height > 1 else 3 * width
    if pitch < 3 * width:
        raise InputError(
            f"expected rows of the image on the GPU {3 * width} bytes or more apart, found {pitch}: make a contiguous "
            "copy of it on the GPU"
        )
    return (height, width), pitch


class Frames:
    """Memory for the images of a batch that come from the host; it grows with them and is kept.

    Args:
        device: for whose letterbox kernel they are.
        pinned: images that need no copy on the host.
    """

    def __init__(self, device: Device, pinned: "PinnedImages") -> None:
        self._device, self._pinned = device, pinned
        self._staged: StagedArray | None = None

    def put(self, images: Sequence[Any]) -> tuple[list[int], list[int], list[tuple[int, int]]]:
        """Bring images to the device, in stream order, as they come; those that are there stay where they are.

        Args:
            images: contiguous (h, w, 3) uint8 arrays on the host, or what `Device.view` takes. They must not be
                written to before the stream is done.

        Returns:
            The device addresses, the bytes from row to row, and the heights and widths.

        Raises:
            InputError: an array is not on this device any more.
            ExecutorError: the device's memory does not suffice.
        """
        on_host = [image for image in images if isinstance(image, np.ndarray)]
        staged = self._room_for(sum(aligned(image.nbytes) for image in on_host))
        addresses, pitches, sizes_hw = [], [], []
        begin = 0
        for image in images:
            if isinstance(image, np.ndarray):
                height, width = image.shape[:2]
                address, pitch, size_hw = staged.address + begin, 3 * width, (height, width)
                self._device.upload(address, self._locked(image, staged.host[begin : begin + image.nbytes]))
                begin += aligned(image.nbytes)
            else:
                view = self._device.view(image)
                address = view.address
                size_hw, pitch = checked_view(view)
            addresses.append(address)
            pitches.append(pitch)
            sizes_hw.append(size_hw)
        return addresses, pitches, sizes_hw

    def _locked(self, image: NDArray[np.uint8], room: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return an image in page-locked memory: itself, if it is there, or a copy in `room`."""
        if self._pinned.holds(image):
            return image
        np.copyto(room.reshape(image.shape), image)
        return room

    def close(self) -> None:
        """Free the memory once the stream is done."""
        staged, self._staged = self._staged, None
        if staged is not None:
            staged.close()

    def _room_for(self, size_bytes: int) -> StagedArray:
        """Return memory of at least so many bytes."""
        staged = self._staged
        if staged is None or staged.host.nbytes < size_bytes:
            # a slowly growing size must not allocate each time
            size_bytes = max(size_bytes, staged.host.nbytes * 3 // 2 if staged else 0)
            self.close()
            self._staged = staged = StagedArray(self._device, (size_bytes,), np.uint8)
        return staged


class PinnedImages:
    """Arrays in page-locked memory that users write images into, which are then uploaded without a copy.

    Args:
        device: that they are for.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._lock = threading.Lock()
        self._sizes: dict[int, int] = {}  # of the memory that is in use, by its address

    def make(self, height: int, width: int) -> NDArray[np.uint8]:
        """Return an (h, w, 3) array, not initialised; its memory is freed with the last reference to it or its parts.

        Raises:
            InputError: it would have no pixels, or too many.
            ExecutorError: the machine does not give the memory.
        """
        check_pixels(height, width)
        self._device.make_current()
        memory = self._device.pinned(3 * height * width)
        address, size_bytes = memory.host.ctypes.data, 3 * height * width
        with self._lock:
            self._sizes[address] = size_bytes
        owner = (ctypes.c_uint8 * size_bytes).from_address(address)  # what all arrays made from it keep alive
        weakref.finalize(owner, self._free, memory, address).atexit = False  # the driver may be gone by then
        return np.frombuffer(memoryview(owner), np.uint8).reshape(height, width, 3)

    def holds(self, image: NDArray[np.uint8]) -> bool:
        """Return whether a contiguous image lies in memory that `make` gave."""
        begin = image.ctypes.data
        with self._lock:
            return any(start <= begin and begin + image.nbytes <= start + n for start, n in self._sizes.items())

    def _free(self, memory: PinnedMemory, address: int) -> None:
        with self._lock:
            del self._sizes[address]
        quietly(self._device.make_current)  # run by the garbage collector: there is nobody to raise to
        quietly(memory.close)
