"""Half a minute of the fuzzing that `make fuzz` does for ten."""

import re
import subprocess
import sys
from pathlib import Path

RUN = Path(__file__).with_name("fuzz") / "run.py"


def test_half_a_minute():
    done = subprocess.run(
        [sys.executable, str(RUN), "--seconds", "20"], capture_output=True, text=True, timeout=1200, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    counted = re.search(r"^(\d+) files, 0 failures$", done.stdout, re.MULTILINE)
    assert counted, done.stdout
    assert int(counted[1]) > 1500  # some 4,000
    assert done.stdout.count(" refused, slowest ") == 17
