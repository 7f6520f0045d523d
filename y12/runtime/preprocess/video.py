"""The frames of a video, upright and with their times, by PyAV.

A file's content chooses none but the demuxers of `FORMATS`, and these open no other file. What cannot be read to its
end is told after the frames before that:

    any container      a packet that is cut short, one that cannot be decoded, a frame that its decoder could not finish
    all but .ts, .mpg  the file is shorter than its own headers say (`whole.early_end`)
    MP4, MOV           fewer packets than its index lists
    AVI                it ends before the frames that its header counts, by more than two of its longest gaps
    MKV, WebM, FLV     it ends before the duration that it declares, by more than 1 s and two of its longest gaps

Nothing tells that a transport or program stream (.ts, .mpg), or a file that was written as a live stream, was cut
between two packets.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from y12.errors import InputError, MissingPackageError
from y12.files import check_file
from y12.runtime.preprocess.images import MAX_PIXELS, check_pixels
from y12.runtime.preprocess.whole import early_end
from y12.text import one_line

if TYPE_CHECKING:
    from av import Packet, VideoFrame, VideoStream
    from av.container import InputContainer

__all__ = ["FORMATS", "Reading", "VideoImage", "images_from_video", "import_av", "opened", "upright", "video_of"]

FORMATS = ("mov", "mp4", "matroska", "webm", "avi", "mpegts", "mpeg", "flv")
MAX_VIDEO_BYTES = 1 << 44
_FRAME_THREADS_PIXELS = 1 << 24  # of larger ones each thread would hold several
_SLACK_S = 1.0  # by which a container's duration may be longer than its packets


@dataclass(frozen=True)
class VideoImage:
    """A frame of a video.

    Attributes:
        image_bgr: (H, W, 3), upright.
        time_s: seconds from the video's beginning; None where unknown.
        share: how much of the video lies before it, 0-1, by the duration that its file declares; None where unknown.
    """

    image_bgr: NDArray[np.uint8]
    time_s: float | None
    share: float | None = None


def images_from_video(path: Path) -> Iterator[VideoImage]:
    """Yield the frames of a video file one by one.

    Raises:
        InputError: the file is no video that is read here; or, after the frames before that, it ends early or is
            damaged.
        MissingPackageError: PyAV is not installed.
    """
    check_file(path, "a video file", MAX_VIDEO_BYTES)
    av = import_av()
    with _translated(av, path):
        # With "file:" before it, no name of a file is taken for an address.
        with opened(av, f"file:{path}", {"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "file"}) as video:
            reading = Reading(video)
            yield from reading.frames(av)
            problem = reading.damage or reading.shortfall()
        with path.open("rb") as file:
            problem = problem or early_end(file)
    if problem:
        raise InputError(f"{path}: the video is damaged or was cut short ({problem}); {reading.count} frames were read")
    if not reading.count:
        raise InputError(f"{path}: expected a video, found no frame in it")


def import_av() -> ModuleType:
    """Load PyAV.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise MissingPackageError("av", "video", "reading a video") from error
    return av


@contextmanager
def opened(av: ModuleType, address: str, options: dict[str, str], **more: Any) -> "Iterator[InputContainer]":
    """Open what FFmpeg calls by `address`, with its pictures bounded in size."""
    bounded = options | {"max_pixels": str(MAX_PIXELS)}
    with av.open(address, options=bounded, metadata_errors="replace", **more) as container:
        yield container


def video_of(container: "InputContainer") -> "VideoStream":
    """Return the video of a container, ready to be decoded.

    Raises:
        InputError: there is none, or none that can be decoded, or its frames have no pixels or too many.
    """
    found = container.streams.best("video")
    if found is None:
        raise InputError("expected a video, found no pictures in it")
    stream = cast("VideoStream", found)
    if stream.codec_context is None:
        raise InputError("expected a video, found one in a codec that this FFmpeg does not decode")
    if min(stream.width, stream.height) < 1:
        raise InputError(
            f"expected frames of 1 to {MAX_PIXELS} pixels, found {stream.width}x{stream.height}, or more than these"
        )
    check_pixels(stream.height, stream.width)
    stream.thread_type = "AUTO" if stream.width * stream.height <= _FRAME_THREADS_PIXELS else "SLICE"
    stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
    return stream


