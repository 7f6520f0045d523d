"""Making the wheel and fresh environments, and running commands in them as a user does."""

import os
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# With the oldest packages that pyproject.toml allows (`make test-lowest`); theirs, which it does not name, are newest.
LOWEST = os.environ.get("Y12_LOWEST") == "1"
UV = Path(sys.executable).parent / "uv"
PASSED_ON = ("PIP_", "UV_", "SSL_", "HTTP", "http", "HTTPS", "https")  # how packages are reached from here
COMMANDS = (
    "y12",
    "y12-export",
    "y12-tune",
    "y12-val",
    "y12-infer",
    "y12-bench",
    "y12-inspect",
    "y12-serve",
    "y12-bundle",
    "y12-batch",
)
MODULES = ("y12.exporter.train.shapes", "y12.runtime.cli.health", "y12.runtime.cli.prebuild")


def asked_for(extras):
    """What pyproject.toml asks for with some extras, such as "val,ort", as it stands there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = [*project["dependencies"]]
    for extra in filter(None, extras.split(",")):
        found += project["optional-dependencies"][extra]
    return found


def build(folder, *options):
    """Build the wheel, or with `()` the sdist and from it the wheel; give the wheel."""
    subprocess.run([UV, "build", "--quiet", *options, "--out-dir", folder, ROOT], check=True)
    (wheel,) = Path(folder).glob("*.whl")
    return wheel


def torch_wheel(folder):
    """Get torch as `make` does: by pip's configuration, or from the index $TORCH_INDEX; PyPI's is the one with CUDA."""
    index = os.environ.get("TORCH_INDEX")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder]
    wanted = ["-c", ROOT / "constraints.txt", "torch"]
    if LOWEST:
        (bound,) = {one for one in asked_for("export,train") if re.match("torch>=", one)}
        wanted = [bound.replace(">=", "==")]
    command += [*(["--index-url", index] if index else []), *wanted]
    subprocess.run(command, check=True)
    (wheel,) = Path(folder).glob("torch-*.whl")
    return wheel


@dataclass(frozen=True)
class Environment:
    """A virtual environment; what runs in it sees neither the checkout nor the user's own settings."""

    folder: Path
    home: Path

    @property
    def packages(self):
        """Its site-packages."""
        (found,) = (self.folder / "lib").glob("python*/site-packages")
        return found

    def mebibytes(self):
        """Add up its site-packages."""
        return round(sum(path.lstat().st_size for path in self.packages.rglob("*")) / 2**20)

    def run(self, *command, shell=False):
        """Run a command of it."""
        passed = {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}
        environment = passed | {
            "PATH": f"{self.folder / 'bin'}:/usr/bin:/bin",
            "HOME": str(self.home),
            "OMP_NUM_THREADS": "1",
        }
        words = command[0] if shell else [str(word) for word in command]
        return subprocess.run(
            words, shell=shell, env=environment, cwd=self.home, capture_output=True, text=True, check=False
        )

    def refusal(self, *command):
        """Run a command that cannot do its work; give the one line that it says."""
        done = self.run(*command)
        assert done.returncode == 1, done.stderr
        lines = [line for line in done.stderr.splitlines() if not line.endswith(" …")]
        assert len(lines) == 1, done.stderr
        return lines[0]


class Environments:
    """Environments by the extras in them, such as "val,ort"; each is made when it is first asked for."""

    def __init__(self, wheel, torch, folder):
        self.wheel, self.torch, self.folder = wheel, torch, folder
        self.made = {}

    def __getitem__(self, extras):
        if extras not in self.made:
            self.made[extras] = self.new(extras)
        return self.made[extras]

    def new(self, extras, *more):
        """Make one that nobody else changes, with more requirements."""
        number = len(list(self.folder.iterdir()))
        environment = Environment(self.folder / f"{number}" / "venv", self.folder / f"{number}" / "home")
        environment.home.mkdir(parents=True)
        subprocess.run([UV, "venv", "--quiet", "--seed", "--python", sys.executable, environment.folder], check=True)
        wanted = [f"y12[{extras}] @ {self.wheel.as_uri()}" if extras else str(self.wheel), *more]
        if {"export", "train"} & set(extras.split(",")):
            wanted.append(f"torch @ {self.torch.as_uri()}")
        if LOWEST:  # of what is named here, uv takes the oldest; of what the wheel names alone, the newest
            wanted += ["--resolution", "lowest-direct", *asked_for(extras)]
        command = [UV, "pip", "install", "--quiet", "--python", environment.folder, *wanted]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode and "pypi.nvidia.com" in done.stderr:
            pytest.skip(
                f"[{extras}] cannot be installed here: TensorRT's libraries come from pypi.nvidia.com, not PyPI"
            )
        assert done.returncode == 0, done.stderr
        return environment
