"""TrtExecutor: refusals with no GPU on real plans, and its whole life on a GPU that is faked."""

import ctypes.util
import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import fake_gpu
import numpy as np
import pytest
from fake_gpu import Behaviour

from y12.errors import ArtefactError, ExecutorError, InputError, MissingPackageError
from y12.installing import install_command
from y12.runtime.backends.tensorrt.executor import (
    TrtExecutor,
    capture,
    load_bindings,
    process_logger,
)

HAS_DRIVER = ctypes.util.find_library("cuda") is not None
ROOT = Path(__file__).parents[2]


def executor_of(behaviour: Behaviour) -> TrtExecutor:
    """The fake's; `behaviour` is what the fixture gave, so that no test forgets it."""
    return TrtExecutor(fake_gpu.PLAN, open_device=fake_gpu.Device)


def images(batch: int, side: int, value: float) -> np.ndarray:
    return np.full((batch, 3, side, side), value, np.float32)


# on real plans of TensorRT-RTX


@pytest.mark.skipif(HAS_DRIVER, reason="this machine has a driver")
def test_with_no_driver_it_is_refused_in_one_line_with_nothing_on_stderr(rtx_plan: bytes, tmp_path: Path) -> None:
    plan = tmp_path / "tiny.engine"
    plan.write_bytes(rtx_plan)
    program = """
import sys
from pathlib import Path
from y12.errors import ExecutorError
from y12.runtime.backends.tensorrt.executor import TrtExecutor
try:
    TrtExecutor(Path(sys.argv[1]).read_bytes())
except ExecutorError as error:
    print(error)
"""
    command = [sys.executable, "-c", program, str(plan)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1
    assert "expected an NVIDIA driver (libcuda.so.1), found none" in done.stdout


@pytest.mark.parametrize(
    ("damage", "flavour", "error", "message"),
    [
        (lambda plan: plan[:-1], "auto", ArtefactError, "truncated"),
        (lambda plan: plan + b"\0", "auto", ArtefactError, "something was appended"),
        (lambda plan: b"", "auto", ArtefactError, "an empty file"),
        (lambda plan: plan, "full", ExecutorError, "expected a plan for TensorRT, found one of TensorRT-RTX"),
        (
            lambda plan: plan[:24] + b"\1\2\3\4" + plan[28:],
            "auto",
            ExecutorError,
            "found one of TensorRT-RTX 1.2.3.4",
        ),
        (lambda plan: plan[:24] + b"\1\2\3\4" + plan[28:], "rtx", ExecutorError, "export again or install"),
    ],
)
def test_a_plan_that_cannot_run_is_refused_before_anything_is_loaded(
    rtx_plan: bytes, damage: Callable[[bytes], bytes], flavour: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        TrtExecutor(damage(rtx_plan), flavour)


def test_a_capture_hears_everything_the_real_library_says(caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("tensorrt_rtx")
    bindings = load_bindings("rtx")
    assert process_logger(bindings) is process_logger(load_bindings("rtx"))
    with capture(bindings) as outer, capture(bindings) as inner:
        bindings.trt.Runtime(process_logger(bindings)).deserialize_cuda_engine(b"no plan")
    assert "ERROR" in {severity for severity, _ in inner}
    assert inner == outer
    assert all(record.levelno == logging.DEBUG for record in caplog.records)
    with capture(bindings) as later:
        pass
    assert later == []


@pytest.mark.parametrize(
    ("flavour", "error", "message"),
    [
        ("11", InputError, "expected auto, full or rtx, found '11'"),
        ("full", MissingPackageError, install_command("tensorrt")),
        ("rtx", MissingPackageError, install_command("rtx")),
        ("auto", MissingPackageError, install_command("rtx")),
    ],
)
def test_missing_bindings_are_told_with_the_pip_line(
    monkeypatch: pytest.MonkeyPatch, flavour: str, error: type[Exception], message: str
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(error) as caught:
        load_bindings(flavour)
    assert message in str(caught.value)


def test_a_full_tensorrt_that_is_too_old_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    old = fake_gpu.tensorrt(Behaviour())
    monkeypatch.setattr(old, "__version__", "10.11.0.33")
    monkeypatch.setitem(sys.modules, "tensorrt", old)
    with pytest.raises(ExecutorError, match=r"expected TensorRT 10\.12 or later, found 10\.11\.0\.33"):
        load_bindings("full")


# on the fake


def test_it_runs_batches_of_every_shape_of_the_profile(fake: Behaviour) -> None:
    executor = executor_of(fake)
    assert executor.description == "TensorRT 10.16.1.11 (Fake GPU, SM 89)"
    kept = executor.run(images(1, 8, 3))
    for batch, side, value in ((2, 16, 5), (2, 16, 6), (1, 8, 7)):
        found = executor.run(images(batch, side, value))
        np.testing.assert_array_equal(found["output0"], images(batch, side, value * 2))
        assert found["count"].tolist() == [value]
        assert {array.dtype for array in found.values()} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(kept["output0"], images(1, 8, 6))  # no later run writes into it
    assert len(fake_gpu.Memory.live) == 7  # a host and a device side for each of three tensors, and scratch
    executor.close()
    executor.close()
    with pytest.raises(ExecutorError, match="found a closed one"):
        executor.run(images(1, 8, 1))


def test_images_that_are_not_in_memory_order_are_taken(fake: Behaviour) -> None:
    executor = executor_of(fake)
    batch = np.arange(8 * 8 * 3, dtype=np.float32).reshape(1, 8, 8, 3).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(executor.run(batch)["output0"], batch * 2)
    executor.close()


def test_an_engine_whose_input_is_float16_is_fed_with_that(fake: Behaviour) -> None:
    fake.input_dtype = np.float16
    executor = executor_of(fake)
    value = np.float32(0.3)
    np.testing.assert_array_equal(executor.run(images(1, 8, value))["output0"], images(1, 8, np.float16(value)) * 2)
    executor.close()


def test_outputs_of_a_size_known_only_in_the_run_are_refused(fake: Behaviour) -> None:
    fake.boxes = True
    executor = executor_of(fake)
    with pytest.raises(ExecutorError, match=r"the output 'boxes': .* found \(-1, 2\).*without its NMS"):
        executor.run(images(1, 8, 3))
    assert fake_gpu.Memory.live == set()
    executor.close()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (images(3, 8, 1), r"between \(1, 3, 8, 8\) and \(2, 3, 16, 16\), found \(3, 3, 8, 8\)"),
        (images(1, 17, 1), "between"),
        (images(1, 8, 1)[0], "between"),
        (images(1, 8, 1)[:, :1], "between"),
        (images(1, 8, 1).astype(np.uint8), "expected float32 images, found uint8"),
    ],
)
def test_images_outside_the_profile_are_refused(fake: Behaviour, wrong: np.ndarray, message: str) -> None:
    executor = executor_of(fake)
    with pytest.raises(InputError, match=message):
        executor.run(wrong)
    executor.close()


def test_an_engine_that_is_refused_leaves_nothing_behind(fake: Behaviour) -> None:
    fake.refuses.add("deserialize_cuda_engine")
    with pytest.raises(ExecutorError, match="deserialize_cuda_engine is refused"):
        executor_of(fake)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input_dtype": np.int8}, "one input, float32 or float16, found images int8"),
        ({"layout": "CHW16"}, "expected the tensor 'images' as a dense array .* found the format CHW16"),
    ],
)
def test_an_engine_that_does_not_take_dense_images_is_refused(
    fake: Behaviour, change: dict[str, object], message: str
) -> None:
    vars(fake).update(change)
    with pytest.raises(ArtefactError, match=message):
        executor_of(fake)


