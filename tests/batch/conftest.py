"""Images, a tiny real network, and y12-batch as a process, as a user starts it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.runtime.conftest import colour_manifest, colour_model
from y12.runtime.artefact.manifest import ONNX_KEY, AxisRange

ROOT = Path(__file__).resolve().parents[2]
BOUND_S = 900  # what a run of Ray may take on a machine that is busy; on a quiet one it takes a twentieth of it


@pytest.fixture(scope="session")
def ray():
    """Whether Ray is here; it is too large for the extra dev."""
    for package in ("ray", "pyarrow"):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed: pip install '.[ray]' adds it")


@pytest.fixture(scope="session")
def colours(tmp_path_factory):
    """The tiny real network of the runtime's tests, for batches of 1 to 8."""
    path = tmp_path_factory.mktemp("network") / "colours.onnx"
    path.write_bytes(colour_model("b", {ONNX_KEY: colour_manifest(batch=AxisRange(1, 4, 8)).to_json()}))
    return path


def write_images(folder, count, damaged=(), hw=(48, 64)):
    """Write so many images of one colour, those whose numbers are in `damaged` cut short."""
    folder.mkdir()
    random = np.random.default_rng(7)
    made = {}
    for i in range(count):
        path = folder / f"{i:05d}.jpg"
        if hw not in made or hw[0] < 1000:
            made[hw] = np.broadcast_to(random.integers(0, 255, 3, np.uint8), (*hw, 3))
            Image.fromarray(np.ascontiguousarray(made[hw])).save(path, quality=90)
            made["bytes"] = path.read_bytes()
        path.write_bytes(made["bytes"][: 200 if i in damaged else None])
    return folder


class Run:
    """A y12-batch that runs, in a session of its own."""

    def __init__(self, *words, **environment):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "y12.batch.cli", *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment},
        )

    def ended(self, within=BOUND_S):
        """Wait for its end; give the exit code, and what it said."""
        out, err = self.process.communicate(timeout=within)
        return self.process.returncode, out, err

    def workers(self):
        """Return the processes of its workers."""
        parents = {}
        for entry in Path("/proc").iterdir():
            try:
                status = (entry / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)] = (int(status[1]), (entry / "cmdline").read_text())
            except (OSError, ValueError):
                continue
        return [pid for pid, (_, line) in parents.items() if "MapWorker" in line and self._is_above(pid, parents)]

    def _is_above(self, pid, parents):
        while pid in parents and pid != self.process.pid:
            pid = parents[pid][0]
        return pid == self.process.pid

    def kill(self):
        """Kill it, and it alone."""
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def start():
    """Start runs that do not outlive the test."""
    runs = []

    def start(*words, **environment):
        runs.append(Run(*words, **environment))
        return runs[-1]

    yield start
    for run in runs:
        if run.process.poll() is None:
            run.process.send_signal(signal.SIGTERM)
            run.process.communicate(timeout=60)


def wait_for(what, run, within=BOUND_S):
    """Wait until it is so, while a run goes on, and give it."""
    until = time.monotonic() + within
    while not (found := what()):
        assert run.process.poll() is None, run.process.communicate()
        assert time.monotonic() < until, "waited too long"
        time.sleep(0.05)
    return found


def under_way(output):
    """Return the parts that a worker holds."""
    return {path.name for path in (output / "_y12" / "under-way").glob("part-*")}


def parts(output):
    """Return the parts that are done."""
    return {path.name for path in (output / "parquet").glob("part-*")}


def rows(output):
    """Return all rows, by path; each path has one."""
    import pyarrow.dataset

    found = pyarrow.dataset.dataset(output / "parquet").to_table().to_pylist()
    counts = Counter(row["path"] for row in found)
    assert set(counts.values()) == {1}, counts.most_common(3)
    return {row["path"]: row for row in found}


def lines(text):
    """Return JSON lines by their source, each once, without what differs from run to run."""
    found = [json.loads(line) for line in text.splitlines()]
    assert len({line["source"] for line in found}) == len(found)
    return {line["source"]: {key: value for key, value in line.items() if key != "ms"} for line in found}
