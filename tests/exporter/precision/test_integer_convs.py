"""Convolutions as they are quantised: what is told of them beforehand is what the typed graph has."""

import numpy as np
import pytest
from improve_case import OPTIONS, network, ranges_for
from text_models import noise, weights_of

from exporter.precision.qdq import integer_convs, quantize
from exporter.precision.quantize_weights import QuantizedWeight
from exporter.precision.ranges import Grid


@pytest.fixture(scope="module", params=["trt", "cpu"])
def target(request):
    return request.param


def test_the_integers_and_grids_are_those_of_the_typed_graph(target):
    model = network()
    ranges = ranges_for(model, target)
    typed = weights_of(quantize(model, ranges, OPTIONS[target])[0])
    convs = integer_convs(model, ranges, OPTIONS[target])
    assert [conv.node.name for conv in convs] == ["stem", "depth", "mid", "grouped", "last"][: 5 - (target == "trt")]
    for conv in convs:
        tensor, weight = conv.node.input[:2]
        np.testing.assert_array_equal(typed[f"{weight}_int8"], conv.weight.integers)
        if f"{weight}_scale" in typed:  # ConvInteger takes none
            np.testing.assert_array_equal(typed[f"{weight}_scale"].astype(np.float32), conv.weight.scales)
        step = typed.get(f"{tensor}_scale", typed.get(f"{tensor}_fp16_scale"))
        assert float(step) == conv.grid.scale
        zero = 0 if target == "trt" else typed[f"{tensor}_zero_point"]
        assert conv.grid.zero_point == zero


def test_integers_that_were_chosen_are_written_with_their_scales_and_no_others(target):
    model = network()
    ranges = ranges_for(model, target)
    integers = np.random.Generator(np.random.PCG64(1)).integers(-127, 128, (8, 4, 1, 1)).astype(np.int8)
    scales = (np.arange(1, 9) / 1024).astype(np.float32)
    plain, chosen = (
        weights_of(quantize(model, ranges, OPTIONS[target], choice)[0])
        for choice in (None, {"w3": QuantizedWeight(integers, scales, 0)})
    )
    np.testing.assert_array_equal(chosen["w3_int8"], integers)
    np.testing.assert_array_equal(chosen["w3_scale"], scales)
    assert {name for name in plain if not np.array_equal(plain[name], chosen[name])} == {"w3_int8", "w3_scale"}


@pytest.mark.parametrize("grid", [Grid(0.25, 0, -128, 127), Grid(0.03125, 17, 0, 255), Grid(1.0, 0, 0, 255)])
def test_a_grid_rounds_as_quantising_and_dequantising_does(grid):
    values = noise(1000) * 60
    expected = (np.clip(np.rint(values / grid.scale) + grid.zero_point, grid.least, grid.most) - grid.zero_point) * (
        grid.scale
    )
    np.testing.assert_array_equal(grid.rounded(values), expected.astype(np.float32))
    np.testing.assert_array_equal(grid.rounded(grid.rounded(values)), grid.rounded(values))