RUN_CALLS = {
    "create_execution_context": "prepare the engine",
    "set_input_shape": "prepare the engine for images of shape",
    "set_tensor_address": "bind the engine's tensors",
    "execute_async_v3": "run the engine",
}


@pytest.mark.parametrize("refused", RUN_CALLS)
def test_a_run_that_fails_quotes_the_log_and_the_next_one_works(fake: Behaviour, refused: str) -> None:
    executor = executor_of(fake)
    fake.refuses.add(refused)
    with pytest.raises(ExecutorError, match=f"could not {RUN_CALLS[refused]}.*: {refused} is refused"):
        executor.run(images(1, 8, 1))
    fake.refuses.clear()
    assert executor.run(images(1, 8, 2))["count"].tolist() == [2]
    executor.close()


def test_memory_that_runs_out_is_told_and_freed(fake: Behaviour, monkeypatch: pytest.MonkeyPatch) -> None:
    executor = executor_of(fake)
    monkeypatch.setattr(fake_gpu.Device, "memory_left", 2000)
    with pytest.raises(ExecutorError, match=r"could not allocate 6144 bytes .*CUDA_ERROR_OUT_OF_MEMORY"):
        executor.run(images(2, 16, 1))
    assert fake_gpu.Memory.live == set()
    assert executor.run(images(1, 8, 4))["count"].tolist() == [4]
    executor.close()


def test_a_lost_gpu_is_told_once_and_everything_is_let_go_of(
    fake: Behaviour, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    executor = executor_of(fake)
    executor.run(images(1, 8, 1))
    monkeypatch.setattr(fake_gpu.Device, "broken", True)
    with pytest.raises(ExecutorError, match="ILLEGAL_ADDRESS") as caught:
        executor.run(images(1, 8, 1))
    assert "\n" not in str(caught.value)
    with caplog.at_level(logging.WARNING):
        executor.close()
    assert "while freeing what was on the GPU: CUDA could not" in caplog.text
    executor.close()
    assert fake_gpu.Device.opened[-1].closed
    assert fake_gpu.Memory.live == set()


def test_threads_take_turns(fake: Behaviour) -> None:
    executor = executor_of(fake)
    wrong: list[float] = []

    def work(value: int) -> None:
        for _ in range(20):
            found = executor.run(images(1 + value % 2, 8, value))["output0"]
            wrong.extend(found[found != value * 2].tolist())

    threads = [threading.Thread(target=work, args=(value,)) for value in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    executor.close()
    assert wrong == []


def test_what_nobody_captures_goes_to_the_log(fake: Behaviour, caplog: pytest.LogCaptureFixture) -> None:
    fake.refuses.add("deserialize_cuda_engine")
    bindings = load_bindings("full")
    bindings.trt.Runtime(process_logger(bindings)).deserialize_cuda_engine(b"")
    assert ("y12.tensorrt", logging.ERROR) in [(record.name, record.levelno) for record in caplog.records]
