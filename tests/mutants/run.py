"""Plant faults in copies of the checkout, one at a time, and tell which of them the tests notice.

    python tests/mutants/run.py [--only GLOB]... [--jobs 2] [--seconds 240] [--table FILE] [--control]

Each table of faults*.toml beside this file is a fault: `file`, its `old` text, which occurs once in it, the `new` text,
`why` it is one, and `tests`, the files, folders or single tests that are to fail. The exit code is 1 where a fault
survives or cannot be judged. --control runs the same tests with nothing planted: all of them have to pass.

Most of a short test's time is spent importing torch and its like. They are imported once, here, and each run is a fork
of this process; what is under test is imported by the fork alone, from its copy.
"""

import argparse
import contextlib
import fnmatch
import importlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CAUGHT, SURVIVED, NOT_APPLIED, BROKEN, PASSED = "caught", "survived", "not applied", "broken", "passed"
# Of pytest: tests failed, or could not be collected with the fault in place.
_FAILED = (1, 2)
_OPTIONS = ("-x", "-q", "-rfE", "-p", "no:cacheprovider", "--no-header", "--tb=line")
_EXPENSIVE = ("numpy", "cv2", "onnxruntime", "onnx", "torch", "onnxsim", "pycocotools.cocoeval", "tensorrt_rtx")
_PLANTED = itertools.count(1)


@dataclass(frozen=True)
class Fault:
    """One planted fault, as a table of the list has it; a control has the same old and new text, which is empty."""

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


@dataclass(frozen=True)
class Run:
    """The tests of one fault under way: in which copy, until when, and where they write to."""

    fault: Fault
    copy: Path
    log: Path
    until: float
    planted: contextlib.ExitStack  # takes the fault out again


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
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():  # one may be deleted, and git does not know it yet
            place = into / "checkout" / name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, place)
    shared = Path(os.environ.get("Y12_SHARED", ROOT.parent / "shared"))
    if shared.is_dir():
        (into / "shared").symlink_to(shared.resolve())
    return into / "checkout"


def problem_of(fault: Fault, copy: Path) -> str:
    """Say what keeps a fault from being planted; empty where nothing does."""
    names = (*([fault.file] if fault.file else []), *(test.split("::")[0] for test in fault.tests))
    absent = [name for name in names if not (copy / name).exists()]
    if absent:
        return f"there is no {absent[0]}"
    if not fault.file:
        return ""
    count = (copy / fault.file).read_text(encoding="utf-8").count(fault.old)
    if count != 1 or fault.old == fault.new:
        return f"expected the old text once in {fault.file} and another new one, found it {count} times"
    return ""


@contextlib.contextmanager
def planted(fault: Fault, copy: Path) -> Iterator[None]:
    """Put a fault into a copy and take it out again.

    Python tells by size and second whether what it compiled is still true, so that each text gets a second of its own.
    """
    path = copy / fault.file
    text, status = path.read_text(encoding="utf-8"), path.stat()
    path.write_text(text.replace(fault.old, fault.new), encoding="utf-8")
    os.utime(path, (next(_PLANTED), next(_PLANTED)))
    try:
        yield
    finally:
        path.write_text(text, encoding="utf-8")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def tests_in(copy: Path, tests: Sequence[str], log: Path) -> int:
    """Run tests in this process, which is a fork, and give pytest's exit code.

    What is imported, here and in the processes that tests start, is the copy: an editable install of the checkout comes
    behind it.
    """
    os.setsid()
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(copy)
    os.environ |= {"PYTHONPATH": str(copy), "XDG_CACHE_HOME": str(copy.parent / "cache")}
    sys.path[0] = str(copy)
    for name in [name for name in sys.modules if name.split(".")[0] in ("exporter", "runtime", "tests")]:
        del sys.modules[name]
    known = "exhaustive:" in (copy / "pyproject.toml").read_text(encoding="utf-8")
    marker = ["-m", "not exhaustive"] if known else []
    code = int(pytest.main([*_OPTIONS, *marker, f"--basetemp={copy.parent / 'tmp'}", *tests]))
    sys.stdout.flush()
    return code


def started(fault: Fault, copy: Path, seconds: float) -> tuple[int, Run]:
    """Plant a fault and start its tests; give the process."""
    stack, log = contextlib.ExitStack(), copy.parent / "log"
    if fault.file:
        stack.enter_context(planted(fault, copy))
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            os._exit(tests_in(copy, fault.tests, log))
        finally:
            os._exit(99)
    return child, Run(fault, copy, log, time.monotonic() + seconds, stack)


