"""Material for the tests that lies outside the checkout."""

import os
import shutil
from pathlib import Path

import pytest

from y12.runtime.backends.onnx_runtime import refuse_telemetry

refuse_telemetry()  # before any test module is imported; what the tests start inherits it

ROOT = Path(__file__).resolve().parents[1]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


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


@pytest.fixture(scope="session")
def gpu() -> str:
    """The GPU at hand, in words."""
    from y12.errors import Y12Error
    from y12.runtime.gpu.cuda import Gpu

    try:
        device = Gpu()
    except Y12Error as error:
        if os.environ.get("Y12_REQUIRE_GPU") == "1":
            pytest.fail(f"$Y12_REQUIRE_GPU is set, but no GPU can be used: {error}")
        pytest.skip(f"no GPU can be used: {error}")
    description = device.description
    device.close()
    return description


@pytest.fixture(scope="session")
def browser() -> str:
    """A Chromium that can be run."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        message = f"no browser found: expected one of {', '.join(BROWSERS)} on the PATH"
        if os.environ.get("Y12_REQUIRE_BROWSER") == "1":
            pytest.fail(message)
        pytest.skip(message)
    return found
