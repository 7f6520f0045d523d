"""bitfalcon in full precision against its Bit form: size, speed and accuracy in one Markdown table.

    python benchmarks/bit.py [--scale n] [--imgsz 128] [--steps 600] [--keep FOLDER]
    python benchmarks/bit.py --full full.safetensors --bit bit.safetensors --data data.yaml

Without checkpoints both forms are trained here: from the same seed, on the same drawn scenes in the same order, and
measured on scenes that neither has seen. That shows what the Bit form costs under equal conditions, not what either can
reach. Progress goes to stderr, the table to stdout.
"""

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from y12.exporter.checkpoint.load import detector_from_checkpoint, read_checkpoint
from y12.exporter.checkpoint.save import write_checkpoint
from y12.exporter.data.open import labelled_dataset
from y12.exporter.engine.engine_options import EngineOptions
from y12.exporter.engine.inspect import EngineFacts
from y12.exporter.export_config import ExportConfig, Int8Options, ShapeOptions
from y12.exporter.export_pipeline import export
from y12.exporter.model.blocks.bit import BitConv2d, BitLinear
from y12.exporter.model.detector import Detector
from y12.exporter.model.spec import spec_from_name
from y12.exporter.train.examples.batches import Batches
from y12.exporter.train.examples.sources import ShapesSource
from y12.exporter.train.initial import Network, starting_detector
from y12.exporter.train.loop import Course, StepLog, fabric_for, train
from y12.exporter.train.options import OptimizerOptions, TuneOptions
from y12.exporter.train.scenes.write import INSTANCES, write_shapes
from y12.exporter.train.validate import Validation
from y12.runtime.backends.onnx_runtime import OrtExecutor

HELD_OUT, CALIBRATION = (2**31 - 1, 128), (2**31 + 1, 64)  # seed, scenes; training has seeds below 2^31
WARM_UP = 5
FORMS = ("full precision", "Bit")
TERNARY_BITS, HALF_BITS, FLOAT_BITS = 2, 16, 32
MIB = 2**20

Row = tuple[str, Callable[["Form"], str]]


@dataclass
class Form:
    """One of the two forms, and what was measured of it."""

    name: str
    checkpoint: Path
    detector: Detector
    figures: dict[str, float]
    artefacts: dict[str, Path]
    engines: dict[str, EngineFacts]
    latency_ms: float = 0.0

    def weights(self, *, ternary: bool) -> int:
        """Count the parameters that are ternary, or the others."""
        bits = {id(m.weight) for m in self.detector.modules() if isinstance(m, BitConv2d | BitLinear)}
        return sum(p.numel() for p in self.detector.parameters() if (id(p) in bits) == ternary)

    def mebibytes(self, ternary_bits: int, other_bits: int) -> float:
        """Return the size of all parameters at so many bits each."""
        bits = self.weights(ternary=True) * ternary_bits + self.weights(ternary=False) * other_bits
        return bits / 8 / MIB


class Told:
    """Says on stderr how training goes on, and keeps the detector that came of it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.detector: Detector | None = None

    def started(self, step: int, steps: int) -> None:
        """Nothing to do."""

    def stepped(self, log: StepLog) -> None:
        """Return how large the losses are, now and then."""
        if log.step % 50 == 0:
            losses = ", ".join(f"{name} {value:.3f}" for name, value in log.losses.items())
            print(f"{self.name}: step {log.step}: {losses}; {log.seconds:.2f} s", file=sys.stderr, flush=True)

    def measured(self, step: int, figures: dict[str, float], best: Detector | None) -> None:
        """Keep the detector."""
        self.detector = best


def trained(form: str, arguments: argparse.Namespace, folder: Path) -> Path:
    """Train one form on drawn scenes and give its checkpoint."""
    spec = spec_from_name(f"bitfalcon-{arguments.scale}")
    rows = tuple(replace(row, bit=row.bit and form == "Bit") for row in spec.layers)
    source = ShapesSource(arguments.batch, arguments.imgsz)
    detector, _ = starting_detector(Network(replace(spec, layers=rows)), source.names, arguments.seed)
    optimizer = OptimizerOptions(lr=arguments.lr, warmup=min(100, arguments.steps // 5))
    options = TuneOptions(
        epochs=arguments.steps,
        batch=arguments.batch,
        seed=arguments.seed,
        precision="32",
        accelerator="cpu",
        validate_every=0,
        optimizer=optimizer,
    )
    course = Course(Batches(source, arguments.batch, arguments.seed), 1, lambda _: {"AP": 0.0})
    told = Told(form)
    with tempfile.TemporaryDirectory() as state:
        train(fabric_for(options), detector, course, options, Path(state), told)
    assert told.detector is not None
    file = folder / f"bitfalcon-{arguments.scale}-{form.split()[0].lower()}.safetensors"
    write_checkpoint(file, told.detector)
    return file


def measured(name: str, checkpoint: Path, arguments: argparse.Namespace, folder: Path) -> Form:
    """Measure one form's accuracy, and export it."""
    detector = detector_from_checkpoint(read_checkpoint(checkpoint)).eval()
    data = arguments.data or folder / "held-out" / INSTANCES
    print(f"{name}: accuracy", file=sys.stderr, flush=True)
    form = Form(name, checkpoint, detector, Validation(labelled_dataset(data), arguments.imgsz)(detector), {}, {})
    calibration = arguments.data or folder / "calibration" / "images"
    for precision in ("fp32", "fp16", "int8"):
        print(f"{name}: export {precision}", file=sys.stderr, flush=True)
        config = ExportConfig(
            str(checkpoint),
            format="onnx" if precision == "fp32" else "engine",
            precision=precision,
            int8=Int8Options(calibration, limit=64) if precision == "int8" else None,
            shapes=ShapeOptions(((arguments.imgsz, arguments.imgsz),)),
            target=EngineOptions() if precision == "fp32" else EngineOptions("rtx"),
            verify=None,
            output=folder / name.split()[0] / precision,
        )
        done = export(config, lambda _stage: contextlib.nullcontext())
        form.artefacts[precision] = Path(done.artefact)
        if done.report.engine is not None:
            form.engines[precision] = done.report.engine
    return form


