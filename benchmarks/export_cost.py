"""Wall time and memory of a whole export, from a .pt to a verified FP16 engine: `python benchmarks/export_cost.py`.

The checkpoints are seeded state dicts of yolov12n and yolov12x, written to a temporary folder. Each export is a process
of its own, imports included; memory is the peak resident size of that process.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from y12.exporter.model.build import seeded_detector
from y12.exporter.model.spec import spec_from_name

MODELS = ("yolov12n", "yolov12x")


def cost(name: str, folder: Path) -> dict[str, object]:
    """Export one seeded checkpoint and give what it cost."""
    checkpoint = folder / f"{name}.pt"
    torch.save(seeded_detector(spec_from_name(name)).state_dict(), checkpoint)
    command = [str(Path(sys.executable).parent / "y12-export"), str(checkpoint), "--format", "engine", "--half"]
    started = time.perf_counter()
    done = subprocess.run([*command, "--json", "--output", str(folder)], check=True, capture_output=True, text=True)
    wall = time.perf_counter() - started
    report = json.loads(done.stdout)
    # The largest child so far: the models come in order of their size.
    peak_gib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / (1 << 20)
    return {
        "model": name,
        "wall_s": round(wall, 1),
        "peak_gib": round(peak_gib, 2),
        "stages_s": {stage: round(seconds, 2) for stage, seconds in report["seconds"].items()},
        "verdict": report["verdict"],
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        print(json.dumps([cost(name, Path(temporary)) for name in MODELS], indent=2))
