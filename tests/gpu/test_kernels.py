"""The kernels on a real GPU: bit for bit what their twins give, on the cases their sources are checked with."""

import numpy as np
import pytest

from runtime.cuda import Gpu, GpuKernel, StagedArray, compile_cubin
from runtime.kernels.letterbox_twin import letterboxed
from runtime.kernels.select_twin import selected
from runtime.kernels.sources import kernel_names, kernel_source
from runtime.letterbox import Letterbox
from tests.runtime.kernels import letterbox_cases, nms_cases, select_cases
from tests.runtime.kernels.letterbox_cases import run_letterbox
from tests.runtime.kernels.select_cases import SelectRun
from tests.runtime.kernels.shim import entry_points

pytestmark = pytest.mark.gpu


class OnGpu:
    """A kernel called as the shim's is: with numpy arrays, written in place."""

    def __init__(self, device: Gpu, kernel: GpuKernel) -> None:
        self._device, self._kernel = device, kernel

    def __call__(self, grid, block, *arguments):
        staged = [self._staged(value) if isinstance(value, np.ndarray) else None for value in arguments]
        values = [value if copy is None else copy.address for value, copy in zip(arguments, staged, strict=True)]
        self._kernel(grid, block, *values)
        for copy in filter(None, staged):
            copy.download()
        self._device.synchronize()
        for value, copy in zip(arguments, staged, strict=True):
            if copy is None:
                continue
            if value.flags.writeable:
                value[...] = copy.host
            copy.close()

    def _staged(self, array: np.ndarray) -> StagedArray:
        copy = self._device.allocate(array.shape, array.dtype)
        copy.host[...] = array
        copy.upload()
        return copy


@pytest.fixture(scope="module")
def device(gpu):
    device = Gpu()
    yield device
    device.close()


@pytest.fixture(scope="module")
def kernels(device):
    def load(name: str) -> dict[str, OnGpu]:
        source = kernel_source(name)
        cubin = compile_cubin(source, device.sm)
        return {entry: OnGpu(device, device.load_kernel(cubin, entry)) for entry in entry_points(source)}

    return {name: load(name) for name in kernel_names()}


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("case", letterbox_cases.CASES, ids=str)
def test_letterbox(device, kernels, case, dtype):
    images = case.images()
    copies = []

    def put(image: np.ndarray) -> int:
        rows = np.lib.stride_tricks.as_strided(image, (image.shape[0], image.strides[0]), (image.strides[0], 1))
        copy = device.allocate(rows.shape, np.uint8)
        copy.host[...] = rows
        copy.upload()
        copies.append(copy)
        return copy.address

    out = run_letterbox(kernels["letterbox"], put, images, case.input_hw, dtype)
    frames = [Letterbox.fit(image.shape[:2], case.input_hw) for image in images]
    assert out.tobytes() == letterboxed(images, frames, dtype).tobytes()
    for copy in copies:
        copy.close()


@pytest.mark.parametrize("case", select_cases.CASES, ids=str)
def test_select(kernels, case):
    expected = [selected(output, case.shape, case.options, case.limit) for output in case.outputs()]
    for _ in range(5):  # atomics run in another order each time
        run = SelectRun(case)
        run.launch(kernels["select"])
        run.check(expected)


def test_select_at_the_size_of_a_real_network(kernels):
    shape = select_cases.SelectShape(8400, 80, 84)
    for options in (select_cases.DetectOptions(conf=0.98), select_cases.DetectOptions(conf=0.1, multi_label=True)):
        case = select_cases.SelectCase("yolo", shape, options, limit=4096, batch=3, levels=1000)
        run = SelectRun(case)
        run.launch(kernels["select"])
        run.check([selected(output, shape, options, case.limit) for output in case.outputs()])


NMS_CASES = [*nms_cases.SMALL, *nms_cases.ORIENTED, *nms_cases.HUGE, *nms_cases.ORIENTED_HUGE]


@pytest.mark.parametrize("case", NMS_CASES, ids=lambda case: f"{case.boxes.shape[1]}: {case.name}")
def test_nms(kernels, case):
    result = nms_cases.check_kernels(kernels["nms"], [case])
    assert result["rows"]["anchor"][0, : result["header"]["count"][0]].tolist() == case.expected
