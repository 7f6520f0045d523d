"""Numbers as they are shown."""

import pytest

from y12.exporter.report.words import NOTHING, drop, number, points, points_lost, share

MINUS = "\N{MINUS SIGN}"


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (number(1.005, 1), "1.0"),
        (number(-1.25, 1), f"{MINUS}1.2"),
        (number(-0.001, 2), "0.00"),
        (number(None), NOTHING),
        (number(float("nan"), 2), NOTHING),
        (number(float("inf"), 2), NOTHING),
        (share(0.8725), "87.2 %"),
        (share(0.9996), "99.9 %"),  # nothing less than the whole is "100.0 %"
        (share(1 - 1e-12), "100.0 %"),
        (share(1.0), "100.0 %"),
        (share(0.0), "0.0 %"),
        (share(None), NOTHING),
        (points(0.40613), "40.61"),
        (points(None), NOTHING),
        (points_lost(0.40182, 0.40613), f"{MINUS}0.43"),
        (points_lost(0.41, 0.40), "+1.00"),
        (points_lost(0.400001, 0.4), "0.00"),
        (points_lost(0.399999, 0.4), "0.00"),
        (points_lost(None, 0.4), NOTHING),
        (points_lost(float("nan"), 0.4), NOTHING),
        (drop(0.431), "0.43 points lost"),
        (drop(-0.431), "0.43 points won"),
        (drop(-0.001), "0.00 points lost"),
    ],
)
def test_words(shown, expected):
    assert shown == expected
