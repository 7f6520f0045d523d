"""The shape of an export: what is asked for, else a given graph's own; what is asked for reaches the graph."""

import onnx
import pytest
from onnx import TensorProto, helper

from y12.errors import OptionsError
from y12.exporter.export_config import ExportConfig, ShapeOptions
from y12.exporter.input_profile import with_profile
from y12.exporter.source import source_from_config
from y12.runtime.artefact.manifest import AxisRange, InputProfile

NAMES = {"names": "{0: 'cat', 1: 'dog'}", "stride": "32", "task": "detect", "batch": "1", "imgsz": "[96, 64]"}


def write_graph(path, *dims, **metadata):
    """A graph that hands its input through, and a sigmoid of it, as Ultralytics' exporter describes one."""
    b, _, h, w = dims
    info = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, (b, channels, h, w))
        for name, channels in (("images", 3), ("output0", 6))
    ]
    nodes = [
        helper.make_node("Relu", ["images"], ["boxes"]),
        helper.make_node("Sigmoid", ["images"], ["scores"]),
        helper.make_node("Concat", ["boxes", "scores"], ["output0"], axis=1),
    ]
    graph = helper.make_graph(nodes, "g", info[:1], info[1:])
    graph.value_info.append(helper.make_tensor_value_info("noted", TensorProto.FLOAT, dims))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    helper.set_model_props(model, NAMES | metadata)
    onnx.save(model, path)
    return str(path)


def profile_of(b, h, w):
    return InputProfile(
        *(AxisRange(*span) if isinstance(span, tuple) else AxisRange(span, span, span) for span in (b, h, w))
    )


def dims_of(values):
    return [[d.dim_value or d.dim_param for d in value.type.tensor_type.shape.dim] for value in values]


FREE = ("batch", 3, "height", "width")
CLOSED = "its batch, height, width can be of any size; nothing was said of that, so that it is made for batch 1, 96x64"
CASES = [  # the file's dims, what is asked for, the profile, the graph's dims, what is told
    ((4, 3, 96, 64), ShapeOptions(), profile_of(4, 96, 64), [4, 3, 96, 64], None),
    ((4, 3, 96, 64), ShapeOptions(((96, 64),), (4,)), profile_of(4, 96, 64), [4, 3, 96, 64], None),
    (FREE, ShapeOptions(), profile_of(1, 96, 64), [1, 3, 96, 64], CLOSED),
    (FREE, ShapeOptions(((128, 32),), (2,)), profile_of(2, 128, 32), [2, 3, 128, 32], None),
    (FREE, ShapeOptions(((128, 32),)), profile_of(1, 128, 32), [1, 3, 128, 32], "its batch can be of any size"),
    (FREE, ShapeOptions(batch=(2,)), profile_of(2, 96, 64), [2, 3, 96, 64], "its height, width can be of any size"),
    (
        FREE,
        ShapeOptions(((32, 32), (96, 64), (96, 96)), (1, 2, 4)),
        profile_of((1, 2, 4), (32, 96, 96), (32, 64, 96)),
        list(FREE),
        None,
    ),
    (FREE, ShapeOptions(dynamic=True), profile_of((1, 1, 8), (64, 96, 192), (32, 64, 128)), list(FREE), None),
    (("n", 3, 96, 64), ShapeOptions(batch=(1, 2, 4)), profile_of((1, 2, 4), 96, 64), ["n", 3, 96, 64], None),
    (("n", 3, 96, 64), ShapeOptions(), profile_of(1, 96, 64), [1, 3, 96, 64], "its batch can be of any size"),
]


@pytest.mark.parametrize(("dims", "shapes", "profile", "expected", "told"), CASES)
def test_the_shape_reaches_the_graph(tmp_path, dims, shapes, profile, expected, told):
    config = ExportConfig(write_graph(tmp_path / "net.onnx", *dims), shapes=shapes)
    given = source_from_config(config)
    source, found = with_profile(config, given)
    assert found == profile
    assert dims_of(source.graph.graph.input) == [expected]
    assert (len(source.notes), told is None) in ((0, True), (1, False))
    assert told is None or source.notes[0].startswith(told)
    if list(dims) != expected:
        assert not source.graph.graph.value_info
    assert dims_of(given.graph.graph.input) == [list(dims)]  # the file's own is as it was
    fixed = [size for size in dims_of(source.graph.graph.output)[0] if isinstance(size, str) and size]
    assert bool(fixed) == (not profile.is_fixed)


@pytest.mark.parametrize(
    ("shapes", "reason"),
    [
        (
            ShapeOptions(batch=(1,)),
            "its batch is fixed to 4, asked for 1 to 1",
        ),  # said aloud, though it is what others get
        (ShapeOptions(((96, 96),)), "its width is fixed to 64, asked for 96 to 96"),
        (ShapeOptions(dynamic=True), "its batch is fixed to 4, asked for 1 to 8"),
    ],
)
def test_a_fixed_graph_keeps_its_shape(tmp_path, shapes, reason):
    config = ExportConfig(write_graph(tmp_path / "net.onnx", 4, 3, 96, 64), shapes=shapes)
    with pytest.raises(OptionsError, match=r"net\.onnx: ") as caught:
        with_profile(config, source_from_config(config))
    assert reason in str(caught.value)
    assert "leave out --imgsz, --batch and --dynamic" in str(caught.value)


def test_a_network_takes_what_is_usual():
    config = ExportConfig("yolov12n", random_weights=True)
    source, profile = with_profile(config, source_from_config(config))
    assert profile == profile_of(1, 640, 640)
    assert source.graph is None
