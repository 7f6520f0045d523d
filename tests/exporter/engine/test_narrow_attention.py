"""The narrowest heads that a YAML may ask for are still fused."""

import pytest

from y12.exporter.model.build import seeded_detector
from y12.exporter.model.network_yaml import spec_from_yaml


@pytest.mark.parametrize(
    ("channels", "area", "heads"),
    [
        (64, 1, 4),  # heads of 16
        (40, 4, 2),  # of 20
        (32, 2, 1),  # one head, two areas
        (16, [2, 1], 1),
        (96, [4, 2], 3),
    ],
)
def test_fused(rtx, stages_of, make_profile, channels, area, heads):
    rows = {
        "nc": 2,
        "scales": {"n": [1.0, 1.0, 128]},
        "backbone": [
            [-1, 1, "Conv", [16, 3, 2]],
            [-1, 1, "Conv", [16, 3, 4]],
            [-1, 1, "AreaAttn", [channels, area, heads]],
            [-1, 1, "Conv", [32, 3, 4]],
        ],
        "head": [[[2, 3], 1, "Detect", ["nc"]]],
    }
    facts = stages_of(seeded_detector(spec_from_yaml(rows, "tiny.yaml", "tiny")), make_profile(256, 256)).facts
    assert (facts.attentions_expected, facts.attentions_fused) == (1, 1)
