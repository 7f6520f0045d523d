"""The kernels on a real GPU: bit for bit what their twins give, on the cases their sources are checked with."""

import numpy as np
import pytest

from tests.runtime.kernels import gather_cases, letterbox_cases, masks_cases, nms_cases, select_cases
from tests.runtime.kernels.letterbox_cases import run_letterbox
from tests.runtime.kernels.masks_cases import MaskRun
from tests.runtime.kernels.references.letterbox import letterboxed
from tests.runtime.kernels.select_cases import SelectRun
from y12.runtime.gpu.cuda import Gpu, GpuKernel
from y12.runtime.gpu.device import StagedArray
from y12.runtime.kernels.sources import entry_points, kernel_names, kernel_source
from y12.runtime.preprocess.letterbox import Letterbox

pytestmark = pytest.mark.gpu


class OnGpu:
    """A kernel called as the shim's is: with numpy arrays, written in place; an int is a device address."""

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
        copy = StagedArray(self._device, array.shape, array.dtype)
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
        return {entry: OnGpu(device, device.kernel(name, entry)) for entry in entry_points(kernel_source(name))}

    return {name: load(name) for name in kernel_names()}


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("case", letterbox_cases.CASES, ids=str)
def test_letterbox(device, kernels, case, dtype):
    images = case.images()
    copies = []

    def put(image: np.ndarray) -> int:
        rows = np.lib.stride_tricks.as_strided(image, (image.shape[0], image.strides[0]), (image.strides[0], 1))
        copy = StagedArray(device, rows.shape, np.uint8)
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
    expected = case.expected()
    for _ in range(5):  # atomics run in another order each time
        run = SelectRun(case)
        run.launch(kernels["candidates"])
        run.check(expected)


LEVELS = ((80, 80), (40, 40), (20, 20))


@pytest.mark.parametrize("levels_hw", [None, LEVELS], ids=["all", "peaks"])
@pytest.mark.parametrize(
    "options",
    [select_cases.DetectOptions(conf=0.98), select_cases.DetectOptions(conf=0.1, multi_label=True)],
    ids=["best class", "every class"],
)
def test_select_at_the_size_of_a_real_network(kernels, options, levels_hw):
    sizes = {"limit": 4096, "batch": 3, "levels": 1000, "levels_hw": levels_hw}
    case = select_cases.SelectCase("yolo", 8400, 80, options, **sizes)
    run = SelectRun(case)
    run.launch(kernels["candidates"])
    run.check(case.expected())


NMS_CASES = [*nms_cases.SMALL, *nms_cases.ORIENTED, *nms_cases.HUGE, *nms_cases.ORIENTED_HUGE]


@pytest.mark.parametrize("case", NMS_CASES, ids=lambda case: f"{case.boxes.shape[1]}: {case.name}")
def test_nms(kernels, case):
    result = nms_cases.check_kernels(kernels["nms"], [case])
    assert result["rows"]["anchor"][0, : result["header"]["count"][0]].tolist() == case.expected


@pytest.mark.parametrize("case", gather_cases.GATHER_CASES, ids=str)
def test_gather(kernels, case):
    case.check(kernels["keypoints"])


def test_gather_at_the_size_of_a_real_network(kernels):
    sizes = {"values": 51, "room": 300, "before": 5, "anchors": 8400}
    gather_cases.GatherCase("pose", (300, 17, 0, 299), **sizes).check(kernels["keypoints"])


@pytest.mark.parametrize("blocks", [None, 3])
@pytest.mark.parametrize("repeats", [1, 50])
def test_widen(kernels, blocks, repeats):
    values = np.tile(gather_cases.halves(), repeats)
    gather_cases.check_widen(kernels["widen"], values[: len(values) - 3], blocks)


@pytest.mark.parametrize("case", [*masks_cases.CASES, masks_cases.BORDER, masks_cases.LARGE], ids=str)
def test_masks(kernels, case):
    run = MaskRun(case)
    run.launch(kernels["masks"])
    run.check()


def test_masks_at_the_size_of_a_real_network(kernels):
    boxes = tuple((x, y, x + 200.5, y + 150.2) for x in range(0, 1200, 60) for y in range(0, 700, 50))
    sizes = {"input_hw": (640, 640), "protos_mhw": (32, 160, 160), "room": 300, "anchors": 8400}
    run = MaskRun(masks_cases.MaskCase("seg", ((720, 1280), (1080, 1920)), (boxes, boxes[:7]), **sizes))
    run.launch(kernels["masks"])
    run.check()


@pytest.mark.parametrize("less", [1, 100])
def test_masks_that_do_not_fit(kernels, less):
    case = masks_cases.CASES[0]
    run = MaskRun(case, MaskRun(case).arena_words - less)
    run.launch(kernels["masks"])
    run.check()
    assert run.headers["overflow"].tolist() == [1]
