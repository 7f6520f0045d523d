"""How long it takes until a command or an import is there: `python benchmarks/startup.py [--baseline COMMIT]`.

Each is the best of several fresh processes, in seconds: what a clock shows, and the processor's time. With --baseline
the same is done with the sources of that commit, in turns, by the same interpreter and packages. Runs are of the demo
model at 64 pixels, which is exported first.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPEATS = 7
ROOT = Path(__file__).resolve().parents[1]
MODULES = {
    "y12": "y12.cli",
    **{f"y12-{name}": f"y12.exporter.cli.{name}" for name in ("export", "tune", "val")},
    **{f"y12-{name}": f"y12.runtime.cli.{name}" for name in ("infer", "bench", "inspect")},
}
MAIN = "import sys; from {module} import main; sys.exit(main(sys.argv[1:]))"
DRAWN = "import sys; sys.stdout.isatty = lambda: True; "  # what help does on a terminal
IMPORTS = ("pass", "import numpy", "import y12", "from y12 import Runtime")


def command(words: list[str], before: str = "") -> list[str]:
    """Return how a command of y12 is called, whichever sources are on the path."""
    return [sys.executable, "-c", before + MAIN.format(module=MODULES[words[0]]), *words[1:]]


def cases(artefact: Path) -> dict[str, list[str]]:
    """Return what is measured, by name."""
    helps = {f"{name} --help": command([name, "--help"]) for name in MODULES}
    helps["y12-export --help, drawn"] = command(["y12-export", "--help"], DRAWN)
    runs = [
        ["y12-inspect", str(artefact)],
        ["y12-bench", str(artefact), "--iterations", "1", "--warmup", "1"],
        ["y12-export", "--half", "--int8", "--format", "trt", "--imgsz", "320:640:960"],  # read, then refused
    ]
    names = ("y12-inspect FILE", "y12-bench FILE", "y12-export, until the recipe refuses")
    plain = {f"python -c '{code}'": [sys.executable, "-c", code] for code in IMPORTS}
    return plain | helps | dict(zip(names, map(command, runs), strict=True))


def seconds(words: list[str], sources: Path) -> tuple[float, float]:
    """Run once; return what the clock and the processor show."""
    environment = {**os.environ, "PYTHONPATH": str(sources), "OMP_NUM_THREADS": "1", "TERM": "xterm"}
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(words, capture_output=True, env=environment, cwd="/", check=False)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 1):
        sys.exit(done.stderr.decode())
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def best(words: list[str], trees: list[Path]) -> list[tuple[float, float]]:
    """Return the best of several runs with each of the sources, which take turns."""
    rounds = [[seconds(words, tree) for tree in trees] for _ in range(REPEATS)]
    return [tuple(min(values) for values in zip(*times, strict=True)) for times in zip(*rounds, strict=True)]


def first_word(sources: Path) -> float:
    """Return after how many seconds an export first says something."""
    environment = {**os.environ, "PYTHONPATH": str(sources), "OMP_NUM_THREADS": "1"}
    words = command(["y12-export", "yolov12n", "--random-weights", "--no-verify", "--output", tempfile.gettempdir()])
    started = time.perf_counter()
    process = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment, cwd="/")
    process.stderr.readline()
    took = time.perf_counter() - started
    process.terminate()
    process.communicate()
    return took


def report(trees: list[Path], artefact: Path) -> None:
    """Measure, and print a table; in each cell what the clock shows, then the processor."""
    names = ["here", "baseline"][: len(trees)]
    print("| what |", " | ".join(names), "|\n| --- |" + " --- |" * len(trees))
    for name, words in cases(artefact).items():
        exist = [tree for tree in trees if "from y12.cli " not in words[2] or (tree / "y12" / "cli.py").exists()]
        cells = [f"{wall:.2f}, {cpu:.2f}" for wall, cpu in best(words, exist)]
        print(f"| `{name}` |", " | ".join([*cells, *["-"] * (len(trees) - len(cells))]), "|", flush=True)
    words = [f"{min(first_word(tree) for _ in range(3)):.2f}" for tree in trees]
    print("| `y12-export` until its first word |", " | ".join(words), "|")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--baseline", metavar="COMMIT", help="a commit of this repository to measure beside")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trees = [ROOT]
        if asked.baseline:
            archive = subprocess.run(["git", "archive", asked.baseline], cwd=ROOT, capture_output=True, check=True)
            trees.append(Path(folder, "baseline"))
            trees[1].mkdir()
            subprocess.run(["tar", "-x", "-C", trees[1]], input=archive.stdout, check=True)
        words = command(["y12-export", "--no-verify", "--imgsz", "64", "--output", folder])
        subprocess.run(words, check=True, capture_output=True)
        report(trees, Path(folder, "yolov12n-shapes.onnx"))


if __name__ == "__main__":
    main()
