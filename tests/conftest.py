"""Material for the tests that lies outside the checkout."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of checkpoints, images and reference answers: $Y12_SHARED, or `../shared`."""
    folder = Path(os.environ.get("Y12_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        message = f"shared material not found: expected it in {folder} or where $Y12_SHARED says"
        if os.environ.get("Y12_REQUIRE_SHARED") == "1":
            pytest.fail(message)
        pytest.skip(message)
    return folder
