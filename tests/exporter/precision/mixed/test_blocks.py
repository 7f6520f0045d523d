"""Convolutions are grouped as modules nest, deep enough that there is something to choose between."""

import pytest

from y12.exporter.precision.mixed.blocks import blocks_of

CASES = [
    # enough blocks at the first level
    (["/a/x/Conv", "/a/y/Conv", "/b/Conv", "/c/Conv", "/d/Conv"], ["a", "b", "c", "d"]),
    # one part that all have in common: the second level
    (
        ["/net/a/x/Conv", "/net/a/y/Conv", "/net/b/Conv", "/net/c/Conv", "/net/d/Conv"],
        ["net/a", "net/b", "net/c", "net/d"],
    ),
    # three at the first level, four at the second
    (["/a/x/Conv", "/a/y/Conv", "/b/Conv", "/c/Conv"], ["a/x", "a/y", "b/Conv", "c/Conv"]),
    # names of nodes without slashes, each its own
    (["Conv_0", "Conv_1", "Conv_2", "Conv_3"], ["Conv_0", "Conv_1", "Conv_2", "Conv_3"]),
    # never four: as deep as it goes
    (["/a/b/c/d/e/Conv", "/a/b/c/d/f/Conv"], ["a/b/c/d"]),
    ([], []),
]


@pytest.mark.parametrize(("names", "blocks"), CASES)
def test_grouping(names, blocks):
    grouped = blocks_of(names, dict.fromkeys(names, 0.125))
    assert [block.name for block in grouped] == blocks
    assert [name for block in grouped for name in block.convolutions] == names


def test_the_order_is_the_graphs_and_macs_are_added():
    names = ["/b/x/Conv", "/a/Conv", "/b/y/Conv", "/c/Conv", "/d/Conv"]
    blocks = blocks_of(names, {name: 2.0**-i for i, name in enumerate(names, 1)})
    assert [(block.name, block.macs) for block in blocks] == [("b", 0.625), ("a", 0.25), ("c", 0.0625), ("d", 0.03125)]
    assert blocks[0].convolutions == ("/b/x/Conv", "/b/y/Conv")
