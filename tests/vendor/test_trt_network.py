"""TrtNetwork and its contexts: real TensorRT-RTX where it refuses, the faked GPU for the rest."""

import ctypes.util
import logging
import threading
from pathlib import Path

import fake_gpu
import numpy as np
import pytest
from fake_gpu import Behaviour, Device

from y12.errors import ExecutorError, InputError
from y12.runtime.backends.tensorrt.engine import LoadedEngine
from y12.runtime.backends.tensorrt.executor import TrtContext, TrtNetwork
from y12.runtime.gpu.device import DeviceNetwork

HAS_DRIVER = ctypes.util.find_library("cuda") is not None
SHAPE = (1, 3, 8, 8)


def network_of(behaviour: Behaviour) -> TrtNetwork:
    """The fake's; `behaviour` is what the fixture gave, so that no test forgets it."""
    return TrtNetwork(fake_gpu.PLAN, open_device=Device)


def computed(context: TrtContext, device: Device, value: float) -> np.ndarray:
    """What the context makes of images of one value."""
    fake_gpu.view(context.images.address, context.images.shape, context.images.dtype)[:] = value
    context.enqueue()
    device.synchronize()
    found = context.outputs["output0"]
    return fake_gpu.view(found.address, found.shape, found.dtype).copy()


def test_contexts_of_several_shapes_and_devices_run_side_by_side(fake: Behaviour) -> None:
    network: DeviceNetwork = network_of(fake)
    assert network.description == "TensorRT 10.16.1.11 (Fake GPU, SM 89)"
    shapes = [(1, 3, 8, 8), (2, 3, 16, 16), (1, 3, 8, 8)]
    device = network.device()
    contexts = [network.context(device, shape) for shape in shapes]
    for value, (context, shape) in enumerate(zip(contexts, shapes, strict=True)):
        assert context.images.shape == shape
        assert context.can_be_captured
        assert {name: tensor.dtype for name, tensor in context.outputs.items()} == {
            "output0": np.float32,
            "count": np.int32,
        }
        assert (computed(context, device, value) == 2 * value).all()
    assert len({context.images.address for context in contexts}) == 3
    for context in contexts:
        context.close()
        context.close()
    assert fake_gpu.Memory.live == set()
    with pytest.raises(ExecutorError, match="found a closed one"):
        contexts[0].enqueue()
    device.close()
    network.close()
    network.close()
    with pytest.raises(ExecutorError, match="expected an open engine, found a closed one"):
        network.context(Device(), SHAPE)
    Device.opened[-1].close()


def test_a_shape_runs_under_the_profile_that_holds_it(fake: Behaviour) -> None:
    fake.profiles = [((1, 3, 8, 8), (1, 3, 8, 8), (1, 3, 8, 8)), ((2, 3, 8, 8), (4, 3, 8, 8), (8, 3, 8, 8))]
    network = network_of(fake)
    device = network.device()
    for batch in (1, 2, 8):
        context = network.context(device, (batch, 3, 8, 8))
        assert (computed(context, device, batch) == 2 * batch).all()
        context.close()
    with pytest.raises(InputError, match=r"or between \(2, 3, 8, 8\) and \(8, 3, 8, 8\), found \(9, 3, 8, 8\)"):
        network.context(device, (9, 3, 8, 8))
    device.close()
    network.close()


def test_an_output_of_unknown_size_is_refused_on_the_device(fake: Behaviour) -> None:
    fake.boxes = True
    network = network_of(fake)
    device = network.device()
    with pytest.raises(ExecutorError, match=r"the output 'boxes': .* found \(-1, 2\).*without its NMS"):
        network.context(device, SHAPE)
    device.close()
    network.close()


CALLS = ["create_execution_context", "set_input_shape", "set_tensor_address"]


@pytest.mark.parametrize("refused", CALLS)
def test_a_context_that_is_refused_leaves_nothing_and_the_network_goes_on(fake: Behaviour, refused: str) -> None:
    network = network_of(fake)
    device = network.device()
    fake.refuses.add(refused)
    with pytest.raises(ExecutorError, match=f"{refused} is refused") as caught:
        network.context(device, SHAPE)
    assert "\n" not in str(caught.value)
    assert fake_gpu.Memory.live == set()
    fake.refuses.clear()
    context = network.context(device, SHAPE)
    assert (computed(context, device, 4) == 8).all()
    context.close()
    device.close()
    network.close()


