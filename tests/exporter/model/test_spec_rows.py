"""A model YAML's rows: what they resolve to, and what is refused with file, row and the nearest known name."""

import math

import pytest
import torch
from tiny_networks import rows
from torch import nn

from tests.each import each
from y12.errors import ModelSpecError
from y12.exporter.model.blocks.bit import BitConv2d
from y12.exporter.model.build import detector_from_spec
from y12.exporter.model.network_yaml import spec_from_yaml
from y12.exporter.model.scaling import Ratios

NAN, INF = math.nan, math.inf
DEEP: list = []
for _ in range(100_000):
    DEEP = [DEEP]
LOOP: list = []
LOOP.append(LOOP)
LAUGHS: list = ["ha"]
for _ in range(60):
    LAUGHS = [LAUGHS, LAUGHS]

REFUSED = {  # case: (what is changed, what the message must hold)
    # modules
    "module mistyped": ({"row0": [-1, 1, "Cnov", [8]]}, "row 0: unknown module 'Cnov'; did you mean 'Conv'"),
    "module far off": ({"row1": [-1, 1, "os.system", [8]]}, "row 1: unknown module 'os.system'; known: Conv"),
    "module as code": ({"row0": [-1, 1, "__import__('os').system('touch x')", [8]]}, "unknown module"),
    "module a number": ({"row0": [-1, 1, 7, [8]]}, "unknown module 7"),
    "module a list": ({"row0": [-1, 1, ["Conv"], [8]]}, "unknown module ['Conv']"),
    "row too short": ({"row2": [-1, 1, "Conv"]}, "row 2: expected [from, repeats, module, args]"),
    "row no list": ({"backbone": ["Conv"]}, "row 0: expected [from, repeats, module, args], found 'Conv'"),
    # from
    "from the next": ({"row1": [2, 1, "Conv", [8]]}, "row 1: 'from' 2 names no earlier row"),
    "from itself": ({"row1": [1, 1, "Conv", [8]]}, "row 1: 'from' 1 names no earlier row"),
    "from far back": ({"row1": [-2, 1, "Conv", [8]]}, "row 1: 'from' -2 names no earlier row"),
    "from before all": ({"row0": [0, 1, "Conv", [8]]}, "row 0: 'from' 0 names no earlier row"),
    "from a bool": ({"row1": [False, 1, "Conv", [8]]}, "'from' False names no earlier row"),
    "from a fraction": ({"row1": [0.0, 1, "Conv", [8]]}, "'from' 0.0 names no earlier row"),
    "from a list": ({"row1": [[-1], 1, "Conv", [8]]}, "row 1: 'from' of Conv must be one row, found [-1]"),
    "from no list": ({"row7": [-1, 1, "Concat", [1]]}, "row 7: 'from' of Concat must be a list of rows, found -1"),
    "from nothing": ({"row7": [[], 1, "Concat", [1]]}, "'from' of Concat must be a list of rows, found []"),
    "from null": ({"row1": [None, 1, "Conv", [8]]}, "'from' None names no earlier row"),
    "from a bool in a list": ({"row7": [[-1, True], 1, "Concat", [1]]}, "'from' True names no earlier row"),
    # repeats
    "repeats 0": ({"row1": [-1, 0, "C3k2", [16]]}, "row 1: repeats must be a whole number from 1 to 64, found 0"),
    "repeats negative": ({"row1": [-1, -3, "C3k2", [16]]}, "found -3"),
    "repeats huge": ({"row1": [-1, 10**9, "C3k2", [16]]}, "found 1000000000"),
    "repeats beyond digits": ({"row1": [-1, 1 << 100_000, "C3k2", [16]]}, "a number of 100001 bits"),
    "repeats a bool": ({"row1": [-1, True, "C3k2", [16]]}, "found True"),
    "repeats a fraction": ({"row1": [-1, 1.5, "C3k2", [16]]}, "found 1.5"),
    "repeats ignored": ({"row6": [-1, 2, "nn.Upsample", [None, 2, "nearest"]]}, "'nn.Upsample' cannot be repeated"),
    "repeats of all": ({"scales": {"n": [8.0, 1.0, 64]}, "backbone": [[-1, 64, "Conv", [8]]] * 8}, "1024 repeats"),
    # args
    "args no list": ({"row0": [-1, 1, "Conv", 8]}, "row 0: args of Conv must be a list, found 8"),
    "args too many": (
        {"row0": [-1, 1, "Conv", [8, 3, 2, 1, 1, 1]]},
        "Conv takes at most 5 args (c2, k, s, p, g), found 6",
    ),
    "args too few": ({"row0": [-1, 1, "Conv", []]}, "Conv needs the argument 'c2'"),
    "arg a word": ({"row0": [-1, 1, "Conv", [8, "three"]]}, "Conv 'k': unknown name 'three'"),
    "arg a word, nearly": ({"row8": [[3, 7, 5], 1, "Detect", ["ncc"]]}, "unknown name 'ncc'; did you mean 'nc'"),
    "arg as code": ({"row0": [-1, 1, "Conv", ["__import__('os').getpid()"]]}, "unknown name \"__import__('os')"),
    "arg a bool": ({"row0": [-1, 1, "Conv", [True]]}, "Conv 'c2' must be int, found True"),
    "arg a fraction": ({"row0": [-1, 1, "Conv", [8.0]]}, "Conv 'c2' must be int, found 8.0"),
    "arg a number for a bool": ({"row1": [-1, 1, "C3k2", [16, 1]]}, "C3k2 'c3k' must be bool, found 1"),
    "arg 0": ({"row0": [-1, 1, "Conv", [0]]}, "Conv 'c2' must be from 1 to"),
    "arg negative": ({"row0": [-1, 1, "Conv", [8, -3]]}, "Conv 'k' must be from 1 to"),
    "arg huge": ({"row0": [-1, 1, "Conv", [8, 16384]]}, "Conv 'k' must be from 1 to 63"),
    "arg beyond digits": ({"row0": [-1, 1, "Conv", [1 << 100_000]]}, "a number of 100001 bits"),
    "arg nan": ({"row1": [-1, 1, "C3k2", [16, False, NAN]]}, "C3k2 'e' must be int or float, found nan"),
    "arg infinite": ({"row1": [-1, 1, "C3k2", [16, False, INF]]}, "C3k2 'e' must be int or float, found inf"),
    "layout unknown": ({"row3": [-1, 1, "A2C2f", [64, True, 4, False, 2.0, "v2"]]}, "did you mean 'v1'"),
    "mode unknown": ({"row6": [-1, 1, "nn.Upsample", [None, 2, "bicubic"]]}, "unknown name 'bicubic'"),
    "dimension": ({"row7": [[-1, 4], 1, "Concat", [2]]}, "Concat 'dimension' must be 1, found 2"),
    "residual by scale, without": ({"row3": [-1, 1, "A2C2f", [64, True, 4, "residual"]]}, "unknown name 'residual'"),
    # channels and maps
    "groups": (
        {"row1": [-1, 1, "Conv", [16, 3, 1, 1, 3]]},
        "'g' must divide its 8 input and 16 output channels, found 3",
    ),
    "heads": (
        {"row3": [-1, 1, "A2C2f", [40, True, 4]]},
        "'c2' to be a multiple of 64 after scaling (heads of 32), found 40",
    ),
    "heads after scaling": ({"scales": {"n": [1.0, 0.5, 64]}}, "row 3: A2C2f with attention needs"),
    "residual": (
        {"row2": [-1, 1, "Conv", [32, 3, 4]], "row3": [-1, 1, "A2C2f", [64, True, 4, True]]},
        "found 32 and 64",
    ),
    "bands": ({"row3": [-1, 1, "A2C2f", [64, True, 3]]}, "row 3: A2C2f 'area' must divide the 4x4 cells"),
    "maps of two sizes": (
        {"row7": [[6, 5], 1, "Concat", [1]]},
        "row 7: its inputs differ in size: rows [6, 5] have strides [16.0, 32",
    ),
    "map not divided": (
        {"row0": [-1, 1, "Conv", [8, 2, 1]]},
        "'s' times smaller: 2p < k <= 2p + s; found k 2, s 1, p 1",
    ),
    "no padding": ({"row0": [-1, 1, "Conv", [8, 3, 2, 0]]}, "found k 3, s 2, p 0"),
    "share too small": ({"row1": [-1, 1, "C3k2", [16, False, 0.01]]}, "'e' must leave 2 or more"),
    "channels of all": ({"row7": [[6, 4] * 1000, 1, "Concat", [1]]}, "at most 16384 output channels"),
    # the whole
    "no head": (
        {"head": [[-1, 1, "Conv", [8]]]},
        "the last row must be a head (Detect, ",
    ),
    "head in the middle": ({"row5": [[4], 1, "Detect", ["nc"]]}, "row 6: 'nn.Upsample' follows the head"),
    "coarse to fine": ({"row8": [[5, 7, 3], 1, "Detect", ["nc"]]}, "from fine to coarse, found strides (32"),
    "head on the image": (
        {"backbone": [[[-1], 1, "Detect", ["nc"]]], "head": [[-1, 1, "Conv", [8]]]},
        "follows the head",
    ),
    # the heads
    "keypoints unknown": ({"row8": [[3, 7, 5], 1, "Pose", ["nc", "kpt_shape"]]}, "unknown name 'kpt_shape'"),
    "keypoints no pair": (
        {"kpt_shape": [17], "row8": [[3, 7, 5], 1, "Pose", ["nc", "kpt_shape"]]},
        "kpt_shape must be [K, D], 1 to 1024 points of 2 values (x, y) or 3 (and visibility), found (17,)",
    ),
    "keypoints of four values": ({"row8": [[3, 7, 5], 1, "Pose", ["nc", [17, 4]]]}, "found (17, 4)"),
    "keypoints, none": ({"row8": [[3, 7, 5], 1, "Pose", ["nc", [0, 3]]]}, "found (0, 3)"),
    "keypoints, too many": ({"row8": [[3, 7, 5], 1, "Pose", ["nc", [1025, 2]]]}, "found (1025, 2)"),
    "keypoints as words": ({"row8": [[3, 7, 5], 1, "Pose", ["nc", ["a", True]]]}, "found ('a', True)"),
    "keypoints no list": ({"row8": [[3, 7, 5], 1, "Pose", ["nc", 17]]}, "Pose 'kpt_shape' must be list, found 17"),
    "masks 0": ({"row8": [[3, 7, 5], 1, "Segment", ["nc", 0]]}, "Segment 'masks' must be from 1 to 256, found 0"),
    "two angles": ({"row8": [[3, 7, 5], 1, "OBB", ["nc", 2]]}, "OBB 'angles' must be 1, found 2"),
    "classifier of many": ({"row8": [[3, 7, 5], 1, "Classify", ["nc"]]}, "'from' of Classify must be one row"),
    "pooling even": (
        {"row5": [-1, 1, "Conv", [16, 3, 2]], "row4": [-1, 1, "SPPF", [16, 4]]},
        "SPPF 'k' must be odd",
    ),
    "attention of other width": ({"row3": [-1, 1, "C2PSA", [64]]}, "a multiple of 128 after scaling"),
    "task twice": (
        {"tasks": {"detect": [[3, 7, 5], 1, "Detect", ["nc"]]}},
        "'Detect' follows the head, which must be the last row",
    ),
    "tasks no mapping": ({"tasks": [1]}, "tasks must be a mapping from a task to a row, found [1]"),
    "classes of the head": ({"row8": [[3, 7, 5], 1, "Detect", [80]]}, "the head has 80 classes, but nc is 2"),
    "key unknown": ({"backbones": []}, "unknown key 'backbones'; did you mean 'backbone'"),
    "key missing": ({"head": None}, "'head' is missing"),
    "section empty": ({"head": []}, "head must be a list of rows"),
    "section no list": ({"backbone": {"a": 1}}, "backbone must be a list of rows"),
    "rows too many": ({"backbone": [[-1, 1, "Conv", [8]]] * 600}, "at most 512 rows"),
    "nc 0": ({"nc": 0}, "nc must be a whole number from 1 to 100000, found 0"),
    "nc huge": ({"nc": 10**7}, "found 10000000"),
    "nc a bool": ({"nc": True}, "found True"),
    "nc a string": ({"nc": "80"}, "found '80'"),
    "nc a fraction": ({"nc": 80.0}, "found 80.0"),
    "nc nan": ({"nc": NAN}, "found nan"),
    "scales no mapping": ({"scales": [1, 1, 64]}, "scales must be a mapping"),
    "scales empty": ({"scales": {}}, "scales must be a mapping"),
    "scale too short": ({"scales": {"n": [1.0, 1.0]}}, "scale 'n' must be [depth, width, max_channels]"),
    "scale nan": ({"scales": {"n": [NAN, 1.0, 64]}}, "scale 'n' must be"),
    "scale infinite": ({"scales": {"n": [1.0, INF, 64]}}, "scale 'n' must be"),
    "scale 0": ({"scales": {"n": [1.0, 0, 64]}}, "scale 'n' must be"),
    "scale a bool": ({"scales": {"n": [True, 1.0, 64]}}, "scale 'n' must be"),
    "scale huge": ({"scales": {"n": [1.0, 1e9, 64]}}, "scale 'n' must be"),
    "by_scale no mapping": ({"by_scale": [1]}, "by_scale must be a mapping"),
    "by_scale lacks it": ({"by_scale": {"c3k": {"s": True}}}, "by_scale 'c3k' has no value for scale 'n'"),
    "values no mapping": ({"values": [1]}, "values must be a mapping, found [1]"),
    "values set nc": ({"values": {"nc": 5}}, "values cannot set 'nc'"),
    "values and by_scale": ({"values": {"e": 1}, "by_scale": {"e": {"n": 2}}}, "'e' stands under values and under"),
    "neck empty": ({"neck": []}, "neck must be a list of rows"),
    "neck mistyped": ({"necks": []}, "unknown key 'necks'; did you mean 'neck'"),
    "names no list": ({"names": "person"}, "names must be a list of class names, found 'person'"),
    "names of numbers": ({"names": [1, 2]}, "names must be a list of class names, found [1, 2]"),
    "names too few": ({"names": ["person"]}, "expected as many names as nc, 2, found 1"),
    "bit no bool": ({"bit": 1}, "bit must be true or false, found 1"),
    "bit of a row no bool": ({"row0": [-1, 1, "Conv", [8], {"bit": 1}]}, "row 0: expected the row's options as {bit"),
    "option unknown": (
        {"row0": [-1, 1, "Conv", [8], {"bits": True}]},
        "row 0: Conv has no argument 'bits'; did you mean 'bit'?",
    ),
    "argument given twice": ({"row0": [-1, 1, "Conv", [8, 3], {"k": 5}]}, "Conv 'k' is given twice, as 3 and 5"),
    "argument of a name that is no text": ({"row0": [-1, 1, "Conv", [8], {1: 5}]}, "Conv has no argument 1"),
    "a bool as channels": ({"row0": [-1, 1, "Conv", [True, 3, 2]]}, "row 0: Conv 'c2' must be int, found True"),
    "a bool as stride": ({"row1": [-1, 1, "RELAN", [16], {"s": True}]}, "row 1: RELAN 's' must be int, found True"),
    "a number as residual": ({"row1": [-1, 1, "RELAN", [16, 1.5]]}, "row 1: RELAN 'residual' must be bool, found 1.5"),
    "input channels of another row": (
        {"row1": [-1, 1, "SepConv7x7", [16, 16]]},
        "row 1: 'c1' is 16 after scaling, but the row it reads has 8 channels",
    ),
    "rule unknown": ({"scaling": "capped"}, "scaling must be published or capped_after, found 'capped'"),
    "patch": ({"row0": [-1, 1, "PatchEmbed", [64, 12]]}, "'patch_size' must be 2 or 4 or 8 or 16 or 32, found 12"),
    "a later row": (
        {"row7": [[6, 9], 1, "Concat", [1]]},
        "row 7: 'from' 9 names no earlier row; there are rows 0 to 6",
    ),
    "options no mapping": ({"row0": [-1, 1, "Conv", [8], True]}, "row 0: expected the row's options as {bit: true}"),
    "row too long": ({"row0": [-1, 1, "Conv", [8], {}, {}]}, "row 0: expected [from, repeats, module, args]"),
    "map coarser than the head's": (
        {
            "row5": [-1, 1, "Conv", [16, 3, 4]],
            "row6": [-1, 1, "nn.Upsample", [None, 4, "nearest"]],
            "row8": [[3, 7], 1, "Detect", ["nc"]],
        },
        "row 5: Conv makes a map of stride 64, expected one that divides the head's largest, 16",
    ),
    # areas of attention
    "grid": ({"row3": [-1, 1, "AreaAttn", [64, [3, 1]]]}, "'area' must divide the 4x4 cells that its map has in the"),
    "grid, columns": ({"row3": [-1, 1, "AreaAttn", [64, [1, 8]]]}, "smallest input, found (1, 8)"),
    "bands of a layer": ({"row3": [-1, 1, "AreaAttn", [64, 5]]}, "must divide the 4x4 cells"),
    "grid of an R-ELAN": ({"row3": [-1, 1, "A2C2f", [64, True, [4, 3]]]}, "'area' must divide the 4x4 cells"),
    "grid of one": ({"row3": [-1, 1, "A2C2f", [64, True, [4]]]}, "'area' must be a number of bands or [rows, columns]"),
    "grid of three": ({"row3": [-1, 1, "AreaAttn", [64, [1, 2, 2]]]}, "[rows, columns], each from 1 to 64"),
    "grid of zero": ({"row3": [-1, 1, "AreaAttn", [64, [0, 2]]]}, "found (0, 2)"),
    "grid of bools": ({"row3": [-1, 1, "AreaAttn", [64, [True, 2]]]}, "found (True, 2)"),
    "grid in words": ({"row3": [-1, 1, "AreaAttn", [64, "grid"]]}, "AreaAttn 'area': unknown name 'grid'"),
    "grid nested deep": ({"row3": [-1, 1, "AreaAttn", [64, DEEP]]}, "'area' must be a number of bands or"),
    "grid holds itself": ({"row3": [-1, 1, "AreaAttn", [64, LOOP]]}, "'area' must be a number of bands or"),
    "laughs as a grid": ({"row3": [-1, 1, "AreaAttn", [64, LAUGHS]]}, "'area' must be a number of bands or"),
    "heads uneven": (
        {"row3": [-1, 1, "AreaAttn", [64, 1, 3]]},
        "row 3: 'num_heads' must divide its 64 channels: one of 1, 2, 4, 8, 16, 32, 64; found 3",
    ),
    "stride of a stage": ({"row1": [-1, 1, "RELAN", [16], {"s": 4}]}, "RELAN 's' must be from 1 to 2, found 4"),
    "by_scale sets nc": ({"by_scale": {"nc": {"n": 5}}}, "by_scale cannot set 'nc'"),
    # what a pickled YAML can hold, and a text cannot
    "nested deep": ({"row0": DEEP}, "row 0: expected [from, repeats, module, args]"),
    "arg nested deep": ({"row0": [-1, 1, "Conv", [DEEP]]}, "Conv 'c2' must be int"),
    "holds itself": ({"row0": [-1, 1, "Conv", [LOOP]]}, "Conv 'c2' must be int"),
    "laughs": ({"row0": [-1, 1, LAUGHS, [8]]}, "unknown module [["),
    "laughs as classes": ({"nc": LAUGHS}, "nc must be a whole number"),
}


