"""How far a network's graph is from its exact answer on this processor, or on one that qemu emulates.

    python benchmarks/processors.py prepare FOLDER yolov12n-turbo.pt --imgsz 320 256,416
    python benchmarks/processors.py run FOLDER
    qemu-x86_64-static -cpu Haswell-v4 .venv/bin/python benchmarks/processors.py run FOLDER  # minutes an inference

ONNX Runtime picks its kernels by the processor's instructions, and no setting holds it to fewer. What is prepared needs
torch and is made once: the traced and the simplified graph of each size, seeded noise, and what the network makes of it
in float64. Where a `.npz` of published outputs lies beside the checkpoint, of the same noise, it goes along.
docs/benchmarks.md has the figures.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from y12.exporter.graph.simplify import relative_difference
from y12.runtime.backends.onnx_runtime import OrtExecutor

BOXES = 4  # the first rows, in pixels; the others are numbers around 1, but for the keypoints of poses


def prepare(folder: Path, checkpoint: Path, hw: tuple[int, int]) -> None:
    """Write the graphs of a checkpoint at one size, the images and the answers."""
    import torch  # an emulated processor would take minutes to load it

    from y12.exporter.checkpoint.load import detector_from_checkpoint, read_checkpoint
    from y12.exporter.graph.simplify import simplify
    from y12.exporter.trace.deploy import deploy_from_detector
    from y12.exporter.trace.to_onnx import TraceOptions, onnx_from_deploy
    from y12.runtime.artefact.manifest import AxisRange, InputProfile

    detector = detector_from_checkpoint(read_checkpoint(checkpoint))
    profile = InputProfile(AxisRange(1, 1, 1), *(AxisRange(side, side, side) for side in hw))
    traced = onnx_from_deploy(deploy_from_detector(detector), TraceOptions(profile))
    size = "{}x{}".format(*hw)
    stem = folder / f"{checkpoint.stem}-{size}"
    onnx.save(traced, f"{stem}.traced.onnx")
    onnx.save(simplify(traced, profile)[0], f"{stem}.simplified.onnx")
    images = np.random.Generator(np.random.PCG64(7)).random((1, 3, *hw), dtype=np.float32)
    with torch.no_grad():
        torch_fp32 = detector(torch.from_numpy(images))["output0"].numpy()
        exact = detector.double()(torch.from_numpy(images).double())["output0"].numpy()
    answers = {"exact": exact, "torch": torch_fp32}
    published = checkpoint.with_suffix(".npz")
    if published.exists() and f"{size}.pred" in (data := np.load(published)):
        answers["published"] = data[f"{size}.pred"]
    np.savez(f"{stem}.npz", images=images, **answers)


def distances(one: NDArray[np.floating], other: NDArray[np.floating]) -> str:
    """Say the largest difference of the boxes and of the other rows of (B, rows, anchor points)."""
    apart = np.abs(one.astype(np.float64) - other)
    return f"boxes {apart[:, :BOXES].max():.1e} px, rest {apart[:, BOXES:].max():.1e}"


def measure(stem: Path) -> None:
    """Print the distances of one prepared network."""
    data = np.load(f"{stem}.npz")
    print(f"{stem.name}", flush=True)
    for name in ("published", "torch"):
        if name in data:
            print(f"  {name:10} from float64: {distances(data[name], data['exact'])}", flush=True)
    found = {}
    for name in ("simplified", "traced"):
        started = time.perf_counter()
        found[name] = OrtExecutor(f"{stem}.{name}.onnx", provider="cpu", threads=1).run(data["images"])["output0"]
        seconds = time.perf_counter() - started
        print(f"  {name:10} from float64: {distances(found[name], data['exact'])} ({seconds:.0f} s)", flush=True)
        if "published" in data:
            print(f"  {name:10} from published: {distances(found[name], data['published'])}", flush=True)
    print(f"  simplified from traced: {relative_difference(found['traced'], found['simplified']):.1e} relative")
    print(
        f"  torch from simplified: {relative_difference(data['torch'], found['simplified']):.1e} relative", flush=True
    )


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition(",")
    return int(height), int(width or height)


def main() -> None:
    """Prepare or measure, as asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_subparsers(required=True, dest="what")
    made, ran = what.add_parser("prepare"), what.add_parser("run")
    for one in (made, ran):
        one.add_argument("folder", type=Path)
    made.add_argument("checkpoints", type=Path, nargs="+")
    made.add_argument("--imgsz", type=_size, nargs="+", default=[(320, 320), (256, 416)])
    arguments = parser.parse_args()
    if arguments.what == "run":
        for stem in sorted(path.with_suffix("") for path in arguments.folder.glob("*.npz")):
            measure(stem)
        return
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for checkpoint in arguments.checkpoints:
        for hw in arguments.imgsz:
            prepare(arguments.folder, checkpoint, hw)


if __name__ == "__main__":
    main()
