"""What figures do not say is said beside them."""

import pytest

from y12.exporter.evaluate.cautions import on_classes, on_success


@pytest.mark.parametrize(
    ("labelled", "classes", "said"),
    [
        ({"person"}, 80, "all labels are of one class, 'person': the figures say nothing of the model's other 79"),
        ({"person", "bus"}, 80, ""),
        ({"plate"}, 1, ""),  # it has no other
        (set(), 80, ""),
        ({"evil\x1b[2J"}, 2, "all labels are of one class, 'evil\\x1b[2J': the figures say nothing"),
    ],
)
def test_labels_of_one_class(labelled, classes, said):
    notes = on_classes(labelled, classes)
    assert len(notes) == bool(said)
    assert "".join(notes).startswith(said)
    assert "".join(notes).isprintable()


@pytest.mark.parametrize(
    ("figures", "found", "said"),
    [
        ([0.5], 9, ""),
        ([0.0, 0.1], 9, ""),
        ([None, 0.1], 9, ""),
        ([0.0], 9, "nothing that the model found is right"),
        ([0.0, None], 9, "nothing that the model found is right"),
        ([0.0], 0, "the model found nothing: the figures are 0 for want of detections"),
        ([None], 9, "no label counts"),
        ([], 0, "no label counts"),
    ],
)
def test_a_run_without_a_success(figures, found, said):
    notes = on_success(figures, found)
    assert len(notes) == bool(said)
    assert "".join(notes).startswith(said)
