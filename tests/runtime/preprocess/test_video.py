"""Reading videos: upright, in time, to the end, and nothing but videos."""

import struct

import av
import clips
import cv2
import numpy as np
import pytest
from clips import FRAMES, HEIGHT, RATE, WHOLE, WIDTH, Clip

from y12.errors import InputError
from y12.runtime.preprocess.video import images_from_video


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Each whole clip by its name."""
    folder = tmp_path_factory.mktemp("clips")
    return {clip.name: clips.write(folder, clip) for clip in WHOLE}


def read(path):
    """Return the frames of a file, and the line in which it ends, "" where it is whole."""
    frames, message = [], ""
    try:
        for frame in images_from_video(path):
            frames.append(frame)  # those before an error are wanted too
    except InputError as error:
        message = str(error)
    assert message.isprintable()
    return frames, message


@pytest.mark.parametrize("name", [clip.name for clip in WHOLE])
def test_whole_files_are_read_to_their_end_without_an_alarm(whole, name):
    frames, message = read(whole[name])
    assert message == ""
    clip = next(clip for clip in WHOLE if clip.name == name)
    assert len(frames) == clip.frames
    assert all(frame.image_bgr.shape == (HEIGHT, WIDTH, 3) and frame.image_bgr.flags.c_contiguous for frame in frames)
    times = np.array([frame.time_s for frame in frames])
    if name not in ("b frames.avi", "vob.mpg"):  # containers that do not keep the time of each frame
        wanted = np.arange(clip.frames) / RATE if clip.times_ms is None else np.array(clip.times_ms) / 1000
        assert np.abs(times - wanted - times[0]).max() < 2e-3


def test_pixels_are_those_of_the_file(whole):
    frames, _ = read(whole["sound.avi"])  # not compressed
    for frame, picture in zip(frames, clips.pictures(FRAMES), strict=True):
        np.testing.assert_array_equal(frame.image_bgr, picture)


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_a_phones_video_is_upright(tmp_path, rotation):
    """As OpenCV turns it."""
    path = clips.write(tmp_path, Clip("turned.mp4", "libx264", rotation=rotation, frames=3))
    frames, message = read(path)
    capture = cv2.VideoCapture(str(path))
    assert message == ""
    assert frames[0].image_bgr.shape[:2] == ((HEIGHT, WIDTH) if rotation == 180 else (WIDTH, HEIGHT))
    for frame in frames:
        np.testing.assert_array_equal(frame.image_bgr, capture.read()[1])


@pytest.mark.parametrize("skipped_s", [0.5, 1.3])
def test_a_video_that_a_phone_trimmed_is_whole(tmp_path, skipped_s):
    """Its edit list leaves out frames that the file still has and counts."""
    path = clips.write(tmp_path, Clip("trimmed.mp4", "libx264", coding={"g": "10"}))
    content = bytearray(path.read_bytes())
    edit = content.index(b"elst") + 12
    duration, start = struct.unpack_from(">Ii", content, edit)
    with av.open(str(path)) as file:
        ticks = int(skipped_s / file.streams.video[0].time_base)
    struct.pack_into(">Ii", content, edit, duration - int(skipped_s * 1000), start + ticks)
    path.write_bytes(content)
    frames, message = read(path)
    assert message == ""
    assert 0 < len(frames) < FRAMES


CUT_IN_SILENCE = ("h264.ts", "mpeg2.mpg", "vob.mpg", "streamed.mkv")  # nothing in them says where they end
CUT = [clip.name for clip in WHOLE if clip.name not in CUT_IN_SILENCE and clip.frames > 1]


@pytest.mark.parametrize("name", CUT)
@pytest.mark.parametrize("share", [0.35, 0.6, 0.97])
def test_a_video_that_was_cut_short_is_told(whole, tmp_path, name, share):
    content = whole[name].read_bytes()
    path = tmp_path / name
    path.write_bytes(content[: int(len(content) * share)])
    frames, message = read(path)
    assert message.startswith(f"{path}: ")
    assert len(frames) <= FRAMES


@pytest.mark.parametrize("name", ["faststart.mp4", "fragments.mp4", "mjpeg.mov", "h264.mkv", "sound.avi", "h264.ts"])
def test_a_hole_in_a_video_is_told(whole, tmp_path, name):
    content = bytearray(whole[name].read_bytes())
    start, length = len(content) // 2, len(content) // 12
    content[start : start + length] = bytes(length)
    path = tmp_path / name
    path.write_bytes(content)
    frames, message = read(path)
    assert "damaged or was cut short" in message
    assert len(frames) < FRAMES
    for frame, good in zip(frames[:5], read(whole[name])[0][:5], strict=True):  # what came before is as it was
        np.testing.assert_array_equal(frame.image_bgr, good.image_bgr)


def test_an_avi_that_lacks_frames_is_told(whole, tmp_path):
    """Its sizes agree: only the header counts more."""
    content = bytearray(whole["mpeg4.avi"].read_bytes())
    at = content.index(b"strh") + 8 + 32
    struct.pack_into("<I", content, at, struct.unpack_from("<I", content, at)[0] + 1)
    path = tmp_path / "one more.avi"
    path.write_bytes(content)
    frames, message = read(path)
    assert len(frames) == FRAMES
    assert f"it ends at frame {FRAMES} of {FRAMES + 1}" in message


def huge(path, codec, side):
    """Write one frame that is all alike; some 100 kB."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=RATE)
        stream.width, stream.height, stream.pix_fmt, stream.thread_count = side, side, "yuv420p", 1
        frame = av.VideoFrame(side, side, "yuv420p")
        for plane in frame.planes:
            np.frombuffer(plane, np.uint8)[:] = 128
        file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


