"""Check that everything pyproject.toml asks for can be had from one package index: with the pins and without.

Each extra alone and all that can be together, for each Python, with torch as PyPI has it (for CUDA) and as a CPU build.
The machine's own settings of pip and uv are not read, so that what resolves here resolves on any machine.

Exit code 1: something does not resolve; 3: no index answers, so that nothing is known.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import cpu_torch

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PLATFORM = "x86_64-manylinux_2_28"
PINS = (ROOT / "constraints.txt", ROOT / "docker" / "constraints.txt")
INDEX = "https://pypi.org/simple"
# Both install the package `onnxruntime`: in one environment, each overwrites the other's files.
CLASH = ("onnxruntime", "onnxruntime-gpu")
# All else that is pinned must have a wheel for each Python.
SOURCE_ONLY = {
    "pycuda": "compiled with the CUDA toolkit where it is installed",
    "tensorrt-rtx-cu13": "names its wheels, nothing else",
    "tensorrt": "names its wheels, nothing else",
    "tensorrt-cu13": "names its wheels, nothing else",
    "tensorrt-cu13-libs": "fetches its wheel from pypi.nvidia.com: cannot be installed from PyPI alone",
}


@dataclass(frozen=True)
class Settings:
    """What all cases share."""

    index: str
    pins: tuple[Path, ...]
    pythons: tuple[str, ...]
    uv: str


@dataclass(frozen=True)
class Case:
    """One environment someone could ask for; `torch` is a CPU build's version, or none for the index's own."""

    python: str
    extras: tuple[str, ...]
    pinned: bool
    torch: str = ""

    @property
    def name(self) -> str:
        """The case in words."""
        build = f"torch {self.torch}" if self.torch else "torch as the index has it"
        return f"Python {self.python}, [{','.join(self.extras)}], {'pins' if self.pinned else 'no pins'}, {build}"


class NoIndexError(Exception):
    """The index does not answer, so that nothing can be said about the requirements."""


class UnresolvableError(Exception):
    """These requirements contradict each other, or nothing satisfies them."""


def own_settings_off() -> dict[str, str]:
    """Return the environment's variables without those that would change what pip and uv find."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))}


def run_uv(settings: Settings, arguments: list[str]) -> dict[str, str]:
    """Resolve, and give the version of each package."""
    command = [settings.uv, "pip", "compile", "--no-config", "--quiet", "--no-header", "--no-annotate"]
    command += ["--no-python-downloads", "--python", sys.executable, "--python-platform", PLATFORM]
    command += ["--default-index", settings.index, *arguments, str(ROOT / "pyproject.toml")]
    done = subprocess.run(command, capture_output=True, text=True, env=own_settings_off(), cwd="/", check=False)
    message = " ".join(done.stderr.split())  # uv breaks lines where the terminal's width says
    if re.search(r"Failed to fetch|error sending request", message):
        raise NoIndexError(message)
    if done.returncode != 0:
        raise UnresolvableError(message)
    return dict(line.split("==") for line in done.stdout.split())


def pinned_names(files: Iterable[Path]) -> list[str]:
    """Return the names of the pinned packages, as the index writes them."""
    lines = [line.partition("==")[0] for file in files for line in file.read_text().splitlines()]
    return [re.sub(r"[-_.]+", "-", line).lower() for line in lines if line and not line.startswith("#")]


def resolve(case: Case, settings: Settings, wheels: Path) -> dict[str, str]:
    """Return the packages of a case."""
    arguments = ["--python-version", case.python]
    arguments += [word for extra in case.extras for word in ("--extra", extra)]
    arguments += [
        word for name in pinned_names(settings.pins) if name not in SOURCE_ONLY for word in ("--only-binary", name)
    ]
    if case.pinned:
        arguments += [word for file in settings.pins for word in ("-c", str(file))]
    if case.torch:
        only = wheels / f"torch-{case.torch}.txt"
        arguments += ["--find-links", str(wheels), "-c", str(only)]
    found = run_uv(settings, arguments)
    if case.torch and (found["torch"] != case.torch or "nvidia-cublas" in found):
        raise UnresolvableError(f"expected torch {case.torch} without CUDA, found torch {found['torch']}")
    if set(CLASH) <= found.keys():
        raise UnresolvableError(f"expected one of {' and '.join(CLASH)}, found both")
    return found


def stand_in(version: str, index: str, wheels: Path) -> str:
    """Write a stand-in of torch's CPU build to a folder, with the constraint that asks for it; give its version."""
    try:
        requirements = cpu_torch.requirements(version, index)
    except OSError as error:
        raise NoIndexError(f"{index}: {error}") from error
    local = cpu_torch.write(version, requirements, wheels)
    (wheels / f"torch-{local}.txt").write_text(f"torch=={local}\n")
    return local


def attempt(case: Case, settings: Settings, wheels: Path) -> dict[str, str] | str:
    """Return the packages of a case, or why there are none."""
    try:
        return resolve(case, settings, wheels)
    except UnresolvableError as error:
        return str(error)


