"""Make the virtual environment that `make` works in, or say in one line why not.

usage: set_up.py FOLDER EXTRA,EXTRA...

TORCH_INDEX says which index torch is taken from. Without it: what pip is set up to find, if that is a CPU build; else
the CPU build of pytorch.org, on Linux without an NVIDIA driver; else what PyPI has. Nothing but the standard library is
used, and nothing newer than Python 3.8, so that an older Python can say what it lacks.
"""

import argparse
import ctypes
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
PYPI = "https://pypi.org/simple"
# GB to download and GB unpacked, of everything with that build of torch.
CPU_SIZE = (0.7, 2.3)
CUDA_SIZE = (3.2, 6.3)


class SetUpError(Exception):
    """What was expected, what was found, what to do: one line."""


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def check_python() -> None:
    """Refuse a Python that is too old, or that cannot make an environment with pip."""
    found = f"{sys.version.split()[0]} ({sys.executable})"
    if sys.version_info < (3, 11):  # noqa: UP036 - it is an older Python that has to say so
        raise SetUpError(f"expected Python 3.11 or later, found {found}; do: make PYTHON=/path/to/python3.11")
    missing = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
    if missing:
        raise SetUpError(
            f"expected Python's modules venv and ensurepip, found no {' and no '.join(missing)} in Python {found}; "
            "do: install them (Debian, Ubuntu: apt-get install python3-venv)"
        )


