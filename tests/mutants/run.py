"""Plant faults in copies of the checkout, one at a time, and tell which of them the tests notice.

    python tests/mutants/run.py [--only GLOB]... [--jobs 2] [--seconds 300] [--table FILE]

Each table of faults*.toml beside this file is a fault: `file`, its `old` text, which occurs once in it, the `new` text,
and `tests`, the files or folders that are to fail. The exit code is 1 where one survives or could not be planted.
"""

import argparse
import fnmatch
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).resolve().parents[2]
CAUGHT, SURVIVED, NOT_APPLIED, BROKEN = "caught", "survived", "not applied", "broken"
# Of pytest: tests failed, or could not be collected or set up with the fault in place.
_FAILED = (1, 2)
_PYTEST = ("-x", "-q", "-m", "not exhaustive and not gpu", "-p", "no:cacheprovider", "--no-header", "--tb=line")


@dataclass(frozen=True)
class Fault:
    """One planted fault, as a table of the list has it; `why` says what breaks."""

    name: str
    why: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """What became of a fault: its verdict, the first test that failed or what went wrong, and what it cost."""

    fault: Fault
    verdict: str
    by: str
    cpu_seconds: float = 0.0


def faults_from(folder: Path) -> tuple[Fault, ...]:
    """Read every list in a folder; a name that two faults have is an error."""
    found = []
    for path in sorted(folder.glob("faults*.toml")):
        for name, table in tomllib.loads(path.read_text(encoding="utf-8")).items():
            found.append(Fault(name, **{**table, "tests": tuple(table["tests"])}))
    twice = [name for name, count in Counter(fault.name for fault in found).items() if count > 1]
    if twice:
        raise SystemExit(f"expected each fault's name once, found twice: {', '.join(twice)}")
    return tuple(found)


def copied(into: Path) -> Path:
    """Copy the checkout's files, those of git and those not yet added, and give the copy; `shared` is linked beside."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():  # a file may be deleted and not yet committed so
            place = into / "checkout" / name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, place)
    shared = Path(os.environ.get("Y12_SHARED", ROOT.parent / "shared"))
    if shared.is_dir():
        (into / "shared").symlink_to(shared.resolve())
    return into / "checkout"


@contextmanager
def planted(fault: Fault, copy: Path) -> Iterator[str]:
    """Put a fault into a copy and take it out again; gives what keeps it from being planted, if anything does."""
    path = copy / fault.file
    absent = [name for name in (fault.file, *fault.tests) if not (copy / name.split("::")[0]).exists()]
    if absent:
        yield f"there is no {absent[0]}"
        return
    text = path.read_text(encoding="utf-8")
    count = text.count(fault.old)
    if count != 1 or fault.old == fault.new:
        yield f"expected the old text once in {fault.file} and another new one, found it {count} times"
        return
    path.write_text(text.replace(fault.old, fault.new), encoding="utf-8")
    try:
        yield ""
    finally:
        path.write_text(text, encoding="utf-8")


def tested(tests: Sequence[str], copy: Path, seconds: float) -> tuple[int | None, str, float]:
    """Run tests in a copy: give pytest's exit code, None past the time limit, its output and its processor time.

    What is imported, by tests and by the processes they start, is the copy: an editable install of the checkout comes
    behind PYTHONPATH. Nothing compiled is kept, since two texts of one size within a second look alike to Python.
    """
    environment = {
        **os.environ,
        "PYTHONPATH": str(copy),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "XDG_CACHE_HOME": str(copy.parent / "cache"),
    }
    command = [sys.executable, "-m", "pytest", *_PYTEST, f"--basetemp={copy.parent / 'tmp'}", *tests]
    with tempfile.TemporaryFile() as log:
        started = subprocess.Popen(
            command, cwd=copy, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        code, cpu = _waited(started, seconds)
        log.seek(0)
        return code, log.read().decode(errors="replace"), cpu


def _waited(process: subprocess.Popen[bytes], seconds: float) -> tuple[int | None, float]:
    """Wait for a process, end it and its children past the limit, and give its exit code and processor time."""
    until = time.monotonic() + seconds
    ended = False
    while True:
        pid, status, usage = os.wait4(process.pid, 0 if ended else os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return None if ended else process.returncode, usage.ru_utime + usage.ru_stime
        if time.monotonic() > until:
            os.killpg(process.pid, signal.SIGKILL)
            ended = True
        else:
            time.sleep(0.1)


def outcome_of(fault: Fault, copy: Path, seconds: float) -> Outcome:
    """Plant one fault in a copy and run its tests there."""
    with planted(fault, copy) as problem:
        if problem:
            return Outcome(fault, NOT_APPLIED, problem)
        code, output, cpu = tested(fault.tests, copy, seconds)
    lines = output.strip().splitlines() or [""]
    named = [line for line in lines if line.startswith(("FAILED ", "ERROR "))]
    if code is None:
        return Outcome(fault, CAUGHT, f"no end within {seconds:g} s", cpu)
    if code == 0:
        return Outcome(fault, SURVIVED, lines[-1], cpu)
    if code in _FAILED and named:
        return Outcome(fault, CAUGHT, named[0].split(" - ")[0], cpu)
    return Outcome(fault, BROKEN, f"pytest ended with {code}: {lines[-1]}", cpu)


def outcomes(faults: Sequence[Fault], jobs: int, seconds: float) -> Iterator[Outcome]:
    """Give each fault's outcome as it comes; as many copies of the checkout are used as there are jobs."""
    with tempfile.TemporaryDirectory(prefix="y12-mutants-") as folder:
        free: SimpleQueue[Path] = SimpleQueue()
        for i in range(jobs):
            free.put(copied(Path(folder, str(i))))

        def judge(fault: Fault) -> Outcome:
            copy = free.get()
            try:
                return outcome_of(fault, copy, seconds)
            finally:
                free.put(copy)

        with ThreadPoolExecutor(jobs) as pool:
            for done in as_completed([pool.submit(judge, fault) for fault in faults]):
                yield done.result()


