"""bitfalcon made ternary step by step: accuracy, size and speed of each step in Markdown tables.

    python benchmarks/bit.py --output FOLDER [--scale n] [--imgsz 128] [--steps 600] [--retrain 150] [--seeds 3]

Each seed trains bitfalcon in full precision on drawn scenes; then a part of its convolutions takes its Bit form and
the network is trained on, from one step to the next (`STEPS`). The control is the network in full precision, trained as
long as the last step. --against YAML trains another network in full precision as long, and bitfalcon as it, in one run
each, to compare. Measured is on scenes that none has seen. What is done is kept in FOLDER, so that the same command
goes on where it was stopped: checkpoints, figures of each (`figures.csv`) and what training said (`log.txt`). Tables go
to stdout.
"""

import argparse
import contextlib
import csv
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it runs from a checkout

from benchmarks.architectures import size_of
from y12.exporter.checkpoint.load import detector_from_checkpoint, read_checkpoint
from y12.exporter.checkpoint.save import write_checkpoint
from y12.exporter.data.open import labelled_dataset
from y12.exporter.export_config import ExportConfig, ShapeOptions
from y12.exporter.export_pipeline import export
from y12.exporter.model.blocks.bit import BitConv2d, BitLinear
from y12.exporter.model.detector import Detector
from y12.exporter.model.rows import ModelSpec
from y12.exporter.model.spec import spec_from_name
from y12.exporter.train.examples.batches import Batches
from y12.exporter.train.examples.sources import ShapesSource
from y12.exporter.train.initial import Network, starting_detector
from y12.exporter.train.loop import Course, StepLog, fabric_for, train
from y12.exporter.train.options import OptimizerOptions, TuneOptions
from y12.exporter.train.scenes.write import INSTANCES, write_shapes
from y12.exporter.train.validate import Validation
from y12.runtime.backends.onnx_runtime import OrtExecutor

HELD_OUT = (2**31 - 1, 256)  # seed, scenes; training has seeds below 2^31
WARM_UP = 5
NECK, FIRST_STAGE = 10, 3  # the row the neck begins with; the first row that is not of the first stage

# What is in Bit form after each step: each is trained from the one before.
STEPS: dict[str, Callable[[int, int], bool]] = {
    "full precision": lambda _row, _last: False,
    "head": lambda row, last: row == last,
    "head and neck": lambda row, _last: row >= NECK,
    "all but the first stage": lambda row, _last: row >= FIRST_STAGE,
    "all": lambda _row, _last: True,
}
CONTROL, OTHER, ONE_RUN = "full precision, trained on", "the other network", "full precision, in one run"
TERNARY_BITS, HALF_BITS, MIB = 2, 16, 2**20


@dataclass(frozen=True)
class Arm:
    """One training: a network, the weights it begins with, and for how long."""

    name: str
    seed: int
    spec: ModelSpec
    begins: str | None
    steps: int

    def file(self, folder: Path) -> Path:
        """Return where its checkpoint is kept."""
        return folder / f"{self.name.replace(' ', '-').replace(',', '')}-{self.seed}.safetensors"


def with_bit(spec: ModelSpec, step: str) -> ModelSpec:
    """Return the network with the convolutions of a step in Bit form."""
    last = spec.layers[-1].index
    return replace(spec, layers=tuple(replace(row, bit=STEPS[step](row.index, last)) for row in spec.layers))


def arms(arguments: argparse.Namespace) -> Iterator[Arm]:
    """Yield all trainings in order."""
    spec = spec_from_name("bitfalcon", scale=arguments.scale)
    for seed in range(arguments.seeds):
        before = None
        for step in STEPS:
            yield Arm(step, seed, with_bit(spec, step), before, arguments.retrain if before else arguments.steps)
            before = step
        more = arguments.retrain * (len(STEPS) - 1)
        first = next(iter(STEPS))
        yield Arm(CONTROL, seed, with_bit(spec, first), first, more)
        if arguments.against is not None:
            yield Arm(OTHER, seed, with_bit(other_spec(arguments), first), None, arguments.steps + more)
            yield Arm(ONE_RUN, seed, with_bit(spec, first), None, arguments.steps + more)


def other_spec(arguments: argparse.Namespace) -> ModelSpec:
    """Return the network of --against."""
    return spec_from_name(str(arguments.against), scale=arguments.scale, nc=2)


