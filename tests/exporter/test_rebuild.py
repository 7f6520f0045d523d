"""An artefact is made again from its manifest and its source, elsewhere; what was changed on purpose is named."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import onnx
import pytest

from y12.errors import ArtefactError, OptionsError
from y12.exporter.config_parts import nms_of
from y12.exporter.engine.engine_options import EngineOptions
from y12.exporter.export_config import ExportConfig, Int8Options, ShapeOptions
from y12.exporter.export_pipeline import export
from y12.exporter.precision.quantization_options import CalibrationOptions
from y12.exporter.rebuild import rebuilt
from y12.exporter.source import demo_weights
from y12.exporter.verify.verify_images import scenes_dir
from y12.runtime.artefact.build_facts import build_facts
from y12.runtime.artefact.difference import CODES, difference
from y12.runtime.artefact.manifest import NAME_LIMIT, ONNX_KEY, Manifest
from y12.runtime.artefact.opened import open_artefact
from y12.runtime.artefact.recipe import RANGES_KEY
from y12.runtime.cli.inspect import main

SMALL = ShapeOptions(((64, 64),))
ONNX = ExportConfig(shapes=SMALL, verify=None)
INT8 = replace(ONNX, precision="int8", int8=Int8Options(scenes_dir(), CalibrationOptions("max")))
NAMED = replace(ONNX, model="yolov12n", random_weights=True)
MADE = {
    "fp16": replace(ONNX, precision="fp16"),
    "nms": replace(ONNX, nms=nms_of({"conf": 0.3}, {}, wanted=True)),
    "dynamic": replace(ONNX, shapes=ShapeOptions(((64, 64),), dynamic=True)),
    "named": replace(NAMED, opset=18, simplify=False),
    "int8": INT8,
}


def made(config, folder):
    return Path(export(replace(config, output=folder)).artefact)


@pytest.fixture(scope="module")
def fp32(tmp_path_factory):
    return made(ONNX, tmp_path_factory.mktemp("fp32"))


@pytest.fixture(scope="module")
def int8(tmp_path_factory):
    return made(INT8, tmp_path_factory.mktemp("int8"))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.exhaustive] * (name in ("fp16", "dynamic", "nms"))) for name in MADE]
)
def test_a_graph_is_rebuilt_to_the_same_bytes_from_its_manifest_alone(tmp_path, name):
    moved = tmp_path / "with spaces" / "renamed.onnx"
    moved.parent.mkdir()
    shutil.move(made(MADE[name], tmp_path), moved)
    assert rebuilt(moved, None).kind == "identical"


@pytest.mark.exhaustive
def test_a_rebuild_under_other_settings_of_process_and_processor_says_identical_by_its_exit_code(fp32):
    others = {
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "OMP_NUM_THREADS": "2",
        "PYTHONHASHSEED": "7",
        "TZ": "Asia/Seoul",
        "LC_ALL": "C",
    }
    command = [sys.executable, "-m", "y12.runtime.cli.inspect", str(fp32), "--rebuild", "--json"]
    done = subprocess.run(command, env=os.environ | others, capture_output=True, text=True, check=False)
    assert (done.returncode, json.loads(done.stdout)["kind"]) == (0, "identical"), done.stderr


def test_an_engine_with_a_recipe_too_long_for_its_name_has_the_hash_there_and_the_whole_beside_it(fp32):
    manifest = open_artefact(fp32).manifest
    long = replace(manifest.recipe, options={str(i): os.urandom(64).hex() for i in range(60)})
    name = replace(manifest, recipe=long).to_network_name()
    assert len(name) <= NAME_LIMIT
    assert Manifest.from_network_name(name).recipe == long.as_digest


def changed(path, folder, change):
    """A copy of a graph with a change."""
    graph = onnx.load(path)
    change(graph)
    folder.mkdir(exist_ok=True)
    onnx.save(graph, folder / path.name)
    return folder / path.name


def with_recipe(**parts):
    def change(graph):
        entry = next(entry for entry in graph.metadata_props if entry.key == ONNX_KEY)
        manifest = Manifest.from_json(entry.value)
        entry.value = replace(manifest, recipe=replace(manifest.recipe, **parts)).to_json()

    return change


def one_weight(graph):
    tensor = next(t for t in graph.graph.initializer if len(t.raw_data) > 64)
    tensor.raw_data = bytes([tensor.raw_data[0] ^ 1]) + tensor.raw_data[1:]


def one_node(graph):
    next(node for node in graph.graph.node if node.op_type == "Concat").attribute[0].i += 1


PLANTED = {
    "weight": one_weight,
    "node": one_node,
    "version": with_recipe(versions={"torch": "1.0"}),
    "option": with_recipe(options={"opset": "17"}),
    "images": with_recipe(images="0" * 64),
}


@pytest.mark.parametrize("kind", PLANTED)
def test_a_planted_change_is_named_by_diff_and_has_its_own_exit_code(fp32, tmp_path, capsys, kind):
    other = changed(fp32, tmp_path, PLANTED[kind])
    assert difference(open_artefact(fp32), open_artefact(other)).kind == kind
    assert main([str(fp32), "--diff", str(other)]) == CODES[kind]
    assert capsys.readouterr().out.startswith(f"differs in the {kind}: ")


def test_a_rebuild_names_a_weight_that_was_changed_and_a_version_that_is_not_here(fp32, tmp_path):
    assert rebuilt(changed(fp32, tmp_path, one_weight), None).kind == "weight"
    older = rebuilt(changed(fp32, tmp_path / "b", PLANTED["version"]), None)
    assert (older.kind, older.what, older.first) == ("version", "torch", "1.0")


def test_another_calibration_image_is_named(int8, tmp_path):
    pictures = tmp_path / "pictures"
    shutil.copytree(scenes_dir(), pictures)
    next(pictures.glob("*.jpg")).unlink()
    config = replace(INT8, int8=replace(INT8.int8, images=pictures))
    assert difference(open_artefact(int8), open_artefact(made(config, tmp_path / "made"))).kind == "images"


def test_bad_input_is_one_line_each(fp32, int8, tmp_path, capsys):
    def without_recipe(graph):
        entry = next(entry for entry in graph.metadata_props if entry.key == ONNX_KEY)
        entry.value = replace(Manifest.from_json(entry.value), recipe=None).to_json()

    def other_ranges(graph):
        next(entry for entry in graph.metadata_props if entry.key == RANGES_KEY).value += " "

    source = tmp_path / "yolov12n-shapes.safetensors"
    source.write_bytes(demo_weights().read_bytes() + b"\0")
    assert rebuilt(fp32, source).kind == "source"
    with pytest.raises(ArtefactError, match="of an older y12"):
        rebuilt(changed(fp32, tmp_path / "a", without_recipe), None)
    with pytest.raises(ArtefactError, match="expected its ranges"):
        rebuilt(changed(int8, tmp_path / "b", other_ranges), None)
    with pytest.raises(OptionsError, match="found nothing at"):
        rebuilt(fp32, tmp_path / "none.pt")
    assert main([str(fp32), "--source", "x.pt"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_an_engine_of_fixed_shape_is_rebuilt_to_the_same_bytes(rtx, tmp_path):
    config = replace(NAMED, format="engine", precision="fp16", target=EngineOptions("rtx"))
    exported = export(replace(config, output=tmp_path))
    engine, proved = Path(exported.artefact), exported.report.engine
    facts = build_facts(engine, open_artefact(engine).sha256())
    assert (facts.kernels, facts.unfused, facts.bytes_moved) == (proved.kernels, proved.unfused, proved.bytes_moved)
    assert (facts.attentions_fused, facts.convolutions) == (proved.attentions_fused, proved.convolutions)
    for path in tmp_path.iterdir():
        if path != engine:
            path.unlink()  # the plan alone says how it was made
    assert rebuilt(engine, None).kind == "identical"


@pytest.mark.exhaustive
def test_an_engine_of_several_outputs_is_rebuilt_to_the_same_bytes_but_for_their_order(rtx, tmp_path):
    engine = made(replace(ONNX, format="engine", precision="fp16", target=EngineOptions("rtx")), tmp_path)
    found = rebuilt(engine, None)
    assert found.kind in ("identical", "equivalent"), str(found)  # in one order of 24 or another
    assert found.kind == "identical" or "the order of outputs" in found.what


@pytest.mark.exhaustive  # a few builds; of made-up plans: tests/runtime/artefact/test_plan_order.py
def test_an_engine_with_a_profile_is_rebuilt_to_an_equivalent_one_and_one_flipped_byte_is_not(rtx, tmp_path):
    shapes = ShapeOptions(((64, 64),), dynamic=True)
    engine = made(
        replace(NAMED, format="engine", precision="fp16", shapes=shapes, target=EngineOptions("rtx")), tmp_path
    )
    found = rebuilt(engine, None)
    assert (found.kind, found.bytes_differing > 0) == ("equivalent", True), str(found)
    plan, graph = engine.read_bytes(), onnx.load(engine.with_suffix(".onnx"))
    weight = max((t.raw_data for t in graph.graph.initializer if len(t.raw_data) == 64), key=lambda raw: len(set(raw)))
    number = plan.index(b"\x01\x80\x09\x80\x01\x00\x08" + bytes(7)) + 14  # the first free size of the first shape
    for place in (plan.index(weight), number):
        other = tmp_path / f"{place}" / engine.name
        other.parent.mkdir()
        other.write_bytes(plan[:place] + bytes([plan[place] ^ 1]) + plan[place + 1 :])
        assert difference(open_artefact(engine), open_artefact(other)).kind == "plan"


@pytest.mark.parametrize(("name", "here"), [("nowhere", "none"), ("y12", metadata.version("y12"))])
def test_a_package_that_is_not_here_and_an_older_y12_are_named_before_anything_is_built(fp32, tmp_path, name, here):
    asked = {**open_artefact(fp32).manifest.recipe.versions, name: "0.0.1"}
    found = rebuilt(changed(fp32, tmp_path, with_recipe(versions=asked)), None)
    assert str(found) == f"differs in the version: {name}: 0.0.1 and {here}"
