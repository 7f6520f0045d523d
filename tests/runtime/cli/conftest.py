"""What the tests of commands share."""

import pytest

from y12.runtime.cli import progress


@pytest.fixture(autouse=True)
def without_progress(monkeypatch):
    """On a slow machine a command would tell how far it is, between the lines that a test looks at."""
    monkeypatch.setattr(progress, "LINES_S", 3600.0)
