"""The kernels of y12 beside torch's operations on one GPU; `benchmarks/gpu.py` runs them."""

import statistics
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from y12.runtime.gpu.cuda import Gpu
from y12.runtime.kernels import layout as layouts
from y12.runtime.kernels import nms_layout
from y12.runtime.options import DetectOptions
from y12.runtime.preprocess.letterbox import Letterbox

__all__ = ["CLASSES", "INPUT_HW", "OPTIONS", "letterbox_row", "made_up_boxes", "nms_row", "wall_ms"]

INPUT_HW, FOUR_K = (640, 640), (2160, 3840)
CLASSES = 80
OPTIONS = DetectOptions(conf=0.25, iou=0.7)
REPEATS = 20  # kernels in a graph that is timed
SECTOR_BYTES = 32  # the least that a GPU reads of its memory


def made_up_boxes(rng: np.random.Generator, count: int) -> NDArray[np.float32]:
    """Return boxes round 40 objects, (count, 4), as centre and size in pixels of the input."""
    objects = rng.uniform((40, 40, 20, 20), (600, 600, 200, 200), (40, 4))
    return (objects[rng.integers(0, 40, count)] + rng.normal(0, 4, (count, 4))).clip(1, 639).astype(np.float32)


def wall_ms(call: Callable[[], object], runs: int) -> dict[str, float]:
    """Time whole calls by the host's clock, after a tenth of them to warm up."""
    found = []
    for i in range(runs + runs // 10 + 3):
        begin = perf_counter()
        call()
        if i >= runs // 10 + 3:
            found.append((perf_counter() - begin) * 1e3)
    return {"p50": statistics.median(found), "p99": float(np.percentile(found, 99))}


def kernel_ms(gpu: Gpu, enqueue: Callable[[], None], runs: int) -> float:
    """Time a kernel by CUDA events, the median; several in one graph, so that no launch by the host lies between."""

    def repeat() -> None:
        for _ in range(REPEATS):
            enqueue()

    graph = gpu.capture(repeat)
    graph.launch()
    gpu.synchronize()
    found = statistics.median(gpu.elapsed_ms(graph.launch) for _ in range(runs)) / REPEATS
    graph.close()
    return found


def torch_nms(boxes: Tensor, scores: Tensor, class_ids: Tensor, iou: float) -> Tensor:
    """Greedy NMS by class in torch's own operations: keep what no kept better box suppresses, until nothing changes."""
    order = scores.argsort(descending=True)
    placed = (boxes + class_ids[:, None] * (boxes.max() + 1))[order]
    top, bottom = torch.max(placed[:, None, :2], placed[:, :2]), torch.min(placed[:, None, 2:], placed[:, 2:])
    shared = (bottom - top).clamp(min=0).prod(2)
    areas = (placed[:, 2:] - placed[:, :2]).prod(1)
    over = (shared > iou * (areas[:, None] + areas - shared)).triu(1)
    kept = torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
    for _ in range(len(boxes)):  # each round settles one box or more
        again = ~(over & kept[:, None]).any(0)
        if torch.equal(again, kept):
            break
        kept = again
    return order[kept]


def other_nms() -> tuple[str, Callable[[Tensor, Tensor, Tensor, float], Tensor]]:
    """Return torchvision's NMS, or that of torch's operations where it is not installed."""
    try:
        from torchvision import __version__
        from torchvision.ops import batched_nms
    except ImportError:
        return "torch operations", torch_nms
    return f"torchvision {__version__}", batched_nms


def uploaded(array: NDArray[Any]) -> Tensor:
    """Return an array's bytes on the GPU."""
    return torch.from_numpy(np.ascontiguousarray(array).reshape(-1).view(np.uint8)).cuda()


class Suppression:
    """From the output of a network, all of whose places are candidates, to what NMS keeps, by y12's kernels.

    Args:
        gpu: where they run.
        output0: (1, 4 + nc, A): centre, size and scores.
    """

    def __init__(self, gpu: Gpu, output0: NDArray[np.float32]) -> None:
        self._gpu, self._anchors = gpu, output0.shape[2]
        self.limit = min(self._anchors, layouts.MAX_CANDIDATES)
        shape = layouts.SelectShape(self._anchors, CLASSES, output0.size, output0.size)
        plan = layouts.select_plan(shape, OPTIONS, self.limit, self._anchors)
        tiles = nms_layout.tiles_of(self.limit)
        self._result = nms_layout.result_dtype(self.limit, 4)
        self._tensors = {
            "output0": uploaded(output0),
            "plan": uploaded(plan),
            "wanted": uploaded(layouts.wanted_classes(OPTIONS, CLASSES)),
            "keys": uploaded(np.zeros(self._anchors, np.uint64)),
            "counters": uploaded(np.zeros(1, layouts.SELECT_COUNTERS)),
            **{name: uploaded(np.zeros(self.limit, np.int32)) for name in ("scores", "class_ids", "anchors")},
            "boxes": uploaded(np.zeros((self.limit, 4), np.float32)),
            "header": uploaded(np.zeros(1, layouts.SELECT_HEADER)),
            "options": uploaded(nms_layout.nms_options(OPTIONS.iou, self.limit)),
            "mask": uploaded(np.zeros((self.limit, tiles), np.uint64)),
            "dead": uploaded(np.zeros(tiles, np.uint64)),
            "result": uploaded(np.zeros(1, self._result)),
        }
        self._kernels = {
            entry: gpu.kernel(source, entry)
            for source, entry in (("candidates", "select_scan"), ("candidates", "select_best"), ("nms", "nms_mask"),
                                  ("nms", "nms_keep"))
        }  # fmt: skip
        torch.cuda.synchronize()

    def _at(self, *names: str) -> list[int]:
        return [self._tensors[name].data_ptr() for name in names]

    def select(self) -> None:
        """Put the choice of the best candidates, sorted, on the stream."""
        output0, plan, wanted, keys, counters = self._at("output0", "plan", "wanted", "keys", "counters")
        grid = layouts.select_scan_grid(self._anchors, 1)
        scores = output0 + 16 * self._anchors  # the four rows before are the boxes
        self._kernels["select_scan"](
            grid, layouts.SELECT_SCAN_BLOCK, output0, scores, 0, 0, plan, wanted, keys, counters
        )
        found = self._at("boxes", "scores", "class_ids", "anchors", "header")
        self._kernels["select_best"]((1,), layouts.SELECT_BEST_BLOCK, output0, 0, plan, keys, counters, *found)

    def suppress(self) -> None:
        """Put NMS of the candidates that `select` chose on the stream."""
        given = self._at("boxes", "scores", "class_ids")
        anchors, header, options, mask, dead, result = self._at(
            "anchors", "header", "options", "mask", "dead", "result"
        )
        size = np.int32(self.limit)
        grid = nms_layout.mask_grid(1, self.limit)
        self._kernels["nms_mask"](grid, (nms_layout.TILE,), *given, header, options, size, mask, dead)
        state = (anchors, header, options, mask, dead, size, np.int32(4), size, result)
        self._kernels["nms_keep"]((1,), (nms_layout.KEEP_THREADS,), *given, *state)

    def done(self, *steps: Callable[[], None]) -> None:
        """Do steps and wait for them."""
        for step in steps:
            step()
        self._gpu.synchronize()

    def kept(self) -> int:
        """How many NMS kept."""
        result = self._tensors["result"].cpu().numpy().view(self._result)
        return int(result["header"]["count"][0])


def nms_row(gpu: Gpu, count: int, runs: int) -> dict[str, Any]:
    """Time NMS of `count` candidates by the host's clock until it is done, y12's beside torchvision's.

    y12's takes the best 4096, sorted by the kernel before it; "with selection" is from the network's output on, whose
    80 classes it reads. The other takes boxes, scores and classes, and sorts them itself.
    """
    rng = np.random.default_rng(count)
    xywh = made_up_boxes(rng, count)
    boxes = np.concatenate([xywh[:, :2] - xywh[:, 2:] / 2, xywh[:, :2] + xywh[:, 2:] / 2], 1)
    scores = rng.uniform(0.26, 1, count).astype(np.float32)
    class_ids = rng.integers(0, CLASSES, count)
    output0 = np.zeros((1, 4 + CLASSES, count), np.float32)
    output0[0, :4], output0[0, 4 + class_ids, np.arange(count)] = xywh.T, scores
    name, nms = other_nms()
    given = [torch.from_numpy(array).cuda() for array in (boxes, scores, class_ids)]

    def other() -> Tensor:
        kept = nms(*given, OPTIONS.iou)
        torch.cuda.synchronize()
        return kept

    ours = Suppression(gpu, output0)
    ours.done(ours.select)
    nms_ms = wall_ms(lambda: ours.done(ours.suppress), runs)["p50"]
    all_ms = wall_ms(lambda: ours.done(ours.select, ours.suppress), runs)["p50"]
    other_ms = wall_ms(other, runs)["p50"]
    return {
        **{"candidates": count, "taken": ours.limit, "kept": ours.kept(), "kept_by_other": len(other())},
        **{"nms_ms": nms_ms, "with_selection_ms": all_ms, "other": name, "other_ms": other_ms},
        "times": other_ms / nms_ms,
    }


def letterbox_bytes(image_hw: tuple[int, int], input_hw: tuple[int, int]) -> int:
    """Count the bytes a letterbox must move: each 32-byte sector with a pixel that is sampled, and the output."""
    frame = Letterbox.fit(image_hw, input_hw)
    taps = []
    for size, resized in zip(image_hw, frame.resized_hw, strict=True):
        low = np.floor(np.clip((np.arange(resized) + 0.5) * size / resized - 0.5, 0, size - 1)).astype(np.int64)
        taps.append(np.unique(np.concatenate([low, np.minimum(low + 1, size - 1)])))
    rows, columns = taps
    first = rows[:, None] * 3 * image_hw[1] + 3 * columns
    sectors = np.unique(np.concatenate([first // SECTOR_BYTES, (first + 2) // SECTOR_BYTES]))
    return len(sectors) * SECTOR_BYTES + 3 * 4 * input_hw[0] * input_hw[1]


def letterbox_row(gpu: Gpu, batch: int, runs: int) -> dict[str, Any]:
    """Time the letterbox kernel on 4K images, and a copy on the device."""
    stream = torch.cuda.ExternalStream(gpu.stream_handle)
    images = torch.randint(0, 256, (batch, *FOUR_K, 3), dtype=torch.uint8, device="cuda")
    out = torch.empty((batch, 3, *INPUT_HW), device="cuda")
    frames = [Letterbox.fit(FOUR_K, INPUT_HW)] * batch
    table = layouts.letterbox_images([image.data_ptr() for image in images], [3 * FOUR_K[1]] * batch, frames)
    params = torch.from_numpy(table.view(np.uint8)).cuda()
    kernel = gpu.kernel("letterbox", "letterbox_f32")
    grid, sides = layouts.letterbox_grid(INPUT_HW, batch), tuple(map(np.int32, INPUT_HW))
    source, target = (torch.empty(1 << 30, dtype=torch.uint8, device="cuda") for _ in range(2))
    torch.cuda.synchronize()

    def copy() -> None:
        with torch.cuda.stream(stream):
            target.copy_(source)

    def enqueue() -> None:
        kernel(grid, layouts.LETTERBOX_BLOCK, params.data_ptr(), out.data_ptr(), *sides)

    copy()
    copy_ms = statistics.median(gpu.elapsed_ms(copy) for _ in range(runs))  # so long that its launch does not count
    own_ms = kernel_ms(gpu, enqueue, runs)
    moved = batch * letterbox_bytes(FOUR_K, INPUT_HW)
    ours, device = moved / own_ms / 1e6, 2 * source.numel() / copy_ms / 1e6  # GB/s
    return {"batch": batch, "ms": own_ms, "gb_s": ours, "copy_gb_s": device, "share": ours / device}