@pytest.mark.parametrize("name", ["huge.mpg", "huge.flv", "huge.ts"])
def test_frames_of_too_many_pixels_are_refused(tmp_path, monkeypatch, name):
    monkeypatch.setattr("y12.runtime.preprocess.video.MAX_PIXELS", 1_000_000)
    monkeypatch.setattr("y12.runtime.preprocess.images.MAX_PIXELS", 1_000_000)
    path = huge(tmp_path / name, "flv" if name == "huge.flv" else "mpeg2video", 1008)
    frames, message = read(path)
    assert frames == []
    assert "1 to 1000000 pixels" in message


def test_frames_without_pixels_are_refused(whole, tmp_path):
    content = bytearray(whole["uneven.avi"].read_bytes())
    struct.pack_into("<ii", content, content.index(b"strf") + 12, 0, 0)
    content = content.replace(struct.pack(">BHH", 8, HEIGHT, WIDTH), struct.pack(">BHH", 8, 0, 0))  # of each JPEG
    path = tmp_path / "zero.avi"
    path.write_bytes(content)
    frames, message = read(path)
    assert frames == []
    assert "found 0x0" in message


OTHERS = {  # what FFmpeg would read, and y12 does not
    "list.mp4": b"ffconcat version 1.0\nfile other.mp4\n",
    "list.avi": b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nother.mp4\n#EXT-X-ENDLIST\n",
    "dash.mkv": b"<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011' type='static'></MPD>",
    "session.mov": b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nm=video 5004 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n",
    "text.mp4": b"no video",
    "script.avi": b"#!/bin/sh\n",
    "subtitles.webm": b"1\n00:00:01,000 --> 00:00:02,000\nHello\n",
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_kinds_are_refused_and_open_nothing(whole, tmp_path, name):
    (tmp_path / "other.mp4").write_bytes(whole["h264.mp4"].read_bytes())
    (tmp_path / name).write_bytes(OTHERS[name])
    frames, message = read(tmp_path / name)
    assert frames == []
    assert f"{name}: expected a video (mov, mp4, matroska, webm, avi, mpegts, mpeg, flv)" in message


def test_a_file_whose_name_is_an_address_is_a_file(whole, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("concat:a.mp4|b.mp4", "tcp:1.mp4", "a?b#c%20.mp4"):
        (tmp_path / name).write_bytes(whole["h264.mp4"].read_bytes())
        assert len(read(tmp_path.joinpath(name).relative_to(tmp_path))[0]) == FRAMES


def test_sound_alone_is_no_video(tmp_path):
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as file:
        clips.write_sound(file, clips.add_sound(file, "aac"), 1)
    assert read(path) == ([], f"{path}: expected a video, found no pictures in it")
