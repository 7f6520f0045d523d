"""Thousands of inferences with changing sizes, batches, thresholds and threads: memory must stay flat, results equal.

Run: python benchmarks/soak.py ARTEFACT [--count 10000] [--threads 4]
ARTEFACT is an .engine, on its GPU, or an .onnx, on the CPU. Prints one JSON object: the process's memory (and on a GPU
its device's) after a tenth of the inferences and at the end, and how many results differ from the first ones of the
same image, thresholds and batch size (networks round by batch), which must be none. Exits with 1 where there are some,
or where memory has grown by more than 2 % and 32 MiB.
"""

import argparse
import ctypes
import json
import random
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it runs from a checkout

from y12 import Detections, DetectOptions, Runtime

SIDES = (1, 17, 240, 480, 641, 1080, 1920)
IMAGES = 24
OPTIONS = (
    DetectOptions(),
    DetectOptions(conf=0.05, iou=0.9),
    DetectOptions(conf=0.6, max_det=3),
    DetectOptions(classes=(0,), agnostic=True),
    DetectOptions(conf=0.02, multi_label=True, max_det=1000),
)
MIB = 1 << 20


def main() -> int:
    """Run, print, and say by the exit code whether memory stayed flat and results equal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artefact")
    parser.add_argument("--count", type=int, default=10_000, help="inferences (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=4, help="that call at the same time (default: %(default)s)")
    arguments = parser.parse_args()
    with Runtime(arguments.artefact) as runtime:
        report = soak(runtime, arguments.count, arguments.threads)
    print(json.dumps(report, indent=2))
    return int(bool(report["different"]) or not report["flat"])


def soak(runtime: Runtime, count: int, threads: int) -> dict[str, object]:
    """Infer `count` images in `threads` threads; see the module."""
    images = made_up_images(np.random.default_rng(12))
    most = min(4, runtime.manifest.profile.batch.max)
    expected: dict[tuple[int, int, int], bytes] = {}
    lock = threading.Lock()
    different = done = 0
    marks: list[int] = []

    def work(seed: int) -> None:
        nonlocal different, done
        chance = random.Random(seed)
        while done < count:
            which = chance.randrange(len(OPTIONS))
            picked = [chance.randrange(IMAGES) for _ in range(chance.randint(1, most))]
            found = runtime.infer_batch([images[i] for i in picked], OPTIONS[which])
            with lock:
                for i, detections in zip(picked, found, strict=True):
                    first = expected.setdefault((i, which, len(picked)), digest(detections))
                    different += first != digest(detections)
                done += len(picked)
                if done >= count // 10 and not marks:
                    marks.append(memory_bytes())

    began = perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        for finished in [pool.submit(work, seed) for seed in range(threads)]:
            finished.result()
    end = memory_bytes()
    return {
        "executor": runtime.description,
        "inferences": done,
        "threads": threads,
        "seconds": round(perf_counter() - began, 1),
        "combinations": len(expected),
        "different": different,
        "memory_mib": {"after a tenth": marks[0] // MIB, "at the end": end // MIB},
        "flat": end <= max(marks[0] * 1.02, marks[0] + 32 * MIB),
    }


def made_up_images(rng: np.random.Generator) -> list[NDArray[np.uint8]]:
    """Return images of many sizes, with something in them that a network may take for an object."""
    found = []
    for _ in range(IMAGES):
        height, width = rng.choice(SIDES, 2)
        image = np.full((height, width, 3), rng.integers(0, 256, 3), np.uint8)
        for _ in range(6):
            y, x = rng.integers(0, height), rng.integers(0, width)
            image[y : y + height // 4 + 1, x : x + width // 4 + 1] = rng.integers(0, 256, 3)
        found.append(image)
    return found


def digest(found: Detections) -> bytes:
    """Return what must not change."""
    return b"".join(array.tobytes() for array in (found.xyxy, found.confidence, found.class_id))


def memory_bytes() -> int:
    """Return what the process holds, and on a GPU what is taken of its memory."""
    ctypes.CDLL(None).malloc_trim(0)
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    return resident + gpu_bytes()


def gpu_bytes() -> int:
    """Return what is taken of the current GPU's memory, 0 where there is none; by the driver's cuMemGetInfo."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    if driver.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total)):
        return 0  # no GPU is current in this thread: the network runs on the CPU
    return total.value - free.value


if __name__ == "__main__":
    sys.exit(main())
