"""yolov12-hybrid from its YAML: what it is at each scale, what its values choose, and what is refused."""

import pytest
import torch
import yaml
from torch import nn

from y12.errors import ModelSpecError
from y12.exporter.model.blocks.aggregate import Aggregate
from y12.exporter.model.blocks.attention import AreaAttention
from y12.exporter.model.blocks.conv import Conv
from y12.exporter.model.blocks.layer_norm import LayerNorm
from y12.exporter.model.build import detector_from_spec, seeded_detector
from y12.exporter.model.network_yaml import spec_from_yaml
from y12.exporter.model.spec import models_dir, spec_from_name
from y12.exporter.precision.qat.mapping import quantized_convs, simplified_graph
from y12.exporter.precision.quantization_options import QuantizeOptions
from y12.exporter.trace.deploy import deploy_from_detector

FILE = "yolov12-hybrid.yaml"


def yaml_with(rows=None, **values):
    """The shipped YAML with other values, and other rows in the backbone: number → row."""
    data = yaml.safe_load((models_dir() / FILE).read_text())
    data["values"].update(values)
    for number, row in (rows or {}).items():
        data["backbone" if number < 5 else "neck"][number - 5 * (number >= 5)] = row
    return data


def built(scale="n", **values):
    return detector_from_spec(spec_from_yaml(yaml_with(**values), FILE, "mine", scale=scale))


@pytest.mark.parametrize(
    ("scale", "channels", "attentions", "millions"),
    [
        ("n", (64, 128, 256), 8, 2.817),
        ("s", (128, 256, 512), 8, 11.075),
        ("m", (256, 512, 512), 8, 24.525),
        ("l", (256, 512, 512), 13, 33.903),
        ("x", (320, 640, 640), 13, 52.874),
    ],
)
def test_scales(scale, channels, attentions, millions):
    spec = spec_from_name(f"yolov12{scale}-hybrid")
    assert spec.strides == (8, 16, 32)
    assert tuple(spec.layers[i].channels for i in spec.layers[-1].sources) == channels
    detector = detector_from_spec(spec)
    parameters = sum(p.numel() for p in detector.model[:-1].parameters())  # without the head, whose forms differ
    assert parameters / 1e6 == pytest.approx(millions, abs=1e-3)
    found = [m for m in detector.modules() if isinstance(m, AreaAttention)]
    assert len(found) == attentions
    assert {m.head_dim for m in found} == {32}


def test_every_stage_attends_and_areas_are_as_large_everywhere():
    """At 640 pixels each area has 400 cells, whatever the stride."""
    spec = spec_from_name("yolov12n-hybrid")
    cells = {}
    for layer in spec.layers[:-1]:
        if "area" in layer.args:
            area = layer.args["area"]
            rows, columns = area if isinstance(area, tuple) else (area, 1)
            cells.setdefault(layer.stride, set()).add((640 / layer.stride) ** 2 / (rows * columns))
    assert cells == {4: {400.0}, 8: {400.0}, 16: {400.0}, 32: {400.0}}


