"""Names that are not as many as the network's classes: refused when the file is opened, before any library loads it."""

import json
import subprocess
import sys

import numpy as np
import onnx
import pytest

from tests.foreign_graphs import Ends, foreign_model
from y12.errors import ArtefactError
from y12.runtime.artefact.manifest import AxisRange
from y12.runtime.artefact.opened import open_artefact
from y12.runtime.cli.infer import main as infer

FREE = AxisRange(32, 64, 128)
TWO, FOUR = ("red", "green"), ("red", "green", "blue", "black")


@pytest.mark.parametrize("size", [64, "s"])
@pytest.mark.parametrize(("names", "rows"), [(TWO, 6), (FOUR, 8)])
def test_of_y12_s_own_files(make_onnx, make_manifest, size, names, rows):
    manifest = make_manifest(names=names, size=FREE if size == "s" else None)
    path = make_onnx(manifest=manifest, size=size)
    said = rf"expected an output \({rows}, A\) for {len(names)} classes, found \(7, 1\); the network seems to have 3 "
    with pytest.raises(ArtefactError, match=said + rf"classes, the file has {len(names)} names"):
        open_artefact(path)


def saved(model, tmp_path):
    onnx.save(model, tmp_path / "given.onnx")
    return tmp_path / "given.onnx"


def renamed(model, names):
    for entry in model.metadata_props:
        if entry.key == "names":
            entry.value = str(dict(enumerate(names)))
    return model


def test_free_anchors_do_not_hide_it(tmp_path):
    model = renamed(foreign_model(Ends("raw", facts={})), TWO)
    model.graph.output[0].type.tensor_type.shape.dim[2].dim_param = "anchors"
    with pytest.raises(ArtefactError, match=r"for 2 classes, found \(7, any\); the network seems to have 3 classes"):
        open_artefact(saved(model, tmp_path))


@pytest.mark.parametrize("task", ["detect", "segment", "pose", "obb"])
@pytest.mark.parametrize("kind", ["raw", "end2end"])
def test_of_strangers_files(tmp_path, kind, task):
    assert open_artefact(saved(foreign_model(Ends(kind, task)), tmp_path)).manifest.names
    with pytest.raises(ArtefactError, match="classes"):
        open_artefact(saved(renamed(foreign_model(Ends(kind, task)), FOUR), tmp_path))


def test_a_stranger_s_nms_picks_the_best_of_so_many_channels(shared, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(shared / "foreign_onnx"), *sys.path])
    import unpack

    model = unpack.load("T_yolo11n_nms")
    assert len(open_artefact(saved(model, tmp_path)).manifest.names) == 80
    with pytest.raises(ArtefactError, match="expected names for 80 classes, as the graph has, found 4 names"):
        open_artefact(saved(renamed(model, FOUR), tmp_path))


def test_of_a_classifier(make_constant, make_manifest):
    path = make_constant(make_manifest(task="classify", strides=()), output0=np.array([0.5, 0.5], np.float32))
    with pytest.raises(ArtefactError, match=r"\(3,\) for 3 classes, found 'output0' \(2,\): the file has 3 names"):
        open_artefact(path)


def test_one_line_before_anything_is_loaded(make_onnx, make_manifest, tmp_path, capsys):
    path = str(make_onnx(manifest=make_manifest(names=TWO)))
    assert infer([path, str(tmp_path / "there is none.jpg")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {path}: expected an output (6, A) for 2 classes")
    program = (
        "import sys, json; from y12.runtime.cli.inspect import main; code = main([sys.argv[1]]); "
        "print(json.dumps([code, 'onnxruntime' in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == [1, False]
    assert "for 2 classes" in done.stderr