def resolve(changes, scale=None):
    return spec_from_yaml(rows(**changes), "tiny.yaml", "tiny", scale=scale)


def test_refused_with_file_and_reason():
    def check(case):
        changes, reason = case
        with pytest.raises(ModelSpecError) as caught:
            resolve(changes)
        message = str(caught.value)
        assert message.startswith("tiny.yaml: ")
        assert reason in message
        assert "\n" not in message
        assert len(message) < 400

    each(REFUSED.items(), check)


def test_which_scale_must_be_said():
    two = {"scales": {"n": [1.0, 1.0, 64], "s": [1.0, 2.0, 128]}}
    with pytest.raises(ModelSpecError, match="which scale"):
        resolve(two)
    assert resolve(two, "s").layers[0].channels == 16


def test_a_row_resolves_to_values():
    spec = resolve({"by_scale": {"ratio": {"n": 1.5}}, "row3": [-1, 3, "A2C2f", [64, True, 4, True, "ratio"]]})
    row = spec.layers[3]
    assert (row.sources, row.repeats, row.channels, row.stride) == ((2,), 3, 64, 8)
    assert row.args == {"c2": 64, "a2": True, "area": 4, "residual": True, "mlp_ratio": 1.5, "layout": "turbo"}
    assert spec.layers[0].sources == (-1,)
    assert spec.layers[7].sources == (6, 4)
    assert (spec.strides, spec.task, spec.nc) == ((8, 16, 32), "detect", 2)


