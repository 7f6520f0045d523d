"""The folder of y12-bundle deepstream: what it says, what it refuses, and what its scripts find."""

import configparser
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.runtime.conftest import colour_manifest, constant_model
from y12.bundle.cli import main
from y12.bundle.deepstream.make import APP, BUILD, CHECK, SHAPES
from y12.runtime.artefact.manifest import ONNX_KEY, AxisRange
from y12.runtime.artefact.nms_settings import NmsSettings
from y12.runtime.artefact.opened import sidecar_of
from y12.runtime.options import DetectOptions

CONFIG = "config_infer_primary.txt"
ROWS = 20
OUTPUTS = {
    "packed": {"detections": (ROWS, 6), "num": (1,), "truncated": (1,)},
    "split": {"num_dets": (1,), "det_boxes": (ROWS, 4), "det_scores": (ROWS,), "det_classes": (ROWS,)},
    "rows": {"output0": (ROWS, 6)},
}
FUNCTIONS = {"packed": "NvDsInferParseYolo", "split": "NvDsInferParseCustomEfficientNMS"}


def manifest_of(form="packed", conf=0.3, **changes):
    return colour_manifest(nms=NmsSettings(form, ROWS, DetectOptions(conf, 0.6, ROWS)), **changes)


def onnx_of(folder, manifest, form="packed", name="a.onnx"):
    outputs = {output: np.zeros(shape, np.float32) for output, shape in OUTPUTS[form].items()}
    path = folder / name
    path.write_bytes(constant_model(outputs, {ONNX_KEY: manifest.to_json()}))
    return path


def engine_of(folder, manifest, tag=b"ftrt"):
    """The beginning of a plan, which is all that is looked at, and the manifest beside it."""
    path = folder / "a.engine"
    size = 128
    plan = tag + bytes(4) + bytes(8) + size.to_bytes(8, "little") + bytes([10, 13, 2, 6])
    path.write_bytes(plan.ljust(size, b"\1"))
    sidecar_of(path).write_text(manifest.to_json())
    return path


def bundled(*arguments, form="packed"):
    """Run the command; give the folder and its nvinfer configuration."""
    assert main(["deepstream", *map(str, arguments)]) == 0
    folder = Path(arguments[arguments.index("--output") + 1])
    return folder, read(folder / CONFIG)


def read(path):
    config = configparser.ConfigParser(interpolation=None)
    config.optionxform = str
    config.read(path)
    return config


def names_in(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != "bundle.json")


@pytest.mark.parametrize("form", FUNCTIONS)
def test_the_configuration_is_what_nvinfer_needs(form, tmp_path):
    folder, config = bundled(onnx_of(tmp_path, manifest_of(form), form), "--output", tmp_path / "out")
    onnx = config["property"].pop("onnx-file")
    library = config["property"].pop("custom-lib-path")
    assert re.fullmatch(r"model_[0-9a-f]{8}\.onnx", onnx)
    assert library.endswith(".so")
    assert dict(config["property"]) == {
        "gpu-id": "0",
        "gie-unique-id": "1",
        "process-mode": "1",
        "network-type": "0",
        "model-engine-file": f"{onnx}_b1_gpu0_fp32.engine",
        "network-mode": "0",
        "batch-size": "1",
        "infer-dims": "3;64;64",
        "net-scale-factor": "0.00392156862745098",
        "model-color-format": "0",
        "maintain-aspect-ratio": "1",
        "symmetric-padding": "1",
        "scaling-filter": "1",
        "interval": "0",
        "labelfile-path": "labels.txt",
        "num-detected-classes": "3",
        "cluster-mode": "4",
        "parse-bbox-func-name": FUNCTIONS[form],
    }
    assert dict(config["class-attrs-all"]) == {"pre-cluster-threshold": "0.3", "topk": str(ROWS)}
    assert names_in(folder) == sorted([CONFIG, APP, "labels.txt", CHECK, BUILD, SHAPES, onnx])
    assert (folder / "labels.txt").read_text() == "red\ngreen\nblue\n"
    assert (folder / onnx).read_bytes() == (tmp_path / "a.onnx").read_bytes()