@pytest.mark.parametrize("hw", [(32, 32), (64, 96)])
@torch.no_grad()
def test_any_multiple_of_the_largest_stride(hw):
    maps = built().maps(torch.zeros(2, 3, *hw))
    assert [m.shape for m in maps] == [
        (2, c, hw[0] // s, hw[1] // s) for c, s in zip((64, 128, 256), (8, 16, 32), strict=True)
    ]


@pytest.mark.parametrize(("patch_size", "strides"), [(2, (4, 8, 16)), (4, (8, 16, 32)), (8, (16, 32, 64))])
@torch.no_grad()
def test_the_patch_size_is_the_first_stride(patch_size, strides):
    detector = built(patch_size=patch_size)
    assert detector.spec.strides == strides
    side = strides[-1]
    assert [m.shape[-1] for m in detector.maps(torch.zeros(1, 3, side, side))] == [4, 2, 1]


@pytest.mark.parametrize(
    ("form", "localisation", "task"),
    [
        ("", "distances", "detect"),
        ("-seg", "distances", "segment"),
        ("-heatmap", "heatmap", "detect"),
        ("-anchors", "anchors", "detect"),
    ],
)
def test_forms_of_the_head(form, localisation, task):
    spec = spec_from_name(f"yolov12n-hybrid{form}", nc=3)
    args = spec.layers[-1].args
    assert (spec.task, args["nc"], args["localisation"]) == (task, 3, localisation)
    assert (args["kernels"], args["iou_loss"]) == ((3, 5, 7), "ciou")
    assert (args["anchors"] is None) == (localisation != "anchors")


def test_the_form_of_the_head_is_a_value_too():
    args = built(localisation="heatmap", iou_loss="giou", kernels=[3, 3, 9]).spec.layers[-1].args
    assert (args["localisation"], args["iou_loss"], args["kernels"]) == ("heatmap", "giou", (3, 3, 9))


@pytest.mark.parametrize(("method", "name"), [("attention", "Attended"), ("concat", "Concatenated"), ("sum", "Summed")])
def test_the_method_of_aggregation_is_a_value(method, name):
    found = [type(m.by).__name__ for m in built(agg_method=method).modules() if isinstance(m, Aggregate)]
    assert found == [name] * 4


def test_the_number_of_heads_is_a_value():
    heads = {m.num_heads for m in built("s", num_heads=4).modules() if isinstance(m, AreaAttention)}
    assert heads == {4}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch_size": 3}, "row 0: PatchEmbed 'patch_size' must be 2 or 4 or 8 or 16 or 32, found 3"),
        ({"agg_method": "mean"}, "row 7: Aggregate 'method' must be attention or concat or sum, found 'mean'"),
        ({"num_heads": 5}, "row 1: 'num_heads' must divide its 32 channels: one of 1, 2, 4, 8, 16, 32; found 5"),
        ({"rows": {1: [-1, 2, "TransformerStage", [128, None, [3, 8]]]}}, "row 1: TransformerStage 'area' must divide"),
        ({"rows": {4: [-1, 2, "TransformerStage", [1024, None, 4, 2.0, 2]]}}, "row 4: TransformerStage 'area' must"),
        ({"rows": {5: [-1, 1, "SpatialAttn", [1024, None, [2, 2, 2]]]}}, "row 5: 'area' must be a number of bands or"),
        ({"rows": {4: [-1, 2, "TransformerStage", [1024, None, 1, 2.0, 4]]}}, "TransformerStage 's' must be from 1 to"),
        ({"rows": {4: [-1, 2, "TransformerStag", [1024]]}}, "did you mean 'TransformerStage'"),
        ({"rows": {7: [[-1], 1, "Aggregate", [512]]}}, "row 7: Aggregate needs two or more rows in 'from', found one"),
        ({"rows": {7: [[-1, 2], 1, "Aggregate", [512]]}}, "row 7: its inputs differ in size"),
        ({"rows": {14: [-1, 2, "ChannelAttn", [16]]}}, "row 14: 'ChannelAttn' cannot be repeated"),
        ({"rows": {0: [-1, 4, "PatchEmbed", [128]]}}, "row 0: 'PatchEmbed' cannot be repeated: expected 1, found 4"),
        ({"rows": {7: [[-1, 3], 4, "Aggregate", [512]]}}, "row 7: 'Aggregate' cannot be repeated"),
    ],
)
def test_refused(changes, message):
    with pytest.raises(ModelSpecError) as error:
        built(**changes)
    assert message in str(error.value)


def test_heads_are_of_no_matter_where_there_is_no_attention_over_sources():
    """Of 40 channels no heads of 32 can be made; concatenation needs none."""
    row = [[-1, 3], 1, "Aggregate", [160, "concat"]]
    assert built(rows={7: row, 9: [-1, 1, "Conv", [512]]}).spec.layers[7].channels == 40
    with pytest.raises(ModelSpecError, match=r"row 7: 'num_heads' must divide its 40 channels: .* found 3"):
        built(rows={7: [[-1, 3], 1, "Aggregate", [160, "attention", 3]], 9: [-1, 1, "Conv", [512]]})


def test_every_parameter_of_backbone_and_neck_learns():
    torch.manual_seed(0)
    detector = built().train()
    maps = detector.maps(torch.randn(2, 3, 64, 64))
    sum((m * torch.randn(m.shape)).sum() for m in maps).backward()
    silent = [
        name
        for name, p in detector.model[:-1].named_parameters()
        if p.grad is None or not torch.isfinite(p.grad).all() or not p.grad.abs().sum() > 0
    ]
    assert silent == []


@pytest.fixture(scope="module")
def seeded():
    return seeded_detector(spec_from_name("yolov12n-hybrid"))


def test_int8_takes_every_convolution_but_the_last_and_leaves_the_gates(seeded):
    """In training too, which maps each quantised convolution to its module."""
    graph = simplified_graph(seeded, (64, 64))
    paths = {conv.path for conv in quantized_convs(seeded, graph, QuantizeOptions())}
    known = {name for name, m in seeded.named_modules() if isinstance(m, Conv)}
    assert paths <= known
    assert {name for name in known if not name.startswith("model.23.")} <= paths
    kinds = {node.op_type for node in graph.graph.node if node.name.startswith("/model.1/fuse/gate")}
    assert "Conv" not in kinds
    assert "Gemm" in kinds


@torch.no_grad()
def test_the_form_that_is_traced_computes_the_same(seeded):
    images = torch.rand(2, 3, 64, 96)
    expected = seeded.maps(images)
    assert all(0.1 < m.std() < 10 for m in expected)  # signals keep their size
    deploy = deploy_from_detector(seeded)
    for found, wanted in zip(deploy.maps(images), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)
    assert not any(isinstance(m, nn.BatchNorm2d | AreaAttention) for m in deploy.modules())
    assert sum(isinstance(m, LayerNorm) for m in deploy.modules()) == 2 * 5 + 3
