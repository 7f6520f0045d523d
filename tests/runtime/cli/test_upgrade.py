"""y12-inspect of an engine's build, and whether another TensorRT's engine of the same export is worse."""

import hashlib
import json
from dataclasses import replace

import pytest

from y12.runtime.artefact.opened import sidecar_of
from y12.runtime.artefact.recipe import Recipe
from y12.runtime.cli.inspect import main

OLD, NEW = "TensorRT-RTX 1.6.1.120", "TensorRT-RTX 1.7.1.116"
BUILD = {
    "kernels": 100,
    "moving_kernels": 9,  # and more that nobody asks for here
    "attentions_expected": 2,
    "unfused": ["/b/Softmax"],
    "convolutions": {"/a/Conv": "fp16", "/b/Conv": "fp16", "/c/Conv": "fp32"},
    "bytes_moved": 10_000_000,
}
SIZE = 10_000


@pytest.fixture
def write(tmp_path, make_manifest):
    """Write an engine, its manifest and its report: (folder, builder, what of the build is otherwise) -> path."""

    def engine(folder, builder=OLD, build=BUILD, size=SIZE, report=None, **manifest):
        path = tmp_path / folder / "m_fp16.engine"
        path.parent.mkdir()
        head = b"vtrt" + bytes(12) + size.to_bytes(8, "little") + bytes([1, 7, 1, 116])
        path.write_bytes((head + f"{builder} {folder}".encode()).ljust(size, b"\0"))
        values = {"precision": "fp16", "engine": {"builder": builder, "gpus": "SM 80"}, "recipe": Recipe()} | manifest
        sidecar_of(path).write_text(make_manifest(**values).to_json())
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        data = {"schema": 1, "sha256": {"m_fp16.engine": sha256}, "engine": build, "unread": ""}
        path.with_name("m_fp16.report.json").write_text(json.dumps(data) if report is None else report)
        return path

    return engine


def but(**changes):
    return BUILD | changes


def said(capsys, *words):
    code = main([*map(str, words), "--json"])
    return code, json.loads(capsys.readouterr().out)


