"""Several runtimes that share the images: who gets which, in which order results come, and how it ends."""

import ctypes
import json
import threading
import time
from itertools import count

import cv2
import numpy as np
import pytest

from y12.errors import InputError
from y12.runtime.artefact.manifest import AxisRange
from y12.runtime.backends.onnx_runtime import OrtExecutor
from y12.runtime.cli import bench, infer
from y12.runtime.cli.infer_files import Output, infer_files
from y12.runtime.cli.sources import sources_from
from y12.runtime.gpu import cuda
from y12.runtime.preprocess.images import image_from
from y12.runtime.session import Runtime
from y12.runtime.several import Several


class Seen(OrtExecutor):
    """ONNX Runtime on the CPU, of which it is known what it ran; the slow one waits in each run."""

    def __init__(self, path, wait_s=0.0):
        super().__init__(path, "cpu")
        self.batches, self._wait_s = [], wait_s

    def run(self, images):
        self.batches.append([round(float(each.mean()) * 255) for each in images])
        time.sleep(self._wait_s)
        return super().run(images)


@pytest.fixture
def model(make_onnx, make_manifest):
    return make_onnx(batch="batch", manifest=make_manifest(batch=AxisRange(1, 4, 8)))


def pictures(number):
    """Grays, each a step lighter than the one before; as large as the input, so that a blob tells which it is."""
    return [np.full((64, 64, 3), i, np.uint8) for i in range(number)]


def gather(outcomes):
    return [(o.item if isinstance(o.item, int) else int(o.item.mean()), o.result) for o in outcomes]


@pytest.mark.parametrize("slow", [0, 1])
@pytest.mark.parametrize(("number", "batch"), [(11, 1), (11, 3), (12, 3), (2, 3), (1, 1), (0, 2)])
def test_batches_are_dealt_out_in_turn_and_come_back_in_order(model, number, batch, slow):
    executors = [Seen(model, 0.005 * (slow == i)) for i in range(2)]
    with Runtime(model, executors[0]) as one, Runtime(model, executors[1]) as two:
        found = gather(Several([one, two]).outcomes(pictures(number), image_from, batch=batch))
        alone = gather(one.outcomes(pictures(number), image_from, batch=batch))
    assert [mean for mean, _ in found] == list(range(number))
    assert [result.as_records() for _, result in found] == [result.as_records() for _, result in alone]
    chunks = [list(range(start, min(start + batch, number))) for start in range(0, number, batch)]
    assert executors[1].batches == chunks[1::2]
    assert executors[0].batches[: len(chunks[::2])] == chunks[::2]


def test_they_work_at_the_same_time(model):
    """Each waits in its run until the other one is in its own: one after the other would never end."""
    meeting = threading.Barrier(3, timeout=20)

    class Meeting(Seen):
        def run(self, images):
            meeting.wait()
            return super().run(images)

    with (
        Runtime(model, Meeting(model)) as one,
        Runtime(model, Meeting(model)) as two,
        Runtime(model, Meeting(model)) as three,
    ):
        assert len(gather(Several([one, two, three]).outcomes(pictures(9), image_from, ahead=1))) == 9


def test_an_image_that_cannot_be_read_is_told_in_its_place(model):
    def load(number):
        if number in (3, 4, 7):
            raise InputError(f"no {number}")
        return np.full((64, 64, 3), number, np.uint8)

    with Runtime(model) as one, Runtime(model) as two:
        found = gather(Several([one, two]).outcomes(range(9), load, batch=2))
    assert [number for number, _ in found] == list(range(9))
    assert [str(result) for number, result in found if isinstance(result, InputError)] == ["no 3", "no 4", "no 7"]


