"""What shows that a command is at work: on a terminal, and where there is none."""

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.runtime.cli.test_saving import write_video
from y12.runtime.cli import progress as progress_module
from y12.runtime.cli.common import EXIT_INTERRUPTED, run_command
from y12.runtime.cli.progress import Progress, stage, told
from y12.runtime.cli.sources import frames_from

ROOT = Path(__file__).resolve().parents[3]
IMPATIENT = "from y12.runtime.cli import progress as p; p.PATIENCE_S = p.LINES_S = p.DRAWN_S = 0\n"


@pytest.fixture(autouse=True)
def without_progress():
    """Let it be told."""


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ((120, 5000, "images", 24.13, 202.4), "120 of 5000 images, 24.1 a second, 3 min 22 s left"),
        ((3, None, "frames", 0.25, None), "3 frames, 4.0 s each"),
        ((1, 2, "", None, None), "1 of 2"),
        ((1, 2, "steps", 1.0, 7384), "1 of 2 steps, 1.0 a second, 2 h 3 min left"),
        ((1, 2, "steps", 1.0, 59.7), "1 of 2 steps, 1.0 a second, 1 min 0 s left"),
    ],
)
def test_words(known, words):
    assert told(*known) == words


class Clock:
    """What Progress takes for the time."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(progress_module, "perf_counter", lambda: self.now)


def test_lines_where_no_terminal_is(monkeypatch, capsys):
    clock = Clock(monkeypatch)
    with Progress("work", "images") as progress:
        for done in range(1, 102):
            clock.now += 0.25
            progress(done, 200, "some words" if done > 50 else "")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 5  # in 25 s, one in 5
    assert lines[0] == "work: 20 of 200 images, 4.0 a second, 45 s left …"
    assert lines[-1] == "work: 100 of 200 images, 4.0 a second, 25 s left; some words …"


def test_nothing_of_what_is_done_soon(monkeypatch, capsys):
    clock = Clock(monkeypatch)
    with Progress("work") as progress:
        for done in range(100):
            clock.now += 0.04
            progress(done, 100)
    assert capsys.readouterr().err == ""


def test_the_rate_is_that_of_this_run(monkeypatch, capsys):
    """A training that goes on with step 5000 has not done 5000 steps in a second."""
    clock = Clock(monkeypatch)
    with Progress("train", "steps") as progress:
        for done in range(5001, 5008):
            clock.now += 1
            progress(done, 5100)
    assert capsys.readouterr().err.splitlines()[0] == "train: 5005 of 5100 steps, 1.0 a second, 1 min 35 s left …"


def test_a_share_tells_the_rest_where_no_count_does(monkeypatch, capsys):
    clock = Clock(monkeypatch)
    with Progress("work", "pictures") as progress:
        for done in range(1, 12):
            clock.now += 1
            progress(done, None, share=done / 40)
    assert capsys.readouterr().err.splitlines()[0] == "work: 5 pictures, 1.0 a second, 35 s left …"


@pytest.fixture
def heeded():
    """Ctrl-C as at a terminal: what a shell starts in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeded")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("next_step", [lambda: stage("next"), lambda: Progress("images")(1, 2)])
def test_an_interrupt_that_a_library_drops_ends_the_command_at_its_next_step(number, next_step):
    """Torch drops what is raised while its C++ asks Python for an attribute, as here while an export was traced."""
    done = []

    def body():
        with contextlib.suppress(BaseException):
            signal.raise_signal(number)
        next_step()
        done.append(number)
        return 0

    assert run_command(body) == EXIT_INTERRUPTED
    assert not done
    assert run_command(lambda: bool(stage("another command")) - 1) == 0


def test_an_interrupt_that_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert run_command(lambda: signal.raise_signal(signal.SIGINT) or 0) == 0
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_stage_is_named_at_once(capsys):
    with stage("load"):
        assert capsys.readouterr().err == "load …\n"


