"""An engine on a real GPU: it must find what the ONNX graph it was built from finds.

Full TensorRT where it is installed, else TensorRT-RTX, which does not run on every GPU.
"""

from pathlib import Path

import numpy as np
import pytest

from exporter.cli.export import main
from exporter.verify.images import photos_dir
from runtime import Runtime
from runtime.errors import ExecutorError, InputError
from runtime.images import image_from

pytestmark = pytest.mark.gpu

PHOTOS = sorted(photos_dir().glob("*.jpg"))


@pytest.fixture(scope="module")
def engine(gpu: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seeded yolov12n in FP16 with a free batch and size; the export itself runs and verifies the engine."""
    folder = tmp_path_factory.mktemp("engine")
    sizes = ["--batch", "1:2:4", "--imgsz", "320:640:640"]
    assert main(["yolov12n", "--format", "engine", "--half", *sizes, "--output", str(folder)]) == 0, gpu
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
