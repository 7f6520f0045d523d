"""A network of a few rows that has every kind of attention and split, quantised quickly."""

import copy

import pytest
import torch

from y12.exporter.model.build import seeded_detector
from y12.exporter.model.spec import spec_from_yaml
from y12.exporter.precision.qat.mapping import simplified_graph
from y12.exporter.precision.qat.prepare import QatOptions, prepare
from y12.exporter.precision.qdq.qdq import QuantizeOptions, tensors_to_calibrate
from y12.exporter.precision.ranges import Range, Ranges

# Row 1 is split behind its SiLU and has channels that the export fills up; row 3 has attention with one convolution for
# q and k and one for v, row 4 with one for each head's q, k and v, row 6 with q and k half as wide as v.
ROWS = {
    "nc": 3,
    "scales": {"n": [1.0, 1.0, 128]},
    "backbone": [
        [-1, 1, "Conv", [16, 3, 4]],
        [-1, 1, "C3k2", [32, False, 0.25]],
        [-1, 1, "Conv", [64, 3, 2]],
        [-1, 1, "A2C2f", [64, True, 1]],
        [-1, 1, "A2C2f", [64, True, 4, True, 1.0, "v1"]],
        [-1, 1, "Conv", [128, 3, 2]],
        [-1, 1, "C2PSA", [128]],
    ],
    "head": [[[4, 6], 1, "Detect", ["nc"]]],
}
SIDE = 64


@pytest.fixture(scope="session")
def tiny():
    """The network, its simplified graph, and the largest values of its activations on some noise."""
    detector = seeded_detector(spec_from_yaml(ROWS, "tiny.yaml", "tiny net"))
    graph = simplified_graph(detector, (SIDE, SIDE))
    tensors = tensors_to_calibrate(graph, QuantizeOptions())
    return detector, graph, Ranges({name: Range(-4.0, 4.0) for name in tensors}, "given", 1)


@pytest.fixture(scope="session")
def prepared_once(tiny):
    detector, _, ranges = tiny
    return prepare(detector, ranges, QatOptions())


@pytest.fixture
def prepared(prepared_once):
    return copy.deepcopy(prepared_once)


@pytest.fixture(scope="session")
def noise():
    return torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(5))
