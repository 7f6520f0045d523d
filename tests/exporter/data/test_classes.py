"""Which class of the model is which category."""

import pytest

from y12.errors import DatasetError
from y12.exporter.data.classes import class_map

MATCHED = [
    (("cat", "dog"), [(1, "cat"), (3, "dog")], (1, 3), "by name, 2 of the model's 2"),
    (("cat", "dog"), [(1, "dog"), (3, "cat")], (3, 1), "by name, 2 of the model's 2"),
    (("cat", "dog"), [(1, "dog")], (None, 1), "by name, 1 of the model's 2; the data has no 'cat'"),
    (
        ("cat", "dog"),
        [(1, "1"), (3, "3")],
        (1, 3),
        "by id, as the data has no names: the model's 'cat' is the data's '1'",
    ),
    (("x", "x"), [(1, "x"), (2, "x")], (1, 2), "by order, as names differ or repeat"),
]


@pytest.mark.parametrize(("names", "categories", "ids", "how"), MATCHED)
def test_matched(names, categories, ids, how):
    classes = class_map(names, categories, "data")
    assert classes.category_ids == ids
    assert classes.how.startswith(how)


def test_names_that_differ_are_matched_by_order_when_told():
    categories = [(1, "cats"), (3, "dogs")]
    with pytest.raises(DatasetError, match="y12-val --by-order takes them in their order"):
        class_map(("cat", "dog"), categories, "data")
    assert class_map(("cat", "dog"), categories, "data", by_order=True).category_ids == (1, 3)


def test_categories_without_labels_that_the_model_lacks_are_left_out_and_told():
    categories = [(0, "things"), (1, "dog"), (2, "cat"), (3, "cow")]
    classes = class_map(("cat", "dog", "cow"), categories, "data", unused=frozenset({0, 2}))
    assert classes.category_ids == (2, 1, 3)
    assert classes.how.endswith("left out, as no label is of it: 'things'")
    unnamed = class_map(("cat", "dog"), [(1, "1"), (2, "2")], "data", unused=frozenset({2}))
    assert unnamed.category_ids == (1, 2)  # by id: which one has no labels changes nothing
    with pytest.raises(DatasetError, match="the model has no 'things'"):
        class_map(("cat", "dog", "cow"), categories, "data", unused=frozenset({2}))


def test_known_classes():
    assert class_map(("a", "b"), [(0, "a"), (1, "b")], "d").classes is None
    assert class_map(("a", "b"), [(0, "b")], "d").classes == (1,)


REFUSED = [
    ([(0, "cat"), (1, "cow"), (2, "dog")], True, "found 3 classes, and the model has no 'cow'"),
    ([(0, "cow")], True, "the model has no 'cow'"),
    ([(0, "cat"), (1, "cow")], False, "the model has no 'cow'"),  # a data.yaml: names mean something
]


@pytest.mark.parametrize(("categories", "by_order", "message"), REFUSED)
def test_refused(categories, by_order, message):
    with pytest.raises(DatasetError) as error:
        class_map(("cat", "dog"), categories, "data", by_order=by_order)
    assert message in str(error.value)
    assert "expected the model's 2 classes 'cat', 'dog'" in str(error.value)


@pytest.mark.parametrize("names", [("0", "1"), ("class0", "class1")])
def test_names_that_only_count_are_matched_by_order_everywhere(names):
    assert class_map(names, [(0, "cat"), (1, "dog")], "d", by_order=False).category_ids == (0, 1)