def test_a_word_stands_for_a_value_of_all_scales_or_of_one():
    changes = {"values": {"grid": [2, 4]}, "by_scale": {"wide": {"n": 3.0}}}
    row = resolve({**changes, "row3": [-1, 2, "AreaAttn", [64, "grid", None, "wide"]]}).layers[3]
    assert (row.args["area"], row.args["num_heads"], row.args["mlp_ratio"]) == ((2, 4), None, 3.0)


def test_the_neck_comes_between_backbone_and_head():
    data = rows()
    data["neck"], data["head"] = data["head"][:-1], data["head"][-1:]
    assert spec_from_yaml(data, "tiny.yaml", "tiny") == resolve({})


def test_tasks_may_be_all_of_the_head():
    data = rows()
    data["neck"], (head,) = data["head"][:-1], data.pop("head")[-1:]
    data["tasks"] = {"detect": head}
    assert spec_from_yaml(data, "tiny.yaml", "tiny") == resolve({})


def test_classes_have_the_names_of_the_yaml_where_their_number_is_the_same():
    data = rows(names=["person", "face"])
    assert detector_from_spec(spec_from_yaml(data, "tiny.yaml", "tiny")).names == ("person", "face")
    other = detector_from_spec(spec_from_yaml(data, "tiny.yaml", "tiny", nc=3))
    assert other.names == ("class0", "class1", "class2")


