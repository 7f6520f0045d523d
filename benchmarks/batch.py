"""What y12-batch adds to y12-infer, and whether its driver's memory grows: figures for docs/benchmarks.md.

    python benchmarks/batch.py [MODEL.onnx] [--images DIR] [--count 2000] [--rounds 3] [--many 20000]

Both look at the same images, a few files linked many times, and give the same JSON. The rate is that between the first
image, or part of images, and the last: without either's start. Rounds of the two alternate, and what counts is the
median of the rounds' ratios. Processor time an image is y12-infer's, and of y12-batch that of its workers alone, and of
all its processes with Ray's. Then the driver's largest memory, of 1,000 images and of --many, on a network of 64x64.
Without MODEL, the yolov12n that ships is exported at 160x160. Needs the extras ray and export. Prints one JSON object;
exits with 1 where a goal is missed.
"""

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that it runs from a checkout

PHOTOS = ROOT / "y12" / "exporter" / "verify" / "photos"
WEIGHTS = ROOT / "configs" / "weights" / "yolov12n-shapes.safetensors"
GOALS = {"rate": 0.7, "driver_grows_mib": 32.0}
TICKS = os.sysconf("SC_CLK_TCK")
FEW = 1000


def main() -> int:
    """Measure and print; give the exit code."""
    asked = parser().parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = asked.model or exported(folder, 160)
        images = linked(folder / "images", asked.images, asked.count)
        rounds = [one_round(folder, model, images, i) for i in range(asked.rounds)]
        report: dict[str, Any] = {
            "model": Path(model).name,
            "images": f"{asked.count}, of {asked.images}",
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
            "load": os.getloadavg()[0],
            **{key: round(median(each[key] for each in rounds), 3) for key in rounds[0]},
            "rate_from_to": [round(pick(each["rate"] for each in rounds), 3) for pick in (min, max)],
        }
        if asked.many:
            report |= memory(folder, asked.images, asked.many)
    print(json.dumps(report, indent=2))
    grows = report.get("driver_grows_mib", 0.0)
    return int(report["rate"] < GOALS["rate"] or grows > GOALS["driver_grows_mib"] or not report["equal"])


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description="y12-batch beside y12-infer.")
    parser.add_argument("model", nargs="?", metavar="MODEL.onnx")
    parser.add_argument("--images", type=Path, default=PHOTOS, metavar="DIR", help="of JPEGs; default: y12's own")
    parser.add_argument("--count", type=int, default=2000, help="images a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--many", type=int, default=20000, help="images; 0 leaves it out (default: %(default)s)")
    return parser


def exported(folder: Path, size: int) -> str:
    """Export the network that ships, and give the .onnx."""
    words = ("--imgsz", str(size), "--no-verify", "--output", str(folder / f"model{size}"))
    command = [sys.executable, "-m", "y12.exporter.cli.export", str(WEIGHTS), *words]
    subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    (model,) = (folder / f"model{size}").glob("*.onnx")
    return str(model)


def linked(folder: Path, images: Path, count: int) -> Path:
    """Make a folder of so many links to the images."""
    folder.mkdir()
    files = sorted(path.resolve() for path in images.rglob("*.jpg"))
    for i, file in enumerate(islice(cycle(files), count)):
        (folder / f"{i:07d}.jpg").symlink_to(file)
    return folder


def one_round(folder: Path, model: str, images: Path, number: int) -> dict[str, float]:
    """Run both once."""
    alone = inferred(model, images)
    together = batched(model, images, folder / f"out{number}", "--json", "--no-masks")  # as y12-infer has none
    lines = [line for file in sorted((folder / f"out{number}" / "jsonl").iterdir()) for line in file.open()]
    count = len(alone["lines"])
    return {
        "infer_per_s": alone["rate"],
        "batch_per_s": together["images_per_s"],
        "rate": together["images_per_s"] / alone["rate"],
        "infer_cpu_ms": alone["cpu_s"] / count * 1e3,
        "workers_cpu_ms": together["cpu_s"]["workers"] / count * 1e3,
        "all_cpu_ms": sum(together["cpu_s"].values()) / count * 1e3,
        "start_s": together["start_s"],
        "equal": float(by_source(alone["lines"]) == by_source(lines)),
    }


