"""What y12-infer looks at besides files and folders, from real servers on loopback."""

import io
import json
import shutil
import ssl
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from y12.errors import InputError
from y12.runtime.cli.infer import main
from y12.runtime.cli.sources import StandardInput, sources_from
from y12.runtime.preprocess import streams
from y12.runtime.preprocess.streams import Stream, stream_named

COLOURS = {"red": (0, 0, 255), "blue": (255, 0, 0), "green": (0, 255, 0)}


def picture(name):
    return np.full((48, 64, 3), COLOURS[name], np.uint8)


def jpeg(name):
    return cv2.imencode(".jpg", picture(name))[1].tobytes()


def write_video(path, names=("red", "blue", "green"), codec="libx264", **options):
    with av.open(str(path), "w", options=options) as file:
        stream = file.add_stream(codec, rate=10, options={"qp": "10"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for name in names:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture(name), "bgr24")))
        file.mux(stream.encode())
    return path


def records(capsys):
    captured = capsys.readouterr()
    return [json.loads(line) for line in captured.out.splitlines()], captured.err.splitlines()


def found(record):
    return next((one["class_name"] for one in record["detections"]), None)


@contextmanager
def served(answer, tls=None):
    """Give the address of a server that answers each GET by `answer(handler)`; and how many there were."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            answer(self)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
            server.handle_error = lambda *_: None
        server.daemon_threads = True
        server.block_on_close = False
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


def content_of(path, promised=None):
    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(promised or path.stat().st_size))
        handler.end_headers()
        handler.wfile.write(path.read_bytes())

    return answer


def motion_jpeg(handler, names=("red", "blue") * 10):
    """Write what network cameras do: a picture after the other, without an end; then this one is off."""
    handler.send_response(200)
    handler.send_header("Content-Type", "multipart/x-mixed-replace; boundary=x")
    handler.end_headers()
    for name in names:
        content = jpeg(name)
        handler.wfile.write(b"--x\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(content))
        handler.wfile.write(content + b"\r\n")


@pytest.fixture
def hasty(monkeypatch):
    monkeypatch.setattr(streams, "PAUSES_S", (0.01, 0.02, 0.03))


def test_a_video_over_http(make_onnx, tmp_path, capsys):
    path = write_video(tmp_path / "clip.mp4", movflags="faststart")
    with served(content_of(path)) as (address, _):
        assert main([str(make_onnx()), f"{address}/clip.mp4?token=1", "--json"]) == 0
    out, err = records(capsys)
    assert [(r["source"], r["frame"], r["time_s"], found(r)) for r in out] == [
        (f"{address}/clip.mp4?token=1", number, time_s, name)
        for number, time_s, name in ((0, 0, "red"), (1, 0.1, "blue"), (2, 0.2, "green"))
    ]
    assert len(err) == 1


def test_a_video_over_http_that_breaks_off(make_onnx, tmp_path, capsys, hasty, monkeypatch):
    monkeypatch.setitem(streams._HTTP, "reconnect_delay_max", "0")
    path = write_video(tmp_path / "clip.mp4", ["red"] * 40, movflags="faststart")
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[: size - 300])
    with served(content_of(path, size)) as (address, _):
        assert main([str(make_onnx()), f"{address}/clip.mp4", "--json"]) == 1
    out, err = records(capsys)
    assert 1 < len(out) < 41
    assert "error" in out[-1]
    assert err[-2].startswith(f"error: {address}/clip.mp4: the video is damaged or was cut short (")
    assert len(err) == 3


def test_a_live_stream_that_breaks_is_opened_again_within_a_bound(make_onnx, capsys, hasty):
    with served(motion_jpeg) as (address, asked):
        assert main([str(make_onnx()), f"{address.replace('//', '//me:secret@')}/live", "--json"]) == 1
    out, err = records(capsys)
    assert len(asked) == 4
    *pictures, last = out
    assert [found(r) for r in pictures] == ["red", "blue"] * 40
    assert [r["frame"] for r in pictures] == list(range(80))
    times = [r["time_s"] for r in pictures]
    assert times == sorted(times)
    assert times[0] == 0
    assert [line.rpartition("; ")[2] for line in err if "the stream broke (Input/output error); trying" in line] == [
        f"trying again in {pause} s ({number})" for number, pause in enumerate((0.01, 0.02, 0.03), 1)
    ]
    assert err[-2] == f"error: {address}/live: {last['error'].partition('/live: ')[2]}"
    assert "broke (Input/output error) and was opened again 3 times in vain; 80 frames were read" in err[-2]
    assert "secret" not in "".join(err) + json.dumps(out)


def test_a_stream_that_falls_silent(make_onnx, capsys, hasty, monkeypatch):
    monkeypatch.setattr(streams, "ANSWER_S", 0.3)
    with served(lambda handler: time.sleep(1)) as (address, _):
        assert main([str(make_onnx()), f"{address}/live"]) == 1
    err = records(capsys)[1]
    assert f"error: {address}/live: expected a stream of pictures, found none (no answer within 0.3 s)" in err


@pytest.mark.parametrize("scheme", ["http", "https", "rtsp", "rtsps"])
def test_nobody_there(make_onnx, capsys, scheme):
    assert main([str(make_onnx()), f"{scheme}://127.0.0.1:1/x"]) == 1
    err = records(capsys)[1]
    assert err[1] == f"error: {scheme}://127.0.0.1:1/x: expected a stream of pictures, found none (Connection refused)"
    assert len(err) == 3


def test_a_servers_certificate_is_checked(make_onnx, tmp_path, capsys, monkeypatch):
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes a certificate, is not installed")
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "certificate.pem")
    asked = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*asked, *names, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    path = write_video(tmp_path / "clip.mp4", movflags="faststart")
    with served(content_of(path), context) as (address, asked_for):
        address = address.replace("http://127.0.0.1", "https://localhost")
        assert main([str(make_onnx()), f"{address}/clip.mp4"]) == 1
        assert asked_for == []
        assert "expected a stream of pictures, found none (" in capsys.readouterr().err
        monkeypatch.setenv("SSL_CERT_FILE", certificate)
        assert main([str(make_onnx()), f"{address}/clip.mp4"]) == 0
        assert asked_for == ["/clip.mp4"]


def test_a_server_leads_to_no_file_and_no_other_address(make_onnx, tmp_path, capsys):
    clip = write_video(tmp_path / "clip.ts")
    playlist = tmp_path / "list.m3u8"
    playlist.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nclip.ts\n#EXT-X-ENDLIST\n")

    def answer(handler):
        if handler.path == "/redirected":
            handler.send_response(302)
            handler.send_header("Location", f"file://{clip}")
            handler.end_headers()
            return
        content_of(tmp_path / handler.path[1:])(handler)

    with served(answer) as (address, asked):
        assert main([str(make_onnx()), f"{address}/redirected", f"{address}/list.m3u8"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "/clip.ts" not in asked
    assert len(captured.err.splitlines()) == 4


def test_a_codec_without_decoder(make_onnx, tmp_path, capsys):
    path = write_video(tmp_path / "clip.mkv")
    path.write_bytes(path.read_bytes().replace(b"V_MPEG4/ISO/AVC", b"V_NONE4/ISO/AVC"))
    with served(content_of(path)) as (address, _):
        assert main([str(make_onnx()), f"{address}/clip.mkv"]) == 1
    err = records(capsys)[1]
    assert (
        err[1] == f"error: {address}/clip.mkv: expected a video, found one in a codec that this FFmpeg does not decode"
    )


def test_a_camera(make_onnx, tmp_path, capsys, monkeypatch):
    """No machine of ours has one: a file in its place is refused; read as what it is, it goes the way of a camera."""
    clip = write_video(tmp_path / "clip.mkv", ["red", "blue"])
    clip.rename(tmp_path / "video0")
    monkeypatch.setattr(streams, "CAMERA", str(tmp_path / "video"))
    assert main([str(make_onnx()), "0", "7"]) == 1
    err = records(capsys)[1]
    assert err[1].startswith(
        f"error: {tmp_path}/video0: expected a stream of pictures, found none (Inappropriate ioctl"
    )
    assert err[2].startswith(f"error: {tmp_path}/video7: expected a stream of pictures, found none (No such file")
    assert len(err) == 4
    monkeypatch.setattr(streams, "CAMERA_FORMAT", "matroska")
    assert main([str(make_onnx()), "0", "--json"]) == 0
    assert [found(r) for r in records(capsys)[0]] == ["red", "blue"]


def test_rtsp(make_onnx, capsys, hasty, monkeypatch):
    """A server that falls silent after 12 pictures or so: they are found, and then the stream is given up."""
    rtsp = pytest.importorskip("rtsp", reason="the package rtsp-rs, a server of RTSP, is not installed")
    monkeypatch.setattr(streams, "ANSWER_S", 2.0)
    server = rtsp.Server("127.0.0.1:8597")
    server.start()
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.framerate = 64, 48, "yuv420p", 25
    encoder.time_base = Fraction(1, 25)
    encoder.options = {"tune": "zerolatency", "g": "1", "qp": "10"}
    stop = threading.Event()

    def feed():
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and not stop.is_set():
            for packet in encoder.encode(av.VideoFrame.from_ndarray(picture("blue"), "bgr24")):
                server.send_frame(bytes(packet), 3600)
            time.sleep(0.04)

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        assert main([str(make_onnx()), "rtsp://127.0.0.1:8597/stream", "--json", "--every", "4"]) == 1
    finally:
        stop.set()
        thread.join()
        server.stop()
    out, err = records(capsys)
    *pictures, last = out
    assert len(pictures) > 3
    assert {found(r) for r in pictures} == {"blue"}
    assert [r["frame"] for r in pictures] == [4 * number for number in range(len(pictures))]
    assert 0 < pictures[1]["time_s"] < 0.25
    assert "was opened again 3 times in vain" in last["error"]
    assert len([line for line in err if "trying again" in line]) == 3


@pytest.mark.parametrize("every", [1, 2, 3])
def test_every_nth_frame(make_onnx, tmp_path, capsys, every):
    path = write_video(tmp_path / "clip.mp4", ["red"] * 5)
    assert main([str(make_onnx()), str(path), "--json", "--every", str(every)]) == 0
    out = records(capsys)[0]
    assert [(r["frame"], r["time_s"]) for r in out] == [(n, n / 10) for n in range(0, 5, every)]


def test_an_image_on_standard_input(make_onnx, capsys, monkeypatch):
    for content, code, word in (
        (jpeg("blue"), 0, "1 blue"),
        (b"no image", 1, ""),
        (b"", 1, ""),
        (jpeg("red")[:-9], 1, ""),
    ):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        assert main([str(make_onnx()), "-"]) == code
        captured = capsys.readouterr()
        assert word in captured.out
        assert len(captured.err.splitlines()) == 1 + 2 * code
        assert captured.err.count("error: standard input: ") == code


def test_folders_to_the_bottom(tmp_path, monkeypatch):
    (tmp_path / "a/b.jpg").mkdir(parents=True)
    for name in ("a/1.jpg", "a/b.jpg/2.png", "3.mp4", "a/notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    assert sources_from([str(tmp_path)]) == [tmp_path / "3.mp4"]
    deep = [tmp_path / name for name in ("3.mp4", "a/1.jpg", "a/b.jpg/2.png")]
    assert sources_from([str(tmp_path)], recursive=True) == deep
    assert sources_from([str(tmp_path / "**/*.[jp]*g")]) == deep[1:]
    (tmp_path / "a/1.jpg").unlink()
    with pytest.raises(InputError, match=r"found none \(--recursive searches deeper\)"):
        sources_from([str(tmp_path / "a")])


def test_lists(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lists/x").mkdir(parents=True)
    for name in ("lists/1.jpg", "lists/x/2.jpg", "here.jpg"):
        (tmp_path / name).write_bytes(b"x")
    listed = tmp_path / "lists/all.txt"
    listed.write_text("# mine\n1.jpg\r\n\nx\n./x/*.jpg\nhere.jpg\nnowhere.jpg\n")
    beside = [tmp_path / "lists" / name for name in ("1.jpg", "x/2.jpg")]
    assert sources_from([str(listed)]) == [*beside, Path("here.jpg"), Path("nowhere.jpg")]
    for line in ("rtsp://camera/1", "-", "other.txt"):
        listed.write_text(line)
        with pytest.raises(InputError, match=r"all\.txt: expected images, videos, folders and patterns, found "):
            sources_from([str(listed)])
    listed.write_text("\n# none\n")
    with pytest.raises(InputError, match="found none in it"):
        sources_from([str(listed)])


def test_what_a_word_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert stream_named("0") == Stream("/dev/video0")
    assert [source.stem for source in sources_from(["12", "HTTP://h/a%2F.mp4?x", "rtsp://u:p@h", "-"])] == [
        "video12",
        "a_2F",
        "stream",
        "stdin",
    ]
    assert str(Stream("rtsp://u:p@h/x@y")) == "rtsp://h/x@y"
    assert sources_from(["-"]) == [StandardInput()]
    (tmp_path / "0").write_bytes(b"x")
    assert sources_from(["0"]) == [Path("0")]  # what is there as a file is the file
    with pytest.raises(InputError, match="expected http, https, rtsp, rtsps before ://, found udp"):
        sources_from(["udp://127.0.0.1:99"])


def test_litter_is_passed_over_and_pictures_that_are_not_read_are_told(tmp_path, capsys):
    for name in ("a.jpg", "._a.jpg", "__MACOSX/b.jpg", "c.NEF", "d.dng", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert sources_from([str(tmp_path)], recursive=True) == [tmp_path / "a.jpg"]
    said = capsys.readouterr().err
    assert "2 pictures passed over: .NEF, .dng is not read (c.NEF, d.dng): convert to JPEG or PNG" in said
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(InputError, match="expected images or videos there, found none"):
        sources_from([str(tmp_path)], recursive=True)
