"""Where the images of a data.yaml are found, as publishers lay data out."""

import pytest

from y12.errors import DatasetError
from y12.exporter.data.splits import class_folder, images_of, splits_of


def written(tmp_path, text):
    path = tmp_path / "data.yaml"
    path.write_text(text)
    return path


def images(file, split="val"):
    return images_of(splits_of(file, DatasetError), split, DatasetError)


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
    splits = splits_of(written(tree, f"val: {source}\ntest:\n"), DatasetError)
    assert [path.name for path in images_of(splits, "val", DatasetError)] == names
    assert splits.notes("val") == ()


@pytest.mark.parametrize("key", ["val", "valid", "validation"])
def test_a_split_goes_by_several_names(tree, key):
    assert len(images(written(tree, f"{key}: images/val"))) == 3
    assert len(images(written(tree, f"val: images/val\n{key}: images/val"))) == 3


MOVED = [
    ("val: ../images/val", "val: '../images/val' is not there"),
    ("val: ../../images/val", "'../../images/val' is not there"),
    ("val: ..\\images\\val", "is not there"),
    ("val: /content/data/images/val", "val: '/content/data/images/val' is not there"),
    ("val: 'C:\\Users\\me\\data\\images\\val'", "is not there"),
    ("path: /kaggle/input/data\nval: images/val", "path: '/kaggle/input/data' is not there; paths start at"),
    ("path: data\nval: images/val", "path: 'data' is not there"),
]


@pytest.mark.parametrize(("text", "told"), MOVED)
def test_what_is_not_there_is_looked_for_beside_the_file_and_told(tree, text, told):
    splits = splits_of(written(tree, text), DatasetError)
    assert len(images_of(splits, "val", DatasetError)) == 3
    assert told in " ".join(splits.notes("val"))
    assert str(tree) in " ".join(splits.notes("val"))


def test_what_is_there_is_taken_as_it_is_written(tree):
    inside = tree / "images"
    splits = splits_of(written(inside, "val: ../images/val"), DatasetError)
    (inside / "images" / "val").mkdir(parents=True)
    assert splits.sources["val"] == (inside / "../images/val",)
    assert splits.notes("val") == ()


def test_a_folder_of_the_name_of_another_machines_path_is_taken(tree):
    (tree / "coco" / "images").mkdir(parents=True)
    (tree / "coco" / "images" / "z.jpg").write_bytes(b"x")
    splits = splits_of(written(tree, "path: /home/me/coco\nval: images"), DatasetError)
    assert [path.name for path in images_of(splits, "val", DatasetError)] == ["z.jpg"]
    assert str(tree / "coco") in splits.notes("val")[0]


def test_a_list_of_another_machine(tree):
    (tree / "moved.txt").write_text("/home/me/data/images/val/b.jpg\n../images/val/a.PNG\nimages/none.jpg\n")
    found = images(written(tree, "val: moved.txt"))
    assert found == (tree / "images/val/b.jpg", tree / "images/val/a.PNG", tree / "images/none.jpg")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: images/val", "expected the split 'val', found train"),
        ("val: images/nowhere", "found nothing there"),
        ("path: /elsewhere\nval: /one", "expected a folder, a list or an image at /one, found nothing there"),
        ("val: images/val/empty", "found none"),
        ("val: images/val\nvalid: images", "val and valid name different images of one split"),
        ("val: {a: 1}", "val: expected a folder"),
        ("val: [images/val, 3]", "val: expected a folder"),
        ("val: ['']", "val: expected a folder"),
        ("path: 3\nval: images", "path: expected a folder"),
    ],
)
def test_images_that_are_not_there(tree, text, message):
    (tree / "images/val/empty").mkdir()
    with pytest.raises(DatasetError) as error:
        images(written(tree, text))
    assert message in str(error.value)
    assert str(tree / "data.yaml") in str(error.value)


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_folders_of_classes_go_by_the_same_names(tmp_path, name):
    assert class_folder(tmp_path, None) == tmp_path
    assert class_folder(tmp_path, "val") == tmp_path / "val"
    (tmp_path / name).mkdir()
    assert class_folder(tmp_path, None) == class_folder(tmp_path, "val") == tmp_path / name
