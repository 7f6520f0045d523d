"""y12-infer as one of many (--shard), and once more (--resume)."""

import json

import numpy as np
import pytest
from PIL import Image

from y12.runtime.cli.infer import main
from y12.runtime.cli.sharing import read_share, share_of


@pytest.fixture
def images(tmp_path):
    """A folder with seven images, of which one cannot be read."""
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(7):
        Image.fromarray(np.full((48, 64, 3), (250, 0, 0), np.uint8)).save(folder / f"{i}.png")
    (folder / "3.png").write_bytes(b"none")
    return folder


def told(text):
    return {
        line.pop("source"): {k: v for k, v in line.items() if k != "ms"} for line in map(json.loads, text.splitlines())
    }


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_shares_are_all_together(count):
    sources = [f"{i}.png" for i in range(7)]
    dealt = [share_of(sources, read_share(f"{which}/{count}")) for which in range(1, count + 1)]
    assert sorted(source for share in dealt for source in share) == sources
    assert max(map(len, dealt)) - min(map(len, dealt)) <= 1


def test_a_share_is_looked_at(make_onnx, images, capsys):
    assert main([str(make_onnx()), str(images), "--json", "--shard", "2/3"]) == 0
    assert [source[-5:] for source in told(capsys.readouterr().out)] == ["1.png", "4.png"]


@pytest.mark.parametrize("words", ["0/2", "3/2", "2", "a/b", "1/0"])
def test_what_is_no_share_is_refused(make_onnx, images, capsys, words):
    assert main([str(make_onnx()), str(images), "--shard", words]) == 2
    assert "--shard: expected which share, from 1, of how many, such as 2/8" in capsys.readouterr().err


def test_more_shares_than_images_are_refused(make_onnx, images, capsys):
    assert main([str(make_onnx()), str(images), "--shard", "8/9"]) == 1
    assert "expected no more shares than the 7 sources, found 8/9" in capsys.readouterr().err


def test_a_run_that_was_cut_off_is_gone_on_with(make_onnx, images, tmp_path, capsys):
    artefact, file = str(make_onnx()), tmp_path / "deep" / "found.jsonl"
    words = [artefact, str(images), "--json"]
    assert main(words) == 1
    whole = capsys.readouterr().out
    assert main([*words, "--resume", str(file)]) == 1  # one cannot be read
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"0 of 7 images have a line in {file} already" in captured.err
    assert told(file.read_text()) == told(whole)
    done = file.read_text().splitlines(keepends=True)
    file.write_text("".join(done[:4]) + done[4][:30])  # killed while it wrote
    assert main([*words, "--resume", str(file)]) == 0
    assert f"4 of 7 images have a line in {file} already" in capsys.readouterr().err
    assert told(file.read_text()) == told(whole)
    assert len(file.read_text().splitlines()) == 7
    assert [json.loads(line) for line in done[:4]] == [json.loads(line) for line in file.read_text().splitlines()[:4]]
    assert main([*words, "--resume", str(file)]) == 0
    assert len(file.read_text().splitlines()) == 7


REFUSED = {
    "without JSON": ([], "--resume: expected --json beside it, found none"),
    "with pictures": (["--json", "--save", "drawn"], "--resume: expected --json alone"),
    "of something else": (["--json"], "--resume: expected lines of y12-infer --json in"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_resumed_is_refused(make_onnx, images, tmp_path, capsys, case, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("my notes\n")
    more, words = REFUSED[case]
    assert main([str(make_onnx()), str(images), *more, "--resume", "notes.txt"]) == 1
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.out == ""
    assert (tmp_path / "notes.txt").read_text() == "my notes\n"


def test_a_video_is_not_resumed(make_onnx, tmp_path, capsys):
    (tmp_path / "a.mp4").write_bytes(b"x")
    assert main([str(make_onnx()), str(tmp_path), "--json", "--resume", str(tmp_path / "x.jsonl")]) == 1
    assert "--resume: expected images, found" in capsys.readouterr().err
