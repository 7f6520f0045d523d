"""The executor on ONNX Runtime, run for real on the CPU."""

import subprocess
import sys

import numpy as np
import pytest

from y12 import GpuOptions, Runtime
from y12.errors import ArtefactError, ExecutorError, InputError
from y12.runtime.backends.onnx_runtime import OrtExecutor

onnxruntime = pytest.importorskip("onnxruntime")
RED = np.zeros((1, 3, 64, 64), np.float32)
RED[:, 0] = 1
needs_no_cuda = pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="ONNX Runtime has CUDA here"
)


@pytest.mark.parametrize("as_bytes", [False, True])
def test_runs(make_onnx, as_bytes):
    path = make_onnx()
    executor = OrtExecutor(path.read_bytes() if as_bytes else path, "cpu", threads=1)
    outputs = executor.run(RED)
    assert outputs["output0"][0, :, 0].tolist() == [32, 32, 16, 8, 1, 0, 0]
    assert executor.description == f"ONNX Runtime {onnxruntime.__version__} (CPU)"
    assert executor.input_shape == (1, 3, 64, 64)


@needs_no_cuda
def test_auto_is_the_cpu_and_says_so(make_onnx):
    assert OrtExecutor(make_onnx()).description.endswith("(CPU)")


@needs_no_cuda
def test_cuda_fails_aloud(make_onnx):
    with pytest.raises(ExecutorError, match=r"CUDA was asked for, but .* was built without") as caught:
        OrtExecutor(make_onnx(), "cuda")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 3, 64, 64), np.float32),
        np.zeros((1, 3, 32, 64), np.float32),
        np.zeros((3, 64, 64), np.float32),
        np.zeros((1, 3, 64, 64), np.float64),
    ],
)
def test_refuses_other_shapes_and_types(make_onnx, images):
    with pytest.raises(InputError, match=r"expected float32 images \(1, 3, 64, 64\), found"):
        OrtExecutor(make_onnx(), "cpu").run(images)


def test_free_axes(make_onnx):
    executor = OrtExecutor(make_onnx(batch="batch", size="side"), "cpu")
    assert executor.input_shape == (None, 3, None, None)
    assert executor.run(np.zeros((3, 3, 32, 48), np.float32))["output0"].shape == (3, 7, 1)


@pytest.mark.parametrize(
    ("variable", "threads", "used"),
    [("3", 0, 3), ("3", 1, 1), ("2,4", 0, 2), ("", 0, 0), ("many", 0, 0)],  # 0: ONNX Runtime's own choice
)
def test_threads_are_those_of_the_argument_else_of_the_environment(make_onnx, monkeypatch, variable, threads, used):
    monkeypatch.setenv("OMP_NUM_THREADS", variable)
    session = OrtExecutor(make_onnx(), "cpu", threads=threads)._session
    assert session.get_session_options().intra_op_num_threads == used


@pytest.mark.parametrize(("variable", "at_a_time", "each"), [("1", 1, 1), ("2", 2, 1), ("3", 3, 1), ("11", 4, 2)])
def test_for_throughput_the_threads_are_shared_out(make_onnx, monkeypatch, variable, at_a_time, each):
    monkeypatch.setenv("OMP_NUM_THREADS", variable)
    executor = OrtExecutor(make_onnx(), "cpu", throughput=True)
    assert executor.at_a_time == at_a_time
    assert executor._session.get_session_options().intra_op_num_threads == each
    assert (f"{at_a_time} images at a time" in executor.description) == (at_a_time > 1)
    assert OrtExecutor(make_onnx(), "cpu").at_a_time == 1


def test_damaged_model(tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"this is no model")
    for model in (tmp_path / "bad.onnx", b"this is no model", b"", tmp_path / "missing.onnx"):
        with pytest.raises(ArtefactError, match="ONNX Runtime cannot load it") as caught:
            OrtExecutor(model, "cpu")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("arguments", "message"), [(("tpu",), "expected one of auto"), (("cpu", -1), "threads")])
def test_refuses_arguments(make_onnx, arguments, message):
    with pytest.raises(InputError, match=message):
        OrtExecutor(make_onnx(), *arguments)


def test_a_second_close_does_nothing_and_a_later_run_is_refused(make_onnx):
    executor = OrtExecutor(make_onnx(), "cpu")
    executor.close()
    executor.close()
    with pytest.raises(ExecutorError, match="was closed"):
        executor.run(RED)


def test_nothing_is_written_to_stderr(make_onnx):
    code = f"from y12.runtime.backends.onnx_runtime import OrtExecutor; OrtExecutor({str(make_onnx())!r}).close()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("provider", [pytest.param("auto", marks=needs_no_cuda), "cpu"])
def test_a_gpu_that_is_not_used_cannot_be_chosen(make_onnx, provider):
    with pytest.raises(InputError, match="device: expected 0, as the model runs on the CPU, found 1"):
        Runtime(make_onnx(), provider=provider, gpu=GpuOptions(device=1))
