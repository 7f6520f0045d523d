"""The whole runtime on a real GPU: letterbox, network, NMS and what the task adds, bit for bit what the CPU finds.

torch stands in for the engine, with a network whose numbers are the same on every device: it samples and multiplies,
and never adds. So what is expected is computed on the host: the letterbox kernel's twin, the same network in torch on
the CPU, the runtime's own decoding.
"""

import gc
import resource
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.gpu.torch_network import TorchNetwork
from tests.runtime.gpu.cases import (
    ANCHORS,
    FORMS,
    HW,
    LAYOUTS,
    NAMES,
    artefact_of,
    check_equal,
    expected_of,
    images_of,
    manifest_of,
)
from y12 import Runtime
from y12.errors import ExecutorError, InputError
from y12.runtime.artefact.manifest import Manifest
from y12.runtime.gpu.cuda import Gpu
from y12.runtime.options import DetectOptions, GpuOptions

pytestmark = pytest.mark.gpu

SOME = DetectOptions(conf=0.1, iou=0.5)
CHOICES = (SOME, replace(SOME, multi_label=True), replace(SOME, classes=(1, 3), agnostic=True, max_det=3))
SIZES = [(64, 96), (50, 200), (333, 111), (1, 1), (1080, 1920)]
SOAK_RUNS = 10_000
FLAT_BYTES = 8 << 20  # what two readings of free device memory may differ by: a block of the driver's own is 2 MiB


