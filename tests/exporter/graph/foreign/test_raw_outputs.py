"""Graphs that pick objects themselves are cut at their raw predictions; the best rows are written behind them again."""

from itertools import product

import numpy as np
import onnx
import pytest
from text_models import run

from tests.foreign_graphs import EXTRAS, NAMES, Ends, foreign_model, raw_of
from y12 import Runtime
from y12.errors import ArtefactError, GraphError, OptionsError, VerificationError
from y12.exporter.config_parts import nms_of
from y12.exporter.export_config import ExportConfig
from y12.exporter.export_pipeline import export
from y12.exporter.graph.best_rows import with_best_rows
from y12.exporter.graph.foreign.raw_outputs import with_raw_outputs
from y12.exporter.graph.foreign.read import normalised
from y12.exporter.source import source_from_config
from y12.exporter.verify.check_rows import check_rows
from y12.exporter.verify.compare import Ran
from y12.exporter.verify.verify_options import VerifyOptions
from y12.runtime.artefact.graph_outputs import GraphOutputs
from y12.runtime.artefact.manifest import AxisRange, InputProfile, Manifest
from y12.runtime.artefact.nms_settings import NmsSettings, end_to_end
from y12.runtime.artefact.opened import open_artefact
from y12.runtime.artefact.output_layout import OutputLayout
from y12.runtime.options import DetectOptions

KPT_SHAPE = (2, 3)


def layout_of(task):
    return OutputLayout(task, len(NAMES), KPT_SHAPE if task == "pose" else None)


def manifest_of(task, nms):
    side = AxisRange(64, 64, 64)
    profile = InputProfile(AxisRange(1, 1, 1), side, side)
    return Manifest(task, NAMES, (32,), profile, nms=nms, kpt_shape=KPT_SHAPE if task == "pose" else None)


@pytest.fixture
def cut(tmp_path):
    """A foreign graph in one form, and the same with raw outputs."""

    def make(ends):
        path = tmp_path / "given.onnx"
        path.write_bytes(foreign_model(ends).SerializeToString())
        model = normalised(onnx.load(path)).model
        return model, with_raw_outputs(model, open_artefact(path).found)

    return make


@pytest.mark.parametrize(("kind", "task"), list(product(("raw", "end2end", "nms"), EXTRAS)))
def test_raw_outputs_are_centres_and_sizes(cut, kind, task):
    ends = Ends(kind, task)
    model, raw = cut(ends)
    before = model.SerializeToString()
    onnx.checker.check_model(raw, full_check=True)
    outputs = run(raw)
    assert list(outputs) == ["output0"] + ["protos"] * (task == "segment")
    np.testing.assert_allclose(outputs["output0"][0], raw_of(ends), atol=1e-4)
    assert not {"NonMaxSuppression", "TopK", "NonZero"} & {node.op_type for node in raw.graph.node}
    assert model.SerializeToString() == before


@pytest.mark.parametrize("task", EXTRAS)
@pytest.mark.parametrize("opset", [17, 18])
@pytest.mark.parametrize("rows", [5, 40])
def test_the_best_rows_are_those_of_the_given_graph(cut, task, opset, rows):
    model, raw = cut(Ends("end2end", task, rows=rows))
    raw.opset_import[0].version = opset
    final = with_best_rows(raw, layout_of(task), rows)
    expected, found = run(model)["output0"], run(final)["output0"]
    assert [d.dim_value for d in final.graph.output[0].type.tensor_type.shape.dim] == list(expected.shape)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_refusals_of_the_writers(cut):
    model, _ = cut(Ends("nms", "segment"))
    found = GraphOutputs(end_to_end(5), "raw", "points")
    model.graph.node.add(op_type="Relu", input=["images"], output=["protos"], name="taken")
    model.graph.output.append(onnx.helper.make_tensor_value_info("protos", 1, None))
    with pytest.raises(GraphError, match="no other tensor called protos"):
        with_raw_outputs(model, found)
    del model.graph.node[:]
    with pytest.raises(GraphError, match="expected a tensor 'raw', from which the objects are picked, found none"):
        with_raw_outputs(model, found)