@pytest.mark.parametrize(
    ("whole", "of_row_0", "head", "expected"),
    [
        (None, None, "Detect", (False, False, False)),
        (None, None, "BitDetect", (False, False, True)),
        (None, True, "Detect", (True, False, False)),
        (True, None, "Detect", (True, True, True)),
        (True, False, "BitDetect", (False, True, True)),
        (False, True, "BitDetect", (True, False, False)),
    ],
)
def test_which_rows_are_bit(whole, of_row_0, head, expected):
    options = [] if of_row_0 is None else [{"bit": of_row_0}]
    changes = {"row0": [-1, 1, "Conv", [8, 3, 2], *options], "row8": [[3, 7, 5], 1, head, ["nc"]]}
    spec = resolve(changes if whole is None else {**changes, "bit": whole})
    assert (spec.layers[0].bit, spec.layers[1].bit, spec.layers[8].bit) == expected
    detector = detector_from_spec(spec)
    for row, module in zip(spec.layers, detector.model, strict=True):
        convs = [m for m in module.modules() if isinstance(m, nn.Conv2d)]
        plain = [m for m in convs if not isinstance(m, BitConv2d)]
        # Of a head the last convolution of each of two branches on three maps, and the bins of the distances.
        kept = (7 if row.index == 8 else 0) if row.bit else len(convs)
        assert len(plain) == kept


