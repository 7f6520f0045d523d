"""Where y12-infer saves: a video's pictures as a video, upright and at their times; a folder for each run."""

import contextlib
import json
import signal
import subprocess
import sys
import threading
import time
from fractions import Fraction
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import av
import cv2
import numpy as np
import pytest

from y12.errors import InputError, OutputError
from y12.runtime.cli.infer import main
from y12.runtime.cli.video_out import VideoWriter
from y12.runtime.preprocess.video import images_from_video

UNEVEN_MS = (0, 33, 66, 400, 1001)
RED = np.full((48, 64, 3), (0, 0, 255), np.uint8)


def write_video(path, rotation=0, height=48):
    """Write red pictures, of which the left third is blue, at uneven times."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25, options={"qp": "5"})
        stream.width, stream.height, stream.pix_fmt = 64, height, "yuv444p"
        stream.codec_context.time_base = Fraction(1, 1000)
        if rotation:
            stream.set_display_rotation(rotation)
        picture = np.full((height, 64, 3), (0, 0, 255), np.uint8)
        picture[:, :20] = (255, 0, 0)
        for time_ms in UNEVEN_MS:
            frame = av.VideoFrame.from_ndarray(picture, "bgr24")
            frame.pts, frame.time_base = time_ms, Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


@pytest.mark.parametrize(("rotation", "height", "shape"), [(0, 47, (48, 64, 3)), (90, 48, (64, 48, 3))])
def test_video_in_video_out(make_onnx, tmp_path, capsys, rotation, height, shape):
    clip, out = write_video(tmp_path / "clip.mp4", rotation, height), tmp_path / "out"
    assert main([str(make_onnx()), str(clip), "--save", str(out), "--json", "--conf", "1"]) == 0
    captured = capsys.readouterr()
    saved = [json.loads(line)["saved"] for line in captured.out.splitlines()]
    assert saved == [str(out / "clip_annotated.mp4")] * len(UNEVEN_MS)
    assert captured.err.splitlines()[-1] == f"saved to {out}"
    assert [path.name for path in out.iterdir()] == ["clip_annotated.mp4"]
    wanted, found = list(images_from_video(clip)), list(images_from_video(out / "clip_annotated.mp4"))
    assert [round(frame.time_s * 1000) for frame in found] == list(UNEVEN_MS)
    for before, after in zip(wanted, found, strict=True):
        assert after.image_bgr.shape == shape
        kept = after.image_bgr[: before.image_bgr.shape[0]].astype(int)
        assert np.abs(kept - before.image_bgr).mean() < 6  # two lossy codings; turned wrongly it is 100
    with av.open(str(out / "clip_annotated.mp4")) as file:
        assert file.streams.video[0].codec_context.name == "h264"


def test_a_video_without_times_and_one_that_goes_back(tmp_path):
    writer = VideoWriter(tmp_path / "a.mp4", (48, 64))
    for time_s in (None, None, 0.5, 0.1, None):
        writer.write(RED, time_s)
    assert not (tmp_path / "a.mp4").exists()
    writer.close()
    assert list(tmp_path.iterdir()) == [tmp_path / "a.mp4"]
    times = [frame.time_s for frame in images_from_video(tmp_path / "a.mp4")]
    assert times == pytest.approx([0, 0.04, 0.5, 0.5, 0.54], abs=1e-3)
    assert times == sorted(set(times))


def test_each_run_has_its_folder(make_onnx, tmp_path, capsys):
    cv2.imwrite(str(tmp_path / "a.png"), RED)
    out = tmp_path / "out"
    asked = [str(make_onnx()), str(tmp_path / "a.png"), "--save", str(out)]
    out.mkdir()  # one that is empty is taken
    folders = []
    for more in ([], [], ["--exist-ok"], []):
        assert main([*asked, *more]) == 0
        folders.append(capsys.readouterr().err.splitlines()[-1].removeprefix("saved to "))
    assert folders == [str(out), f"{out}_2", str(out), f"{out}_3"]
    assert main([*asked[:3], str(tmp_path / "none"), "--classes", "rde"]) == 1
    assert "did you mean 'red'?" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()  # refused before there was a folder
    assert main([*asked[:2], "--exist-ok"]) == 1
    assert "--exist-ok: expected --save DIR beside it, found none" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["file", "file/x", "/proc/x"])
def test_a_folder_that_cannot_be(make_onnx, tmp_path, capsys, place):
    (tmp_path / "file").write_text("")
    cv2.imwrite(str(tmp_path / "a.png"), RED)
    assert main([str(make_onnx()), str(tmp_path / "a.png"), "--save", str(tmp_path / place)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert "expected a folder to write to, cannot be written (" in captured.err
    assert len(captured.err.splitlines()) == 1


def test_a_folder_in_the_videos_place(make_onnx, tmp_path, capsys):
    clip = write_video(tmp_path / "clip.mp4")
    (tmp_path / "out/clip_annotated.mp4").mkdir(parents=True)
    assert main([str(make_onnx()), str(clip), "--save", str(tmp_path / "out"), "--exist-ok"]) == 1
    err = capsys.readouterr().err.splitlines()
    assert f"error: {tmp_path}/out/clip_annotated.mp4: cannot be written (it is a folder)" in err
    assert len(err) == 2  # one line: no other video can be written either


def test_nothing_is_left_of_a_video_that_cannot_be_written(tmp_path):
    writer = VideoWriter(tmp_path / "a.mp4", (48, 64))
    with pytest.raises(InputError, match="of one size"):
        writer.write(RED[:40], None)
    writer.close()
    assert list(tmp_path.iterdir()) == []
    writer = VideoWriter(tmp_path / "nowhere" / "a.mp4", (48, 64))
    with pytest.raises(OutputError, match=r"a\.mp4: the video cannot be written \(No such file"):
        list(map(writer.write, [RED] * 200, [None] * 200))
    with pytest.raises(OutputError, match="cannot be written"):
        writer.close()


def test_ctrl_c_ends_a_live_stream_and_leaves_its_video_whole(make_onnx, tmp_path):
    parts = [b"--x\r\nContent-Type: image/jpeg\r\n\r\n" + cv2.imencode(".jpg", RED)[1].tobytes() + b"\r\n"] * 2

    class Camera(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=x")
            self.end_headers()
            with contextlib.suppress(OSError):
                while True:
                    self.wfile.write(b"".join(parts))
                    time.sleep(0.01)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Camera) as server:
        server.daemon_threads, server.block_on_close = True, False
        threading.Thread(target=server.serve_forever, daemon=True).start()
        asked = [str(make_onnx()), f"http://127.0.0.1:{server.server_port}/live", "--save", str(tmp_path / "out")]
        command = [sys.executable, "-m", "y12.runtime.cli.infer", *asked]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # whoever runs the tests may ignore it
        with subprocess.Popen(command, text=True, preexec_fn=heed, **pipes) as process:
            lines = [process.stdout.readline() for _ in range(10)]
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        server.shutdown()
    assert process.returncode == 130
    assert " frame 9: 64x48: 1 red" in lines[9]
    told = [
        line for line in err.splitlines()[1:] if not line.endswith(" …")
    ]  # which tell how far it is, on a slow machine
    assert told == [f"saved to {tmp_path / 'out'}"]
    assert len(list(images_from_video(tmp_path / "out/live_annotated.mp4"))) >= 9
