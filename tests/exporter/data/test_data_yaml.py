"""A data.yaml: paths, names and keypoints, and what strangers' files try."""

import pytest

from y12.errors import DatasetError
from y12.exporter.data.data_yaml import read_data_yaml


def written(tmp_path, text):
    path = tmp_path / "data.yaml"
    path.write_text(text)
    return path


NAMES = [
    ("names: [cat, dog]", ("cat", "dog")),
    ("names: {0: cat, 1: dog}", ("cat", "dog")),
    ("names: {1: dog, 0: cat}\nnc: 2", ("cat", "dog")),
    ("names: [1, 2]", ("1", "2")),  # digits without quotes are still names
    ("names: {'1': dog, '0': cat}", ("cat", "dog")),
    ("nc: 3", ("0", "1", "2")),
    ("nc: '2'\nnames: [cat, dog]", ("cat", "dog")),
    ("names: [cat]\ndownload: https://example.com/x.zip\nroboflow: {a: 1}", ("cat",)),
]


@pytest.mark.parametrize(("text", "names"), NAMES)
def test_names(tmp_path, text, names):
    assert read_data_yaml(written(tmp_path, text)).names == names


@pytest.mark.parametrize("text", ["[17, 3]", "(17, 3)", "'[17,3]'", "(17, 3,)"])
def test_keypoints_are_two_numbers_as_yaml_or_as_python_writes_them(tmp_path, text):
    assert read_data_yaml(written(tmp_path, f"names: [x]\nkpt_shape: {text}")).kpt_shape == (17, 3)


@pytest.mark.parametrize("text", ["[0, 2, 1]", "(0, 2, 1)", "'[0,2,1]'"])
def test_flip_idx(tmp_path, text):
    assert read_data_yaml(written(tmp_path, f"names: [x]\nkpt_shape: [3, 2]\nflip_idx: {text}")).flip_idx == (0, 2, 1)
    assert read_data_yaml(written(tmp_path, "names: [x]\nkpt_shape: [3, 2]")).flip_idx is None


REFUSED = [
    ("names: [cat\n", "not readable as YAML"),
    ("- 1", "expected a mapping"),
    ("val: x", "names: expected a list of class names"),
    ("nc: 0", "nc: expected a number of classes up to 100000, found 0"),
    ("nc: true", "nc: expected a number of classes"),
    ("nc: 1000000000000", "nc: expected a number of classes"),
    ("names: {'0': cat, 0: dog}", "names: expected the ids 0 to 1"),
    ("names: []", "names: expected a list"),
    ("names: {1: cat}", "names: expected the ids 0 to 0"),
    ("names: {a: cat}", "names: expected the ids 0 to 0"),
    ("names: [true]", "put it in quotes"),  # YAML 1.1 makes a bool of "on", "yes" and "no"
    ("names: [cat]\nnc: 2", "nc is 2, but there are 1 names"),
    ("names: [cat]\nval: {a: 1}", "val: expected a folder"),
    ("names: [cat]\npath: 3", "path: expected a folder"),
    ("names: [cat]\nkpt_shape: [17]", "kpt_shape: expected [K, 2] or [K, 3]"),
    ("names: [cat]\nkpt_shape: [0, 3]", "kpt_shape"),
    ("names: [cat]\nkpt_shape: [17, 4]", "kpt_shape"),
    ("names: [cat]\nkpt_shape: [3, 2]\nflip_idx: [1, 0]", "flip_idx: expected which of 3 keypoints"),
    ("names: [cat]\nkpt_shape: [3, 2]\nflip_idx: [1, 2, 0]", "an order of 0 to 2 that undoes itself"),
    ("names: [cat]\nkpt_shape: [3, 2]\nflip_idx: [0, 2, 3]", "flip_idx"),
    ("names: [cat]\nkpt_shape: [3, 2]\nflip_idx: [0.0, 2.0, 1.0]", "flip_idx"),
    ("names: [cat]\nkpt_shape: [3, 2]\nflip_idx: [0, -1, 1]", "flip_idx"),
    ("names: [cat]\nkpt_shape: [3, 2]\nflip_idx: []", "flip_idx"),
    ("names: [cat]\nkpt_shape: [3, 2]\nflip_idx: {0: 0, 1: 2, 2: 1}", "flip_idx"),
    ("names: [cat]\nkpt_shape: [3, 2]\nflip_idx: [true, 2, 1]", "flip_idx"),
    ("names: &a [cat]\nval: *a", "aliases are not allowed"),
    ("names: " + "[" * 9 + "]" * 9, "at most 8 lists within each other"),
    ("names: !!python/object/apply:os.system [ls]", "not readable as YAML"),
    ("", "of 1 to"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_refused(tmp_path, text, message):
    with pytest.raises(DatasetError) as error:
        read_data_yaml(written(tmp_path, text))
    assert message in str(error.value)
    assert str(tmp_path / "data.yaml") in str(error.value)


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("y12.exporter.data.image_lists._MAX_YAML_BYTES", 8)
    with pytest.raises(DatasetError, match="of 1 to 8 bytes"):
        read_data_yaml(written(tmp_path, "names: [cat]"))
