"""Ternary weights and 8-bit activations against the papers' equations, written out in float64 number by number."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from y12.exporter.model.blocks.bit import (
    BitConv2d,
    BitLinear,
    TokenRounding,
    bit_form,
    plain_form,
    round_tokens,
    ternary,
)
from y12.exporter.model.blocks.conv import Conv
from y12.exporter.model.heads.head import DFL

LEAST_STEP = 2.0**-14
CONVS = [
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": 1, "bias": False},
    {"kernel_size": 3, "stride": 2, "padding": 1, "groups": 2},
    {"kernel_size": 5, "padding": 2, "groups": 4},  # depthwise
    {"kernel_size": 3, "padding": 2, "dilation": 2},
]


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def expected_weight(weight):
    """s T with s = mean|W| + 1e-5, one weight after the other."""
    values = weight.detach().flatten().tolist()
    scale = sum(abs(w) for w in values) / len(values) + 1e-5
    codes = [round(min(1.0, max(-1.0, w / scale))) for w in values]
    return torch.tensor(codes, dtype=torch.float64).reshape(weight.shape) * scale


def expected_tokens(x):
    """d round(x / d) with d = max|x| / 127, for rows (N, C) one after the other."""
    rows = []
    for row in x.tolist():
        step = max(max(abs(v) for v in row) / 127, LEAST_STEP)
        rows.append([round(v / step) * step for v in row])
    return torch.tensor(rows, dtype=torch.float64)


def expected_map(x):
    rows = expected_tokens(x.permute(0, 2, 3, 1).flatten(0, 2))
    return rows.reshape(x.shape[0], *x.shape[2:], x.shape[1]).permute(0, 3, 1, 2)


def conv_of(settings, seed=1):
    conv = BitConv2d(4, 8, **settings, dtype=torch.float64)
    for i, parameter in enumerate(conv.parameters()):
        parameter.data = noise(*parameter.shape, seed=seed + i)
    return conv


@pytest.mark.parametrize("settings", CONVS)
def test_a_convolution_is_that_of_rounded_weights_and_tokens(settings):
    conv, x = conv_of(settings), noise(2, 4, 6, 7, seed=9)
    plain = {key: value for key, value in settings.items() if key not in ("kernel_size", "bias")}
    expected = F.conv2d(expected_map(x), expected_weight(conv.weight), conv.bias, **plain)
    torch.testing.assert_close(conv(x), expected, rtol=1e-12, atol=1e-12)


def test_a_linear_layer_is_that_of_rounded_weights_and_rows():
    linear, x = BitLinear(6, 5, dtype=torch.float64), noise(3, 6)
    expected = expected_tokens(x) @ expected_weight(linear.weight).T + linear.bias
    torch.testing.assert_close(linear(x), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(linear(x.reshape(1, 3, 1, 6)).flatten(0, 2), expected, rtol=1e-12, atol=1e-12)


def test_an_image_without_batch_is_rounded_by_its_positions_too():
    conv, x = conv_of(CONVS[0]), noise(1, 4, 5, 5)
    torch.testing.assert_close(conv(x[0]), conv(x)[0])


@pytest.mark.parametrize("scale", [1.0, 1e-3, 300.0, 0.0])
def test_codes_are_minus_one_zero_and_one_of_one_scale(scale):
    codes, found = ternary(scale * noise(8, 4, 3, 3))
    assert set(codes.unique().tolist()) == ({-1.0, 0.0, 1.0} if scale else {0.0})
    torch.testing.assert_close(codes * found, expected_weight(scale * noise(8, 4, 3, 3)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1e-7, 1e-4, 1.0, 6e4])
def test_no_token_has_more_than_255_levels_and_its_largest_value_stays(dtype, size):
    x = (size * noise(200, 16).clamp(-1, 1)).to(dtype)
    x[0], x[1, 0] = 0, -size
    rounded = round_tokens(x, -1).double()
    steps = (x.double().abs().amax(1, keepdim=True) / 127).clamp(min=LEAST_STEP)
    codes = rounded / steps
    assert torch.isfinite(rounded).all()
    assert (rounded[0] == 0).all()
    assert codes.abs().max() <= 127 * (1 + torch.finfo(dtype).eps)
    off = torch.finfo(dtype).eps * 127  # of a code, by rounding the result to its type
    torch.testing.assert_close(codes, codes.round(), rtol=0, atol=off if size > 1e-4 else 1)
    assert (rounded - x.double()).abs().max() <= float(steps.max()) * (0.5 + off)


def test_bfloat16_is_rounded_in_fp32():
    x = noise(50, 16).bfloat16()
    found = round_tokens(x, 1)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, round_tokens(x.float(), 1).bfloat16())


@pytest.mark.parametrize("settings", CONVS)
def test_gradients_pass_straight_through(settings):
    conv, x = conv_of(settings), noise(2, 4, 6, 7, seed=9).requires_grad_()
    upstream = noise(*conv(x).shape, seed=3)
    conv(x).backward(upstream)
    rounded = expected_map(x.detach()).requires_grad_()
    weight = expected_weight(conv.weight).requires_grad_()
    bias = None if conv.bias is None else conv.bias.detach().requires_grad_()
    plain = {key: value for key, value in settings.items() if key not in ("kernel_size", "bias")}
    F.conv2d(rounded, weight, bias, **plain).backward(upstream)
    torch.testing.assert_close(x.grad, rounded.grad)
    torch.testing.assert_close(conv.weight.grad, weight.grad)  # of weights beyond the clip too
    assert bool((conv.weight.abs() > 1.5 * conv.weight.abs().mean()).any())
    if bias is not None:
        torch.testing.assert_close(conv.bias.grad, bias.grad)


def test_steps_of_an_optimizer_turn_codes_over_until_the_layer_computes_what_is_asked():
    torch.manual_seed(0)
    wanted = torch.tensor([[1.0, 0.0, -1.0, 1.0], [0.0, 0.0, 1.0, -1.0]])
    layer, x = BitLinear(4, 2, bias=False), torch.randn(64, 4)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.05, momentum=0.9)
    before, latent = ternary(layer.weight)[0], layer.weight.detach().clone()
    for step in range(80):
        optimizer.zero_grad()
        (layer(x) - x @ wanted.T).square().mean().backward()
        optimizer.step()
        if step == 0:
            assert not torch.equal(layer.weight, latent)
    assert not torch.equal(before, wanted)
    assert torch.equal(ternary(layer.weight)[0], wanted)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_computes_in_its_type_and_trains_in_fp32(dtype):
    module = bit_form(Conv(8, 8, 3)).train()
    x = noise(2, 8, 6, 6).float()
    with torch.autocast("cpu", dtype):
        y = module(x)
    assert module.conv(x).dtype == torch.float32
    y.float().square().mean().backward()
    assert module.conv.weight.grad.dtype == torch.float32
    torch.testing.assert_close(y.float(), module(x), rtol=0.05, atol=0.05)
    with torch.autocast("cpu", dtype):
        assert module.conv(x).dtype == dtype


@torch.no_grad()
def test_channels_last_gives_the_same_and_stays_so():
    module = bit_form(nn.Sequential(Conv(8, 8, 3), Conv(8, 8, 7, g=8), Conv(8, 16))).eval()
    x = noise(2, 8, 8, 8).float()
    expected = module(x)
    found = module.to(memory_format=torch.channels_last)(x.contiguous(memory_format=torch.channels_last))
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-2)  # a code may turn over where sums round otherwise
    assert float((found - expected).abs().median()) < 1e-6


class Parts(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = Conv(3, 8, 3)
        self.rows = nn.ModuleList([nn.Linear(8, 8), nn.Conv2d(8, 4, 1)])
        self.up, self.dfl = nn.ConvTranspose2d(8, 8, 2), DFL()
        self.again = self.rows[0]  # one layer under two names


def kinds(module):
    return {
        name: type(part) for name, part in module.named_modules(remove_duplicate=False) if not list(part.children())
    }


def test_bit_form_changes_what_is_trained_and_leaves_what_it_is_told():
    parts = Parts()
    parameters, keys = dict(parts.named_parameters()), list(parts.state_dict())
    assert bit_form(parts, leave=[parts.rows[1]]) is parts
    found = kinds(parts)
    assert (found["first.conv"], found["rows.0"], found["again"]) == (BitConv2d, BitLinear, BitLinear)
    assert (found["rows.1"], found["up"], found["dfl.conv"]) == (nn.Conv2d, nn.ConvTranspose2d, nn.Conv2d)
    assert list(parts.state_dict()) == keys
    assert all(parameter is parameters[name] for name, parameter in parts.named_parameters())
    assert kinds(bit_form(parts, leave=[parts.rows[1]])) == found


@pytest.mark.parametrize(("layer", "form"), [(nn.Conv2d(2, 3, 1), BitConv2d), (nn.Linear(2, 3), BitLinear)])
def test_bit_form_of_one_layer_is_that_layer(layer, form):
    assert bit_form(layer) is layer
    assert type(layer) is form


def test_weights_move_between_both_forms_and_copies_are_apart():
    bit = bit_form(Conv(4, 4, 3))
    plain = Conv(4, 4, 3)
    plain.load_state_dict(bit.state_dict())
    assert torch.equal(plain.conv.weight, bit.conv.weight)
    twin = copy.deepcopy(bit)
    twin.conv.weight.data += 1
    assert type(twin.conv) is BitConv2d
    assert not torch.equal(twin.conv.weight, bit.conv.weight)


@pytest.mark.parametrize(
    ("layer", "x"),
    [
        *((BitConv2d(4, 8, **settings), noise(2, 4, 6, 7).float()) for settings in CONVS),
        (BitLinear(6, 5), noise(3, 6).float()),
    ],
)
@torch.no_grad()
def test_the_plain_form_behind_token_rounding_is_the_layer_bit_for_bit(layer, x):
    before = layer.weight.detach().clone()
    plain = plain_form(layer)
    assert type(plain) in (nn.Conv2d, nn.Linear)
    assert torch.equal(plain(TokenRounding(isinstance(layer, nn.Linear))(x)), layer(x))
    assert not torch.equal(plain(x), layer(x))
    scale = plain.weight.abs().max()
    assert set(plain.weight.abs().unique().tolist()) == {0.0, float(scale)}
    assert torch.equal(layer.weight, before)


def test_the_plain_form_of_a_plain_layer_is_a_copy():
    layer = nn.Conv2d(2, 3, 1)
    plain = plain_form(layer)
    assert plain is not layer
    assert torch.equal(plain.weight, layer.weight)
    plain.weight.data += 1
    assert not torch.equal(plain.weight, layer.weight)
