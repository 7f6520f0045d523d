"""Which artefacts are rebuilt from their manifests, and to what: `python benchmarks/rebuild.py MODELS IMAGES FOREIGN`.

MODELS is a folder with yolo11n.pt, yolo11n-seg.pt and yolov8n-pose.pt, and beside it untrained/yolov12n-cls.pt, IMAGES
one to calibrate and measure on, FOREIGN an .onnx that another exporter wrote. Each artefact is exported and moved to a
folder with spaces in its name, and rebuilt there by y12-inspect under other settings of processor and process, of which
it must depend on none.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

USUAL = {"OMP_NUM_THREADS": "1"}
SETTINGS = {
    "torch's kernels for any processor, another hash seed": {"ATEN_CPU_CAPABILITY": "default", "PYTHONHASHSEED": "7"},
    "AVX2, two threads, another locale and time zone": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "OMP_NUM_THREADS": "2",
        "LC_ALL": "C",
        "TZ": "Asia/Seoul",
    },
}


def cases(models: Path, images: Path, foreign: Path) -> dict[str, tuple[Path, list[str]]]:
    """Return what is exported: a model and options, by name."""
    detect, segment, pose = (models / f"{name}.pt" for name in ("yolo11n", "yolo11n-seg", "yolov8n-pose"))
    engine, half = ["--format", "engine", "--tensorrt", "rtx"], ["--half"]
    int8 = ["--int8", "--calib", str(images)]
    return {
        "detect FP32": (detect, []),
        "detect FP16, NMS": (detect, [*half, "--nms"]),
        "segment FP16, free sizes": (segment, [*half, "--dynamic"]),
        "pose INT8": (pose, int8),
        "detect INT8, --max-drop": (detect, [*int8, "--max-drop", "50"]),
        "detect FP16, --val": (detect, [*half, "--val", str(images)]),
        "an .onnx of another exporter, FP16": (foreign, half),
        "classify FP16": (models.parent / "untrained" / "yolov12n-cls.pt", half),
        "pose FP16 engine": (pose, [*engine, *half]),
        "segment FP16 engine": (segment, [*engine, *half]),
        "pose INT8 engine": (pose, [*engine, *int8]),
        "detect FP16 engine, free sizes": (detect, [*engine, *half, "--dynamic"]),
    }


def ran(words: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command of y12, by this interpreter."""
    command = [sys.executable, "-m", "y12.cli", *words]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)


def rebuilt(artefact: Path, source: Path, environment: dict[str, str]) -> str:
    """Return what a rebuild finds, in a few words."""
    words = ["inspect", str(artefact), "--rebuild", "--json", "--source", str(source)]
    done = ran(words, environment)
    if not done.stdout:
        return f"failed: {done.stderr.strip().splitlines()[-1]}"
    found = json.loads(done.stdout)
    differ = found["bytes_differing"]
    told = found["what"] if differ is None else f"{differ} bytes"
    return f"{found['kind']}: {told}" if told else str(found["kind"])


def row(name: str, source: Path, options: list[str], folder: Path) -> str:
    """Export one artefact, move it, rebuild it under each setting; return a line of the table."""
    made = folder / "made"
    words = ["export", str(source), "--no-verify", "--output", str(made), *options]
    if source.suffix != ".onnx":
        words += ["--imgsz", "160"]
    done = ran(words, USUAL)
    if done.returncode:
        return f"| {name} | not exported: {done.stderr.strip().splitlines()[-1]} |"
    moved = Path(shutil.move(made, folder / "another folder, with spaces"))
    artefact = next(iter([*moved.glob("*.engine"), *moved.glob("*.onnx")]))
    return f"| {name} | {' | '.join(rebuilt(artefact, source, USUAL | other) for other in SETTINGS.values())} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("models", "images", "foreign"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--only", default="", help="those whose names have this in them")
    asked = parser.parse_args()
    print(f"| artefact | {' | '.join(SETTINGS)} |\n|{' --- |' * (len(SETTINGS) + 1)}", flush=True)
    for name, (source, options) in cases(asked.models, asked.images, asked.foreign).items():
        if asked.only in name:
            started = time.perf_counter()
            with tempfile.TemporaryDirectory() as folder:
                print(row(name, source, options, Path(folder)), flush=True)
            print(f"{name}: {time.perf_counter() - started:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