@pytest.mark.parametrize(("precision", "mode", "notes"), [("fp32", 0, 0), ("int8", 1, 1), ("fp16", 2, 1)])
def test_the_network_mode_follows_the_precision(precision, mode, notes, tmp_path, capsys):
    onnx = onnx_of(tmp_path, manifest_of(precision=precision))
    _, config = bundled(onnx, "--output", tmp_path / "out")
    assert config.getint("property", "network-mode") == mode
    assert config["property"]["model-engine-file"].endswith(f".onnx_b1_gpu0_{precision}.engine")
    assert capsys.readouterr().err.count(f"note: run {BUILD} first") == notes


def test_batch_and_size_are_the_profile_s(tmp_path):
    manifest = manifest_of(batch=AxisRange(1, 4, 16), size=AxisRange(32, 64, 128))
    folder, config = bundled(onnx_of(tmp_path, manifest), "--output", tmp_path / "out")
    assert (config["property"]["batch-size"], config["property"]["infer-dims"]) == ("16", "3;64;64")
    assert config["property"]["model-engine-file"].endswith(".onnx_b16_gpu0_fp32.engine")
    assert read(folder / APP)["primary-gie"]["batch-size"] == "16"
    assert (folder / SHAPES).read_text().splitlines() == [
        "--minShapes=images:1x3x64x64",
        "--optShapes=images:16x3x64x64",
        "--maxShapes=images:16x3x64x64",
    ]


@pytest.mark.parametrize(
    ("sources", "live", "tiles"),
    [
        (["file:///a%20b.mp4"], "0", ("1", "1")),
        (["file:///a.mp4", "rtsp://camera/1"], "1", ("1", "2")),
        ([f"rtsp://camera/{i}" for i in range(7)], "1", ("3", "3")),
    ],
)
def test_the_application_looks_at_each_source(sources, live, tiles, tmp_path):
    words = [word for uri in sources for word in ("--source", uri)]
    folder, _ = bundled(onnx_of(tmp_path, manifest_of()), "--output", tmp_path / "out", *words)
    app = read(folder / APP)
    found = [app[f"source{i}"] for i in range(len(sources))]
    assert [one["uri"] for one in found] == sources
    assert [one["type"] for one in found] == ["4" if uri.startswith("rtsp") else "3" for uri in sources]
    assert (app["streammux"]["live-source"], app["streammux"]["batch-size"]) == (live, str(len(sources)))
    assert (app["tiled-display"]["rows"], app["tiled-display"]["columns"]) == tiles
    assert app["primary-gie"]["config-file"] == CONFIG


def test_a_threshold_may_be_stricter_and_a_library_elsewhere(tmp_path):
    onnx = onnx_of(tmp_path, manifest_of())
    _, config = bundled(onnx, "--output", tmp_path / "out", "--conf", "0.6", "--parser-library", "/opt/l.so")
    assert config["class-attrs-all"]["pre-cluster-threshold"] == "0.6"
    assert config["property"]["custom-lib-path"] == "/opt/l.so"


def test_labels_keep_their_places(tmp_path, capsys):
    """nvinfer passes over an empty line, and takes what is behind a semicolon for another label."""
    onnx = onnx_of(tmp_path, manifest_of(names=("a;b", " ", "c\nd", "née")))
    folder, _ = bundled(onnx, "--output", tmp_path / "out")
    assert (folder / "labels.txt").read_text(encoding="utf-8").splitlines() == ["a,b", "class 1", "c_d", "née"]
    assert capsys.readouterr().err.count("note: labels.txt: the name of class ") == 3