CASES = {  # what is otherwise in the newer engine, the exit code, what got worse
    "the same": ({}, 22, []),
    "fewer kernels": ({"build": but(kernels=60)}, 22, []),
    "one kernel more": ({"build": but(kernels=101)}, 21, ["kernels"]),
    "more fused": ({"build": but(unfused=[])}, 22, []),
    "one less fused": ({"build": but(unfused=["/a/Softmax", "/b/Softmax"])}, 21, ["fused attentions"]),
    "another one fused": ({"build": but(unfused=["/a/Softmax"])}, 21, ["fused attentions"]),
    "a wider convolution": (
        {"build": but(convolutions=BUILD["convolutions"] | {"/b/Conv": "fp32"})},
        21,
        ["precision"],
    ),
    "a narrower one": ({"build": but(convolutions=BUILD["convolutions"] | {"/c/Conv": "fp16"})}, 22, []),
    "one wider, one narrower": (
        {"build": but(convolutions={"/a/Conv": "fp32", "/b/Conv": "fp16", "/c/Conv": "fp16"})},
        21,
        ["precision"],
    ),
    "one that nobody knows of": (
        {"build": but(convolutions=BUILD["convolutions"] | {"/a/Conv": "unknown"})},
        11,
        [],
    ),
    "a hundredth more bytes": ({"build": but(bytes_moved=10_100_000), "size": 10_100}, 22, []),
    "more bytes moved": ({"build": but(bytes_moved=10_100_001)}, 21, ["bytes moved"]),
    "a larger file": ({"size": 10_101}, 21, ["size"]),
    "all of it": (
        {"build": but(kernels=101, unfused=["/a/Softmax"], bytes_moved=11_000_000), "size": 11_000},
        21,
        ["kernels", "fused attentions", "bytes moved", "size"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_got_worse_is_named_and_has_its_exit_code(write, capsys, case):
    changes, code, worse = CASES[case]
    found, data = said(capsys, write("old"), "--diff", write("new", NEW, **changes))
    assert (found, data["exit_code"], data["kind"], data["upgrade"]["worse"]) == (code, code, "version", worse)
    assert data["upgrade"]["verdict"] == {21: "worse", 22: "not worse", 11: "not judged"}[code]


def test_a_convolution_whose_precision_an_older_log_does_not_tell_is_not_worse_as_asked_for(write, capsys):
    old = but(convolutions=BUILD["convolutions"] | {"/a/Conv": "unknown"})
    code, data = said(capsys, write("old", build=old), "--diff", write("new", NEW))
    assert (code, data["upgrade"]["convolutions_untold"]) == (22, [])
    assert data["upgrade"]["convolutions_changed"] == {"/a/Conv": ["unknown", "fp16"]}


def test_one_line_has_both_sides_and_each_convolution_by_name(write, capsys):
    new = but(kernels=90, unfused=[], convolutions=dict.fromkeys(BUILD["convolutions"], "fp32"), bytes_moved=8_000_000)
    assert main([str(write("old")), "--diff", str(write("new", NEW, build=new))]) == 21
    assert capsys.readouterr().out == (
        f"differs in the version: engine: {OLD} and {NEW}; worse in precision: kernels 100 -> 90, attentions fused 1 "
        "-> 2 of 2, 2 convolutions in another precision (/a/Conv fp16 -> fp32, /b/Conv fp16 -> fp32), MB moved 10.0 -> "
        "8.0, MB in the file 0.0 -> 0.0\n"
    )


@pytest.mark.parametrize("which", ["old", "new"])
@pytest.mark.parametrize(
    ("report", "words"),
    [
        (None, "is not beside it"),
        ('{"sha256": {"m_fp16.engine": "00"}, "engine": {}}', "is the report of another file, by its SHA-256"),
        ('{"sha256": {"m": "SHA"}, "engine": null, "unread": "the log lists none"}', "the build: the log lists none"),
        ('{"sha256": {"m": "SHA"}, "engine": {"kernels": -1}}', "is damaged, or of another release of y12"),
        ("[" * 100_000, "cannot be read"),
        ("[]", "is the report of another file"),
    ],
)
def test_without_its_own_report_an_engine_is_not_judged_and_it_is_said_why(write, capsys, which, report, words):
    paths = {"old": write("old"), "new": write("new", NEW)}
    lacking = paths[which].with_name("m_fp16.report.json")
    if report is None:
        lacking.unlink()
    else:
        lacking.write_text(report.replace("SHA", hashlib.sha256(paths[which].read_bytes()).hexdigest()))
    assert main([str(paths["old"]), "--diff", str(paths["new"])]) == 11
    line = capsys.readouterr().out
    assert line.count("\n") == 1
    assert "; not judged, as " in line
    assert str(lacking) in line
    assert words in line
    assert main([str(paths[which])]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("kernels ")]
    assert "not known" in line
    assert words in line
    assert said(capsys, paths[which])[1]["build"] is None


@pytest.mark.parametrize(
    ("other", "code"),
    [
        ({"source_sha256": "1" * 64}, 11),  # told first, as before: another TensorRT; but of another source
        ({"recipe": Recipe(options={"opset": "17"})}, 11),
        ({"builder": OLD, "recipe": Recipe(options={"opset": "17"})}, 13),
    ],
)
def test_engines_of_two_exports_are_not_judged(write, capsys, other, code):
    new = write("new", **{"builder": NEW, "build": but(kernels=1)} | other)
    found, data = said(capsys, write("old"), "--diff", new)
    assert found == code
    assert "upgrade" not in data


def test_a_recipe_that_lies_beside_the_plan_is_read_before_two_are_told_apart(write, make_manifest, capsys):
    paths = []
    for folder, builder, version in (("old", OLD, "1"), ("new", NEW, "2")):
        whole = Recipe(versions={"onnx": version}, options={"opset": "17"})
        path = write(folder, builder, recipe=whole)
        engine = {"builder": builder, "gpus": "SM 80"}
        manifest = make_manifest(precision="fp16", engine=engine, recipe=whole)
        name = replace(manifest, recipe=whole.as_digest).to_network_name().encode()
        head = path.read_bytes()[:64] + len(name).to_bytes(8, "little") + name
        plan = head[:16] + len(head).to_bytes(8, "little") + head[24:]
        path.write_bytes(plan)
        report = path.with_name("m_fp16.report.json")
        data = json.loads(report.read_text()) | {"sha256": {"m": hashlib.sha256(plan).hexdigest()}}
        report.write_text(json.dumps(data))
        paths.append(path)
    code, data = said(capsys, paths[0], "--diff", paths[1])
    assert (code, data["kind"], data["upgrade"]["verdict"]) == (22, "version", "not worse")
    sidecar_of(paths[0]).unlink()
    assert said(capsys, paths[0], "--diff", paths[1])[1]["kind"] == "option"


def test_a_build_is_printed(write, capsys):
    path = write("old")
    assert main([str(path)]) == 0
    out = capsys.readouterr().out
    for line in ("kernels    100, which read and write 10.0 MB", "attention  1 of 2 fused", "2 FP16, 1 FP32"):
        assert " ".join(line.split()) in " ".join(out.split())
    build = said(capsys, path)[1]["build"]
    assert (build["kernels"], build["attentions_fused"], build["unfused"]) == (100, 1, ["/b/Softmax"])


def test_an_onnx_has_no_build(make_onnx, capsys):
    assert "build" not in said(capsys, make_onnx())[1]
    assert main([str(make_onnx())]) == 0
    assert "kernels" not in capsys.readouterr().out
