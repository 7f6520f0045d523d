"""scripts/gpu_first_run.sh without a GPU: what fails is said, and nothing stops the steps behind it."""

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "gpu_first_run.sh"
HAS_GPU = shutil.which("nvidia-smi") is not None

pytestmark = pytest.mark.skipif(not (ROOT / ".venv" / "installed").exists(), reason="needs the Makefile's environment")


def run(folder, *steps):
    return subprocess.run([SCRIPT, *steps], cwd=folder, capture_output=True, text=True, check=False, env=os.environ)


def sent_back(folder):
    """Return the texts of what the script made, by their names."""
    with tarfile.open(folder / "gpu-first-run.tar.gz") as archive:
        files = [member for member in archive.getmembers() if member.isfile()]
        return {Path(member.name).name: archive.extractfile(member).read().decode() for member in files}


def codes_in(summary):
    return {line.split()[0]: int(line.split()[1]) for line in summary.splitlines()[1:]}


def test_a_step_that_is_none_is_refused_before_anything_runs(tmp_path):
    done = run(tmp_path, "facts", "export,infer")
    assert done.returncode == 2
    assert done.stderr == (
        "gpu_first_run.sh: expected steps of facts export infer bench test benchmark sanitizer, found 'export,infer'\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(HAS_GPU, reason="there is a GPU: its own steps would pass")
def test_without_a_gpu_each_step_says_what_is_missing_and_the_next_one_runs(tmp_path):
    done = run(tmp_path, "facts", "infer", "sanitizer")
    made = sent_back(tmp_path)
    assert done.returncode == 1
    assert all(codes_in(made["summary.txt"]).values())
    assert done.stdout == made["summary.txt"] + "made: gpu-first-run.tar.gz\n"
    assert "nvidia-smi: command not found" in made["facts.log"]
    assert "\nnumpy==" in made["facts.log"]
    assert "expected a TensorRT engine, found none" in made["infer.log"]
    assert not [name for name, text in made.items() if str(ROOT) in text or str(Path.home()) in text]


@pytest.mark.exhaustive  # half a minute: the demo's engine
@pytest.mark.skipif(HAS_GPU, reason="there is a GPU: its own steps would pass")
def test_an_engine_is_built_without_a_gpu_and_what_runs_it_says_that_it_needs_one(tmp_path):
    run(tmp_path, "export", "infer", "bench")
    made = sent_back(tmp_path)
    codes = codes_in(made["summary.txt"])
    assert (codes["export"], codes["infer"] > 0, codes["bench"] > 0) == (0, True, True)
    assert "8 of 8 fused" in made["export.log"]
    assert "yolov12n-shapes_fp16.report.json" in made
    assert "GPU" in made["infer.log"]
    assert "GPU" in made["bench.log"]