Outcomes = dict[Case, dict[str, str] | str]


def run_all(cases: Iterable[Case], settings: Settings, wheels: Path) -> Outcomes:
    """Return what each case comes to; resolving waits on the network, so that several go at once."""
    cases = list(cases)
    with ThreadPoolExecutor(2 * (os.cpu_count() or 1)) as pool:
        return dict(zip(cases, pool.map(lambda case: attempt(case, settings, wheels), cases), strict=True))


def alone(extras: Iterable[str], pythons: Iterable[str]) -> Iterator[Case]:
    """Yield y12 without extras and each extra alone, for each Python, with the pins and without."""
    for python in pythons:
        for pinned in (True, False):
            yield Case(python, (), pinned)
            yield from (Case(python, (extra,), pinned) for extra in extras)


def together(outcomes: Outcomes) -> Iterator[Case]:
    """Give, of the extras that resolve alone, all that may be together: those with one ONNX Runtime or the other."""
    for python, pinned in dict.fromkeys((case.python, case.pinned) for case in outcomes):
        for other in CLASH:
            extras = [
                extra
                for case, found in outcomes.items()
                if (case.python, case.pinned) == (python, pinned) and isinstance(found, dict) and other not in found
                for extra in case.extras
            ]
            yield Case(python, tuple(extras), pinned)


def cpu_cases(outcomes: Outcomes, settings: Settings, wheels: Path) -> Iterator[Case]:
    """Yield the cases that draw in torch again, with a CPU build of the newest torch that was found for that Python."""
    with_torch = {
        case: found["torch"] for case, found in outcomes.items() if isinstance(found, dict) and "torch" in found
    }
    for python, pinned in dict.fromkeys((case.python, case.pinned) for case in with_torch):
        cases = {case: torch for case, torch in with_torch.items() if (case.python, case.pinned) == (python, pinned)}
        newest = max(cases.values(), key=lambda version: [int(part) for part in version.split(".")])
        local = stand_in(newest, settings.index, wheels)
        yield from (replace(case, torch=local) for case in cases)


def check(settings: Settings) -> int:
    """Resolve everything, say what came of it, and give the exit code."""
    extras = list(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    with tempfile.TemporaryDirectory() as folder:
        wheels = Path(folder)
        attempt(
            Case(settings.pythons[0], (), pinned=False), settings, wheels
        )  # an index that does not answer is met here, once
        outcomes = run_all(alone(extras, settings.pythons), settings, wheels)
        outcomes |= run_all(together(outcomes), settings, wheels)
        outcomes |= run_all(list(cpu_cases(outcomes, settings, wheels)), settings, wheels)
    failed = {case: found for case, found in outcomes.items() if isinstance(found, str)}
    for case, error in failed.items():
        say(f"does not resolve: {case.name}\n    {error}")
    report(outcomes, settings)
    say(f"{len(outcomes) - len(failed)} of {len(outcomes)} resolve")
    return 1 if failed else 0


def report(outcomes: Outcomes, settings: Settings) -> None:
    """Say what was resolved and what that does not show."""
    found = {case: packages for case, packages in outcomes.items() if isinstance(packages, dict)}
    say(f"index {settings.index}, Linux x86-64, Python {', '.join(settings.pythons)}; each extra alone, and together:")
    for extras in dict.fromkeys(case.extras for case in outcomes if len(case.extras) > 1):
        say(f"  [{','.join(extras)}]")
    say(f"  (not all at once: {' and '.join(CLASH)} write the same files)")
    for python in settings.pythons:
        kinds = [("pins", True), ("no pins", False)]
        versions = {
            word: sorted(
                {p["torch"] for c, p in found.items() if (c.python, c.pinned) == (python, pinned) and "torch" in p}
            )
            for word, pinned in kinds
        }
        say(f"Python {python}: torch " + "; ".join(f"{', '.join(v)} with {word}" for word, v in versions.items()))
    say("+cpu: a stand-in, which requires what the index's torch of that version does, less CUDA's packages and triton")
    used = sorted({name for packages in found.values() for name in packages} & SOURCE_ONLY.keys())
    for name in used:
        say(f"{name} is source only: {SOURCE_ONLY[name]}")


def say(text: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{text}\n")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--index", default=INDEX, help="the index's address (default: %(default)s)")
    parser.add_argument("--pins", type=Path, nargs="+", default=PINS, help="files of pins (default: y12's)")
    parser.add_argument("--python", nargs="+", default=PYTHONS, help="versions of Python (default: %(default)s)")
    return parser.parse_args()


def main() -> int:
    """Run the command."""
    asked = arguments()
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if uv is None:
        say("expected uv beside this Python or on the PATH, found none; do: make resolve, or pip install uv")
        return 2
    try:
        return check(Settings(asked.index, tuple(file.resolve() for file in asked.pins), tuple(asked.python), uv))
    except NoIndexError as error:
        say(f"no index answers: expected one at {asked.index}, found: {error}")
        return 3


if __name__ == "__main__":
    sys.exit(main())