def on_terminal(code, stdout=subprocess.PIPE):
    """Run a program whose standard error is a terminal, its standard output too where `stdout` is None."""
    master, slave = pty.openpty()
    env = os.environ | {"TERM": "xterm", "COLUMNS": "300", "NO_COLOR": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, env=env, stdout=slave if stdout is None else stdout, stderr=slave
    )
    os.close(slave)
    shown = []

    def read():
        try:
            while part := os.read(master, 1 << 16):
                shown.append(part)
        except OSError:  # its other end was closed
            pass

    reader = threading.Thread(target=read)
    reader.start()
    out = process.communicate(timeout=60)[0]
    reader.join()
    os.close(master)
    return process.returncode, out, b"".join(shown).decode()


@pytest.fixture
def images(tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(6):
        cv2.imwrite(str(tmp_path / f"in/{number}.png"), np.full((48, 64, 3), (0, 0, 255), np.uint8))
    return tmp_path / "in"


def infer_code(model, source, *more):
    arguments = [str(model), str(source), *more]
    return f"{IMPATIENT}import sys; from y12.runtime.cli.infer import main; sys.exit(main({arguments!r}))"


def test_a_bar_on_a_terminal_leaves_the_data_alone(make_onnx, images):
    code, out, shown = on_terminal(infer_code(make_onnx(), images, "--json"))
    assert code == 0
    records = [json.loads(line) for line in out.splitlines()]
    assert [Path(record["source"]).name for record in records] == [f"{number}.png" for number in range(6)]
    assert re.search(r"y12-infer .*[━╸╺]+.* 3 of 6 pictures, [0-9.]+ a second, [0-9]+ s left", shown)
    assert '"source"' not in shown
    assert "\x1b[2K" in shown  # it is wiped away in the end


def test_lines_of_data_stand_whole_above_the_bar(make_onnx, images):
    code, _, shown = on_terminal(
        infer_code(make_onnx(), images, "--json", "--csv", str(images / "counts.csv")), stdout=None
    )
    assert code == 0
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    lines = [line.strip() for line in re.split(r"[\r\n]+", plain)]
    records = [json.loads(line) for line in lines if line.startswith("{")]
    assert [Path(record["source"]).name for record in records] == [f"{number}.png" for number in range(6)]
    assert f"saved to {images}/counts.csv" in lines[-2:]


def test_lines_in_a_log(make_onnx, images, tmp_path):
    clip = write_video(tmp_path / "clip.mp4")
    done = subprocess.run(
        [sys.executable, "-c", infer_code(make_onnx(), images, str(clip))],
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0
    lines = [line for line in done.stderr.splitlines() if line.startswith("y12-infer: ")]
    assert len(lines) == 11
    assert all(
        re.fullmatch(r"y12-infer: [0-9]+ pictures(, [0-9.]+ a second, [0-9]+ s left)? …", line) for line in lines
    )
    assert len(done.stdout.splitlines()) == 11


def test_bench_shows_its_warm_up_and_its_calls(make_onnx):
    code = (
        f"{IMPATIENT}import sys; from y12.runtime.cli.bench import main\n"
        f"sys.exit(main({[str(make_onnx()), '--iterations', '5', '--warmup', '3', '--json']!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True, check=False)
    assert done.returncode == 0
    lines = [line for line in done.stderr.splitlines() if line.startswith("y12-bench: ")]
    assert [line.rpartition("; ")[2] for line in lines] == ["warm-up …"] * 3 + ["timed …"] * 5
    assert lines[-1].startswith("y12-bench: 8 of 8 calls, ")
    assert json.loads(done.stdout)["iterations"] == 5


def test_what_draws_is_not_loaded_for_what_is_done_soon(make_onnx, images):
    code = (
        "import sys; from y12.runtime.cli.infer import main\n"
        f"assert main({[str(make_onnx()), str(images / '0.png')]!r}) == 0\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "sys.exit(bool({'rich', 'csv', 'av', 'supervision'} & loaded))"
    )
    code, _, shown = on_terminal(code)
    assert code == 0
    assert "a second" not in shown


def test_how_much_of_a_video_is_done(tmp_path):
    frames = list(frames_from([write_video(tmp_path / "clip.mp4"), tmp_path / "a.jpg"]))
    assert [frame.share for frame in frames] == sorted(frame.share for frame in frames)
    assert frames[0].share == 0
    assert 0 < frames[1].share < frames[2].share < 1
    assert frames[-1].share == 1
