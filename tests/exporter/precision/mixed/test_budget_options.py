"""A budget is refused at construction where it is no number of points."""

import math

import pytest

from y12.errors import OptionsError
from y12.exporter.precision.mixed.budget_options import BudgetOptions


@pytest.mark.parametrize("points", [0, 0.5, 100])
def test_points(points):
    assert BudgetOptions(points).max_drop == points


@pytest.mark.parametrize(("points", "shown"), [(-0.1, "-0.1"), (100.5, "100.5"), (math.nan, "nan"), (math.inf, "inf")])
def test_no_points(points, shown):
    with pytest.raises(OptionsError, match=f"--max-drop: expected points from 0 to 100, found {shown}"):
        BudgetOptions(points)