class MadeUp(nn.Module):
    """Boxes by chance, scores by what is in the image: other images, other objects."""

    def __init__(self, manifest: Manifest, seed: int = 3) -> None:
        super().__init__()
        rng = np.random.default_rng(seed)
        objectness = manifest.localisation == "anchors"
        extras = LAYOUTS[manifest.task][0]
        self.task, self.classes = manifest.task, len(NAMES) + objectness
        boxes = np.concatenate([rng.uniform((0, 0), HW[::-1], (ANCHORS, 2)), rng.uniform(4, 50, (ANCHORS, 2))], 1).T
        for name, values in {
            "boxes": boxes,
            "scores": rng.random((self.classes, ANCHORS)),
            "others": rng.normal(0, 3, (extras, ANCHORS)),
            "protos": rng.normal(0, 1, (4, HW[0] // 4, HW[1] // 4)),
        }.items():
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(values, np.float32)))
        self.register_buffer("columns", torch.from_numpy(rng.integers(0, HW[1], ANCHORS)))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        B = len(images)
        images = images.float()
        seen = images[:, 1, HW[0] // 2][:, self.columns]  # (B, A)
        boxes = self.boxes.expand(B, -1, -1)
        scores = self.scores * seen[:, None]  # (B, nc, A)
        others = self.others.expand(B, -1, -1)
        protos = {"protos": self.protos * images[:, :1, HW[0] // 2, HW[1] // 2, None, None]}
        if self.task == "multitask":
            parts = {"mask_coefficients": others[:, :4], "keypoints": others[:, 4:]}
            return {"boxes": boxes, "scores": scores, **parts, **protos}
        outputs = {"output0": torch.cat([boxes, scores, others], 1)}
        return {**outputs, **protos} if self.task == "segment" else outputs


def answer_of(module: nn.Module):
    """The same network on the CPU, from and to numpy."""
    module = module.cpu()

    def answer(images: np.ndarray) -> dict[str, np.ndarray]:
        with torch.inference_mode():
            return {name: output.numpy() for name, output in module(torch.from_numpy(images)).items()}

    return answer


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.fixture
def opened(gpu: str, tmp_path: Path) -> Iterator:
    runtimes = []

    def make(manifest: Manifest, module: nn.Module, gpu: GpuOptions | None = None, **network) -> Runtime:
        runtimes.append(Runtime(artefact_of(manifest, tmp_path), TorchNetwork(module, **network), gpu=gpu))
        return runtimes[-1]

    yield make
    for runtime in runtimes:
        runtime.close()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize(("task", "localisation"), FORMS)
def test_every_task_finds_what_the_cpu_finds(opened, rng, task, localisation, dtype):
    manifest = manifest_of(task, localisation=localisation)
    images = images_of(rng, SIZES)
    runtime, answer = opened(manifest, MadeUp(manifest), dtype=dtype), answer_of(MadeUp(manifest))
    for options in CHOICES:
        expected = expected_of(manifest, answer, images, options, half=dtype is torch.float16)
        assert sum(map(len, expected)) > 4
        for _ in range(2):  # as launched first, and from the graph
            check_equal(runtime.infer_batch(images, options), expected)


@pytest.mark.parametrize("cuda_graph", [True, False])
@pytest.mark.parametrize("batch", [(1, 1, 1), (1, 4, 16), (4, 4, 4)])
def test_batches_of_every_size(opened, rng, batch, cuda_graph):
    manifest = manifest_of(batch=batch)
    runtime = opened(manifest, MadeUp(manifest), GpuOptions(cuda_graph=cuda_graph))
    answer = answer_of(MadeUp(manifest))
    for count in (1, 2, 3, 5, 16, 17, 2):
        images = images_of(rng, [SIZES[i % len(SIZES)] for i in range(count)])
        check_equal(runtime.infer_batch(images, SOME), expected_of(manifest, answer, images, SOME))


class CountingGpu(Gpu):
    """Counts what was captured."""

    captures = 0

    def capture(self, enqueue):
        type(self).captures += 1
        return super().capture(enqueue)


def test_thresholds_change_without_a_new_capture(opened, rng, monkeypatch):
    monkeypatch.setattr(CountingGpu, "captures", 0)
    manifest = manifest_of()
    runtime = opened(manifest, MadeUp(manifest), GpuOptions(contexts=1), open_device=CountingGpu)
    answer = answer_of(MadeUp(manifest))
    (image,) = images_of(rng, [(100, 100)])
    runtime.infer(image, SOME)
    assert CountingGpu.captures == 1
    choices = [DetectOptions(conf=c, iou=i) for c in (0.05, 0.1, 0.3, 0.99) for i in (0.0, 0.4, 0.9)]
    choices += [DetectOptions(conf=0.1, classes=(0, 4)), DetectOptions(conf=0.1, agnostic=True, max_det=2)]
    counts = []
    for options in choices:
        expected = expected_of(manifest, answer, [image], options)
        check_equal([runtime.infer(image, options)], expected)
        counts.append(len(expected[0]))
    assert len(set(counts)) > 4
    assert CountingGpu.captures == 1


def test_a_stream_gives_what_infer_gives_and_in_order(opened, rng):
    manifest = manifest_of()
    runtime = opened(manifest, MadeUp(manifest))
    images = images_of(rng, [(int(h), int(w)) for h, w in rng.integers(20, 300, (60, 2))])
    expected = [runtime.infer(image, SOME) for image in images]
    for batch in (1, 3):
        check_equal(list(runtime.stream(iter(images), SOME, batch=batch)), expected)


def test_threads_get_their_own_results(opened, rng):
    manifest = manifest_of()
    runtime = opened(manifest, MadeUp(manifest), GpuOptions(contexts=3))
    images = images_of(rng, [(int(h), int(w)) for h, w in rng.integers(20, 300, (40, 2))])
    expected = [runtime.infer(image, SOME) for image in images]
    order = [int(i) for i in rng.integers(0, len(images), 400)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: runtime.infer(images[i], SOME), order))
    check_equal(found, [expected[i] for i in order])


class ByInterface:
    """What cupy and pycuda offer: `__cuda_array_interface__` and no DLPack."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor
        self.__cuda_array_interface__ = tensor.__cuda_array_interface__


@pytest.mark.parametrize("wrap", [lambda tensor: tensor, ByInterface], ids=["dlpack", "cuda array interface"])
def test_frames_on_the_device_are_taken_where_they_are(opened, rng, wrap):
    manifest = manifest_of()
    runtime = opened(manifest, MadeUp(manifest))
    for size_hw in SIZES:
        (image,) = images_of(rng, [size_hw])
        expected = runtime.infer(image, SOME)
        frame = torch.from_numpy(image).cuda()
        check_equal([runtime.infer(wrap(frame), SOME)], [expected])
        padded = torch.zeros((image.shape[0], image.shape[1] + 5, 3), dtype=torch.uint8, device="cuda")
        padded[:, 2:-3] = frame
        check_equal([runtime.infer(wrap(padded[:, 2:-3]), SOME)], [expected])  # rows with a pitch


def test_the_work_that_makes_a_frame_is_waited_for(opened, rng):
    manifest = manifest_of()
    runtime = opened(manifest, MadeUp(manifest))
    (image,) = images_of(rng, [(400, 400)])
    expected = runtime.infer(image, SOME)
    source = torch.from_numpy(image).cuda()
    large = torch.rand((8192, 8192), device="cuda")
    torch.cuda.synchronize()
    for _ in range(20):
        frame = torch.zeros_like(source)
        torch.cuda._sleep(20_000_000)  # of clock cycles, some milliseconds
        large @ large
        frame.copy_(source)
        check_equal([runtime.infer(frame, SOME)], [expected])


def test_an_array_of_cupy(opened, rng):
    cupy = pytest.importorskip("cupy", exc_type=ImportError)
    manifest = manifest_of()
    runtime = opened(manifest, MadeUp(manifest))
    (image,) = images_of(rng, [(50, 70)])
    check_equal([runtime.infer(cupy.asarray(image), SOME)], [runtime.infer(image, SOME)])


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.zeros((8, 8, 3), device="cuda"),
        lambda: torch.zeros((8, 8), dtype=torch.uint8, device="cuda"),
        lambda: torch.zeros((3, 8, 8), dtype=torch.uint8, device="cuda").permute(1, 2, 0),
    ],
    ids=["float", "no channels", "channels first"],
)
def test_what_is_no_image_on_the_device_is_refused(opened, make):
    manifest = manifest_of()
    runtime = opened(manifest, MadeUp(manifest))
    with pytest.raises(InputError):
        runtime.infer(make(), SOME)
    assert len(runtime.infer(np.full((8, 8, 3), 200, np.uint8), SOME))


def test_out_of_memory_is_told_and_the_runtime_goes_on(opened, rng):
    manifest = manifest_of(batch=(1, 1, 16))
    runtime = opened(manifest, MadeUp(manifest), GpuOptions(contexts=1))
    (image,) = images_of(rng, [(50, 70)])
    expected = runtime.infer(image, SOME)
    free, _ = torch.cuda.mem_get_info()
    hoard = [torch.empty(size, dtype=torch.uint8, device="cuda") for size in _until_full(free)]
    try:
        with pytest.raises(ExecutorError) as caught:
            runtime.infer(np.zeros((8000, 8000, 3), np.uint8), SOME)  # 192 MB
        assert "\n" not in str(caught.value)
    finally:
        del hoard
        torch.cuda.empty_cache()
    check_equal([runtime.infer(image, SOME)], [expected])


def _until_full(free_bytes: int) -> Iterator[int]:
    """Sizes that leave some 16 MiB."""
    left = free_bytes - (16 << 20)
    while left > 1 << 20:
        yield (piece := min(left, 1 << 30))
        left -= piece


@pytest.mark.slow
def test_ten_thousand_inferences_leave_memory_flat(opened, rng):
    manifest = manifest_of(batch=(1, 1, 8))
    runtime = opened(manifest, MadeUp(manifest), GpuOptions(contexts=2))
    images = images_of(rng, [(int(h), int(w)) for h, w in rng.integers(20, 500, (32, 2))])
    expected = {i: [expected_of(manifest, answer_of(MadeUp(manifest)), [image], o)[0] for o in CHOICES]
                for i, image in enumerate(images)}  # fmt: skip
    done, wrong = [0], []
    lock = threading.Lock()

    def work(seed: int) -> None:
        chance = np.random.default_rng(seed)
        while True:
            with lock:
                if done[0] >= limit:
                    return
                picked = chance.integers(0, len(images), int(chance.integers(1, 9)))
                done[0] += len(picked)
            choice = int(chance.integers(0, len(CHOICES)))
            found = runtime.infer_batch([images[i] for i in picked], CHOICES[choice])
            try:
                check_equal(found, [expected[int(i)][choice] for i in picked])
            except AssertionError as error:
                wrong.append(error)

    readings = []
    for limit in (SOAK_RUNS // 5, SOAK_RUNS // 2, SOAK_RUNS):
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(limit, limit + 4)))
        gc.collect()
        torch.cuda.synchronize()
        readings.append((torch.cuda.mem_get_info()[0], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10))
    assert wrong == []
    assert done[0] >= SOAK_RUNS
    free, host = zip(*readings, strict=True)
    assert max(free) - min(free) <= FLAT_BYTES
    assert host[-1] - host[0] <= 4 * FLAT_BYTES  # the peak: Python's arenas come and go


def test_an_image_beyond_what_the_kernel_computes_with_is_refused_and_the_next_one_runs(opened):
    manifest = manifest_of()
    runtime = opened(manifest, MadeUp(manifest))
    with pytest.raises((InputError, ExecutorError), match="32767"):
        runtime.infer(np.zeros((2, 40_000, 3), np.uint8), SOME)
    assert len(runtime.infer(np.full((64, 96, 3), 200, np.uint8), SOME))
