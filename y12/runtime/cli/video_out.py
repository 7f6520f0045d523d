"""A video of annotated pictures, by PyAV: upright, each picture at its own time."""

import contextlib
import errno
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from y12.errors import InputError, OutputError
from y12.runtime.preprocess.video import import_av
from y12.text import one_line

__all__ = ["VideoWriter"]

TICKS = (
    90_000  # a second: the frame times of 24, 25, 30, 60 and of 30000/1001 pictures a second are whole numbers of it
)
_UNTIMED_S = 1 / 25  # from one picture to the next where the source has no times
_NOT_THE_PLACE = (None, errno.EINVAL)  # what an encoder says of pictures that it does not take
CODEC, QUALITY = "libx264", {"crf": "18", "preset": "veryfast", "bf": "0"}


class VideoWriter:
    """Write an MP4 in H.264; it has its name once it is closed, and holds what was written until then.

    A side of an odd length is one longer in it, which the codec asks for: the last row or column comes twice.

    Args:
        path: of the file; its folder is there.
        size_hw: of all pictures.

    Raises:
        InputError: the encoder does not take such pictures.
        OutputError: nothing can be written there.
    """

    def __init__(self, path: Path, size_hw: tuple[int, int]) -> None:
        self.path, self._size_hw, self._last = path, size_hw, -1
        self._part = path.with_name(f".{path.name}.part")
        self._av = av = import_av()
        with self._translated():
            if path.is_dir():
                raise OutputError(f"{path}: cannot be written (it is a folder)")
            self._file = av.open(f"file:{self._part}", "w", format="mp4")
            self._stream = self._file.add_stream(CODEC, rate=Fraction(25), options=QUALITY)
            self._stream.pix_fmt = "yuv420p"
            self._stream.height, self._stream.width = (side + side % 2 for side in size_hw)
            self._stream.codec_context.time_base = Fraction(1, TICKS)

    def write(self, image_bgr: NDArray[np.uint8], time_s: float | None) -> None:
        """Add a picture at its time in seconds; None puts it 40 ms after the last one.

        Raises:
            InputError: it is of another size than the first.
            OutputError: it cannot be written.
        """
        (height, width), (wanted_height, wanted_width) = image_bgr.shape[:2], self._size_hw
        if (height, width) != self._size_hw:
            raise InputError(
                f"{self.path}: expected pictures of one size for a video, found {width}x{height} after "
                f"{wanted_width}x{wanted_height}"
            )
        even = np.pad(image_bgr, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = self._av.VideoFrame.from_ndarray(even, format="bgr24")
        untimed = self._last + round(_UNTIMED_S * TICKS) if self._last >= 0 else 0
        frame.pts = self._last = max(untimed if time_s is None else round(time_s * TICKS), self._last + 1)
        frame.time_base = Fraction(1, TICKS)
        with self._translated():
            self._file.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Give the file its name; without a picture there is none.

        Raises:
            OutputError: it cannot be finished, and is not left half.
        """
        if self._last < 0:  # there is no picture that a file could hold
            return
        try:
            with self._translated():
                self._file.mux(self._stream.encode())
                self._file.close()
                os.replace(self._part, self.path)
        except BaseException:
            with contextlib.suppress(OSError):
                self._part.unlink(missing_ok=True)
            raise

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (self._av.FFmpegError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            kind = InputError if getattr(error, "errno", errno.EINVAL) in _NOT_THE_PLACE else OutputError
            raise kind(f"{self.path}: the video cannot be written ({one_line(reason)})") from error
