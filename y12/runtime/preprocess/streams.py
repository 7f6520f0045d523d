"""Pictures as they arrive, by PyAV: of a camera, over RTSP, over HTTP.

A stream is opened where a user names it, with the demuxers and the protocols of its own kind and no others: what a
server sends cannot lead to a file, and playlists, which name further addresses, are refused.

A live stream that breaks is opened again after each of `PAUSES_S`; the count starts over once it has run for
`STEADY_S`. A video file over HTTP ends where it ends: FFmpeg asks as often for the rest of one that breaks off, where
its server can send a part of it.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from time import monotonic, sleep
from types import ModuleType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from y12.errors import InputError
from y12.runtime.preprocess.video import FORMATS, Reading, VideoImage, import_av, opened, upright, video_of
from y12.text import one_line

if TYPE_CHECKING:
    from av.container import InputContainer

__all__ = ["Stream", "images_from_stream", "stream_named"]

ANSWER_S = 10.0  # for which a stream may be silent: longer than cameras take between two key frames
PAUSES_S = (1.0, 2.0, 4.0)
STEADY_S = 10.0
CAMERA, CAMERA_FORMAT = "/dev/video", "v4l2"
_HTTP = {
    "format_whitelist": ",".join((*FORMATS, "mpjpeg")),
    "protocol_whitelist": "http,https,httpproxy,tls,tcp",
    "reconnect": "1",
    "reconnect_max_retries": str(len(PAUSES_S)),
    "reconnect_delay_max": str(round(max(PAUSES_S))),
}
# Over TCP nothing is lost; a server that does not speak it is asked for UDP.
_RTSP = {
    "format_whitelist": "rtsp",
    "protocol_whitelist": "rtsp,rtsps,rtp,srtp,udp,tcp,tls",
    "rtsp_flags": "prefer_tcp",
}
_OPTIONS = {"http": _HTTP, "https": _HTTP, "rtsp": _RTSP, "rtsps": _RTSP}


@dataclass(frozen=True)
class Stream:
    """A camera's device, or an address; in words without the name and password that may stand in it."""

    address: str

    def __str__(self) -> str:
        return re.sub(r"//[^/?#]*@", "//", self.address)

    @property
    def scheme(self) -> str:
        """What comes before "://", in small letters; "" of a camera."""
        return self.address.partition("://")[0].lower() if "://" in self.address else ""

    @property
    def stem(self) -> str:
        """What a file made of it can be called."""
        name = PurePosixPath(urlsplit(self.address).path).stem if self.scheme else self.address.rpartition("/")[2]
        return re.sub(r"[^\w.-]", "_", name) or "stream"


