"""Anchors and kernels that do not fit their head are refused where the YAML is read, in one line."""

import math

import pytest
import torch
from tiny_networks import rows

from y12.errors import ModelSpecError
from y12.exporter.checkpoint.load import detector_from_checkpoint, read_checkpoint
from y12.exporter.checkpoint.save import write_checkpoint
from y12.exporter.model.build import detector_from_spec
from y12.exporter.model.network_yaml import spec_from_yaml

LEVEL = [[10, 13], [16.5, 30]]
GOOD = [LEVEL, LEVEL, LEVEL]
FROM = [3, 7, 5]


def refusal(module, args):
    with pytest.raises(ModelSpecError) as error:
        spec_from_yaml(rows(row8=[FROM, 1, module, args]), "tiny.yaml", "tiny")
    message = str(error.value)
    assert message.startswith("tiny.yaml: row 8: ")
    assert "\n" not in message
    assert len(message) < 400
    return message


UNFIT = {
    "two levels": ([LEVEL, LEVEL], "'anchors' must be 3 lists of [width, height], one for each map, found"),
    "four levels": ([LEVEL] * 4, "'anchors' must be 3 lists of"),
    "no levels": ([], "'anchors' must be 3 lists of"),
    "ragged": ([LEVEL, LEVEL, LEVEL[:1]], "as many [width, height] for each map, 1 to 16, found [2, 2, 1] in"),
    "empty levels": ([[], [], []], "found [0, 0, 0]"),
    "too many": ([[[1, 1]] * 17] * 3, "found [17, 17, 17]"),
    "flat levels": (
        [[10, 13, 16, 30]] * 3,
        "'anchors' must be [width, height] in pixels, above 0 and up to 65536, fou",
    ),
    "numbers": ([1, 2, 3], "found [0, 0, 0]"),
    "words": (["ab", "cd", "ef"], "found [0, 0, 0]"),
    "three sides": ([[[1, 2, 3], [1, 2]], LEVEL, LEVEL], "above 0 and up to 65536, found (1, 2, 3)"),
    "one side": ([LEVEL, [[1], [1, 2]], LEVEL], "found (1,)"),
    "zero": ([LEVEL, [[10, 0], [1, 2]], LEVEL], "found (10, 0)"),
    "negative": ([LEVEL, LEVEL, [[1, 2], [-1.0, 3]]], "found (-1.0, 3)"),
    "a bool": ([LEVEL, LEVEL, [[True, 2], [1, 3]]], "found (True, 2)"),
    "NaN": ([LEVEL, LEVEL, [[math.nan, 2], [1, 3]]], "found (nan, 2)"),
    "infinite": ([LEVEL, LEVEL, [[math.inf, 2], [1, 3]]], "found (inf, 2)"),
    "huge": ([LEVEL, LEVEL, [[65537, 2], [1, 3]]], "found (65537, 2)"),
    "beyond digits": ([LEVEL, LEVEL, [[1 << 100_000, 2], [1, 3]]], "a number of 100001 bits"),
    "a side as a word": ([LEVEL, LEVEL, [["1", 2], [1, 3]]], "found ('1', 2)"),
}


@pytest.mark.parametrize(("anchors", "message"), UNFIT.values(), ids=UNFIT)
@pytest.mark.parametrize(
    ("module", "before"),
    [
        ("AnchorDetect", ["nc"]),
        ("HybridDetect", ["nc", "anchors", None, "ciou"]),
        ("HybridSegment", ["nc", 4, 8, "anchors", None, "ciou"]),
    ],
)
def test_unfit_anchors(module, before, anchors, message):
    assert message in refusal(module, [*before, anchors])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nc", "anchors"], "'anchors' must be 3 lists of [width, height], one for each map, found None"),
        (["nc", "heatmap", None, "ciou", GOOD], "'anchors' must be null where 'localisation' is heatmap, found"),
        (["nc", "distances", None, "ciou", GOOD], "'anchors' must be null where 'localisation' is distances, found"),
        (["nc", "corners"], "'localisation'"),
        (["nc", "heatmap", None, "iou"], "'iou_loss'"),
        (
            ["nc", "heatmap", [3, 5]],
            "'kernels' must be an odd number from 1 to 31 for each of the 3 maps, or null, fou",
        ),
        (["nc", "heatmap", []], "found ()"),
        (["nc", "heatmap", [3, 4, 5]], "found (3, 4, 5)"),
        (["nc", "heatmap", [3, 33, 5]], "found (3, 33, 5)"),
        (["nc", "heatmap", [3, -1, 5]], "found (3, -1, 5)"),
        (["nc", "heatmap", [3, 3.0, 5]], "found (3, 3.0, 5)"),
        (["nc", "heatmap", [3, True, 5]], "found (3, True, 5)"),
        (["nc", "heatmap", [3, [5], 5]], "found (3, (5,), 5)"),
        (["nc", "heatmap", 3], "'kernels'"),
    ],
)
def test_hybrid_heads(args, message):
    assert message in refusal("HybridDetect", args)


@pytest.mark.parametrize(
    ("module", "args", "task", "localisation"),
    [
        ("AnchorDetect", ["nc", GOOD], "detect", "anchors"),
        ("HybridDetect", ["nc"], "detect", "distances"),
        ("HybridDetect", ["nc", "heatmap", [1, 31, 5], "giou"], "detect", "heatmap"),
        ("HybridDetect", ["nc", "anchors", None, "diou", GOOD], "detect", "anchors"),
        ("HybridSegment", ["nc", 4, 8, "heatmap"], "segment", "heatmap"),
        ("HybridSegment", ["nc", 4, 8], "segment", "distances"),
        ("HybridSegment", ["nc", 4, 8, "anchors", [3, 5, 7], "ciou", GOOD], "segment", "anchors"),
    ],
)
def test_what_fits_is_built(module, args, task, localisation):
    spec = spec_from_yaml(rows(row8=[FROM, 1, module, args]), "tiny.yaml", "tiny")
    head = detector_from_spec(spec).head
    assert (spec.task, head.localisation, head.strides) == (task, localisation, (8, 16, 32))
    if localisation == "anchors":
        assert head.anchors[1] == ((10.0, 13.0), (16.5, 30.0))


@pytest.mark.parametrize(
    ("module", "args"),
    [("AnchorDetect", ["nc", GOOD]), ("HybridSegment", ["nc", 4, 8, "heatmap", [3, 5, 7], "giou"])],
)
def test_a_weights_file_brings_the_head_with_it(tmp_path, module, args):
    spec = spec_from_yaml(rows(row8=[FROM, 1, module, args]), "tiny.yaml", "tiny")
    detector = detector_from_spec(spec)
    write_checkpoint(tmp_path / "tiny.safetensors", detector)
    again = detector_from_checkpoint(read_checkpoint(tmp_path / "tiny.safetensors"))
    assert again.spec.layers[-1].args == spec.layers[-1].args
    assert (again.head.localisation, again.head.iou_loss) == (detector.head.localisation, detector.head.iou_loss)
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(again(images), detector(images))