@pytest.mark.parametrize("pieces", range(4))  # the input, two outputs, scratch
def test_memory_that_runs_out_is_told_and_freed(fake: Behaviour, monkeypatch: pytest.MonkeyPatch, pieces: int) -> None:
    network = network_of(fake)
    device = network.device()
    monkeypatch.setattr(Device, "pieces_left", pieces)
    with pytest.raises(ExecutorError, match=r"could not allocate .*CUDA_ERROR_OUT_OF_MEMORY"):
        network.context(device, SHAPE)
    assert fake_gpu.Memory.live == set()
    monkeypatch.setattr(Device, "pieces_left", 4)
    context = network.context(device, SHAPE)
    assert (computed(context, device, 4) == 8).all()
    context.close()
    device.close()
    network.close()


def test_a_lost_gpu_is_told_and_everything_can_be_closed(
    fake: Behaviour, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    network = network_of(fake)
    device = network.device()
    context = network.context(device, SHAPE)
    monkeypatch.setattr(Device, "broken", True)
    with pytest.raises(ExecutorError, match="ILLEGAL_ADDRESS"):
        context.enqueue()
    with pytest.raises(ExecutorError, match="CUDA could not make the GPU current"):
        network.context(device, SHAPE)
    with caplog.at_level(logging.WARNING):
        context.close()
        network.close()
        network.close()
    assert caplog.text.count("while freeing what was on the GPU") >= 3
    with pytest.raises(ExecutorError, match="close the stream"):
        device.close()


def test_threads_make_contexts_at_the_same_time(fake: Behaviour) -> None:
    network = network_of(fake)
    failed: list[BaseException] = []

    def work() -> None:
        try:
            device = Device()
            contexts = [network.context(device, SHAPE) for _ in range(20)]
            for context in contexts:
                context.close()
            device.close()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    network.close()
    assert failed == []


def test_the_name_comes_from_the_engine(fake: Behaviour) -> None:
    engine = LoadedEngine(fake_gpu.PLAN, "auto", 0, Device)
    assert engine.name == "y12:QUJD"
    engine.close()


def files_of(folder: Path) -> list[Path]:
    return sorted((folder / "cache" / "y12" / "rtx").glob("*"))


def test_what_rtx_compiled_is_kept_after_the_first_run_and_on_close(fake: Behaviour, tmp_path: Path) -> None:
    fake.cache = b"empty"
    network = network_of(fake)
    device = network.device()
    context = network.context(device, SHAPE)
    assert files_of(tmp_path) == []
    fake.cache = b"compiled"
    assert (computed(context, device, 1) == 2).all()
    (kept,) = files_of(tmp_path)
    assert kept.read_bytes().endswith(b"compiled")
    changed_ns = kept.stat().st_mtime_ns
    context.enqueue()
    fake.cache = b"compiled, and more"
    context.enqueue()  # only the first run writes: serialising takes its time
    assert kept.stat().st_mtime_ns == changed_ns
    context.close()
    device.close()
    network.close()
    assert kept.read_bytes().endswith(b"compiled, and more")
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o777 == 0o700


# on the real library


@pytest.mark.skipif(HAS_DRIVER, reason="this machine has a driver")
def test_rtx_that_cannot_load_says_why_in_one_line_and_nothing_stays_open(
    rtx_plan: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Device, "opened", [])
    with pytest.raises(ExecutorError) as caught:
        TrtNetwork(rtx_plan, open_device=Device)
    text = str(caught.value)
    assert text.startswith("TensorRT-RTX ")
    assert "could not load the engine on Fake GPU, SM 89: " in text
    assert "CUDA" in text.split("SM 89: ")[1]
    assert "It was built by TensorRT-RTX" in text
    assert "\n" not in text
    assert [device.closed for device in Device.opened] == [True]


@pytest.mark.parametrize("sm", [90, 100])
def test_rtx_on_a_gpu_it_has_no_code_for_is_refused_before_it_is_asked(
    rtx_plan: bytes, monkeypatch: pytest.MonkeyPatch, sm: int
) -> None:
    monkeypatch.setattr(Device, "opened", [])
    monkeypatch.setattr(Device, "sm", sm)
    monkeypatch.setattr(Device, "description", f"NVIDIA H100, SM {sm}")
    with pytest.raises(ExecutorError, match=f"found NVIDIA H100, SM {sm}: .*no code for SM {sm}.*--tensorrt full"):
        TrtNetwork(rtx_plan, open_device=Device)
    assert [device.closed for device in Device.opened] == [True]