def stream_named(text: str) -> Stream | None:
    """Return the stream that a word names: a camera's number or device, or an address; None for anything else.

    Raises:
        InputError: it is an address of a kind that is not read.
    """
    if re.fullmatch(r"[0-9]{1,3}", text):
        return Stream(f"{CAMERA}{int(text)}")
    if re.fullmatch(r"/dev/video[0-9]+", text):
        return Stream(text)
    if not (found := re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", text)):
        return None
    if found[1].lower() not in _OPTIONS:
        raise InputError(f"{Stream(text)}: expected {', '.join(_OPTIONS)} before ://, found {found[1]}")
    return Stream(text)


def images_from_stream(stream: Stream, tell: Callable[[str], None]) -> Iterator[VideoImage]:
    """Yield a stream's pictures, with their times from the first one on; of a live stream, without an end.

    Args:
        stream: what to open.
        tell: takes a line when the stream broke and is opened again, and when pictures arrive damaged.

    Raises:
        InputError: it cannot be opened, or not again, or shows no pictures that can be decoded.
        MissingPackageError: PyAV is not installed.
    """
    av, count, failures = import_av(), 0, 0
    began: float | None = None  # when the first picture was there
    last_s = 0.0
    while True:
        opened_at = monotonic()
        # A server that sends faster than time goes must not make it go back.
        offset_s = 0.0 if began is None else max(opened_at - began, last_s)
        connection = _Connection(stream, offset_s, tell)
        for image in connection.images(av):
            began = monotonic() if began is None else began
            count, last_s = count + 1, image.time_s or last_s
            yield image
        if connection.problem is None:
            return
        if not count:
            raise InputError(f"{stream}: expected a stream of pictures, found none ({connection.problem})")
        failures = 0 if monotonic() - opened_at > STEADY_S else failures
        if failures == len(PAUSES_S):
            raise InputError(
                f"{stream}: the stream broke ({connection.problem}) and was opened again {failures} times in vain; "
                f"{count} frames were read"
            )
        pause, failures = PAUSES_S[failures], failures + 1
        tell(f"{stream}: the stream broke ({connection.problem}); trying again in {pause:g} s ({failures})")
        sleep(pause)


def _verified() -> dict[str, str]:
    """Let FFmpeg check a server's certificate, as it does not by itself; SSL_CERT_FILE says whom to trust."""
    import ssl

    trusted = ssl.get_default_verify_paths().cafile
    return {"tls_verify": "1"} | ({"ca_file": trusted} if trusted else {})


class _Connection:
    """A stream from where it is opened to where it ends or breaks; `problem` then says why, None for a good end."""

    def __init__(self, stream: Stream, offset_s: float, tell: Callable[[str], None]) -> None:
        self._stream, self._offset_s, self._tell = stream, offset_s, tell
        self.problem: str | None = None

    def images(self, av: ModuleType) -> Iterator[VideoImage]:
        stream = self._stream
        options = _OPTIONS.get(stream.scheme, {"format_whitelist": CAMERA_FORMAT})
        if stream.scheme:  # http:// may lead on to https://
            options = options | _verified()
        more = {"timeout": ANSWER_S} if stream.scheme else {"timeout": ANSWER_S, "format": CAMERA_FORMAT}
        try:
            with opened(av, stream.address, options, **more) as container:
                ends = bool(container.duration) or container.size > 0
                if ends and stream.scheme.startswith("http"):
                    yield from self._of_file(av, container)
                else:
                    yield from self._live(av, container)
                    self.problem = self.problem or (None if ends else "it ended")
        except InputError as error:
            raise InputError(f"{stream}: {error}") from error
        except av.error.ExitError:
            self.problem = f"no answer within {ANSWER_S:g} s"
        except (av.FFmpegError, OSError) as error:
            self.problem = one_line(error.strerror or str(error))

    def _of_file(self, av: ModuleType, container: "InputContainer") -> Iterator[VideoImage]:
        reading = Reading(container)
        yield from reading.frames(av)
        if problem := reading.damage or reading.shortfall():
            raise InputError(f"the video is damaged or was cut short ({problem}); {reading.count} frames were read")
        self.problem = None if reading.count else "no frame in it"

    def _live(self, av: ModuleType, container: "InputContainer") -> Iterator[VideoImage]:
        """Yield what can be decoded whole: who joins a stream, or loses a packet, sees torn pictures at first."""
        if any(one.codec_context and not one.width for one in container.streams.video):
            self.problem = "it answers and sends no picture"  # RTSP's servers tell a size by their first one only
            return
        video = video_of(container)
        video.thread_type = "SLICE"  # threads for frames would hold back as many
        first_s, seen_at, torn = None, monotonic(), 0
        for packet in container.demux(video):
            try:
                frames = video.decode(packet)
            except av.InvalidDataError:
                frames, torn = [], torn + 1
            for frame in frames:
                if frame.is_corrupt:
                    torn += 1
                    continue
                time_s = frame.time
                first_s = time_s if first_s is None else first_s
                yield VideoImage(upright(frame), None if time_s is None else self._offset_s + time_s - (first_s or 0.0))
                seen_at = monotonic()
            if torn == 1:
                self._tell(f"{self._stream}: pictures that arrive damaged are left out")
                torn += 1
            if monotonic() - seen_at > ANSWER_S:
                self.problem = f"no whole picture within {ANSWER_S:g} s"
                return
