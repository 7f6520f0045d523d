"""A real network on the host's stand-in for a GPU: ONNX Runtime runs it."""

from pathlib import Path

from tests.runtime.gpu.host_device import HostNetwork, World
from y12.runtime.backends.onnx_runtime import OrtExecutor


class OrtNetwork(HostNetwork):
    """An .onnx as a `DeviceNetwork`."""

    def __init__(self, path: Path, world: World) -> None:
        self._executor = OrtExecutor(path, "cpu")
        super().__init__(self._executor.run, world)

    def close(self) -> None:
        super().close()
        self._executor.close()
