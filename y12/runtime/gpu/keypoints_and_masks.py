"""What some tasks have beside boxes, by kernels: keypoints and masks of the objects that NMS has kept."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from y12.errors import ExecutorError
from y12.runtime.gpu.device import Device, StagedArray
from y12.runtime.gpu.packed_buffer import PackedBuffer, Part
from y12.runtime.gpu.predictions import DevicePredictions
from y12.runtime.kernels import layout as layouts
from y12.runtime.kernels import masks_layout
from y12.runtime.preprocess.letterbox import Letterbox
from y12.runtime.results.masks import Masks

__all__ = ["ARENA_WORDS", "ArenaTooSmallError", "Keypoints", "MaskBits", "arena_for"]

ARENA_WORDS = 1 << 18  # of an image's masks at first: 8 million pixels in all
MAX_ARENA_WORDS = 1 << 27  # 512 MiB an image


class ArenaTooSmallError(Exception):
    """The masks of an image need more room; the frames are to be run again with it.

    Attributes:
        words: 32-bit words that an image needs.
    """

    def __init__(self, words: int) -> None:
        super().__init__(f"{words} words")
        self.words = words


def arena_for(words: int) -> int:
    """Return the room to take for masks of so many 32-bit words an image: a quarter more.

    Raises:
        ExecutorError: that is more than is given.
    """
    if words > MAX_ARENA_WORDS:
        raise ExecutorError(
            f"masks: expected at most {MAX_ARENA_WORDS >> 18} MiB for an image, found {words >> 18} MiB: ask for fewer "
            "objects (max_det) or a higher conf"
        )
    return min(words + words // 4, MAX_ARENA_WORDS)


class Keypoints:
    """Gathers the keypoints of the objects.

    Args:
        device: whose stream the kernel runs on.
        predictions: where the network's outputs are.
        batch: images.
        room: the most objects of an image.

    Attributes:
        params: nothing.
        results: what it adds to the block that is downloaded.
    """

    def __init__(self, device: Device, predictions: DevicePredictions, batch: int, room: int) -> None:
        assert predictions.keypoints is not None
        self._kernel = device.kernel("keypoints", "gather")
        self._rows, self._shape, self._batch, self._room = predictions.keypoints, predictions.shape, batch, room
        self.params: dict[str, Part] = {}
        self.results: dict[str, Part] = {"keypoints": ((batch, room, predictions.keypoints.count), np.float32)}

    def enqueue(self, results: PackedBuffer) -> None:
        """Put the kernel on the stream, after NMS."""
        self._kernel(
            layouts.gather_grid(self._rows.count, self._room, self._batch),
            layouts.GATHER_BLOCK,
            self._rows.address,
            results.address("results"),
            results.address("keypoints"),
            np.int32(self._shape.anchors),
            np.int64(self._rows.image_stride),
            np.int32(self._rows.count),
            np.int32(self._shape.box_size),
            np.int32(self._room),
        )


class MaskBits:
    """Draws the masks of the objects over the original images, a bit a pixel.

    Args:
        device: whose stream the kernels run on.
        predictions: where the network's outputs are.
        input_hw: height and width of its input in pixels.
        room: the most objects of an image.
        arena_words: 32-bit words for the masks of an image.

    Attributes:
        params: what `write` fills in the block of parameters.
        results: what it adds to the block that is downloaded.
    """

    def __init__(
        self, device: Device, predictions: DevicePredictions, input_hw: tuple[int, int], room: int, arena_words: int
    ) -> None:
        assert predictions.protos is not None
        assert predictions.coefficients is not None
        self._device, self._coefficients, self._protos = device, predictions.coefficients, predictions.protos
        self._place, self._draw = (device.kernel("masks", entry) for entry in ("mask_place", "mask_draw"))
        batch, *protos_mhw = predictions.protos.shape
        shape = masks_layout.MaskShape(
            anchors=predictions.shape.anchors,
            coefficient_stride=predictions.coefficients.image_stride,
            protos_mhw=(protos_mhw[0], protos_mhw[1], protos_mhw[2]),
            input_hw=input_hw,
            room=room,
        )
        self._plan, self._batch, self._arena_words = masks_layout.mask_plan(shape, arena_words), batch, arena_words
        self.params: dict[str, Part] = {"masks": ((1,), masks_layout.MASK_PLAN)}
        self.results: dict[str, Part] = {
            "places": ((batch, room), masks_layout.MASK_PLACE),
            "mask_headers": ((batch,), masks_layout.MASK_HEADER),
        }
        self._arena = StagedArray(device, (batch, arena_words), np.uint32)
        self.close = self._arena.close

    def write(self, params: PackedBuffer) -> None:
        """Write what the kernels read, to be uploaded."""
        params.host("masks")[:] = self._plan

    def enqueue(self, params: PackedBuffer, results: PackedBuffer) -> None:
        """Put the kernels on the stream, after NMS."""
        images, boxes, plan = params.address("images"), results.address("results"), params.address("masks")
        places, headers = results.address("places"), results.address("mask_headers")
        self._place((self._batch,), masks_layout.PLACE_BLOCK, images, boxes, plan, places, headers)
        inputs = (self._coefficients.address, self._protos.address)
        grid = masks_layout.mask_draw_grid(self._batch)
        self._draw(grid, masks_layout.DRAW_BLOCK, images, boxes, *inputs, plan, places, headers, self._arena.address)

    def read(self, results: PackedBuffer, counts: Sequence[int], frames: Sequence[Letterbox]) -> list[Masks]:
        """Fetch the bits of what was downloaded, as many as there are, and give each image's masks.

        Raises:
            ArenaTooSmallError: they did not fit.
        """
        words = results.host("mask_headers")["words"][: len(counts)]
        if int(words.max(initial=0)) > self._arena_words:
            raise ArenaTooSmallError(int(words.max()))
        for image, size in enumerate(words):
            if size:
                source = self._arena.address + image * self._arena_words * self._arena.host.itemsize
                self._device.download(self._arena.host[image, :size], source)
        self._device.synchronize()
        places = results.host("places")
        return [
            Masks.from_packed(places[image, :count].copy(), self._bits(image, int(words[image])), frame.image_hw)
            for image, (count, frame) in enumerate(zip(counts, frames, strict=True))
        ]

    def _bits(self, image: int, size: int) -> NDArray[np.uint32]:
        return np.asarray(self._arena.host[image, :size].copy(), np.uint32)
