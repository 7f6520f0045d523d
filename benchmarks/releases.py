"""What each release of TensorRT-RTX makes of the same models: `make test-trt`; with `>> docs/fusion.md`, `make bench`.

Each release is had from PyPI into an environment of its own, with all else as it is here. In it y12-export builds FP16
and INT8 engines of the demo model, of yolo11n (a checkpoint that is named, or ../shared's) and of a seeded yolov12n;
y12-inspect reads each, and tells whether the newest release's engine is worse. Progress goes to stderr. The exit code
is 1 where a command ends otherwise than it should: an engine whose build is not known, one of the newest that is worse
or an older one that is not, a refusal that is no line or not TensorRT's own, kernels other than those that y12-export
tells of (y12/exporter/engine/releases.py).
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from y12.exporter.engine.releases import KERNELS
from y12.exporter.verify.verify_images import scenes_dir
from y12.runtime.artefact.difference import CODES
from y12.runtime.artefact.opened import onnx_beside

SHARED = Path(__file__).resolve().parents[2] / "shared" / "checkpoints" / "trained"
INT8 = ("--int8", "--calib", str(scenes_dir()), "--calib-method", "max")
PRECISIONS = {"fp16": ("--half",), "int8": INT8}
COMMANDS = {"export": "y12.exporter.cli.export", "inspect": "y12.runtime.cli.inspect"}
TOLD = ("yolov12n", "yolo11n")  # of which KERNELS tells, in its order


# Builds an engine of a graph, whatever y12-export thinks of the release.
BUILD = """
import sys
from pathlib import Path
from y12.exporter.engine.build_engine import BuildOptions, bindings_for_build, engine_from_onnx
from y12.runtime.artefact.opened import open_artefact
graph = open_artefact(sys.argv[1])
engine_from_onnx(graph.read_model(), BuildOptions(graph.manifest.profile), bindings_for_build("rtx"))
"""


class WrongError(Exception):
    """Something did not end as it should."""


@dataclass(frozen=True)
class Release:
    """A release of TensorRT-RTX in an environment of its own."""

    version: str
    python: Path

    def run(self, command: str, *words: object) -> subprocess.CompletedProcess[str]:
        """Run a command of y12 there."""
        line = [self.python, "-m", COMMANDS[command], *map(str, words)]
        variables = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.run(line, env=variables, capture_output=True, text=True, check=False)


def installed(version: str, folder: Path) -> Release:
    """Install a release into an environment, which finds everything else where this program runs."""
    uv = Path(sys.executable).parent / "uv"
    python = folder / "bin" / "python"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder], check=True)
    wanted = f"tensorrt-rtx-cu13=={version}"
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python, wanted], check=True)
    (packages,) = (folder / "lib").glob("python*/site-packages")
    here = next(path for path in sys.path if path.endswith("site-packages"))
    (packages / "all_else.pth").write_text(f"import site; site.addsitedir({here!r})\n")
    return Release(version, python)


def engine_of(release: Release, network: str, model: tuple[str, ...], precision: str, folder: Path) -> Path | str:
    """Return the engine that was built, or the line that refuses it."""
    words = (*model, "--format", "engine", "--tensorrt", "rtx", *PRECISIONS[precision], "--no-verify")
    done = release.run("export", *words, "--output", folder)
    if done.returncode == 0:
        return next(folder.glob(f"*_{precision}.engine"))
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    if done.returncode != 1 or len(lines) != 1 or "Traceback" in done.stderr:
        raise WrongError(f"{release.version}, {network} {precision}: {done.stderr}")
    return lines[0].removeprefix("error: ")


def inspected(release: Release, engine: Path) -> dict[str, Any]:
    """Return what an engine is; its build has to be known."""
    facts: dict[str, Any] = json.loads(release.run("inspect", engine, "--json").stdout)
    if facts["build"] is None:
        raise WrongError(f"{engine}: {facts['build_unknown']}")
    return facts


def check_refused(release: Release, graph: Path) -> None:
    """Hold what y12-export refuses at once against the release itself: it has to refuse the newest one's graph."""
    done = subprocess.run([release.python, "-c", BUILD, graph], capture_output=True, text=True, check=False)
    if done.returncode != 1 or "EngineBuildError: TensorRT-RTX" not in done.stderr:
        raise WrongError(f"{release.version} does not refuse {graph}: {done.stdout}{done.stderr}")


