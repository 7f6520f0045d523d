"""What an engine is, proved from its build log: fused attentions, precision of convolutions, kernels."""

import io
import warnings

import numpy as np
import onnx
import pytest
import torch
from text_models import model_of, noise
from torch import nn

from y12.exporter.engine.build_engine import BuildOptions, engine_from_onnx
from y12.exporter.engine.inspect import facts_of
from y12.exporter.engine.layers import Layer, Tensor, layers_from_log
from y12.exporter.graph.attention import attentions_of
from y12.exporter.model.build import detector_from_spec
from y12.exporter.model.spec import spec_from_name
from y12.exporter.precision.cast import cast_to_fp16

FUSED = {"n": 8, "l": 16, "s": 8, "m": 8, "x": 16}
MODELS = [
    pytest.param(f"yolov12{scale}{layout}", count, marks=[pytest.mark.exhaustive] * (scale != "n" or layout != ""))
    for scale, count in FUSED.items()
    for layout in ("", "-v1")
]
FREE = [
    pytest.param("yolov12n", {"batch": (1, 1, 8)}, marks=pytest.mark.exhaustive),
    pytest.param("yolov12n-v1", {"batch": (1, 4, 16)}, marks=pytest.mark.exhaustive),
    ("yolov12n", {"batch": (1, 1, 8), "sides": 2}),
]


def detector(name):
    """A network with torch's own initial weights: what fuses does not depend on them."""
    torch.manual_seed(0)
    return detector_from_spec(spec_from_name(name))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "attentions"), MODELS)
def test_every_attention_fuses_at_every_scale_in_both_layouts(rtx, stages_of, make_profile, name, attentions):
    facts = stages_of(detector(name), make_profile(256, 256), checked=False).facts
    assert (facts.attentions_fused, facts.attentions_expected, facts.unfused) == (attentions, attentions, ())
    assert facts.fp32_convolutions == ()
    assert list(facts.convolutions_by_precision) == ["fp16"]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "free"), FREE)
def test_every_attention_fuses_with_free_axes(rtx, stages_of, make_profile, name, free):
    facts = stages_of(detector(name), make_profile(256, 256, **free), checked=False).facts
    assert (facts.attentions_fused, facts.attentions_expected) == (8, 8)
    assert list(facts.convolutions_by_precision) == ["fp16"]


def test_the_trained_network_at_640(rtx, armor):
    convolutions = [n for n in armor.typed.graph.node if n.op_type == "Conv"]
    assert (armor.facts.attentions_fused, armor.facts.attentions_expected) == (8, 8)
    assert dict(armor.facts.convolutions_by_precision) == {"fp16": len(convolutions)}
    assert armor.facts.fp32_convolutions == ()
    assert sum(armor.facts.layers_by_precision.values()) == armor.facts.kernels


def test_kernels_of_turbo_n_at_640(rtx, seeded_n):
    """The published graph needs 223; what is left is in docs/decisions/0052-fewer-launches.md."""
    assert seeded_n.facts.kernels <= 148
    assert seeded_n.facts.moving_kernels <= 19
    assert seeded_n.facts.bytes_moved <= 144e6
    assert (seeded_n.facts.attentions_fused, seeded_n.facts.attentions_expected) == (8, 8)


def test_an_fp32_engine_fuses_nothing(rtx, armor):
    facts = facts_of(armor.build(armor.simplified).layers, armor.simplified)
    assert (facts.attentions_fused, facts.attentions_expected) == (0, 8)
    assert len(facts.unfused) == 8
    assert list(facts.convolutions_by_precision) == ["fp32"]
    assert len(facts.fp32_convolutions) == sum(facts.convolutions_by_precision.values())
    assert list(facts.layers_by_precision) == ["fp32"]