@pytest.mark.parametrize(
    ("scale", "repeats", "channels"),
    [
        ([1.0, 1.0, 64], 3, 64),
        ([0.5, 1.0, 64], 2, 64),  # round(1.5) is 2
        ([0.1, 1.0, 64], 1, 64),
        ([1.0, 2.0, 48], 3, 96),  # the limit comes before the width
        ([1.0, 0.3, 512], 3, 40),  # 8 * ceil(128 * .3 / 8)
    ],
)
def test_scaling(scale, repeats, channels):
    data = rows(scales={"n": scale}, row3=[-1, 1, "Conv", [64]], row2=[-1, 3, "Conv", [128, 3, 4]])
    row = spec_from_yaml(data, "tiny.yaml", "tiny").layers[2]
    assert (row.repeats, row.channels) == (repeats, channels)


def test_every_module_runs_as_the_strides_say():
    changes = {"row4": [-1, 2, "SepConv7x7", [16, 2]], "row5": [-1, 2, "RELAN", [16, 2]]}
    spec = resolve({**changes, "row2": [-1, 2, "Conv", [64, 3, 4]], "row1": [-1, 2, "C2f", [16, True]]})
    detector = detector_from_spec(spec)
    seen = {}
    for index, module in enumerate(detector.model[:-1]):
        module.register_forward_hook(lambda _m, _i, out, index=index: seen.update({index: tuple(out.shape)}))
    detector(torch.zeros(1, 3, 64, 96))
    for row in spec.layers[:-1]:
        assert seen[row.index] == (1, row.channels, 64 / row.stride, 96 / row.stride)