def test_an_engine_goes_with_the_graph_it_was_built_from(tmp_path, capsys):
    manifest = manifest_of(precision="fp16", engine={"builder": "TensorRT"})
    engine = engine_of(tmp_path, manifest)
    folder, config = bundled(engine, "--output", tmp_path / "alone")
    assert "onnx-file" not in config["property"]
    assert "note: no a.onnx lies beside the engine" in capsys.readouterr().err
    onnx_of(tmp_path, replace(manifest, engine={}))
    folder, config = bundled(engine, "--output", tmp_path / "both")
    assert config["property"]["model-engine-file"] == "model.engine"
    assert (folder / "model.engine").read_bytes() == engine.read_bytes()
    assert (folder / config["property"]["onnx-file"]).read_bytes() == (tmp_path / "a.onnx").read_bytes()
    assert BUILD not in names_in(folder)
    onnx_of(tmp_path, manifest_of(conf=0.4))
    _, config = bundled(engine, "--output", tmp_path / "another")
    assert "onnx-file" not in config["property"]
    assert "note: a.onnx beside the engine is of another export, and is left out" in capsys.readouterr().err


def refused(capsys, *arguments):
    assert main(["deepstream", *map(str, arguments)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


def test_an_rtx_plan_is_refused(tmp_path, capsys):
    engine = engine_of(tmp_path, manifest_of(), tag=b"vtrt")
    line = refused(capsys, engine, "--output", tmp_path / "out")
    assert "expected an engine of full TensorRT, which DeepStream loads, found one of TensorRT-RTX 10.13.2.6" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("manifest", "form", "message"),
    [
        (colour_manifest(), "packed", "expected y12's NMS in the graph, found raw predictions; make it by y12-export"),
        (manifest_of("rows"), "rows", "expected y12's NMS in the graph, found rows of another form"),
        (manifest_of(task="segment"), "packed", "expected a model of the task detect, whose boxes the parsers read, f"),
        (manifest_of(task="obb"), "packed", "found obb; pass a detector"),
        (manifest_of(task="classify"), "packed", "found classify; pass a detector"),
        (manifest_of(task="pose", kpt_shape=(5, 3)), "packed", "found pose; pass a detector"),
        (manifest_of("split"), "packed", "expected the outputs num_dets, det_boxes, det_scores, det_classes in this"),
    ],
    ids=["raw", "rows", "segment", "obb", "classify", "pose", "other-outputs"],
)
def test_what_no_parser_reads_is_refused(manifest, form, message, tmp_path, capsys):
    line = refused(capsys, onnx_of(tmp_path, manifest, form), "--output", tmp_path / "out")
    assert message in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--conf", "0.29"], "--conf: expected 0.3 or more, up to 1, found 0.29"),
        (["--conf", "nan"], "--conf: expected 0.3 or more, up to 1, found nan"),
        (["--source", "video.mp4"], "--source: expected a URI such as file:///videos/a.mp4"),
        (["--source", "file:///a\nb"], "--source: expected a URI"),
        (["--parser-library", ""], "--parser-library: expected a path"),
    ],
)
def test_contradictions_are_refused(words, message, tmp_path, capsys):
    assert message in refused(capsys, onnx_of(tmp_path, manifest_of()), "--output", tmp_path / "out", *words)
    assert not (tmp_path / "out").exists()


def test_a_folder_with_files_is_left_alone_and_an_earlier_bundle_replaced_on_request(tmp_path, capsys):
    onnx, out = onnx_of(tmp_path, manifest_of()), tmp_path / "out"
    out.mkdir()
    (out / "notes").write_text("mine\n")
    assert "expected an empty folder or nothing" in refused(capsys, onnx, "--output", out)
    assert "none of y12-bundle" in refused(capsys, onnx, "--output", out, "--exist-ok")
    assert names_in(out) == ["notes"]
    (out / "notes").unlink()
    bundled(onnx, "--output", out)
    (out / "labels.txt").write_text("old\n")
    folder, _ = bundled(onnx, "--output", out, "--exist-ok")
    assert (folder / "labels.txt").read_text() == "red\ngreen\nblue\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.onnx", "out"]


def library_with(folder, function, name="libparser.so"):
    source = folder / "parser.c"
    source.write_text(f"int {function}(void) {{ return 1; }}\n")
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or shutil.which("nm") is None:
        pytest.skip("no C compiler, or no nm")
    subprocess.run([compiler, "-shared", "-fPIC", str(source), "-o", str(folder / name)], check=True)
    return folder / name