def judged(newest: Release, engine: Path, other: Path) -> str:
    """Return what is said of the newest release's engine in place of an older one's; the other way it is worse."""
    for before, after, verdict in ((other, engine, "worse"), (engine, other, "not worse")):
        done = newest.run("inspect", before, "--diff", after, "--json")
        if done.returncode != CODES[verdict]:
            raise WrongError(f"{after} in place of {before}: exit code {done.returncode}: {done.stdout}{done.stderr}")
    upgrade = json.loads(done.stdout)["upgrade"]
    kernels, moved = ((pair[1] / pair[0] - 1) * 100 for pair in (upgrade["kernels"], upgrade["bytes_moved"]))
    return f"{upgrade['verdict']}: kernels {kernels:+.0f} %, MB moved {moved:+.0f} %"


def cells(engine: dict[str, Any]) -> str:
    """Return what an engine is, as cells of the table."""
    build = engine["build"]
    fused = f"{build['attentions_fused']} of {build['attentions_expected']}"
    counts = ", ".join(f"{count} {name.upper()}" for name, count in build["convolutions_by_precision"].items())
    moved, size = (count / 1e6 for count in (build["bytes_moved"], engine["bytes"]))
    return f"{build['kernels']} | {fused} | {counts} | {moved:.1f} | {size:.1f}"


def rows(releases: list[Release], models: dict[str, tuple[str, ...]], folder: Path) -> Iterator[str]:
    """Yield the table's rows: a network and a precision of each release, the newest first."""
    newest = releases[-1]
    for (network, model), precision in itertools.product(models.items(), PRECISIONS):
        best: Path | None = None
        for release in reversed(releases):
            found = engine_of(release, network, model, precision, folder / release.version / network / precision)
            if isinstance(found, Path):
                facts = inspected(release, found)
                if precision == "fp16" and network in TOLD:
                    check_told(release.version, network, facts["build"]["kernels"])
                row = f"{cells(facts)} | {'' if best is None else judged(newest, found, best)}"
                best = best or found
            elif best is None:
                raise WrongError(f"{release.version} refuses {network} {precision}: {found}")
            else:
                check_refused(release, onnx_beside(best))
                row = "refused |  |  |  |  | "
            line = f"| {network} {precision.upper()} | {release.version} | {row} |"
            print(line, file=sys.stderr, flush=True)
            yield line


def check_told(version: str, network: str, kernels: int) -> None:
    """Hold what y12-export tells of a release against what it made."""
    told = KERNELS[version][TOLD.index(network)]
    if kernels != told:
        raise WrongError(f"{version}: {network} has {kernels} kernels, told are {told}")


def main() -> int:
    """Print the table as Markdown and give the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=SHARED / "yolo11n.pt", help="of yolo11n")
    asked = parser.parse_args()
    models = {
        "yolov12n": ("yolov12n", "--random-weights"),
        "yolo11n": (str(asked.checkpoint),),
        "yolov12n-multitask": (),  # the demo model
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        releases = [installed(version, folder / "environments" / version) for version in KERNELS]
        try:
            table = list(rows(releases, models, folder / "made"))
        except WrongError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    print("""
## Releases of TensorRT-RTX
`python benchmarks/releases.py` (`make test-trt`): the same models exported with each release, batch 1, 640x640 (the
demo model, yolov12n-multitask, 320x320); the last column is what `y12-inspect OLD --diff NEW` says of the newest
release's engine in place of that row's. 1.4, 1.5 and 1.6 build no INT8 convolutions; y12-export says so at once.

| model | release | kernels | fused | convolutions | MB moved | MB of file | the newest instead |
| --- | --- | --- | --- | --- | --- | --- | --- |""")
    print("\n".join(table))
    return 0


if __name__ == "__main__":
    sys.exit(main())
