"""A real plan of TensorRT-RTX, which builds it with no GPU."""

import pytest
from tiny_plans import NAME, build_rtx_plan


@pytest.fixture(scope="session")
def rtx_plan() -> bytes:
    """A plan with one convolution, named `NAME`."""
    return build_rtx_plan(NAME, channels=4)
