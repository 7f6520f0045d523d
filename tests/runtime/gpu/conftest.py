"""Runtimes on the host's stand-in for a GPU."""

import pytest

from tests.runtime.gpu.cases import artefact_of
from tests.runtime.gpu.host_device import HostNetwork, World
from tests.runtime.kernels.shim import compiled
from y12.runtime.session import Runtime


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def open_runtime(tmp_path, world):
    """Runtimes whose network is a function; closed, and the device left clean, at the end."""
    compiled("letterbox")  # where there is no g++ the test skips here, and not in some worker's thread
    opened = []

    def make(manifest, answer, *, gpu=None, rect=False, **network):
        stand_in = HostNetwork(answer, world, **network)
        opened.append((Runtime(artefact_of(manifest, tmp_path), stand_in, gpu=gpu, rect=rect), stand_in))
        return opened[-1][0]

    yield make
    for runtime, network in opened:
        runtime.close()
        runtime.close()
        assert network.closed == 1
    world.check_clean()