def checked(folder):
    done = subprocess.run([folder / CHECK], capture_output=True, text=True, cwd="/", check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(("form", "remedy"), [("packed", "DeepStream-Yolo"), ("split", "--nms-outputs packed")])
def test_the_script_looks_for_the_parser(form, remedy, tmp_path):
    function = FUNCTIONS[form]
    onnx = onnx_of(tmp_path, manifest_of(form), form)
    words = ["--parser-library", "libparser.so"]
    folder, _ = bundled(onnx, "--output", tmp_path / "out", *words)
    code, told = checked(folder)
    assert (code, told.count("\n")) == (1, 1)
    assert f"libparser.so: expected the library of {function}, found none; " in told
    assert remedy in told
    library_with(folder, f"{function}TLT")  # as a release has it that lacks the function
    code, told = checked(folder)
    assert (code, told.count("\n")) == (1, 1)
    assert f"libparser.so: expected {function} in it, found none; " in told
    assert remedy in told
    (folder / "libparser.so").write_text("no library")
    code, told = checked(folder)
    assert (code, "expected a shared library, found another file" in told) == (1, True)
    library_with(folder, function)
    assert checked(folder) == (0, f"libparser.so has {function}\n")


@pytest.mark.parametrize(("batch", "shapes"), [(AxisRange(2, 2, 2), 0), (AxisRange(1, 4, 8), 3)])
def test_the_engine_is_built_in_the_graph_s_own_types(batch, shapes, tmp_path):
    """trtexec is not here: what stands for it tells what it was called with."""
    folder, config = bundled(onnx_of(tmp_path, manifest_of(batch=batch)), "--output", tmp_path / "out")
    (tmp_path / "trtexec").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "trtexec").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run([folder / BUILD], capture_output=True, text=True, env=environment, cwd="/", check=True)
    onnx, engine = (config["property"][key] for key in ("onnx-file", "model-engine-file"))
    words = done.stdout.splitlines()
    assert words[:4] == [f"--onnx={onnx}", f"--saveEngine={engine}", "--stronglyTyped", "--skipInference"]
    assert words[4:] == (folder / SHAPES).read_text().splitlines()
    assert len(words[4:]) == shapes


@pytest.mark.parametrize("script", [CHECK, BUILD])
def test_shellcheck_finds_nothing_in_the_scripts(script):
    shellcheck = shutil.which("shellcheck", path=str(Path(sys.executable).parent)) or shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed: pip install -e '.[dev]'")
    path = Path(__file__).resolve().parents[3] / "y12/bundle/deepstream" / script
    command = [shellcheck, "--enable=all", "--exclude=SC2250,SC2312", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def keys_in(path):
    return set(re.findall(r'#define\s+CONFIG_\w+\s+"([^"]+)"', path.read_text()))


def test_nvinfer_and_deepstream_app_know_every_key(deepstream_sources, tmp_path):
    folder, config = bundled(
        onnx_of(tmp_path, manifest_of()),
        "--output",
        tmp_path / "out",
        "--source",
        "rtsp://a/b",
        "--source",
        "file:///c",
    )
    known = keys_in(deepstream_sources / "gstnvinfer_property_parser.h")
    assert len(known) > 80
    assert {key for group in ("property", "class-attrs-all") for key in config[group]} - known == set()
    assert "property" in known
    assert config.sections() == ["property", "class-attrs-all"]
    app = read(folder / APP)
    known = keys_in(deepstream_sources / "deepstream_config_file_parser.c")
    known |= keys_in(deepstream_sources / "deepstream_app_config_parser.c")
    assert {key for group in app.sections() for key in app[group]} - known == set()


def test_the_folder_s_list_is_what_is_printed(tmp_path, capsys):
    folder, _ = bundled(onnx_of(tmp_path, manifest_of()), "--output", tmp_path / "out")
    lines = capsys.readouterr().out.splitlines()
    assert [Path(line.removeprefix("wrote").strip()).name for line in lines[:-1]] == names_in(folder)
    assert lines[-1].startswith("next ")
