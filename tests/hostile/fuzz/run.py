"""Fuzz every reader of strangers' files for a while, each case within bounds of time and memory.

usage: run.py [--seconds 600] [--seed N] [--kind KIND]... [--keep DIR]

Prints, for each kind, how many files were read, and how many of them were refused. A failure is an exception but a
Y12Error, a message that is not one printable line, a case of more than 5 s of processor time or 1.5 GiB, one that does
not end within 30, and the end of the process. The file of each is kept. The exit code is 1 where there is one.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HANG_SECONDS = 30.0  # of processor time without a case done; to begin with, everything that y12 has is loaded
DEAD_SECONDS = 600.0  # of waiting


def main() -> int:
    """Run, print, and say by the exit code whether all is well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600, help="of processor time (default: %(default)s)")
    parser.add_argument("--seed", type=int, help="where to begin (default: somewhere)")
    parser.add_argument("--kind", action="append", default=[], help="fuzz these only; may be repeated")
    parser.add_argument("--keep", type=Path, help="where failures are kept (default: a temporary folder)")
    arguments = parser.parse_args()
    seed = random.randrange(1 << 20) if arguments.seed is None else arguments.seed
    keep = arguments.keep or Path(tempfile.mkdtemp(prefix="y12-fuzz-"))
    keep.mkdir(parents=True, exist_ok=True)
    print(f"seed {seed}", flush=True)
    figures: dict[str, dict[str, float]] = {}
    failures: list[dict[str, str]] = []
    left = arguments.seconds
    while left > 0 and len(failures) < 20:
        began = time.monotonic()
        found = _worker(keep, left, seed, arguments.kind)
        failures += found["failures"]
        for kind, own in found["figures"].items():
            total = figures.setdefault(kind, dict.fromkeys(own, 0))
            for key, value in own.items():
                total[key] = max(total[key], value) if key == "slowest" else total[key] + value
        if not found["figures"] and not found["failures"][0]["begun"]:
            break
        left = 0 if found["figures"] else left - (time.monotonic() - began)
        seed += 1
    for kind, own in figures.items():
        print(f"{kind:<26} {own['cases']:>7.0f} files, {own['refused']:>7.0f} refused, slowest {own['slowest']:.2f} s")
    print(f"{sum(own['cases'] for own in figures.values()):.0f} files, {len(failures)} failures")
    for failure in failures:
        print(f"FAILED {failure['kind']}: {failure['what']} ({failure['file']})")
    if not failures and not arguments.keep:
        shutil.rmtree(keep)
    return int(bool(failures))


def _worker(keep: Path, seconds: float, seed: int, kinds: list[str]) -> dict:
    """Run one process until its time is over, or until it ends or hangs."""
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=keep))
    command = [sys.executable, str(Path(__file__).with_name("worker.py")), str(folder), str(seconds), str(seed), *kinds]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        hung = _watch(process, folder)
    if (folder / "done").exists():
        found = json.loads((folder / "done").read_text())
        if not found["failures"]:
            shutil.rmtree(folder)
        return found
    last = max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_mtime_ns)
    log = (folder / "log").read_text(errors="replace").strip()[-300:]
    what = (
        f"no end within {HANG_SECONDS:.0f} s of processor time"
        if hung
        else f"the process ended with {process.returncode}: {log}"
    )
    begun = (folder / "count").exists()
    return {"figures": {}, "failures": [{"kind": last.name, "what": what, "file": str(last), "begun": begun}]}


def _watch(process: subprocess.Popen, folder: Path) -> bool:
    """Wait for the end; kill a process whose count stands still, and say so."""
    counter, count, used, since = folder / "count", b"", 0.0, time.monotonic()
    while process.poll() is None:
        time.sleep(0.2)
        now = counter.read_bytes() if counter.exists() else b""
        if now != count:
            count, used, since = now, _cpu_seconds(process.pid), time.monotonic()
        if _cpu_seconds(process.pid) - used > HANG_SECONDS or time.monotonic() - since > DEAD_SECONDS:
            process.send_signal(signal.SIGKILL)
            process.wait()
            return True
    return False


def _cpu_seconds(pid: int) -> float:
    """Return the processor time of a process; of one that has ended, 0."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main())
