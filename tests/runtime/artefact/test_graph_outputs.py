"""What another exporter's graph holds is told by its operators and weights; what its metadata say otherwise is told."""

import time
from dataclasses import replace

import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.foreign_graphs import EXTRAS, Ends, ended, foreign_model
from y12.errors import ArtefactError
from y12.runtime.artefact.manifest import Manifest
from y12.runtime.artefact.nms_settings import NmsSettings, end_to_end
from y12.runtime.artefact.onnx_graph import read_onnx_graph
from y12.runtime.artefact.opened import open_artefact
from y12.runtime.artefact.ultralytics_metadata import manifest_from_metadata
from y12.runtime.options import MAX_DETECTIONS, DetectOptions


@pytest.fixture
def opened(tmp_path):
    def write_and_open(model):
        path = tmp_path / "given.onnx"
        path.write_bytes(model.SerializeToString())
        return open_artefact(path)

    return write_and_open


KINDS = {
    "raw": None,
    "end2end": end_to_end(5),
    "nms": NmsSettings("rows", 5, DetectOptions(conf=0.25, iou=0.7, max_det=5)),
}


@pytest.mark.parametrize("task", EXTRAS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("half", [False, True])
def test_the_kind_is_told_by_the_operators(opened, kind, task, half):
    artefact = opened(foreign_model(Ends(kind, task, half=half)))
    assert artefact.manifest.nms == KINDS[kind]
    assert artefact.manifest.precision == ("fp16" if half else "fp32")
    assert artefact.notes == ()
    assert artefact.found.raw == ("output0" if kind == "raw" else "raw")
    assert artefact.found.corners == ("" if kind == "raw" or task == "obb" else "points")


@pytest.mark.parametrize("kind", ["end2end", "nms"])
def test_as_many_rows_as_a_raw_output_has_channels_are_rows(opened, kind):
    ends = Ends(kind, rows=4 + 3)
    assert opened(foreign_model(ends)).manifest.nms.options.max_det == 7


@pytest.mark.parametrize(("limit", "rows"), [("count", 5), ("least", 5), ("unknown", MAX_DETECTIONS)])
def test_a_free_number_of_rows_is_that_of_the_topk(opened, limit, rows):
    model = foreign_model(Ends("end2end"))
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "rows"
    for node in model.graph.node:
        if node.op_type == "TopK":
            node.input[1] = limit
    model.graph.node.append(helper.make_node("Min", ["shape", "count"], ["least"]))
    assert opened(model).manifest.nms == end_to_end(rows)


def test_what_is_said_otherwise_is_told(opened):
    says_nms = {"end2end": "False", "args": "{'nms': True, 'quantize': 16}"}
    artefact = opened(foreign_model(Ends("end2end", facts=says_nms)))
    assert artefact.manifest.nms == KINDS["end2end"]
    assert artefact.manifest.precision == "fp32"
    assert artefact.notes == (
        "given.onnx: its metadata say precision fp16, its graph has fp32: y12 goes by the graph",
        "given.onnx: its metadata say outputs rows of objects after an NMS, its graph has rows of objects, end to end: "
        "y12 goes by the graph",
    )
    (note,) = opened(foreign_model(Ends("raw", half=True, facts={"args": "{'half': False}"}))).notes
    assert "say precision fp32, its graph has fp16" in note


@pytest.mark.parametrize(
    ("metadata", "precision", "nms"),
    [
        ({"args": "{'quantize': 16}"}, "fp16", None),
        ({"args": "{'quantize': 8, 'half': True}"}, "int8", None),
        ({"args": "{'quantize': None, 'nms': False}", "end2end": "True"}, "fp32", end_to_end(MAX_DETECTIONS)),
        ({"args": {"half": True, "nms": True}, "end2end": False}, "fp16", "nms"),
        ({"args": {"int8": True}}, "int8", None),
        ({"args": "nothing"}, "fp32", None),
        ({}, "fp32", None),
    ],
)
def test_metadata_of_all_years(metadata, precision, nms):
    said = manifest_from_metadata({"names": "['a']", "stride": "32", "task": "detect"} | metadata)
    assert said.precision == precision
    if nms == "nms":
        assert (said.nms.form, said.nms.is_end_to_end) == ("rows", False)
    else:
        assert said.nms == nms
    assert Manifest.from_json(said.to_json()) == said


SCORES = "scores = Sigmoid(logits) "
OTHERS = {
    "logits": ("output0 = Concat<axis=1>(boxes, logits)", "float[1, 7, 8] output0", "made|Concat"),
    "turned round": (
        SCORES + "raw = Concat<axis=1>(boxes, scores) output0 = Transpose<perm=[0, 2, 1]>(raw)",
        "float[1, 8, 7] output0",
        "predictions turned round",
    ),
    "a score for each class in each row": (  # as RT-DETR has them
        "b = Sigmoid(boxes) s = Sigmoid(logits) output0 = Concat<axis=-1>(b, s)",
        "float[1, 8, 7] output0",
        r"\(1, 8, 7\) \(the last operators are Concat, Sigmoid",
    ),
    "a classifier": ("output0 = Softmax<axis=1>(logits)", "float[1, 3] output0", "probabilities of a classifier"),
    "corners": (
        SCORES
        + "near = Sub(boxes, boxes) far = Add(boxes, boxes) b = Concat<axis=1>(near, far) "
        + "output0 = Concat<axis=1>(b, scores)",
        "float[1, 7, 8] output0",
        "centre and size",
    ),
    "another name": (
        SCORES + "dets = Concat<axis=1>(boxes, scores)",
        "float[1, 7, 8] dets",
        "output output0, found dets",
    ),
    "another output": (
        SCORES + "output0 = Concat<axis=1>(boxes, scores) more = Identity(boxes)",
        "float[1, 7, 8] output0, float[1, 4, 8] more",
        "found output0, more",
    ),
    "weights alone": ("unused = Relu(images)", "float[1, 7, 8] output0", "no operator"),
    "classes of scores": (
        "best, at = TopK(logits, images) label = Mod(best, logits) output0 = Concat<axis=-1>(boxes, best, label)",
        "float[1, 5, 6] output0",
        "or rows of objects, found",
    ),
    "NMS of another form": (
        "indices = NonMaxSuppression(boxes, logits) output0 = Cast<to=1>(indices)",
        "float[1, 7, 8] output0",
        "rows of objects: x1 y1 x2 y2 score class",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_outputs_are_refused_by_what_they_are(opened, name):
    nodes, output, message = OTHERS[name]
    head = "boxes = Relu(images) logits = Abs(images) "
    with pytest.raises(ArtefactError, match=message) as caught:
        opened(ended(head + nodes, output))
    assert "\n" not in str(caught.value)
    assert "given.onnx: " in str(caught.value)
    assert "an .onnx with raw outputs" in str(caught.value)


def test_a_detector_that_calls_itself_a_classifier_is_refused(opened):
    with pytest.raises(ArtefactError, match="expected a Softmax of a classifier, found"):
        opened(foreign_model(Ends("raw", facts={"task": "classify"})))


def test_two_inputs_are_refused_and_weights_among_the_inputs_are_none(opened):
    model = foreign_model(Ends("raw"))
    model.graph.input.insert(0, helper.make_tensor_value_info("stride", TensorProto.FLOAT, []))  # an initialiser
    assert opened(model).inputs[0].name == "images"
    model.graph.input.append(helper.make_tensor_value_info("sizes", TensorProto.INT64, [1, 2]))
    with pytest.raises(ArtefactError, match=r"expected one input, images \(B, 3, H, W\), found 2: images, sizes;"):
        opened(model)


def test_int8_and_weights_of_other_types(opened):
    model = foreign_model(Ends("raw"))
    joined = model.graph.node[-1]
    for i, name in enumerate([*joined.input, "output0"]):
        for op, before, after in (("Quantize", name, f"q{i}"), ("Dequantize", f"q{i}", f"dq{i}")):
            if name != "output0":
                node = helper.make_node(f"{op}Linear", [before, "stride"], [after])
                model.graph.node.insert(len(model.graph.node) - 1, node)
                joined.input[i] = f"dq{i}"
    assert opened(model).manifest.precision == "int8"
    joined.output[0] = "joined"
    model.graph.node.append(helper.make_node("QuantizeLinear", ["joined", "stride"], ["joined_q"]))
    model.graph.node.append(helper.make_node("DequantizeLinear", ["joined_q", "stride"], ["output0"]))
    assert opened(model).manifest.precision == "int8"
    model = foreign_model(Ends("raw"))
    model.graph.initializer.append(helper.make_tensor("doubles", TensorProto.DOUBLE, [900], np.zeros(900)))
    with pytest.raises(ArtefactError, match="expected weights of float32 or float16, found float64"):
        opened(model)


def test_weights_in_constant_nodes_count(opened):
    model = foreign_model(Ends("nms"))
    constants = [helper.make_node("Constant", [], [w.name], value=w) for w in model.graph.initializer]
    del model.graph.initializer[:]
    nodes = [*constants, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    artefact = opened(model)
    assert (artefact.manifest.nms, artefact.manifest.precision) == (KINDS["nms"], "fp32")


def test_an_nms_that_hides_its_thresholds_is_taken_to_have_the_usual_ones(opened):
    model = foreign_model(Ends("nms"))
    hidden = ("least", "overlap")
    for weight in [w for w in model.graph.initializer if w.name in hidden]:
        model.graph.initializer.remove(weight)
        model.graph.node.insert(0, helper.make_node("Sqrt", ["images"], [weight.name]))
    assert opened(model).manifest.nms.options == replace(KINDS["nms"].options, conf=0.0)


def test_circles_end(opened):
    model = ended("a = Relu(b) b = Relu(a) output0 = Identity(a)", "float[1, 7, 8] output0")
    with pytest.raises(ArtefactError, match="found"):
        opened(model)
    model = ended("a = Concat<axis=1>(output0, images) output0 = Concat<axis=1>(a, images)", "float[1, 7, 8] output0")
    with pytest.raises(ArtefactError, match="found"):
        opened(model)


def test_a_graph_made_to_be_walked_for_long_is_not(opened):
    chain = [helper.make_node("Identity", [f"i{i - 1}" if i else "images"], [f"i{i}"]) for i in range(4_000)]
    joins = [
        helper.make_node("Concat", [f"c{i - 1}" if i else "images", "i3999"], [f"c{i}"], axis=1) for i in range(4_000)
    ]
    model = foreign_model(Ends("end2end"))
    (scores,) = (node for node in model.graph.node if node.op_type == "Sigmoid")
    scores.op_type, scores.input[0] = "Relu", "c3999"  # each of the joins may be the raw predictions, for all one knows
    model.graph.node.extend([*joins, *chain])
    started = time.process_time()
    with pytest.raises(ArtefactError, match="expected rows of objects picked from boxes and scores"):
        opened(model)
    assert time.process_time() - started < 3
    bare = ended("label = Mod() output0 = Concat<axis=-1>(images, images, label)", "float[1, 7, 8] output0")
    with pytest.raises(ArtefactError, match="found"):
        opened(bare)


def test_a_graph_cut_anywhere_is_refused_or_read(tmp_path):
    path = tmp_path / "cut.onnx"
    content = foreign_model(Ends("nms")).SerializeToString()
    for size in range(0, len(content), 37):
        path.write_bytes(content[:size])
        with pytest.raises(ArtefactError):
            read_onnx_graph(path)


def test_packed_sizes_are_read(tmp_path):
    """The dims of a tensor may be written one by one or together."""
    tensor = helper.make_tensor("w", TensorProto.FLOAT, [300, 5], np.zeros(1500))
    content = tensor.SerializeToString()
    apart, together = b"\x08\xac\x02\x08\x05", b"\x0a\x03\xac\x02\x05"
    assert content.startswith(apart)
    for dims in (apart, together):
        body = dims + content[len(apart) :]
        graph = b"\x2a" + varint(len(body)) + body
        path = tmp_path / "packed.onnx"
        path.write_bytes(b"\x3a" + varint(len(graph)) + graph)
        assert read_onnx_graph(path).weights["w"].count == 1500


def varint(value):
    groups = []
    while value > 127:
        groups.append(128 | value & 127)
        value >>= 7
    return bytes([*groups, value])
