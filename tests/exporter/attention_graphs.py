"""Small graphs of one attention, in the forms that exporters write: x (B, 8, 4, 6), 2 heads of 4 channels of v."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

HEADS, D, HEIGHT, WIDTH = 2, 4, 4, 6


@dataclass(frozen=True)
class Form:
    """A graph as text between its input x and its map o, the rows of its convolutions, and its other constants."""

    body: str
    convs: dict[str, int]
    constants: dict[str, object] = field(default_factory=dict)
    kernel: int = 1
    batch: int = 1
    bias: bool = True


def model_from(form: Form, dtype: type[np.floating] = np.float32, tail: str = "out = Add(o, e)") -> onnx.ModelProto:
    """Make the model: out is o plus a depthwise convolution of the map v, where the body names that m."""
    kind = {np.float32: "float", np.float64: "double"}[dtype]
    shape = f"{kind}[{form.batch},8,{HEIGHT},{WIDTH}]"
    pe = "[pe] e = Conv<group=8, pads=[1,1,1,1]>(m, wp)" if " m = " in form.body else ""
    text = f'<ir_version: 9, opset_import: ["" : 20]> one ({shape} x) => ({shape} out) {{ {form.body} {pe} {tail} }}'
    model = onnx.parser.parse_model(text if pe else text.replace("Add(o, e)", "Identity(o)"))
    rng = np.random.Generator(np.random.PCG64(5))
    weights: dict[str, NDArray[np.generic]] = {"wp": rng.standard_normal((8, 1, 3, 3)).astype(dtype)} if pe else {}
    for name, rows in form.convs.items():
        weights[f"w_{name}"] = rng.standard_normal((rows, 8, form.kernel, form.kernel)).astype(dtype)
        if form.bias:
            weights[f"b_{name}"] = rng.standard_normal(rows).astype(dtype)
    for name, value in form.constants.items():
        array = np.asarray(value)
        weights[name] = array.astype(dtype if array.dtype == np.float64 else np.int64)
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    onnx.checker.check_model(model, full_check=True)
    return model


AREA = Form(
    """[qkv] c = Conv(x, w_qkv, b_qkv) r = Reshape(c, s1) t = Transpose<perm=[0,2,1]>(r) a = Reshape(t, s2)
    u = Transpose<perm=[0,2,3,1]>(a) q, k, v = Split<axis=2>(u, s3)
    qs = Mul(q, scale) qt = Transpose<perm=[0,1,3,2]>(qs) l = MatMul(qt, k) [soft] p = Softmax<axis=-1>(l)
    pt = Transpose<perm=[0,1,3,2]>(p) y = MatMul(v, pt) yt = Transpose<perm=[0,3,1,2]>(y) ym = Reshape(yt, s4)
    o = Transpose<perm=[0,3,1,2]>(ym) vt = Transpose<perm=[0,3,1,2]>(v) vm = Reshape(vt, s4)
    m = Transpose<perm=[0,3,1,2]>(vm)""",
    {"qkv": 24},
    {"s1": [1, 24, -1], "s2": [2, 12, 2, 12], "s3": [4, 4, 4], "s4": [1, 4, 6, 8], "scale": 0.35},
)
NARROW = Form(
    """[qkv] c = Conv(x, w_qkv, b_qkv) r = Reshape(c, s1) q, k, v = Split<axis=2>(r, s2) qs = Mul(q, scale)
    qt = Transpose<perm=[0,1,3,2]>(qs) l = MatMul(qt, k) [soft] p = Softmax<axis=-1>(l)
    pt = Transpose<perm=[0,1,3,2]>(p) y = MatMul(v, pt) o = Reshape(y, s3) m = Reshape(v, s3)""",
    {"qkv": 16},
    {"s1": [1, 2, 8, 24], "s2": [2, 2, 4], "s3": [1, 8, 4, 6], "scale": [0.7]},
)
BY_HAND = """s = Mul(l, scale) hi = ReduceMax(s, last) d = Sub(s, hi) ex = Exp(d) su = ReduceSum(ex, last)
    [soft] p = Div(ex, su)"""
SEPARATE = Form(
    """[qk] cqk = Conv(x, w_qk, b_qk) [v] m = Conv(x, w_v, b_v) r = Reshape(cqk, s1) t = Transpose<perm=[0,2,1]>(r)
    a = Reshape(t, s2) qa = Slice(a, zero, eight, two) ka = Slice(a, eight, sixteen, two)
    qc = Transpose<perm=[0,2,1]>(qa) kc = Transpose<perm=[0,2,1]>(ka) q = Reshape(qc, s3) k = Reshape(kc, s3)
    rv = Reshape(m, s4) tv = Transpose<perm=[0,2,1]>(rv) av = Reshape(tv, s5) vc = Transpose<perm=[0,2,1]>(av)
    vv = Reshape(vc, s3) qt = Transpose<perm=[0,1,3,2]>(q) l = MatMul(qt, k) """
    + BY_HAND
    + """ pt = Transpose<perm=[0,1,3,2]>(p) y = MatMul(vv, pt) yt = Transpose<perm=[0,3,1,2]>(y) ym = Reshape(yt, s6)
    o = Transpose<perm=[0,3,1,2]>(ym)""",
    {"qk": 16, "v": 8},
    {
        **{"s1": [1, 16, -1], "s2": [2, 12, 16], "s3": [-1, 2, 4, 12], "s4": [1, 8, -1], "s5": [2, 12, 8]},
        **{"s6": [1, 4, 6, 8], "zero": [0], "eight": [8], "sixteen": [16], "two": [2], "last": [-1], "scale": 0.35},
    },
)
THREE = Form(  # scaled_dot_product_attention: half of the scale on either side, the product in the plain order
    """[q] cq = Conv(x, w_q, b_q) [k] ck = Conv(x, w_k, b_k) [v] cv = Conv(x, w_v, b_v)
    rq = Reshape(cq, s1) rk = Reshape(ck, s1) rv = Reshape(cv, s1) q = Transpose<perm=[0,1,3,2]>(rq)
    v = Transpose<perm=[0,1,3,2]>(rv) qs = Mul(half, q) ks = Mul(rk, half) l = MatMul(qs, ks)
    [soft] p = Softmax<axis=3>(l) y = MatMul(p, v) yt = Transpose<perm=[0,1,3,2]>(y) o = Reshape(yt, s2)""",
    {"q": 8, "k": 8, "v": 8},
    {"s1": [1, 2, 4, 24], "s2": [1, 8, 4, 6], "half": 0.6},
)
UNBOUND = Form(  # one permutation and Gather, the scale a quotient of the scores, a kernel of 3x3, two images
    """[qkv] c = Conv<pads=[1,1,1,1]>(x, w_qkv, b_qkv) r = Reshape(c, s1) t = Transpose<perm=[1,0,2,4,3]>(r)
    q = Gather<axis=0>(t, i0) k = Gather<axis=0>(t, i1) v = Gather<axis=0>(t, i2) kt = Transpose<perm=[0,1,3,2]>(k)
    l = MatMul(q, kt) s = Div(l, root) [soft] p = Softmax<axis=-1>(s) y = MatMul(p, v)
    yt = Transpose<perm=[0,1,3,2]>(y) o = Reshape(yt, s2)""",
    {"qkv": 24},
    {"s1": [0, 3, 2, 4, -1], "s2": [0, 8, 4, 6], "i0": 0, "i1": 1, "i2": 2, "root": 6.0},
    kernel=3,
    batch=2,
)
PLAIN_BIAS = Form(AREA.body.replace(", b_qkv", ""), AREA.convs, AREA.constants, bias=False)
FORMS = {
    "areas, one convolution": AREA,
    "q and k narrower than v": NARROW,
    "separate convolutions, softmax by hand": SEPARATE,
    "three convolutions, scale on both": THREE,
    "unbound, two images": UNBOUND,
    "without bias": PLAIN_BIAS,
}


def between(model: onnx.ModelProto, source: str, targets: Iterable[str]) -> onnx.ModelProto:
    """Cut out what makes some tensors from another one, which becomes the only input, of the graph's own type."""
    maker = {name: i for i, node in enumerate(model.graph.node) for name in node.output}
    needed: set[int] = set()
    waiting = list(targets)
    while waiting:
        name = waiting.pop()
        if name != source and name in maker and maker[name] not in needed:
            needed.add(maker[name])
            waiting += model.graph.node[maker[name]].input
    kind = model.graph.input[0].type.tensor_type.elem_type
    graph = helper.make_graph(
        [model.graph.node[i] for i in sorted(needed)],
        "part",
        [helper.make_tensor_value_info(source, kind, [None] * 4)],
        [helper.make_tensor_value_info(name, kind, None) for name in targets],
        [w for w in model.graph.initializer if any(w.name in model.graph.node[i].input for i in needed)],
    )
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


def in_double(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy that computes in float64."""
    double = onnx.ModelProto()
    double.CopyFrom(model)
    tensors = [*double.graph.initializer, *(a.t for n in double.graph.node for a in n.attribute if a.HasField("t"))]
    scales = {name for node in double.graph.node if node.op_type == "Resize" for name in node.input[1:]}  # always float
    for tensor in tensors:
        if tensor.data_type == TensorProto.FLOAT and tensor.name not in scales:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))
    for value in (*double.graph.input, *double.graph.output):
        value.type.tensor_type.elem_type = TensorProto.DOUBLE
    del double.graph.value_info[:]
    return double