def driver_found() -> bool:
    """Return whether an NVIDIA driver is there."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return shutil.which("nvidia-smi") is not None
    return True


def check_disk(folder: Path, size: tuple) -> None:
    """Refuse where the environment, and the downloads beside it, cannot fit."""
    need = {}
    for place, gigabytes in ((Path(tempfile.gettempdir()), size[0]), (folder.resolve().parent, size[1])):
        device = place.stat().st_dev
        need[device] = (place, need.get(device, (place, 0))[1] + gigabytes)
    for place, gigabytes in need.values():
        free = shutil.disk_usage(place).free / 1e9
        if free < gigabytes:
            raise SetUpError(
                f"expected {gigabytes:.1f} GB of free disk at {place}, found {free:.1f} GB; do: free some, or clone "
                "y12 to a larger disk (TMPDIR says where downloads go)"
            )


def explain(output: str, doing: str, log: Path) -> str:
    """Return one line on why a command failed, from what it printed."""
    if "No space left on device" in output or "Errno 28" in output:
        return (
            f"expected disk for {doing}, found none left in {tempfile.gettempdir()} or in the checkout; do: free some "
            "(TMPDIR says where downloads go)"
        )
    if re.search(r"Retrying \(|Could not fetch URL|Max retries exceeded|[Tt]imed out", output):
        return (
            f"expected a package index that answers for {doing}, found none; do: see to the network, or set "
            "PIP_INDEX_URL (and PIP_PROXY, PIP_CERT) to an index that is reached from here"
        )
    errors = re.findall(r"^ERROR: (.+)$", output, re.MULTILINE) or output.split("\n")[-2:-1] or ["no message"]
    return f"expected {doing} to be possible, found: {errors[-1].rstrip('.')}; do: read {log}"


class Environment:
    """A virtual environment in the making, and the log of all that made it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = folder / "bin" / "python"
        self.log = folder.with_name(f"{folder.name}.log")
        # Of an environment with this mark, nothing can be relied on.
        self.mark = folder / "being-made"

    def run(self, command: list, doing: str, variables: dict) -> str:
        """Run a command, and return what it printed.

        Raises:
            SetUpError: it failed.
        """
        done = subprocess.run(
            [str(word) for word in command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", **variables},
            check=False,
        )
        try:
            with self.log.open("a") as log:
                log.write(f"$ {' '.join(map(str, command))}\n{done.stdout}\n")
        except OSError as error:
            raise SetUpError(explain(str(error), doing, self.log)) from error
        if done.returncode != 0:
            raise SetUpError(explain(done.stdout, doing, self.log))
        return done.stdout

    def pip(self, *words: object, doing: str, index: str = "") -> str:
        """Run pip, with what it is set up to use, or with one index alone."""
        variables = {}
        if index:  # variables, as they override what pip's files say; an option would add to it
            variables = {
                "PIP_INDEX_URL": index,
                "PIP_EXTRA_INDEX_URL": index,
                "PIP_FIND_LINKS": str(self.folder / "none"),
            }
        return self.run([self.python, "-m", "pip", *words], doing, variables)

    def versions(self, index: str = "") -> set:
        """Return the versions of torch that pip finds for this Python."""
        words = ("index", "versions", "torch", "--retries", "2" if not index else "1")
        found = self.pip(*words, doing=f"torch from {index}" if index else "torch", index=index)
        return set(re.findall(r"[\w.+]+", found.partition("Available versions:")[2].partition("\n")[0]))

    def installed_torch(self) -> str:
        """Return the version of torch that is installed, or nothing."""
        code = "import importlib.metadata as m; print(next((d.version for d in m.distributions(name='torch')), ''))"
        return self.run([self.python, "-c", code], "a look at what is installed", {}).strip()


def pinned_torch() -> str:
    """Return the version of torch that constraints.txt names."""
    return re.findall(r"^torch==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[0]


def torch_source(environment: Environment, pin: str, asked: str) -> str:
    """Return where torch is taken from, and return that index; nothing means what pip is set up to use."""
    cpu = f"{pin}+cpu"
    if asked:
        found = max(
            (version for version in environment.versions(asked) if version.partition("+")[0] == pin), default=""
        )
        if not found:
            raise SetUpError(
                f"expected torch {pin} at TORCH_INDEX={asked}, found none for this Python; do: name another"
            )
        return chosen(environment, CPU_SIZE if found == cpu else CUDA_SIZE, f"torch {found} from {asked}", asked)
    if cpu in environment.versions():
        return chosen(environment, CPU_SIZE, f"torch {cpu}, as pip is set up to find it")
    if sys.platform != "linux":
        return chosen(environment, CPU_SIZE, f"torch {pin} from pip's index")
    if driver_found():
        return chosen(environment, CUDA_SIZE, f"torch {pin} for CUDA from pip's index, as an NVIDIA driver is here")
    if cpu_index_answers(environment, cpu):
        line = f"torch {cpu} from {CPU_INDEX}, as no NVIDIA driver is here"
        return chosen(environment, CPU_SIZE, line, CPU_INDEX)
    line = f"torch {pin} for CUDA from pip's index: no NVIDIA driver is here, but {CPU_INDEX} offers no {cpu} from here"
    return chosen(environment, CUDA_SIZE, line)


def chosen(environment: Environment, size: tuple, line: str, index: str = "") -> str:
    """Say what is taken, how large it is and how to take the other; return its index, if there is the disk for it."""
    other = f"for CUDA: TORCH_INDEX={PYPI}" if size == CPU_SIZE else f"without CUDA: TORCH_INDEX={CPU_INDEX}"
    say(f"{line}; in all {size[0]} GB to download, {size[1]} GB on disk ({other})")
    check_disk(environment.folder, size)
    return index


def cpu_index_answers(environment: Environment, version: str) -> bool:
    """Return whether the index of CPU builds can be reached and has a version."""
    try:
        return version in environment.versions(CPU_INDEX)
    except SetUpError:
        return False


def install(environment: Environment, extras: str, asked: str) -> None:
    """Install torch, then all else.

    torch goes first: left to the resolver, another package could draw in a different build of it. It goes alone, as an
    index of torch builds need not have the pinned versions of what torch requires.
    """
    pins = ("-c", ROOT / "constraints.txt")
    pin = pinned_torch()
    if asked or environment.installed_torch().partition("+")[0] != pin:
        index = torch_source(environment, pin, asked)
        again = ("--force-reinstall",) if asked else ()
        environment.pip("install", "--no-deps", *again, *pins, "torch", doing="torch", index=index)
    environment.pip("install", *pins, "-e", f"{ROOT}[{extras}]", doing=f"y12[{extras}]")


def set_up(folder: Path, extras: str, asked: str) -> None:
    """Make the environment, or bring it up to date; one that could not be made is removed."""
    check_python()
    environment = Environment(folder)
    environment.log.unlink() if environment.log.exists() else None
    if environment.mark.exists():
        shutil.rmtree(folder)
    new = not folder.exists()
    try:
        if new:
            folder.mkdir()
            environment.mark.touch()
        environment.run([sys.executable, "-m", "venv", folder], "a virtual environment", {})
        install(environment, extras, asked)
        environment.mark.unlink() if new else None
        (folder / "installed").write_text(asked)
        new = False
    except OSError as error:
        raise SetUpError(explain(str(error), f"a virtual environment in {folder}", environment.log)) from error
    finally:
        if new:
            shutil.rmtree(folder, ignore_errors=True)
    environment.log.unlink()


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("extras")
    asked = parser.parse_args()
    try:
        set_up(asked.folder, asked.extras, os.environ.get("TORCH_INDEX", ""))
    except SetUpError as error:
        sys.stderr.write(f"set-up: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