def test_input_is_left_as_it_is():
    data, same = rows(), rows()
    spec_from_yaml(data, "tiny.yaml", "tiny", nc=9)
    assert data == same


def test_rows_that_nothing_reads_are_left_out_and_named():
    spec = resolve({"row8": [[3, 5], 1, "Detect", ["nc"]]})
    assert [row.module for row in spec.layers][-1] == "Detect"
    assert (len(spec.layers), spec.layers[-1].index, spec.layers[-1].sources, spec.unread) == (7, 6, (3, 5), (6, 7))
    left_out, *_ = spec.notes
    assert "nothing reads rows 6 (nn.Upsample), 7 (Concat), left out" in left_out


def test_arguments_may_be_given_by_name():
    by_name = resolve({"row3": [-1, 3, "AreaAttn", [64], {"num_heads": 4, "area": [2, 2]}]})
    assert by_name.layers[3] == resolve({"row3": [-1, 3, "AreaAttn", [64, [2, 2], 4]]}).layers[3]


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ([16], {"c2": 16, "residual": True, "s": 1, "c1": None}),
        ([16, False], {"c2": 16, "residual": False, "s": 1, "c1": None}),
        ([16, 2], {"c2": 16, "residual": True, "s": 2, "c1": None}),  # as files of before have it
        ([8, 16, False], {"c2": 16, "residual": False, "s": 1, "c1": 8}),
        ([8, 8], {"c2": 8, "residual": True, "s": 1, "c1": 8}),
    ],
)
def test_what_stands_behind_the_channels_of_an_relan(args, expected):
    scale = {"scales": {"n": [1.0, 1.0, 64]}, "row2": [-1, 1, "Conv", [32, 3, 3 - expected["s"]]]}
    if args == [16, 2]:
        scale["row2"] = [-1, 1, "Conv", [32, 3, 1]]
    assert resolve({**scale, "row1": [-1, 1, "RELAN", args]}).layers[1].args == expected


