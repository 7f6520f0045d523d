"""Real files of another exporter, from `../shared`."""

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

Load = Callable[[str], onnx.ModelProto]


@pytest.fixture(scope="session")
def foreign(shared: Path) -> Load:
    """Give one of them by its name."""
    folder = shared / "foreign_onnx"
    if not folder.is_dir():
        message = f"files of another exporter not found: expected them in {folder}"
        if os.environ.get("Y12_REQUIRE_SHARED") == "1":
            pytest.fail(message)
        pytest.skip(message)
    spec = importlib.util.spec_from_file_location("unpack", folder / "unpack.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    load: Load = module.load
    return load
