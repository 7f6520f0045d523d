"""Thousands of inferences with changing sizes, batches, thresholds and threads: memory must stay flat, results equal.

Run: python benchmarks/soak.py ARTEFACT [--count 10000] [--threads 4] [--bad 1]
ARTEFACT is an .engine, on its GPU, or an .onnx, on the CPU. Prints one JSON object: the process's memory (and on a GPU
its device's), open files and threads after a tenth of the inferences and at the end, and how many results differ from
the first ones of the same image, thresholds and batch size (networks round by batch), which must be none. Among the
images are damaged files, arrays of no use and artefacts that are none, in --bad of 100 calls; each must be refused by a
Y12Error. Exits with 1 where one was not, where results differ, where memory has grown by more than 2 % and 32 MiB, or
where files or threads have become more.
"""

import argparse
import ctypes
import json
import random
import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter

import cv2
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it runs from a checkout

from y12 import Detections, DetectOptions, Runtime, Y12Error

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
    parser.add_argument("--bad", type=float, default=1, help="bad inputs in 100 calls (default: %(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Runtime(arguments.artefact) as runtime:
        acts = bad_acts(runtime, Path(arguments.artefact), Path(folder))
        report = soak(runtime, acts, arguments.count, arguments.threads, arguments.bad / 100)
    print(json.dumps(report, indent=2))
    return int(bool(report["different"] or report["not refused"]) or not report["flat"])


def soak(runtime: Runtime, acts: list[Callable[[], object]], count: int, threads: int, bad: float) -> dict[str, object]:
    """Infer `count` images in `threads` threads, with a share of bad acts among them; see the module."""
    images = made_up_images(np.random.default_rng(12))
    most = min(4, runtime.manifest.profile.batch.max)
    expected: dict[tuple[int, int, int], bytes] = {}
    lock = threading.Lock()
    different = done = refused = missed = 0
    marks: list[dict[str, int]] = []

    def work(seed: int) -> None:
        nonlocal different, done, refused, missed
        chance = random.Random(seed)
        while done < count:
            if chance.random() < bad:
                right = is_refused(chance.choice(acts))
                with lock:
                    refused, missed, done = refused + right, missed + (not right), done + 1
                continue
            which = chance.randrange(len(OPTIONS))
            picked = [chance.randrange(IMAGES) for _ in range(chance.randint(1, most))]
            found = runtime.infer_batch([images[i] for i in picked], OPTIONS[which])
            with lock:
                for i, detections in zip(picked, found, strict=True):
                    first = expected.setdefault((i, which, len(picked)), digest(detections))
                    different += first != digest(detections)
                done += len(picked)
                if done >= count // 10 and not marks:
                    marks.append(held())

    began = perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        for finished in [pool.submit(work, seed) for seed in range(threads)]:
            finished.result()
    first, end = marks[0], held()
    return {
        "executor": runtime.description,
        "inferences": done,
        "threads": threads,
        "seconds": round(perf_counter() - began, 1),
        "combinations": len(expected),
        "different": different,
        "refused": refused,
        "not refused": missed,
        "after a tenth": first,
        "at the end": end,
        "flat": end["mib"] <= max(first["mib"] * 1.02, first["mib"] + 32)
        and end["files"] <= first["files"]
        and end["threads"] <= first["threads"],
    }


def bad_acts(runtime: Runtime, artefact: Path, folder: Path) -> list[Callable[[], object]]:
    """Return acts of which each must be refused: files and arrays that are no images, and files that are no models."""
    picture = cv2.imencode(".jpg", np.random.default_rng(3).integers(0, 256, (240, 320, 3), np.uint8))[1].tobytes()
    contents = {
        "cut.jpg": picture[: len(picture) // 2],
        "text.jpg": b"no image",
        "empty.png": b"",
        "flipped.jpg": b"\xff\xd9" + picture[2:],
        "huge.ppm": b"P6 100000 100000 255\n",
        "cut.onnx": artefact.read_bytes()[:-100],
        "text.engine": b"no engine",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    images = [str(folder / name) for name in (*contents, "missing.jpg") if not name.endswith((".onnx", ".engine"))]
    arrays = [np.zeros(shape, np.uint8) for shape in ((0, 5, 3), (5, 5, 2), (5, 5, 4, 1))] + [np.zeros((5, 5, 3), "f4")]
    sources: list[object] = [*images, *arrays, None]
    acts = [lambda source=source: runtime.infer(source) for source in sources]
    acts += [lambda source=source: list(runtime.stream([source] * 3)) for source in sources]
    return acts + [lambda name=name: Runtime(folder / name) for name in contents if name.endswith((".onnx", ".engine"))]


def is_refused(act: Callable[[], object]) -> bool:
    """Return whether an act ends in a Y12Error."""
    try:
        act()
    except Y12Error:
        return True
    return False


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


def held() -> dict[str, int]:
    """Return what the process holds: memory, on a GPU also what is taken of its, open files, and Python's threads."""
    ctypes.CDLL(None).malloc_trim(0)
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    return {
        "mib": (resident + gpu_bytes()) // MIB,
        "files": len(list(Path("/proc/self/fd").iterdir())),
        "threads": threading.active_count(),
    }


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
