"""The program of examples/cpp for tests: what it takes for a plan, and a run of it."""

import os
import subprocess
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "examples" / "cpp" / "detect.cpp"
STUB = Path(__file__).parent / "stub"
TYPES = {np.dtype(np.float32): 0, np.dtype(np.float16): 1}


def plan(output, input_hw, second=False, input_type=0):
    """Return what the stub takes for a plan; `output` has its batch axis."""
    sizes = [*output.shape, 0, 0, 0, 0][:4]
    header = [input_type, *input_hw, output.ndim, TYPES.get(output.dtype, 3), *sizes, int(second)]
    return np.array(header, np.int64).tobytes() + output.tobytes()


class Run:
    """Files for one run of the program, and what it said."""

    def __init__(self, program, folder):
        self.program, self.folder = program, folder

    def __call__(self, plan_bytes, image, *options, fail=None):
        (self.folder / "model.engine").write_bytes(plan_bytes)
        if isinstance(image, bytes):
            (self.folder / "photo.ppm").write_bytes(image)
        else:
            Image.fromarray(image[:, :, ::-1]).save(self.folder / "photo.ppm")
        environment = {"STUB_INPUT": str(self.folder / "blob"), "PATH": os.environ["PATH"]}
        environment |= {"STUB_FAIL": fail} if fail else {}
        return subprocess.run(
            [str(self.program), "model.engine", "photo.ppm", *map(str, options)],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def found(self, *arguments):
        done = self(*arguments)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return np.array([line.split() for line in done.stdout.splitlines()], np.float64).reshape(-1, 6)

    @property
    def blob(self):
        return np.fromfile(self.folder / "blob", np.float32)


def check(lines, found):
    """Compare printed lines with Detections."""
    np.testing.assert_array_equal(lines[:, 0], found.class_id)
    np.testing.assert_allclose(lines[:, 1], found.confidence, atol=1e-6)
    np.testing.assert_allclose(lines[:, 2:], found.xyxy, atol=2e-3)


def predictions(rng, classes=3, places=400, dtype=np.float32):
    """Boxes that overlap a lot in a 64x64 input, with ties in their scores."""
    output = np.empty((1, 4 + classes, places), np.float32)
    output[0, :2] = rng.uniform(0, 64, (2, places))
    output[0, 2:4] = rng.uniform(2, 40, (2, places))
    output[0, 4:] = rng.integers(0, 40, (classes, places)) / 40
    return output.astype(dtype)