def test_an_area_left_out_is_the_finest_grid_that_divides_the_map():
    assert resolve({"row3": [-1, 1, "AreaAttn", [64]]}).layers[3].args["area"] == (4, 4)


@pytest.mark.parametrize(
    ("args", "note"),
    [
        ([64, 1, 8], "heads of 8 channels (64 in 8) are not fused by TensorRT; num_heads 2 would be"),
        ([64, 1, 1], "a single head over the whole map is not fused by TensorRT; num_heads 2 would be"),
        ([40], "row 3: 1 of 40 channels (num_heads names another number)"),
        ([64], "row 3: 2 of 32 channels (num_heads names another number)"),
    ],
)
def test_what_must_be_told_of_an_attention(args, note):
    assert any(note in told for told in resolve({"row3": [-1, 1, "AreaAttn", args]}).notes)


@pytest.mark.parametrize(
    ("changes", "channels", "repeats"),
    [
        ({}, 48, 2),  # 8 * ceil(min(200, 128) * 0.33 / 8), round(5 * 0.33)
        ({"scaling": "capped_after"}, 72, 1),  # 8 * ceil(min(int(200 * 0.33), 128) / 8), int(5 * 0.33)
        ({"row3": [-1, 5, "RELAN", [200]]}, 72, 1),  # a module of y12's own brings its rule
        ({"row3": [-1, 5, "RELAN", [200]], "scaling": "published"}, 48, 2),
    ],
)
def test_the_rule_of_scaling(changes, channels, repeats):
    scales = {"n": [0.33, 0.33, 128]}
    row = resolve({"scales": scales, "row3": [-1, 5, "C2f", [200]], **changes}).layers[3]
    assert (row.channels, row.repeats) == (channels, repeats)


@pytest.mark.parametrize("ratios", [{"depth": 0}, {"depth": 100}, {"width": -1}, {"width": NAN}, {"max_channels": 4}])
def test_ratios_out_of_range(ratios):
    with pytest.raises(ModelSpecError, match=r"^--(depth|width|max-channels): expected a number .*, found"):
        Ratios(**ratios)
