"""A data.yaml: paths, names and keypoints, and what strangers' files try."""

import pytest

from y12.errors import DatasetError
from y12.exporter.data.data_yaml import image_paths, read_data_yaml


def written(tmp_path, text):
    path = tmp_path / "data.yaml"
    path.write_text(text)
    return path


NAMES = [
    ("names: [cat, dog]", ("cat", "dog")),
    ("names: {0: cat, 1: dog}", ("cat", "dog")),
    ("names: {1: dog, 0: cat}\nnc: 2", ("cat", "dog")),
    ("names: [1, 2]", ("1", "2")),  # digits without quotes are still names
    ("names: [cat]\ndownload: https://example.com/x.zip\nroboflow: {a: 1}", ("cat",)),
]


@pytest.mark.parametrize(("text", "names"), NAMES)
def test_names(tmp_path, text, names):
    assert read_data_yaml(written(tmp_path, text)).names == names


def test_paths_start_at_path_from_the_file(tmp_path):
    data = read_data_yaml(written(tmp_path, "path: sub\nval: [a, b]\ntest:\nnames: [x]\nkpt_shape: [17, 3]"))
    assert data.root == tmp_path / "sub"
    assert data.splits == {"val": ("a", "b")}
    assert data.kpt_shape == (17, 3)


REFUSED = [
    ("names: [cat\n", "not readable as YAML"),
    ("- 1", "expected a mapping"),
    ("val: x", "names: expected a list of class names"),
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


@pytest.fixture
def tree(tmp_path):
    for name in ("images/val/b.jpg", "images/val/a.PNG", "images/val/deep/c.webp", "images/val/notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / "list.txt").write_text("images/val/b.jpg\n./images/val/a.PNG\n\nimages/val/b.jpg\n")
    return tmp_path


SOURCES = [
    ("images/val", ["a.PNG", "b.jpg", "c.webp"]),
    ("list.txt", ["b.jpg", "a.PNG"]),  # in its order, each once
    ("images/val/b.jpg", ["b.jpg"]),
    ("[images/val/deep, list.txt]", ["c.webp", "b.jpg", "a.PNG"]),
]


@pytest.mark.parametrize(("source", "names"), SOURCES)
def test_images_of_a_split(tree, source, names):
    data = read_data_yaml(written(tree, f"val: {source}\nnames: [cat]"))
    assert [path.name for path in image_paths(data, "val")] == names


@pytest.mark.parametrize(
    ("text", "split", "message"),
    [
        ("train: images/val", "val", "expected the split 'val', found train; choose one with --split"),
        ("val: images/nowhere", "val", "found nothing there"),
        ("val: images/val/empty", "val", "found none"),
    ],
)
def test_images_that_are_not_there(tree, text, split, message):
    (tree / "images/val/empty").mkdir()
    data = read_data_yaml(written(tree, f"{text}\nnames: [cat]"))
    with pytest.raises(DatasetError) as error:
        image_paths(data, split)
    assert message in str(error.value)