def in_turns(forms: list[Form], arguments: argparse.Namespace) -> list[float]:
    """Run the FP32 graphs in turns, set their median milliseconds, and give the ratios of neighbouring runs."""
    side = arguments.imgsz
    image = np.random.Generator(np.random.PCG64(0)).random((1, 3, side, side), dtype=np.float32)
    executors = [OrtExecutor(f.artefacts["fp32"].read_bytes(), provider="cpu", threads=1) for f in forms]
    times: list[list[float]] = []
    for _ in range(WARM_UP + arguments.runs):
        times.append([])
        for executor in executors:
            started = time.perf_counter()
            executor.run(image)
            times[-1].append((time.perf_counter() - started) * 1000)
    counted = np.array(times[WARM_UP:])
    for form, milliseconds in zip(forms, np.median(counted, axis=0), strict=True):
        form.latency_ms = float(milliseconds)
    return list(counted[:, 1] / counted[:, 0])


def size(mebibytes: float) -> str:
    """Say a size."""
    return f"{mebibytes:.2f} MiB"


def engine(form: Form, precision: str) -> str:
    """Say what an engine is."""
    facts = form.engines[precision]
    return f"{facts.kernels} ({facts.attentions_fused} of {facts.attentions_expected})"


ROWS: tuple[Row, ...] = (
    ("parameters", lambda f: f"{f.weights(ternary=True) + f.weights(ternary=False):,}"),
    ("of which ternary", lambda f: f"{f.weights(ternary=True):,}"),
    ("weights in FP32", lambda f: size(f.mebibytes(FLOAT_BITS, FLOAT_BITS))),
    ("weights in FP16", lambda f: size(f.mebibytes(HALF_BITS, HALF_BITS))),
    ("ternary ones at 2 bits, others FP16 (*)", lambda f: size(f.mebibytes(TERNARY_BITS, HALF_BITS))),
    ("FP16 engine, file", lambda f: size(f.artefacts["fp16"].stat().st_size / MIB)),
    ("INT8 engine, file", lambda f: size(f.artefacts["int8"].stat().st_size / MIB)),
    ("FP16 engine, kernels (attention fused)", lambda f: engine(f, "fp16")),
    ("INT8 engine, kernels (attention fused)", lambda f: engine(f, "int8")),
    ("ONNX Runtime FP32, one CPU thread", lambda f: f"{f.latency_ms:.1f} ms"),
    ("AP50-95", lambda f: f"{f.figures['boxes AP']:.3f}"),
    ("AP50", lambda f: f"{f.figures['boxes AP50']:.3f}"),
)


def table(forms: list[Form], ratios: list[float], arguments: argparse.Namespace) -> None:
    """Print the table and what has to be known to read it."""
    print(f"| bitfalcon-{arguments.scale}, {arguments.imgsz} px | {' | '.join(f.name for f in forms)} |")
    print("| --- | --- | --- |")
    for title, cell in ROWS:
        print(f"| {title} | {' | '.join(cell(f) for f in forms)} |")
    low, middle, high = np.percentile(ratios, (25, 50, 75))
    print(f"\nBit / full precision on the CPU: {middle:.2f} (quartiles {low:.2f} to {high:.2f}) of paired runs.")
    print(
        "(*) What could be stored: no file of y12 and no engine packs weights at 2 bits. INT8 engines have 1 byte each."
    )


def main() -> None:
    """Train or read both forms, measure them, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", default="n", choices="nsmlx")
    for name, default in (("imgsz", 128), ("steps", 600), ("batch", 16), ("seed", 0), ("runs", 100)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--full", type=Path, help="a checkpoint of the full form, in the place of training one")
    parser.add_argument("--bit", type=Path, help="a checkpoint of the Bit form")
    parser.add_argument("--data", type=Path, help="labels to measure the checkpoints on, and to calibrate INT8 with")
    parser.add_argument("--keep", type=Path, help="where checkpoints and artefacts stay; a temporary folder otherwise")
    arguments = parser.parse_args()
    given = (arguments.full, arguments.bit)
    if any(given) != all(given) or (arguments.data and not all(given)):
        parser.error("--full and --bit belong together, and --data to them")
    with contextlib.ExitStack() as stack:
        folder = arguments.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for name, (seed, count) in (("held-out", HELD_OUT), ("calibration", CALIBRATION)):
            if arguments.data is None and not (folder / name / INSTANCES).is_file():
                write_shapes(folder / name, seed, count, arguments.imgsz)
        files = given if all(given) else [trained(form, arguments, folder) for form in FORMS]
        forms = [measured(name, file, arguments, folder) for name, file in zip(FORMS, files, strict=True)]
        table(forms, in_turns(forms, arguments), arguments)


if __name__ == "__main__":
    sys.exit(main())
