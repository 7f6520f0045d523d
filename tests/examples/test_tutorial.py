"""The tutorial "From nothing to an engine", as it stands in docs/training.md, with fewer images and epochs."""

import csv
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

from y12.exporter.data.open import labelled_dataset

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "training.md"
SHORTER = {"--images": "8", "--epochs": "1", "--imgsz": "64"}


def commands():
    """The commands of the tutorial's first block."""
    _, _, section = PAGE.read_text().partition("## From nothing to an engine")
    block = re.search(r"```\n(.*?)```", section, re.DOTALL)
    assert block is not None
    return [shlex.split(line) for line in block[1].splitlines()]


def shortened(words):
    program, *rest = words
    for option, value in SHORTER.items():
        if option in rest:
            rest[rest.index(option) + 1] = value
    if program == "y12-export":
        rest.append("--allow-inconclusive")  # after one epoch it finds nothing yet
    if program == "python":
        return [sys.executable, str(ROOT / rest[0]), *rest[1:]]
    return [sys.executable, "-m", "y12", program.removeprefix("y12-"), *rest]


def test_every_command_of_the_tutorial_works(tmp_path):
    programs = [words[0] for words in commands()]
    assert programs == ["python", "y12-tune", "y12-export", "y12-infer"]
    for words in commands():
        done = subprocess.run(shortened(words), cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (words, done.stderr)
    (engine,) = tmp_path.glob("people-engine/*.engine")
    assert engine.name == "bitfalcon-n_fp16.engine"
    report = json.loads(engine.with_suffix(".report.json").read_text())
    assert report["accuracy"] is not None
    with (tmp_path / "counts.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [Path(row["source"]).name for row in rows] == ["000000.png", "000001.png"]
    assert all(set(row) >= {"source", "frame", "person", "face"} for row in rows)


def test_a_face_lies_within_its_person(tmp_path):
    folder = tmp_path / "people"
    subprocess.run([sys.executable, str(ROOT / "examples/draw_people.py"), str(folder), "--images", "24"], check=True)
    dataset = labelled_dataset(folder / "data.yaml", split="train")
    assert (len(dataset.samples), [name for _, name in dataset.categories]) == (24, ["person", "face"])
    assert 0 < dataset.background < 12  # some show nobody
    for file in (folder / "labels" / "train").iterdir():
        rows = [[float(word) for word in line.split()] for line in file.read_text().splitlines()]
        for (person, x, y, w, h), (face, cx, cy, cw, ch) in zip(rows[0::2], rows[1::2], strict=True):
            assert (person, face) == (0, 1)
            assert abs(cx - x) * 2 + cw <= w
            assert y - h / 2 - 1e-5 <= cy - ch / 2 < cy + ch / 2 < y + h / 2
