"""What y12 adds around an engine on a GPU, and its kernels beside torch's, in one run on one GPU.

Run: python benchmarks/gpu.py [--engine MODEL.engine] [--quick]
It prints one JSON object and Markdown tables. Without --engine, or where TensorRT is absent, torch gives prepared
outputs in place of a network (1 x 84 x 8400, 300 candidates); what is around it is the same. Times are medians (and
99th percentiles) in milliseconds: of the host's clock where a whole call is meant, of CUDA events where a kernel is.
Needs an NVIDIA GPU and torch.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

try:
    import torch
except ImportError:
    raise SystemExit(
        "expected torch, found none: pip install torch; it stands in for engines and is compared with"
    ) from None
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it runs from a checkout

from benchmarks.gpu_kernels import CLASSES, INPUT_HW, OPTIONS, letterbox_row, made_up_boxes, nms_row, wall_ms
from tests.gpu.torch_network import TorchNetwork
from y12 import Runtime
from y12.errors import InputError, Y12Error
from y12.runtime.artefact.manifest import AxisRange, InputProfile, Manifest
from y12.runtime.artefact.opened import Artefact, open_artefact
from y12.runtime.gpu.cuda import Gpu
from y12.runtime.gpu.device import DeviceNetwork
from y12.runtime.options import GpuOptions

FRAME_HW = (720, 1280)
ANCHORS, CANDIDATES = 8400, 300
NMS_SIZES = (1000, 2000, 4000, 8400)
GOALS = {"pinned": 0.20, "device": 0.20, "numpy": 0.40, "nms": 3.0, "letterbox": 0.5, "launches": 1}


class Prepared(nn.Module):
    """Gives the same outputs whatever the images: a network that takes no time."""

    def __init__(self) -> None:
        super().__init__()
        rng = np.random.default_rng(12)
        output0 = np.zeros((1, 4 + CLASSES, ANCHORS), np.float32)
        output0[0, :4] = made_up_boxes(rng, ANCHORS).T
        places = rng.permutation(ANCHORS)[:CANDIDATES]
        output0[0, 4 + rng.integers(0, CLASSES, CANDIDATES), places] = rng.uniform(0.3, 0.95, CANDIDATES)
        self.register_buffer("output0", torch.from_numpy(output0))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Take (B, 3, H, W), give (B, 84, 8400)."""
        return {"output0": self.output0.expand(len(images), -1, -1)}


class CountingGpu(Gpu):
    """Counts what is launched: kernels by themselves and graphs."""

    launched = 0

    def kernel(self, source: str, entry: str) -> Any:
        """Return a kernel that counts."""
        kernel = super().kernel(source, entry)

        def launch(*arguments: Any) -> None:
            CountingGpu.launched += 1
            kernel(*arguments)

        return launch

    def capture(self, enqueue: Callable[[], None]) -> Any:
        """Return a graph that counts."""
        graph = super().capture(enqueue)
        replay = graph.launch

        def launch() -> None:
            CountingGpu.launched += 1
            replay()

        graph.launch = launch
        return graph


def opened_network(engine: Path | None) -> tuple[DeviceNetwork, Artefact]:
    """Return the engine, or what stands in for it."""
    if engine is not None:
        from y12.runtime.backends.tensorrt.executor import TrtNetwork

        artefact = open_artefact(engine)
        if artefact.manifest.task == "classify":
            raise InputError(f"{engine}: expected an engine that finds objects, found a classifier")
        return TrtNetwork(artefact.read_model(), open_device=CountingGpu), artefact
    one = AxisRange(1, 1, 1)
    sides = (AxisRange(side, side, side) for side in INPUT_HW)
    manifest = Manifest("detect", tuple(f"class {i}" for i in range(CLASSES)), (8, 16, 32), InputProfile(one, *sides))
    stand_in = Artefact(Path("stand-in.engine"), "engine", manifest, "the benchmark")
    return TorchNetwork(Prepared(), open_device=CountingGpu), stand_in