@pytest.mark.parametrize("good", range(7))
def test_an_error_of_the_iterable_comes_after_what_came_before_it(model, good):
    def items():
        yield from range(good)
        raise OSError("no more")

    given = []
    with Runtime(model) as one, Runtime(model) as two:
        outcomes = Several([one, two]).outcomes(items(), lambda i: np.full((64, 64, 3), i, np.uint8), batch=2)
        with pytest.raises(OSError, match="no more"):
            given.extend(outcome.item for outcome in outcomes)
    assert given == list(range(good))


def test_an_endless_one_is_read_as_needed_and_can_be_left(model):
    taken = []

    def items():
        for number in count():
            taken.append(number)
            yield number

    with Runtime(model) as one, Runtime(model) as two:
        outcomes = Several([one, two]).outcomes(items(), lambda i: np.full((64, 64, 3), i % 256, np.uint8), ahead=1)
        assert [next(outcomes).item for _ in range(10)] == list(range(10))
        assert len(taken) <= 10 + 2 * 2 * 2  # batches ahead of both, and as many dealt out meanwhile
        outcomes.close()
    assert not [t.name for t in threading.enumerate() if t.name.startswith("y12-stream")]


def test_y12_infer_tells_in_order_what_several_find(model, tmp_path, capsys):
    """As with --device 0,1, where the runtimes are on GPUs; here both are on the CPU."""
    for number in range(7):
        cv2.imwrite(
            str(tmp_path / f"{number}.png"), np.full((8, 8, 3), ((0, 0, 255), (255, 0, 0))[number % 2], np.uint8)
        )
    (tmp_path / "3.png").write_bytes(b"no image")
    executors = Seen(model), Seen(model)
    with Runtime(model, executors[0]) as one, Runtime(model, executors[1]) as two:
        sources = sources_from([str(tmp_path / "*.png")])
        assert infer_files(Several([one, two]), sources, one.options, Output(as_json=True), batch=2) == 1
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["source"] for record in records] == list(map(str, sources))
    assert ["error" in record for record in records] == [False] * 3 + [True] + [False] * 3
    assert [len(batch) for executor in executors for batch in executor.batches] == [2, 2, 1, 1]


@pytest.mark.parametrize(
    ("devices", "more", "names", "code", "said"),
    [
        ("0,1", [], (), 1, "--device: expected the GPUs 0,1 on this machine, found none that CUDA finds"),
        (
            "0,2",
            [],
            ("NVIDIA L4", "NVIDIA L4"),
            1,
            "expected the GPUs 0,2 on this machine, found 0: NVIDIA L4, 1: NVIDIA L4",
        ),
        (
            "0,1",
            ["--provider", "cpu"],
            ("A", "B"),
            1,
            "--device: expected one place to run, found 0,1 and --provider cpu: drop one of them",
        ),
        (
            "0,0",
            [],
            (),
            2,
            "--device: expected the number of a GPU, or of several, such as 0 or 0,1 (--provider cpu runs",
        ),
        ("-1", [], (), 2, "--device: expected the number of a GPU"),
        ("cpu", [], (), 2, "--device: expected the number of a GPU"),
        ("", [], (), 2, "--device: expected the number of a GPU"),
    ],
)
def test_gpus_that_are_not_there(model, monkeypatch, capsys, devices, more, names, code, said):
    monkeypatch.setattr(cuda, "gpu_names", lambda: names)
    assert infer.main([str(model), "none.png", "--device", devices, *more]) == code
    captured = capsys.readouterr()
    assert (captured.out, len(captured.err.splitlines())) == ("", 1)
    assert said in captured.err


def test_one_gpu_for_other_commands(model, capsys):
    assert bench.main([str(model), "--device", "0,1"]) == 1
    assert (
        capsys.readouterr().err
        == "error: --device: expected one GPU, found 0,1; y12-infer and y12-serve take several\n"
    )


def test_the_driver_names_the_gpus_that_there_are():
    try:
        ctypes.CDLL(cuda.DRIVER)
    except OSError:
        assert cuda.gpu_names() == ()
    else:
        assert all(cuda.gpu_names())