class Told:
    """Writes down how training goes on, and keeps the detector that came of it."""

    def __init__(self, arm: Arm, log: Path) -> None:
        self.arm, self.log = arm, log
        self.detector: Detector | None = None

    def started(self, step: int, steps: int) -> None:
        """Nothing to do."""

    def stepped(self, log: StepLog) -> None:
        """Write the losses down, now and then."""
        if log.step % 50 == 0:
            losses = ", ".join(f"{name} {value:.3f}" for name, value in log.losses.items())
            line = f"{self.arm.name}, seed {self.arm.seed}: step {log.step}: {losses}; {log.seconds:.2f} s"
            with self.log.open("a") as file:
                print(line, file=file)

    def measured(self, step: int, figures: dict[str, float], best: Detector | None) -> None:
        """Keep the detector."""
        self.detector = best


def trained(arm: Arm, arguments: argparse.Namespace) -> Path:
    """Train one arm on drawn scenes and return its checkpoint; one that is there is taken."""
    file = arm.file(arguments.output)
    if file.is_file():
        return file
    source = ShapesSource(arguments.batch, arguments.imgsz)
    network = Network(arm.spec)
    if arm.begins is not None:
        weights = replace(arm, name=arm.begins).file(arguments.output)
        network = Network(arm.spec, detector_from_checkpoint(read_checkpoint(weights)), weights)
    detector, _ = starting_detector(network, source.names, arm.seed)
    optimizer = OptimizerOptions(lr=arguments.lr if arm.begins is None else arguments.lr / 2, warmup=arm.steps // 6)
    options = TuneOptions(
        epochs=arm.steps,
        batch=arguments.batch,
        seed=arm.seed,
        precision="32",
        accelerator="cpu",
        validate_every=0,
        optimizer=optimizer,
    )
    # Another seed for each step's scenes: a step trained on the scenes of the last would see none that are new.
    scenes = arm.seed + 100 * (1 + list((*STEPS, CONTROL, OTHER, ONE_RUN)).index(arm.name))
    course = Course(Batches(source, arguments.batch, scenes), 1, lambda _: {"AP": 0.0})
    told = Told(arm, arguments.output / "log.txt")
    with tempfile.TemporaryDirectory() as state:
        train(fabric_for(options), detector, course, options, Path(state), told)
    assert told.detector is not None
    write_checkpoint(file, told.detector)
    return file


@dataclass(frozen=True)
class Size:
    """What the parameters of a network take."""

    ternary: int
    others: int

    @property
    def mebibytes(self) -> float:
        """Ternary ones at 2 bits, the others in FP16."""
        return (self.ternary * TERNARY_BITS + self.others * HALF_BITS) / 8 / MIB


def size(detector: Detector) -> Size:
    """Count the parameters that are ternary, and the others."""
    bits = {id(m.weight) for m in detector.modules() if isinstance(m, BitConv2d | BitLinear)}
    ternary = sum(p.numel() for p in detector.parameters() if id(p) in bits)
    return Size(ternary, sum(p.numel() for p in detector.parameters()) - ternary)


def exported(file: Path, form: str, arguments: argparse.Namespace) -> tuple[Path, int | None]:
    """Export a checkpoint, and return the graph and the kernels of its engine."""
    config = ExportConfig(
        str(file),
        format=form,
        precision="fp32" if form == "onnx" else "fp16",
        shapes=ShapeOptions(((arguments.imgsz, arguments.imgsz),)),
        verify=None,
        output=arguments.output / "exports" / file.stem / form,
    )
    done = export(config, lambda _stage: contextlib.nullcontext())
    return Path(done.artefact), None if done.report.engine is None else done.report.engine.kernels


def in_turns(graphs: list[Path], arguments: argparse.Namespace) -> np.ndarray:
    """Run the FP32 graphs in turns on one thread and return the milliseconds, (runs, graphs)."""
    side = arguments.imgsz
    image = np.random.Generator(np.random.PCG64(0)).random((1, 3, side, side), dtype=np.float32)
    executors = [OrtExecutor(graph.read_bytes(), provider="cpu", threads=1) for graph in graphs]
    times = []
    for _ in range(WARM_UP + arguments.runs):
        times.append([])
        for executor in executors:
            started = time.perf_counter()
            executor.run(image)
            times[-1].append((time.perf_counter() - started) * 1000)
    return np.array(times[WARM_UP:])


@dataclass(frozen=True)
class Result:
    """What was measured of one arm: a row of figures.csv."""

    arm: str
    seed: int
    ap: float
    ap50: float


def measured(arm: Arm, file: Path, validation: Validation) -> Result:
    """Measure a checkpoint's accuracy on the scenes that were held out."""
    figures = validation(detector_from_checkpoint(read_checkpoint(file)).eval())
    print(f"{arm.name}, seed {arm.seed}: {figures['boxes AP']:.3f}", file=sys.stderr, flush=True)
    return Result(arm.name, arm.seed, figures["boxes AP"], figures["boxes AP50"])


def results(arguments: argparse.Namespace) -> list[Result]:
    """Train and measure all arms; what figures.csv holds is taken from there."""
    held_out, table = arguments.output / "held-out", arguments.output / "figures.csv"
    if not (held_out / INSTANCES).is_file():
        write_shapes(held_out, *HELD_OUT, arguments.imgsz)
    validation = Validation(labelled_dataset(held_out / INSTANCES), arguments.imgsz)
    done: dict[tuple[str, int], Result] = {}
    if table.is_file():
        with table.open(newline="") as rows:
            for row in csv.DictReader(rows):
                done[row["arm"], int(row["seed"])] = Result(
                    row["arm"], int(row["seed"]), float(row["AP"]), float(row["AP50"])
                )
    for arm in arms(arguments):
        if (arm.name, arm.seed) not in done:
            done[arm.name, arm.seed] = measured(arm, trained(arm, arguments), validation)
            with table.open("w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(("arm", "seed", "AP", "AP50"))
                writer.writerows((r.arm, r.seed, f"{r.ap:.4f}", f"{r.ap50:.4f}") for r in done.values())
    return list(done.values())


def spread(results: list[Result], arm: str) -> str:
    """Return the mean of an arm's AP over the seeds, and the lowest and highest."""
    values = [r.ap for r in results if r.arm == arm]
    return f"{statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def table(found: list[Result], arguments: argparse.Namespace) -> None:
    """Print the table of steps, and what else has to be known to read it."""
    first = {arm.name: arm.file(arguments.output) for arm in arms(arguments) if arm.seed == 0}
    graphs, kernels = [], []
    for step in STEPS:
        graphs.append(exported(first[step], "onnx", arguments)[0])
        kernels.append(exported(first[step], "engine", arguments)[1])
    milliseconds = in_turns(graphs, arguments)
    print(
        f"| bitfalcon-{arguments.scale}, {arguments.imgsz} px | AP50-95 | ternary weights | MiB at 2 bits (*) "
        "| CPU time | kernels |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    for i, step in enumerate(STEPS):
        parts = size(detector_from_checkpoint(read_checkpoint(first[step])))
        share = parts.ternary / (parts.ternary + parts.others)
        ratio = np.median(milliseconds[:, i] / milliseconds[:, 0])
        print(
            f"| {step} | {spread(found, step)} | {parts.ternary:,} ({share:.0%}) | {parts.mebibytes:.2f} "
            f"| {ratio:.2f} ({np.median(milliseconds[:, i]):.1f} ms) | {kernels[i]} |"
        )
    print(f"| {CONTROL} | {spread(found, CONTROL)} | | | | |")
    print("\n(*) ternary weights at 2 bits, the others in FP16: no file of y12 and no engine packs them so.")
    if arguments.against is not None:
        for name, spec in (
            ("bitfalcon", spec_from_name("bitfalcon", scale=arguments.scale)),
            (OTHER, other_spec(arguments)),
        ):
            parameters, flops = size_of(spec)
            arm = ONE_RUN if name == "bitfalcon" else OTHER
            print(f"{name}: {parameters / 1e6:.2f} M parameters, {flops:.1f} GFLOPs at 640 px, AP {spread(found, arm)}")


def main() -> None:
    """Train or read all arms, measure them, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--against", type=Path, metavar="YAML")
    parser.add_argument("--scale", default="n", choices="nsmlx")
    for name, default in (("imgsz", 128), ("steps", 600), ("retrain", 150), ("batch", 16), ("seeds", 3), ("runs", 100)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--lr", type=float, default=3e-3)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    table(results(arguments), arguments)


if __name__ == "__main__":
    sys.exit(main())