def outcome_of(run: Run, code: int | None, cpu: float) -> Outcome:
    """Judge by pytest's exit code, None where the time was up, and what it wrote."""
    lines = run.log.read_text(errors="replace").strip().splitlines() or ["it wrote nothing"]
    named = [line.split(" - ")[0] for line in lines if line.startswith(("FAILED ", "ERROR "))]
    if code is None:  # the fault, or a busy machine: that cannot be told
        return Outcome(run.fault, BROKEN, f"no end in time: {lines[-1]}", cpu)
    if code == 0:
        return Outcome(run.fault, SURVIVED if run.fault.file else PASSED, lines[-1], cpu)
    if code in _FAILED and named:
        return Outcome(run.fault, CAUGHT if run.fault.file else BROKEN, named[0], cpu)
    return Outcome(run.fault, BROKEN, f"pytest ended with {code}: {lines[-1]}", cpu)


def ended(running: dict[int, Run]) -> tuple[int, int | None, float]:
    """Wait for one of some processes: give it, its exit code, None where its time was up, and its processor time."""
    killed: set[int] = set()
    while True:
        for child, run in running.items():
            pid, status, usage = os.wait4(child, os.WNOHANG)
            if pid:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child, signal.SIGKILL)  # what its tests left behind
                code = None if child in killed else os.waitstatus_to_exitcode(status)
                return child, code, usage.ru_utime + usage.ru_stime
            if time.monotonic() > run.until and child not in killed:
                os.killpg(child, signal.SIGKILL)
                killed.add(child)
        time.sleep(0.05)


def outcomes(faults: Sequence[Fault], jobs: int, seconds: float) -> Iterator[Outcome]:
    """Yield each fault's outcome as it comes; as many copies of the checkout are used as there are jobs."""
    with tempfile.TemporaryDirectory(prefix="y12-mutants-") as folder, contextlib.ExitStack() as cleaning:
        free = [copied(Path(folder, str(i))) for i in range(jobs)]
        running: dict[int, Run] = {}
        cleaning.callback(lambda: [os.killpg(child, signal.SIGKILL) for child in running])
        waiting = list(reversed(faults))
        while waiting or running:
            while waiting and free:
                fault = waiting.pop()
                problem = problem_of(fault, free[-1])
                if problem:
                    yield Outcome(fault, NOT_APPLIED, problem)
                else:
                    child, run = started(fault, free.pop(), seconds)
                    running[child] = run
            if running:
                child, code, cpu = ended(running)
                run = running.pop(child)
                run.planted.close()
                free.append(run.copy)
                yield outcome_of(run, code, cpu)


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Plant faults and tell which of them the tests notice.")
    parser.add_argument("--only", action="append", metavar="GLOB", help="faults of these names; all where left out")
    parser.add_argument("--jobs", type=int, default=2, help="how many are judged at a time (default 2)")
    parser.add_argument("--seconds", type=float, default=240, help="the most a fault's tests may take (default 240)")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write the outcomes there too, sorted by name")
    parser.add_argument("--control", action="store_true", help="plant nothing: the same tests have to pass")
    return parser.parse_args(arguments)


def say(line: str) -> None:
    """Write a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge the faults that were asked for, and give the exit code."""
    options = parsed(arguments)
    wanted = options.only or ["*"]
    faults = [f for f in faults_from(Path(__file__).parent) if any(fnmatch.fnmatch(f.name, w) for w in wanted)]
    if not faults:
        raise SystemExit(f"--only: expected the name of a fault, found none like {', '.join(wanted)}")
    if options.control:
        lists = dict.fromkeys(fault.tests for fault in faults)
        faults = [replace(faults[0], name=" ".join(tests), file="", tests=tests) for tests in lists]
    os.environ["OMP_NUM_THREADS"] = "1"
    for name in _EXPENSIVE:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    rows: dict[str, str] = {}
    counts: Counter[str] = Counter()
    cpu = 0.0
    for found in outcomes(faults, max(1, options.jobs), options.seconds):
        rows[found.fault.name] = f"{found.verdict:<11} {found.cpu_seconds:6.1f} s  {found.fault.name}  ({found.by})"
        say(rows[found.fault.name])
        counts[found.verdict] += 1
        cpu += found.cpu_seconds
    rows["~"] = f"{len(faults)}: {', '.join(f'{n} {what}' for what, n in counts.items())}; {cpu / 60:.1f} CPU minutes"
    say(rows["~"])
    if options.table is not None:
        options.table.write_text("".join(f"{rows[name]}\n" for name in sorted(rows)), encoding="utf-8")
    return 0 if counts[CAUGHT] + counts[PASSED] == len(faults) else 1


if __name__ == "__main__":
    sys.exit(main())
