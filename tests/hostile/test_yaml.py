"""YAML that is dear to read: in proportion to its size, or refused by a count."""

from pathlib import Path

import pytest
from cost import refusal, refused

from y12.errors import DatasetError
from y12.exporter.data.data_yaml import read_data_yaml
from y12.exporter.safe_yaml import mapping_from_yaml

SIZE = 100_000
PER_MIB = {"seconds": 6.0, "mib": 500.0}  # measured: at most 4 s and 320 MiB, where each value is a mapping


def filled(before: str, unit: str, after: str = "]\n") -> str:
    return before + unit * ((SIZE - len(before) - len(after)) // len(unit)) + after


TEXTS = {
    "base 60": filled("nc: 1", ":1", "\n"),
    "negative base 60": filled("nc: -1", ":59", "\n"),
    "base 60, marked": filled("nc: !!int '1", ":1", "'\n"),
    "a fraction in base 60": filled("nc: 1", ":1", ".5\n"),
    "many of base 60": filled("names: [", "1:1:1:1:1:1:1:1:1,"),
    "hexadecimal": filled("nc: 0x1", "f", "\n"),
    "binary": filled("nc: 0b1", "1", "\n"),
    "underscores": filled("nc: 1", "_", "\n"),
    "digits": filled("nc: 1", "1", "\n"),
    "digits of a fraction": filled("nc: 1.", "1", "\n"),
    "lists": filled("names: [", "[],"),
    "mappings": filled("names: [", "{a: 1},"),
    "lines of mappings": filled("names:\n", "- a: 1\n", ""),
    "texts": filled("names: [", "a,"),
    "numbers": filled("names: [", "1,"),
    "dates": filled("names: [", "2020-01-01,"),
    "booleans": filled("names: [", "y,"),
    "nothing": filled("names: [", "~,"),
    "tags": filled("names: [", "!!str a,"),
    "sets": filled("names: [", "!!set {a},"),
    "merges": filled("names: {", "<<: {a: 1},", "}\n"),
    "merged list": filled("<<: [", "{a: 1},"),
    "marked merge": filled("names: {", "!!merge x: {a: 1},", "}\n"),
    "one key over and over": filled("", "a: 1\n", ""),
    "keys of base 60": filled("names: {", "? 1:1:1:1:1\n,", "}\n"),
    "anchors": filled("names: [", "&a x,"),
    "aliases": filled("a: &a [1]\nnames: [", "*a,"),
    "documents": filled("", "---\n", ""),
    "comments": filled("nc: 1\n", "#\n", ""),
    "empty lines": filled("nc: 1\n", "\n", ""),
    "a folded text": filled("names: >\n", " x\n", ""),
    "a text of many lines": filled("names: a\n", "  b\n", ""),
    "escapes": filled('names: "', "\\x41", '"\n'),
    "quotes": filled("names: '", "''", "'\n"),
    "deep": filled("names: ", "[", "\n"),
    "deep mappings": filled("", "? ", "a\n"),
    "directives": filled("", "%TAG ! !\n", "---\na: 1\n"),
    "colons": filled("a", ":a", ": 1\n"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_in_proportion_or_refused(name):
    bounds = {"seconds": 0.2 + PER_MIB["seconds"] * SIZE / 2**20, "mib": 8 + PER_MIB["mib"] * SIZE / 2**20}
    refusal(
        name,
        lambda: mapping_from_yaml(TEXTS[name], Path("data.yaml"), DatasetError, keys="names", max_depth=8),
        **bounds,
    )


@pytest.mark.parametrize("text", ["nc: 1" + ":1" * 100, "nc: 0x" + "f" * 100, "nc: !!float 1" + "1" * 100])
def test_long_numbers_are_refused(text):
    with pytest.raises(DatasetError, match="expected a number of at most 64 characters"):
        mapping_from_yaml(text, Path("data.yaml"), DatasetError, keys="nc", max_depth=8)


@pytest.mark.parametrize("text", ["a: [" + "[]," * 150_000 + "]", "a:\n" + "- {}\n" * 150_000])
def test_more_values_than_any_data_set_has_are_refused(text):
    message = refused(
        "values",
        lambda: mapping_from_yaml(text, Path("data.yaml"), DatasetError, keys="nc", max_depth=8),
        seconds=1.5,
        mib=32,
    )
    assert "expected at most 250000 values" in message


def test_a_hundred_thousand_names_are_read(tmp_path):
    (tmp_path / "data.yaml").write_text("names:\n" + "".join(f"  {i}: name {i}\n" for i in range(100_000)))
    assert len(read_data_yaml(tmp_path / "data.yaml").names) == 100_000


@pytest.mark.parametrize(("text", "value"), [("1:30", 90), ("-0x1F", -31), ("1_000", 1000), ("1.5", 1.5)])
def test_ordinary_numbers_are_read_as_before(text, value):
    read = mapping_from_yaml(f"a: {text}", Path("x.yaml"), DatasetError, keys="a", max_depth=8)
    assert read == {"a": value}
