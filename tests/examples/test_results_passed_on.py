"""The examples that hand results on to supervision's slicer and to a tracker, run as a user would."""

import importlib.util

import cv2
import numpy as np
import pytest

from tests.examples.squares import SIDE, draw_square, squares_model
from tests.examples.test_programs import run

RED, GREEN, BLUE = 2, 1, 0  # channels of BGR


@pytest.fixture
def artefact(tmp_path):
    path = tmp_path / "squares.onnx"
    path.write_bytes(squares_model())
    return path


def needs(package, advice):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed: {advice}")


def test_slicing_finds_what_is_small_in_a_large_image(artefact, tmp_path):
    """Also a square that two tiles share, and one that a tile's edge cuts: each once."""
    needs("supervision", "pip install '.[draw]'")
    image = np.zeros((300, 420, 3), np.uint8)
    squares = {(10, 20): RED, (46, 100): GREEN, (200, 150): BLUE, (250, 280): RED, (400, 0): GREEN}
    for (x, y), channel in squares.items():
        draw_square(image, x, y, channel)
    path = tmp_path / "large.png"
    cv2.imwrite(str(path), image)
    drawn = tmp_path / "drawn.jpg"
    done = run("slicing.py", artefact, path, "--tile", "64", "--overlap", "32", "--save", drawn)
    assert done.returncode == 0, done.stderr
    *lines, total = done.stdout.splitlines()
    names = {RED: "red", GREEN: "green", BLUE: "blue"}
    expected = sorted((names[c], float(x), float(y), float(x + SIDE), float(y + SIDE)) for (x, y), c in squares.items())
    found = sorted((line.split()[0], *map(float, line.split()[2:])) for line in lines)
    assert found == expected
    assert total == "5 in tiles of 64, 0 in the whole image"
    assert cv2.imread(str(drawn)).shape == image.shape


def test_tracking_keeps_the_numbers_of_squares_that_pass_each_other(artefact, tmp_path):
    needs("trackers", "pip install trackers, into an environment of its own, as it brings another OpenCV")
    video = tmp_path / "video.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 64))
    frames = 20
    for i in range(frames):
        image = np.zeros((64, 64, 3), np.uint8)
        draw_square(image, 2 * i, 8, RED)
        draw_square(image, 46 - 2 * i, 36, RED)  # of the same class, the other way
        if i >= frames // 2:
            draw_square(image, 24, 22 - 2, GREEN)  # comes later, between them
        writer.write(image)
    writer.release()
    done = run("tracking.py", artefact, video, "--rate", 10)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == frames + 3
    counts = [(line.split(": ")[0].split()[1], int(line.split()[-2])) for line in lines[frames:]]
    assert [name for name, _ in counts] == ["red", "red", "green"]  # three numbers, none of them changed
    assert all(count >= frames - 2 for _, count in counts[:2])
    assert counts[2][1] >= frames // 2 - 2


@pytest.mark.parametrize(("name", "package"), [("slicing.py", "supervision"), ("tracking.py", "trackers")])
def test_an_error_is_one_line(name, package, tmp_path):
    needs(package, f"pip install {package}")
    done = run(name, tmp_path / "none.onnx", tmp_path / "none.png")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path / 'none.onnx'}: ")
    assert len(done.stderr.splitlines()) == 1