def bare_ms(network: DeviceNetwork, runs: int) -> dict[str, float]:
    """Time the network alone, replayed from a graph of its own."""
    device = network.device()
    context = network.context(device, (1, 3, *INPUT_HW))
    context.enqueue()
    device.synchronize()
    graph = device.capture(context.enqueue)

    def replay() -> None:
        graph.launch()
        device.synchronize()

    found = wall_ms(replay, runs)
    graph.close()
    context.close()
    device.close()
    return found


def overheads(engine: Path | None, runs: int) -> dict[str, Any]:
    """Time whole calls less the bare network, by where the frame is, with and without graphs."""
    image = np.random.default_rng(3).integers(0, 256, (*FRAME_HW, 3), dtype=np.uint8)
    found: dict[str, Any] = {}
    for cuda_graph in (True, False):
        network, artefact = opened_network(engine)
        with Runtime(artefact, network, imgsz=INPUT_HW, gpu=GpuOptions(contexts=1, cuda_graph=cuda_graph)) as runtime:
            pinned = runtime.image_buffer(*FRAME_HW)
            pinned[:] = image
            frames = {"numpy": image, "pinned": pinned, "device": torch.from_numpy(image).cuda()}
            bare = bare_ms(network, runs)
            for name, frame in frames.items():
                whole = wall_ms(lambda frame=frame: runtime.infer(frame, OPTIONS), runs)
                before = CountingGpu.launched
                detections = runtime.infer(frame, OPTIONS)
                found[name if cuda_graph else f"{name}, no graph"] = {
                    "whole_ms": whole,
                    "bare_ms": bare,
                    "overhead_ms": whole["p50"] - bare["p50"],
                    "launches": CountingGpu.launched - before,
                    "objects": len(detections),
                }
            found["network"] = runtime.description
    return found


def table(head: str, rows: list[tuple[Any, ...]]) -> str:
    """Return a Markdown table; numbers that are not whole have three digits."""
    names = [name.strip() for name in head.split("|")]
    cells = [[f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in [names, ["---"] * len(names), *cells])


def report(found: dict[str, Any]) -> str:
    """Return the tables."""
    calls = {name: row for name, row in found["overhead"].items() if name != "network"}
    parts = [f"{found['gpu']}; {found['overhead']['network']}"]
    rows = [
        (name, row["whole_ms"]["p50"], row["whole_ms"]["p99"], row["bare_ms"]["p50"], row["overhead_ms"],
         GOALS.get(name, ""), row["launches"])
        for name, row in calls.items()
    ]  # fmt: skip
    parts.append(table("frame | call, ms | p99 | network alone, ms | overhead, ms | goal | launches", rows))
    rows = [
        (
            f"{r['taken']} of {r['candidates']}",
            r["nms_ms"],
            r["with_selection_ms"],
            r["other"],
            r["other_ms"],
            r["times"],
        )
        for r in found["nms"]
    ]
    parts.append(table("candidates | NMS, ms | with selection, ms | beside | ms | times as fast (goal 3)", rows))
    rows = [(r["batch"], r["ms"], r["gb_s"], r["copy_gb_s"], r["share"]) for r in found["letterbox"]]
    parts.append(table("4K images | letterbox, ms | GB/s | copy, GB/s | share (goal 0.5)", rows))
    return "\n\n".join(parts)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", type=Path, help="a detector's engine; default: torch stands in")
    parser.add_argument("--quick", action="store_true", help="fewer runs")
    arguments = parser.parse_args()
    runs = 50 if arguments.quick else 1000
    try:
        gpu = Gpu()
        if not torch.cuda.is_available():
            raise Y12Error(f"expected a torch that sees {gpu.description}, found {torch.__version__}: install its CUDA")  # noqa: TRY301
        found = {
            "gpu": gpu.description,
            "overhead": overheads(arguments.engine, runs),
            "nms": [nms_row(gpu, count, runs) for count in NMS_SIZES],
            "letterbox": [letterbox_row(gpu, batch, min(runs, 200)) for batch in (1, 16, 32)],
        }
    except Y12Error as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps({**found, "goals": GOALS}, indent=2))
    print()
    print(report(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
