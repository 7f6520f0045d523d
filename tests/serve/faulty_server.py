"""The service as y12-serve starts it, on a network that fails or dawdles when a test says so.

    python faulty_server.py MODEL.onnx FOLDER [--delay S] [--queue N] [--workers N] [--devices N]

Everything is the real one, but for what stands between the runtime and ONNX Runtime: while FOLDER has a file `broken`,
running fails as on a lost device; while it has `nan`, the outputs are NaN; while it has `poison`, those of white images
are. `--devices` opens so many runtimes, of which
the first alone fails. FOLDER/begun tells that a run
began; what was run is counted in FOLDER/ran.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

from y12 import ExecutorError, Runtime
from y12.runtime.backends.onnx_runtime import OrtExecutor
from y12.runtime.cli.common import run_command
from y12.serve.cli import serve_on
from y12.serve.options import ServeOptions
from y12.serve.server import listening


class Faulty:
    """ONNX Runtime, and the faults that a folder asks for."""

    description = "faulty"

    def __init__(self, model, folder, delay):
        self._executor, self._folder, self._delay = OrtExecutor(model, "cpu", 1), folder, delay
        self.input_shape = self._executor.input_shape
        self.close = self._executor.close

    def run(self, images):
        (self._folder / "begun").touch()
        time.sleep(self._delay)
        outputs = self._executor.run(images)
        if (self._folder / "broken").exists():
            raise ExecutorError("the GPU is lost")
        if (self._folder / "nan").exists():
            return {name: np.full_like(array, np.nan) for name, array in outputs.items()}
        if (self._folder / "poison").exists():
            white = images.mean(axis=(1, 2, 3)) > 0.75  # beside it is the letterbox's gray
            outputs = {name: np.where(white[:, None, None], np.nan, array) for name, array in outputs.items()}
            outputs = {name: array.astype(np.float32) for name, array in outputs.items()}
        with (self._folder / "ran").open("a") as file:
            file.write(f"{len(images)}\n")
        return outputs


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--queue", type=int, default=64)
    parser.add_argument("--max-wait", type=float, default=0.002)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--devices", type=int, default=1)
    asked = parser.parse_args()
    nowhere = asked.folder / "nowhere"
    folders = [asked.folder, *[nowhere] * (asked.devices - 1)]
    nowhere.mkdir(exist_ok=True)
    runtimes = [Runtime(asked.model, Faulty(asked.model, folder, asked.delay)) for folder in folders]
    options = ServeOptions(queue=asked.queue, workers=asked.workers, max_wait_s=asked.max_wait)
    serve_on(listening("127.0.0.1", 0), "m", runtimes, options)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
