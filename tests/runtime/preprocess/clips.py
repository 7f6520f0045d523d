"""Small videos of many kinds, written by PyAV."""

from dataclasses import dataclass, field
from fractions import Fraction

import av
import numpy as np

FRAMES, RATE, HEIGHT, WIDTH = 50, 25, 48, 64


@dataclass(frozen=True)
class Clip:
    """A file's name, which decides its container, and what it is made of."""

    name: str
    codec: str
    pixels: str = "yuv420p"
    container: str | None = None
    muxing: dict = field(default_factory=dict)
    coding: dict = field(default_factory=dict)
    times_ms: tuple[int, ...] | None = None
    sound: tuple[str, int] | None = None  # codec and seconds
    rotation: int = 0
    frames: int = FRAMES


UNEVEN = tuple(np.cumsum([0, *np.random.default_rng(3).choice([33, 40, 66, 300, 900], FRAMES - 1)]).tolist())
WHOLE = (
    Clip("h264.mp4", "libx264"),
    Clip("faststart.mp4", "libx264", muxing={"movflags": "faststart"}),
    Clip("fragments.mp4", "libx264", muxing={"movflags": "frag_keyframe+empty_moov"}, coding={"g": "10"}),
    Clip("uneven.mp4", "libx264", times_ms=UNEVEN),
    Clip("long sound.mp4", "libx264", sound=("aac", 5)),
    Clip("mjpeg.mov", "mjpeg", "yuvj420p"),
    Clip("prores.mov", "prores_ks", "yuv422p10le"),
    Clip("one.mp4", "mpeg4", frames=1),
    Clip("h264.mkv", "libx264"),
    Clip("streamed.mkv", "libx264", muxing={"live": "1"}),
    Clip("long sound.mkv", "mpeg4", sound=("aac", 5)),
    Clip("short sound.mkv", "mpeg4", sound=("aac", 1)),
    Clip("uneven.mkv", "ffv1", times_ms=UNEVEN),
    Clip("vp8.webm", "libvpx", coding={"auto-alt-ref": "1", "lag-in-frames": "16"}),
    Clip("vp9.webm", "libvpx-vp9", coding={"cpu-used": "8"}),
    Clip("mpeg4.avi", "mpeg4"),
    Clip("b frames.avi", "mpeg4", coding={"bf": "2"}),
    Clip("uneven.avi", "mjpeg", "yuvj420p", times_ms=UNEVEN),
    Clip("sound.avi", "rawvideo", "bgr24", sound=("mp2", 3)),
    Clip("h264.ts", "libx264"),
    Clip("mpeg2.mpg", "mpeg2video", container="mpeg"),
    Clip("vob.mpg", "mpeg2video", container="vob"),
    Clip("h264.flv", "libx264", sound=("aac", 3)),
    Clip("uneven.flv", "flv", times_ms=UNEVEN),
)


def pictures(count):
    noise = np.random.default_rng(1).integers(0, 60, (HEIGHT, WIDTH, 3), np.uint8)
    for number in range(count):
        picture = np.roll(noise, number, axis=1)
        picture[number % 36 : number % 36 + 12, number % 44 : number % 44 + 20] = (200, 40, 220)
        yield picture


def write(folder, clip):
    """Write a clip and give its path."""
    path = folder / clip.name
    with av.open(str(path), "w", format=clip.container, options=clip.muxing) as file:
        stream = file.add_stream(clip.codec, rate=RATE, options=clip.coding)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, clip.pixels
        stream.thread_count = 1
        stream.codec_context.time_base = Fraction(1, RATE if clip.times_ms is None else 1000)
        if clip.rotation:
            stream.set_display_rotation(clip.rotation)
        sound = clip.sound and add_sound(file, clip.sound[0])
        for number, picture in enumerate(pictures(clip.frames)):
            frame = av.VideoFrame.from_ndarray(picture, "bgr24")
            frame.pts = number if clip.times_ms is None else clip.times_ms[number]
            frame.time_base = stream.codec_context.time_base
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
        if sound:
            write_sound(file, sound, clip.sound[1])
    return path


def add_sound(file, codec):
    stream = file.add_stream(codec, rate=48000)
    stream.layout = "mono"
    return stream


def write_sound(file, stream, seconds):
    name, size = stream.format.name, stream.codec_context.frame_size or 1024
    silence = np.zeros((1, size), np.float32 if name.startswith("flt") else np.int16)
    for start in range(0, seconds * 48000, size):
        frame = av.AudioFrame.from_ndarray(silence, format=name, layout="mono")
        frame.sample_rate, frame.pts = 48000, start
        file.mux(stream.encode(frame))
    file.mux(stream.encode())