def by_source(lines: list[str]) -> dict[str, dict[str, Any]]:
    """Return what JSON lines say, without the times."""
    found = map(json.loads, lines)
    return {line["source"]: {key: value for key, value in line.items() if key != "ms"} for line in found}


def inferred(model: str, images: Path) -> dict[str, Any]:
    """Run y12-infer; give its lines, its rate from the first to the last, and its processor time."""
    command = [sys.executable, "-m", "y12.runtime.cli.infer", model, str(images), "--json", "--provider", "cpu"]
    lines, before = [], os.times()
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True, "cwd": ROOT}
    with subprocess.Popen(command, **pipes) as process:
        first = 0.0
        for line in process.stdout or ():
            first = first or time.perf_counter()
            lines.append(line)
        last = time.perf_counter()
    after = os.times()
    cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
    return {"lines": lines, "rate": (len(lines) - 1) / (last - first), "cpu_s": cpu_s}


def batched(model: str, images: Path, output: Path, *words: str) -> dict[str, Any]:
    """Run y12-batch; give its summary, the processor time of its processes, and its driver's largest memory."""
    command = [sys.executable, "-m", "y12.batch.cli", model, str(images), "--output", str(output), *words]
    command += ["--provider", "cpu"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=ROOT) as process:
        watched = Watched(process.pid)
        while process.poll() is None:
            watched.look()
            time.sleep(0.3)
    if process.returncode:
        raise SystemExit(f"y12-batch ended with {process.returncode}")
    summary: dict[str, Any] = json.loads((output / "summary.json").read_text())
    return summary | {"cpu_s": watched.cpu_s(), "driver_mib": watched.driver_mib}


class Watched:
    """The processes of a run, as they are seen while they live."""

    def __init__(self, driver: int) -> None:
        self._driver, self._seen = driver, dict[int, tuple[str, float]]()
        self.driver_mib = 0.0

    def look(self) -> None:
        """Look at them once more."""
        parents, found = dict[int, int](), dict[int, tuple[str, float]]()
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError, IndexError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)] = int(fields[1])
                role = "workers" if "MapWorker" in (entry / "cmdline").read_text() else "ray"
                found[int(entry.name)] = (role, (int(fields[11]) + int(fields[12])) / TICKS)
        self._seen |= {pid: value for pid, value in found.items() if self._is_ours(pid, parents)}
        with contextlib.suppress(OSError, StopIteration):
            status = Path(f"/proc/{self._driver}/status").read_text().splitlines()
            line = next(line for line in status if line.startswith("VmHWM"))
            self.driver_mib = max(self.driver_mib, int(line.split()[1]) / 1024)

    def _is_ours(self, pid: int, parents: dict[int, int]) -> bool:
        while pid in parents and pid != self._driver:
            pid = parents[pid]
        return pid == self._driver

    def cpu_s(self) -> dict[str, float]:
        """Return the processor time of the workers, of the driver, and of Ray's own processes."""
        sums = {"workers": 0.0, "driver": 0.0, "ray": 0.0}
        for pid, (role, seconds) in self._seen.items():
            sums["driver" if pid == self._driver else role] += seconds
        return sums


def memory(folder: Path, images: Path, many: int) -> dict[str, float]:
    """Return the driver's largest memory for few images and for many."""
    model = exported(folder, 64)
    driver = {
        count: batched(model, linked(folder / f"images{count}", images, count), folder / f"memory{count}")["driver_mib"]
        for count in (FEW, many)
    }
    return {
        "driver_mib_of_few": round(driver[FEW], 1),
        "driver_mib_of_many": round(driver[many], 1),
        "driver_grows_mib": round(driver[many] - driver[FEW], 1),
    }


if __name__ == "__main__":
    sys.exit(main())
