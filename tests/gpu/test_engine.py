"""An engine on a real GPU: it must find what the ONNX graph it was built from finds.

Full TensorRT where it is installed, else TensorRT-RTX, which does not run on every GPU.
"""

import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from y12 import Runtime
from y12.errors import ExecutorError, InputError
from y12.exporter.cli.export import main
from y12.exporter.verify.verify_images import photos_dir
from y12.runtime.artefact.opened import open_artefact
from y12.runtime.artefact.plan import network_name_in_plan
from y12.runtime.backends.tensorrt.engine import LoadedEngine
from y12.runtime.backends.tensorrt.executor import TrtExecutor, TrtNetwork
from y12.runtime.gpu.cuda import Gpu
from y12.runtime.gpu.device import StagedArray
from y12.runtime.options import GpuOptions
from y12.runtime.preprocess.images import image_from

pytestmark = pytest.mark.gpu

PHOTOS = sorted(photos_dir().glob("*.jpg"))


@pytest.fixture(scope="module")
def engine(gpu: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seeded yolov12n in FP16 with a free batch and size; the export itself runs and verifies the engine."""
    folder = tmp_path_factory.mktemp("engine")
    sizes = ["--batch", "1:2:4", "--imgsz", "320:640:640"]
    assert (
        main(["yolov12n", "--random-weights", "--format", "engine", "--half", *sizes, "--output", str(folder)]) == 0
    ), gpu
    return folder / "yolov12n_fp16.engine"


def test_the_export_executed_the_engine(engine: Path) -> None:
    report = engine.with_name("yolov12n_fp16.report.json").read_text()
    assert '"engine_executed": "executed in TensorRT' in report
    assert '"verdict": "verified' in report


@pytest.mark.parametrize("imgsz", [320, 640])
@pytest.mark.parametrize("count", [1, 3, 4, 5])
def test_engine_finds_what_the_graph_finds(engine: Path, imgsz: int, count: int) -> None:
    images = [image_from(PHOTOS[i % len(PHOTOS)]) for i in range(count)]
    with (
        Runtime(engine, imgsz=imgsz) as on_gpu,
        Runtime(engine.with_suffix(".onnx"), imgsz=imgsz, provider="cpu") as cpu,
    ):
        for found, expected in zip(on_gpu.infer_batch(images), cpu.infer_batch(images), strict=True):
            assert abs(len(found) - len(expected)) <= max(1, len(expected) // 20)
            best = min(5, len(expected), len(found))
            np.testing.assert_allclose(found.confidence[:best], expected.confidence[:best], atol=0.02)


def test_results_do_not_depend_on_earlier_calls(engine: Path) -> None:
    image = image_from(PHOTOS[0])
    with Runtime(engine) as runtime:
        first = runtime.infer(image)
        runtime.infer_batch([image_from(p) for p in PHOTOS])
        again = runtime.infer(image)
    np.testing.assert_array_equal(first.xyxy, again.xyxy)


def test_a_size_outside_the_profile_is_refused(engine: Path) -> None:
    with pytest.raises(InputError, match="640"):
        Runtime(engine, imgsz=672)


def test_a_closed_runtime_is_refused(engine: Path) -> None:
    runtime = Runtime(engine)
    runtime.close()
    runtime.close()
    with pytest.raises(ExecutorError, match="closed"):
        runtime.infer(image_from(PHOTOS[0]))


@pytest.fixture(scope="module")
def plan(engine: Path) -> bytes:
    return open_artefact(engine).read_model()


def noise(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape, np.float32)


def downloaded(device: Gpu, network: TrtNetwork, images: np.ndarray, replays: int = 0) -> dict[str, np.ndarray]:
    """What a context gives for `images`, launched by itself or replayed from a graph."""
    context = network.context(device, images.shape)
    staged = StagedArray(device, images.shape, context.images.dtype)
    staged.host[...] = images
    device.upload(context.images.address, staged.host)
    context.enqueue()
    device.synchronize()
    if replays:
        assert context.can_be_captured
        graph = device.capture(context.enqueue)
        for _ in range(replays):
            graph.launch()
        device.synchronize()
        graph.close()
    found = {}
    for name, tensor in context.outputs.items():
        array = StagedArray(device, tensor.shape, tensor.dtype)
        device.download(array.host, tensor.address)
        device.synchronize()
        found[name] = array.host.astype(np.float32)
        array.close()
    staged.close()
    context.close()
    return found


@pytest.mark.parametrize("shape", [(1, 3, 640, 640), (4, 3, 640, 640), (3, 3, 320, 416)])
def test_a_context_gives_what_the_executor_gives_also_from_a_graph(plan: bytes, shape: tuple[int, ...]) -> None:
    images = noise(shape)
    executor, network = TrtExecutor(plan), TrtNetwork(plan)
    device = network.device()
    expected = executor.run(images)
    for replays in (0, 3):
        found = downloaded(device, network, images, replays)
        assert found.keys() == expected.keys()
        for name, array in expected.items():
            np.testing.assert_allclose(found[name], array, atol=1e-2, rtol=1e-2)  # FP16 kernels may be chosen anew
    device.close()
    network.close()
    executor.close()


def test_an_executor_changes_shapes_back_and_forth(plan: bytes) -> None:
    executor = TrtExecutor(plan)
    first = executor.run(noise((1, 3, 640, 640)))
    executor.run(noise((4, 3, 320, 320)))
    again = executor.run(noise((1, 3, 640, 640)))
    executor.close()
    for name, array in first.items():
        np.testing.assert_array_equal(again[name], array)


def test_contexts_of_several_threads_run_at_the_same_time(plan: bytes) -> None:
    network = TrtNetwork(plan)
    images = [noise((1, 3, 320, 320), seed) for seed in range(8)]
    device = network.device()
    expected = [downloaded(device, network, image) for image in images]

    def work(seed: int) -> dict[str, np.ndarray]:
        own = network.device()
        try:
            return downloaded(own, network, images[seed], replays=20)
        finally:
            own.close()

    with ThreadPoolExecutor(4) as pool:
        for found, wanted in zip(pool.map(work, range(8)), expected, strict=True):
            for name, array in wanted.items():
                np.testing.assert_allclose(found[name], array, atol=1e-2, rtol=1e-2)
    device.close()
    network.close()


def test_graphs_change_nothing(engine: Path) -> None:
    images = [image_from(path) for path in PHOTOS]
    with (
        Runtime(engine, gpu=GpuOptions(cuda_graph=True)) as replayed,
        Runtime(engine, gpu=GpuOptions(cuda_graph=False)) as launched,
    ):
        for _ in range(3):
            for found, expected in zip(replayed.infer_batch(images), launched.infer_batch(images), strict=True):
                assert abs(len(found) - len(expected)) <= 1
                count = min(len(found), len(expected))
                np.testing.assert_allclose(found.confidence[:count], expected.confidence[:count], atol=0.01)


def test_the_name_is_the_one_the_bytes_tell(plan: bytes) -> None:
    with closing(LoadedEngine(plan, "auto", 0, Gpu)) as engine:
        assert engine.name == network_name_in_plan(plan)


def test_rtx_keeps_what_it_compiled(
    plan: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    network = TrtNetwork(plan)
    if "RTX" not in network.description:
        network.close()  # full TensorRT compiles when the engine is built
        assert not (tmp_path / "y12" / "rtx").exists()
        return
    device = network.device()
    first = downloaded(device, network, noise((1, 3, 320, 320)))
    (kept,) = (tmp_path / "y12" / "rtx").iterdir()
    device.close()
    network.close()
    with caplog.at_level(logging.WARNING):
        network = TrtNetwork(plan)  # reads it
        assert caplog.text == ""
        kept.write_bytes(kept.read_bytes()[:-1])
        network.close()
        network = TrtNetwork(plan)
        assert "is damaged" in caplog.text
    device = network.device()
    again = downloaded(device, network, noise((1, 3, 320, 320)))
    for name, array in first.items():
        np.testing.assert_allclose(again[name], array, atol=1e-2, rtol=1e-2)
    device.close()
    network.close()


def test_a_damaged_plan_is_refused_in_one_line_and_a_sound_one_runs_after_it(plan: bytes) -> None:
    damaged = plan[:64] + bytes(64) + plan[128:]  # what follows the header that y12 reads
    with pytest.raises(ExecutorError, match="could not load the engine") as caught:
        TrtNetwork(damaged)
    assert "\n" not in str(caught.value)
    executor = TrtExecutor(plan)
    executor.run(noise((1, 3, 320, 320)))
    executor.close()


TASKS = ["yolov12n-seg", "yolov12n-pose", "yolov12n-obb", "yolov12n-multitask", "yolov12n-p6"]


@pytest.mark.parametrize(
    ("name", "nms"), [("yolov12n-cls", False), *((name, nms) for name in TASKS for nms in (False, True))]
)
def test_an_engine_of_every_task_finds_what_its_graph_finds(gpu: str, tmp_path: Path, name: str, nms: bool) -> None:
    """The export executes and verifies the engine; then both run once more, end to end."""
    options = ["--nms", "--conf", "0.4", "--iou", "0.5"] if nms else []
    command = [name, "--format", "engine", "--half", "--imgsz", "320", *options, "--output", str(tmp_path)]
    assert main(command) == 0, gpu
    engine = tmp_path / f"{name}_fp16.engine"
    with Runtime(engine) as on_gpu, Runtime(engine.with_suffix(".onnx"), provider="cpu") as cpu:
        found, expected = (runtime.infer(image_from(PHOTOS[0])) for runtime in (on_gpu, cpu))
    assert abs(len(found) - len(expected)) <= max(1, len(expected) // 20)
    best = min(5, len(expected), len(found))
    np.testing.assert_allclose(found.confidence[:best], expected.confidence[:best], atol=0.02)
    for part in ("mask", "keypoints", "xywhr"):
        assert (getattr(found, part) is None) == (getattr(expected, part) is None)