def test_what_an_export_starts_from(tmp_path):
    path = tmp_path / "given.onnx"
    sources = {}
    for kind in ("raw", "end2end", "nms"):
        path.write_bytes(foreign_model(Ends(kind, half=kind == "raw")).SerializeToString())
        sources[kind] = source_from_config(ExportConfig(str(path)))
    assert [source.given.nms is None for source in sources.values()] == [True, False, False]
    assert [source.end2end for source in sources.values()] == [False, True, False]
    assert [source.given.halves for source in sources.values()] == [True, False, False]
    assert sources["raw"].notes[0].startswith("its weights are FP16")
    assert sources["end2end"].notes == ()
    (note,) = sources["nms"].notes
    assert note.startswith("its NMS (conf 0.25, iou 0.7, 5 rows), which TensorRT-RTX does not build, is left out")
    path.write_bytes(foreign_model(Ends("end2end")).SerializeToString())
    with pytest.raises(
        OptionsError, match=r"--nms: .*given\.onnx picks its objects end to end, without NMS: drop --nms"
    ):
        source_from_config(ExportConfig(str(path), nms=nms_of({}, {}, wanted=True)))
    path.write_bytes(b"\x3a\x00")
    with pytest.raises(ArtefactError):
        source_from_config(ExportConfig(str(path)))


@pytest.mark.parametrize(("kind", "task"), [("end2end", "detect"), ("end2end", "pose"), ("nms", "segment")])
def test_rows_are_proven(cut, kind, task):
    model, raw = cut(Ends(kind, task, rows=30))
    rows, predictions = ({k: v[0] for k, v in run(m).items()} for m in (model, raw))
    nms = end_to_end(30)
    if kind == "nms":
        nms = NmsSettings("rows", 30, DetectOptions(0.25, 0.7, 30))
    manifest = manifest_of(task, nms)

    def check(changed):
        return check_rows(Ran("raw", [predictions]), Ran("the rows", [changed]), manifest)

    count = int((rows["output0"][:, 4] > 0).sum())
    assert count - 1 <= check(rows) <= count  # of the last row another may be the equal one
    few = rows["output0"].copy()
    few[1:4, 4] = 0
    if kind == "nms":  # which may leave more out than the runtime's
        assert check(rows | {"output0": few}) == count - 3
    else:
        with pytest.raises(VerificationError, match="the same"):
            check(rows | {"output0": few})
    for column, change in ((0, 1.0), (4, -0.01), (-1, 2.0)):
        output0 = rows["output0"].copy()
        output0[:count, column] += change
        if output0[:, 5].max() < len(NAMES) and output0[:, 4].min() >= 0:
            with pytest.raises(VerificationError, match="the rows of the rows are not what is picked"):
                check(rows | {"output0": output0})


@pytest.mark.parametrize(
    ("kind", "task"), [("end2end", "segment"), ("end2end", "pose"), ("end2end", "obb"), ("nms", "pose")]
)
def test_an_engine_says_what_its_outputs_are(tmp_path, rtx, kind, task):
    path = tmp_path / "given.onnx"
    path.write_bytes(foreign_model(Ends(kind, task)).SerializeToString())
    verify = VerifyOptions(allow_inconclusive=True)
    report = export(ExportConfig(str(path), format="engine", verify=verify, output=tmp_path / "made")).report
    engine = open_artefact(tmp_path / "made" / "given.engine")
    assert engine.manifest.nms == (end_to_end(5) if kind == "end2end" else None)
    assert report.verification.rows_checked == ({"end2end": 20}.get(kind))
    with Runtime(path) as given, Runtime(tmp_path / "made" / "given.onnx") as made:
        expected, found = (runtime.infer(np.zeros((64, 64, 3), np.uint8)) for runtime in (given, made))
        assert (made.options == given.options) == (kind == "end2end")
    count = len(expected)
    np.testing.assert_allclose(found.xyxy[:count], expected.xyxy, atol=1e-3)
    np.testing.assert_allclose(found.confidence[:count], expected.confidence, atol=1e-5)
    assert count == len(found) or kind == "nms"