def main(arguments: Sequence[str] | None = None, tell: Callable[[str], object] = print) -> int:
    """Judge the faults that were asked for, and give the exit code."""
    parser = argparse.ArgumentParser(description="Plant faults and tell which of them the tests notice.")
    parser.add_argument("--only", action="append", metavar="GLOB", help="faults of these names; all where left out")
    parser.add_argument("--jobs", type=int, default=2, help="how many are judged at a time (default 2)")
    parser.add_argument("--seconds", type=float, default=300, help="the most a fault's tests may take (default 300)")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write the outcomes there too, sorted by name")
    options = parser.parse_args(arguments)
    wanted = options.only or ["*"]
    faults = [f for f in faults_from(Path(__file__).parent) if any(fnmatch.fnmatch(f.name, w) for w in wanted)]
    if not faults:
        parser.error(f"--only: expected the name of a fault, found none like {', '.join(wanted)}")
    rows: dict[str, str] = {}
    counts: Counter[str] = Counter()
    cpu = 0.0
    for found in outcomes(faults, max(1, options.jobs), options.seconds):
        row = f"{found.verdict:<11}  {found.cpu_seconds:6.1f} s  {found.fault.name}  ({found.by})"
        tell(row)
        rows[found.fault.name] = row
        counts[found.verdict] += 1
        cpu += found.cpu_seconds
    total = (
        f"{len(faults)} faults: {', '.join(f'{n} {what}' for what, n in counts.items())}; {cpu / 60:.1f} CPU minutes"
    )
    tell(total)
    if options.table is not None:
        options.table.write_text("\n".join([*(rows[name] for name in sorted(rows)), total, ""]), encoding="utf-8")
    return 0 if counts[CAUGHT] == len(faults) else 1


if __name__ == "__main__":
    sys.exit(main())
