import pytest
import torch

from y12.exporter.train.assign.positives import Positives
from y12.exporter.train.assign.task_aligned import Assignment

OBJECT_OF = torch.tensor([[-1, 0, 0, 1], [2, -1, -1, 0]])
TARGET = torch.tensor([[0.0, 0.9, 0.4, 0.8], [0.5, 0.0, 0.0, 0.2]])


@pytest.fixture
def positives() -> Positives:
    return Positives.of(Assignment(OBJECT_OF, TARGET))


def test_the_places_that_have_an_object_are_listed(positives: Positives) -> None:
    assert positives.image.tolist() == [0, 0, 0, 1, 1]
    assert positives.place.tolist() == [1, 2, 3, 0, 3]
    assert positives.object.tolist() == [0, 0, 1, 2, 0]
    assert positives.weight.tolist() == pytest.approx([0.9, 0.4, 0.8, 0.5, 0.2])
    assert positives.total.item() == pytest.approx(2.8)


def test_predictions_and_labels_of_one_place_go_together(positives: Positives) -> None:
    predictions = torch.arange(2 * 3 * 4).reshape(2, 3, 4)  # (B, C, A)
    labels = torch.arange(2 * 3).reshape(2, 3)  # (B, M)
    assert positives.predicted(predictions)[3].tolist() == predictions[1, :, 0].tolist()
    assert positives.labelled(labels).tolist() == [0, 0, 1, 5, 3]


def test_the_mean_counts_by_weight(positives: Positives) -> None:
    losses = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    assert positives.mean(losses).item() == pytest.approx((0.9 + 0.8 + 2.4 + 2.0 + 1.0) / 2.8)


def test_the_heaviest_stand_for_all(positives: Positives) -> None:
    kept = positives.heaviest(2)
    assert kept.place.tolist() == [1, 3]
    ones = torch.ones(2)
    assert kept.mean(ones).item() == pytest.approx(positives.mean(torch.ones(5)).item())
    assert positives.heaviest(5) is positives


def test_little_weight_is_not_blown_up() -> None:
    few = Positives.of(Assignment(OBJECT_OF, TARGET * 0.01))
    assert few.total.item() == 1.0