def upright(frame: "VideoFrame") -> NDArray[np.uint8]:
    """Return a frame's pixels, (H, W, 3) BGR, turned as its video asks for."""
    check_pixels(frame.height, frame.width)
    bgr = frame.reformat(format="bgr24", threads=1)
    # `to_ndarray` copies them once more, into new memory.
    rows = np.frombuffer(memoryview(bgr.planes[0]), np.uint8).reshape(bgr.height, bgr.planes[0].line_size)
    image = np.ascontiguousarray(rows[:, : 3 * bgr.width]).reshape(bgr.height, bgr.width, 3)
    return np.ascontiguousarray(np.rot90(image, round(frame.rotation / 90)))  # counterclockwise


class Reading:
    """One way through a file: what was seen of it, and what that says of its end."""

    def __init__(self, container: "InputContainer") -> None:
        self._container = container
        self._stream = video_of(container)
        self._indexed = len(self._stream.index_entries)
        self._start_s = (container.start_time or 0) / 1e6
        self._packets = 0
        self._end_s = self._gap_s = 0.0  # of any stream; between two frames
        self._end_ticks = self._last_tick = 0  # of the video, in units of its time base
        self._gap_ticks = 1
        self._last_s: float | None = None
        self.count = 0
        self.damage: str | None = None

    def frames(self, av: ModuleType) -> Iterator[VideoImage]:
        """Yield the frames up to the end, or to the first damage, which is then told in `damage`."""
        for packet in self._container.demux():
            self._see(packet)
            if packet.stream.index != self._stream.index:  # `stream_index` of a stream's last, empty packet is 0
                continue
            try:
                # What is left in the decoder came before a packet that is cut short.
                decoded = self._stream.decode(None) if packet.is_corrupt else self._stream.decode(packet)
            except av.FFmpegError as error:
                self.damage = f"{one_line(error.strerror or str(error))} {self._place()}"
                return
            for frame in decoded:
                if frame.is_corrupt:
                    self.damage = f"a frame cannot be decoded whole {self._place()}"
                    return
                yield self._image(frame)
            if packet.is_corrupt:
                self.damage = f"a packet is not whole {self._place()}"
                return

    def _place(self) -> str:
        return "at its beginning" if self._last_s is None else f"after {self._last_s - self._start_s:.2f} s"

    def _see(self, packet: "Packet[Any]") -> None:
        """Take note of where a packet ends."""
        begin = packet.dts if packet.pts is None else packet.pts
        if begin is not None and packet.time_base is not None:
            self._end_s = max(self._end_s, float((begin + (packet.duration or 0)) * packet.time_base))
        if packet.stream.index == self._stream.index and packet.size:
            self._packets += 1
            if packet.dts is not None:
                self._gap_ticks = max(self._gap_ticks, packet.dts - self._last_tick)
                self._last_tick = packet.dts
                self._end_ticks = max(self._end_ticks, packet.dts + max(packet.duration or 0, 1))

    def _image(self, frame: "VideoFrame") -> VideoImage:
        time_s = frame.time
        if time_s is not None:
            if self._last_s is not None:
                self._gap_s = max(self._gap_s, time_s - self._last_s)
            self._last_s = time_s
        self.count += 1
        if time_s is None:
            return VideoImage(upright(frame), None)
        since_s, whole_s = time_s - self._start_s, (self._container.duration or 0) / 1e6
        return VideoImage(upright(frame), since_s, min(max(since_s / whole_s, 0.0), 1.0) if whole_s > 0 else None)

    def shortfall(self) -> str | None:
        """Return in words what the container promised and did not give."""
        kind, stream = self._container.format.name.partition(",")[0], self._stream
        if kind == "mov" and self._packets < self._indexed:
            return f"{self._packets} of {self._indexed} packets are there"
        if kind == "avi" and stream.frames - self._end_ticks > 2 * (self._gap_ticks - 1):
            return f"it ends at frame {self._end_ticks} of {stream.frames}"
        if kind in ("matroska", "flv") or (kind == "mov" and not stream.frames):
            declared_s = (self._container.duration or 0) / 1e6
            if declared_s - self._end_s > max(_SLACK_S, 2 * self._gap_s):
                return f"it ends after {self._end_s:.2f} s of {declared_s:.2f} s"
        return None


@contextmanager
def _translated(av: ModuleType, path: Path) -> Iterator[None]:
    """Turn what PyAV raises into one InputError that names the file."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except av.FFmpegError as error:
        kinds = ", ".join(FORMATS)
        raise InputError(
            f"{path}: expected a video ({kinds}), found a damaged file or one of another kind "
            f"({one_line(error.strerror or str(error))})"
        ) from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
