"""How long it takes until a command or an import is there: `python benchmarks/startup.py`.

Each is the best of several fresh processes, in seconds, with the bare interpreter beside it from the same run.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

REPEATS = 7
BIN = Path(sys.executable).parent
CASES = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import numpy": [sys.executable, "-c", "import numpy"],
    "import y12": [sys.executable, "-c", "import y12"],
    "from y12 import Runtime": [sys.executable, "-c", "from y12 import Runtime"],
    "y12-export --help": [str(BIN / "y12-export"), "--help"],
    "y12-tune --help": [str(BIN / "y12-tune"), "--help"],
    "y12-infer --help": [str(BIN / "y12-infer"), "--help"],
    "y12-bench --help": [str(BIN / "y12-bench"), "--help"],
    "y12-inspect --help": [str(BIN / "y12-inspect"), "--help"],
}


def best_seconds(command: list[str]) -> float:
    """Return the shortest wall time of several runs of a command."""
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - started)
    return min(times)


if __name__ == "__main__":
    print(json.dumps({name: round(best_seconds(command), 3) for name, command in CASES.items()}, indent=2))