class PublishedOrder(nn.Module):
    """Attention as the papers' code writes it: `v @ attn^T` on (d, L) maps; or in the order that fuses."""

    def __init__(self, fusing: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fusing = fusing
        self.stem = nn.Conv2d(3, 64, 3, 8, 1)
        self.qkv = nn.ModuleList(nn.Conv2d(64, 192, 1) for _ in range(2))
        self.proj = nn.ModuleList(nn.Conv2d(64, 64, 1) for _ in range(2))

    def forward(self, images):
        x = self.stem(images)
        for qkv, proj in zip(self.qkv, self.proj, strict=True):
            q, k, v = qkv(x).reshape(1, 2, 96, -1).split(32, 2)  # each (B, heads, d, L)
            if self.fusing:
                q, k, v = (t.transpose(-2, -1) for t in (q, k, v))
                mixed = ((q * 32**-0.5) @ k.transpose(-2, -1)).softmax(-1) @ v
                mixed = mixed.transpose(-2, -1)
            else:
                attn = (q.transpose(-2, -1) @ k * 32**-0.5).softmax(-1)
                mixed = v @ attn.transpose(-2, -1)
            x = x + proj(mixed.reshape(x.shape))
        return x


@pytest.mark.parametrize(("fusing", "fused"), [(False, 0), (True, 2)])
def test_the_published_operand_order_is_counted_and_does_not_fuse(rtx, make_profile, fusing, fused):
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        images = torch.zeros(1, 3, 160, 160)
        torch.onnx.export(
            PublishedOrder(fusing), (images,), buffer, dynamo=False, input_names=["images"], opset_version=20
        )
    typed, _ = cast_to_fp16(onnx.load_from_string(buffer.getvalue()))
    built = engine_from_onnx(typed.SerializeToString(), BuildOptions(make_profile(160, 160)), rtx)
    facts = facts_of(built.layers, typed)
    assert (facts.attentions_fused, facts.attentions_expected) == (fused, 2)
    assert len(facts.unfused) == 2 - fused


HEADS = "(float[1,2,16,32] q, float[1,2,32,16] k, float[1,2,16,32] v) => (float[1,2,16,32] out) "
BODIES = [
    ("[m1] s = MatMul(q, k) [sm] p = Softmax<axis=-1>(s) [m2] out = MatMul(p, v)", ["sm"]),
    ("[m1] s = MatMul(q, k) [x] t = Mul(s, c) [sm] p = Softmax<axis=-1>(t) [m2] out = MatMul(p, v)", ["sm"]),
    # the published order: the second product reads the transposed softmax as its second operand
    (
        "[m1] s = MatMul(q, k) [sm] p = Softmax<axis=-1>(s) pt = Transpose<perm=[0,1,3,2]>(p)"
        "vt = Transpose<perm=[0,1,3,2]>(v) [m2] o = MatMul(vt, pt) out = Transpose<perm=[0,1,3,2]>(o)",
        ["sm"],
    ),
    # dead: a softmax between products that reaches no output
    (
        "[m1] s = MatMul(q, k) [sm] p = Softmax<axis=-1>(s) [m2] out = MatMul(p, v)"
        "[m3] s2 = MatMul(q, k) [dead] p2 = Softmax<axis=-1>(s2) [m4] o2 = MatMul(p2, v)",
        ["sm"],
    ),
    # no attention: a softmax without a product before it, or behind it
    ("[sm] p = Softmax<axis=-1>(q) pt = MatMul(p, k) out = MatMul(pt, v)", []),
    ("[m1] s = MatMul(q, k) r = MatMul(s, v) [sm] out = Softmax<axis=-1>(r)", []),
    ("[m1] s = MatMul(q, k) r = Relu(s) [sm] p = Softmax<axis=-1>(r) [m2] out = MatMul(p, v)", []),
    # the softmax has a second reader that leads nowhere, before the product
    (
        "[m1] s = MatMul(q, k) [sm] p = Softmax<axis=-1>(s) t = Transpose<perm=[0,1,3,2]>(p) u = Relu(t)"
        "[m2] out = MatMul(p, v)",
        ["sm"],
    ),
]


@pytest.mark.parametrize(("body", "softmaxes"), BODIES)
def test_attentions_are_found_by_topology(body, softmaxes):
    model = model_of(HEADS + "{" + body + "}", c=np.float32([0.1]))
    assert [a.softmax for a in attentions_of(model)] == softmaxes


def layer(*origins, weights=0, precision="fp16", name="kernel"):
    tensors = (Tensor(precision, 64),)
    return Layer(name, "kgen", origins, tensors, (Tensor(precision, weights),) if weights else (), tensors)


TWO = (
    "[m1] s = MatMul(q, k) [sm] p = Softmax<axis=-1>(s) [m2] o = MatMul(p, v)"
    "[m3] s2 = MatMul(o, k) [sn] p2 = Softmax<axis=-1>(s2) [m4] out = MatMul(p2, v)"
)


@pytest.mark.parametrize(
    ("layers", "unfused"),
    [
        ([layer("m1", "sm", "m2"), layer("m3", "sn", "m4")], ()),
        ([layer("m1", "sm", "m2"), layer("m3", "sn"), layer("m4")], ("sn",)),
        ([layer("m1", "sm"), layer("m2"), layer("m3"), layer("sn", "m4")], ("sm", "sn")),
        ([layer("m1", "sm", "m2", "m3", "sn", "m4")], ("sn",)),  # one layer counts for one attention
        ([layer("m1", "sm", "m2", "other"), layer("m3", "sn", "m4")], ()),
        ([], ("sm", "sn")),
    ],
)
def test_an_attention_is_fused_where_one_layer_of_its_own_computes_it(layers, unfused):
    model = model_of(HEADS + "{" + TWO + "}")
    facts = facts_of(layers, model)
    assert facts.unfused == unfused
    assert (facts.attentions_fused, facts.attentions_expected) == (2 - len(unfused), 2)


@pytest.mark.parametrize(
    ("layers", "precisions"),
    [
        ([layer("c", weights=12)], {"fp16": 1}),
        ([layer("c", weights=12, precision="fp32")], {"fp32": 1}),
        # a kernel that only casts for it names it too: the one with its weights counts
        ([layer("c", precision="fp32"), layer("c", weights=12)], {"fp16": 1}),
        ([layer("c", weights=1), layer("c", weights=12, precision="fp32")], {"fp32": 1}),
        ([layer("other", weights=12)], {"unknown": 1}),
    ],
)
def test_the_precision_of_a_convolution_is_that_of_the_layer_with_its_weights(layers, precisions):
    model = model_of("(float[1,3,4,4] x) => (float[1,4,4,4] y) { [c] y = Conv(x, w) }", w=noise(4, 3, 1, 1))
    assert dict(facts_of(layers, model).convolutions_by_precision) == precisions


@pytest.mark.parametrize(
    ("datatype", "precision"), [("BFloat16", "bf16"), ("Half", "fp16"), ("Float", "fp32"), ("Int8", "int8")]
)
def test_a_datatype_of_the_log_is_the_precision_it_says(datatype, precision):
    tensor = f"{{ Name: x, Dimensions: [1,8], Format/Datatype: {datatype} }}"
    line = f"Name: k, LayerType: kgen, Inputs: [{tensor}], Constants: [], Outputs: [], TacticName: t, Metadata: m"
    (found,) = layers_from_log([("VERBOSE", f"Layers:\n{line}")])
    assert found.precision == precision


# Lines of TensorRT-RTX 1.4.0.76's log, cut in their metadata: it lists no constants, and of a synchronisation nothing.
OF_1_4 = """Layers:
Name: entry^bb^signal^3_myl0_0, LayerType: signal, Inputs: [], Outputs: [], TacticName: , StreamId: 0, EventId: 26, \
Metadata:\x20
Name: entry^bb^wait^5_myl0_1, LayerType: wait, Inputs: [], Outputs: [], TacticName: , StreamId: 5, EventId: 26, \
Metadata:\x20
Name: __myl_CastConc_myl0_0, LayerType: kgen, Inputs: [ { Name: images, Dimensions: [1,3,64,64], Format/Datatype: \
Float }], Outputs: [ { Name: __myln_k_arg__bb1_2_myl0, Dimensions: [1,4,64,64], Format/Datatype: Half }], \
TacticName: __myl_CastConc_0x1, StreamId: 0, Metadata: [ONNX Layer: c]
Name: __myl_CorrSilu_myl0_1, LayerType: runtime_fusion, Inputs: [ { Name: __myln_k_arg__bb1_2_myl0, Dimensions: \
[1,4,64,64], Format/Datatype: Half }], Outputs: [ { Name: __myln_k_arg__bb1_3_myl0, Dimensions: [1,16,32,32], \
Format/Datatype: Half }], TacticName: , StreamId: 0, Metadata: [ONNX Layer: c]__gemm_from_conv1x1"""


@pytest.mark.parametrize(("also", "precision"), [("", "fp16"), ("a residual", "unknown")])
def test_a_log_without_constants_tells_a_precision_by_inputs_that_agree(also, precision):
    text = OF_1_4.replace(
        "[1,4,64,64], Format/Datatype: Half }], Outputs: [ { Name: __myln_k_arg__bb1_3",
        "[1,4,64,64], Format/Datatype: Half }, { Name: r, Dimensions: [1,4], Format/Datatype: Float }], Outputs: [ { "
        "Name: __myln_k_arg__bb1_3",
    )
    layers = layers_from_log([("VERBOSE", text if also else OF_1_4)])
    assert [found.name for found in layers] == ["__myl_CastConc_myl0_0", "__myl_CorrSilu_myl0_1"]
    model = model_of("(float[1,3,4,4] x) => (float[1,4,4,4] y) { [c] y = Conv(x, w) }", w=noise(4, 3, 1, 1))
    assert dict(facts_of(layers, model).convolutions) == {"c": precision}
