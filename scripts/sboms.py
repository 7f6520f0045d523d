"""Write a CycloneDX SBOM of what each extra, and each image, brings: with the pins, for Linux on x86-64.

usage: sboms.py FOLDER

Versions are what resolves from PyPI; hashes are those of docker/hashes.txt, of every file that fits. SOURCE_DATE_EPOCH
dates them, so that two runs write the same bytes.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from resolve import INDEX, PINS, ROOT, Case, NoIndexError, Settings, UnresolvableError, resolve, stand_in

PYTHON = "3.12"
IMAGE_EXTRAS = {
    "export": ("export", "val", "gpu", "rtx"),
    "runtime": ("gpu", "video", "pycuda", "rtx"),
    "serve": ("gpu", "serve", "ort", "rtx"),
}
IMAGE_WITHOUT = dict.fromkeys(("runtime", "serve"), ("nvidia-cuda-nvrtc",))  # what it compiles is there already
NOT_FOR_USERS = ("dev",)


@dataclass(frozen=True)
class Subject:
    """What an SBOM is of.

    Attributes:
        name: of its file.
        extras: that it brings; none is y12 alone.
        without: packages that are left out.
        cpu: whether torch, where it is in it, is a build for CPUs.
    """

    name: str
    extras: tuple[str, ...]
    without: tuple[str, ...] = ()
    cpu: bool = False


def subjects() -> Iterator[Subject]:
    """Yield y12 alone, each extra, and each image that PyPI can describe."""
    yield Subject("y12", ())
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    yield from (Subject(f"extra-{extra}", (extra,)) for extra in extras if extra not in NOT_FOR_USERS)
    for image, brought in IMAGE_EXTRAS.items():
        yield Subject(f"image-{image}", brought, IMAGE_WITHOUT.get(image, ()), cpu=True)


def hashes() -> dict[str, str]:
    """Return the hashes of each pinned package, as pip's options."""
    lines = (line.partition(" ") for line in (ROOT / "docker" / "hashes.txt").read_text().splitlines())
    return {pin.partition("==")[0]: rest for pin, _, rest in lines if re.match(r"[\w.-]+==", pin)}


def requirements(subject: Subject, settings: Settings, wheels: Path) -> str:
    """Return what a subject brings, one package a line."""
    torch = ""
    if subject.cpu and {"export", "train"} & set(subject.extras):
        pin = next(line for line in PINS[0].read_text().splitlines() if line.startswith("torch=="))
        torch = stand_in(pin.partition("==")[2], INDEX, wheels)
    found = resolve(Case(PYTHON, subject.extras, pinned=True, torch=torch), settings, wheels)
    known = hashes()
    return "".join(
        f"{name}=={version} {'' if '+' in version else known.get(name, '')}\n"
        for name, version in found.items()
        if name not in subject.without
    )


def write(subject: Subject, text: str, folder: Path) -> None:
    """Write one SBOM; cyclonedx-py validates it by CycloneDX's schema."""
    command = [sys.executable, "-m", "cyclonedx_py", "requirements", "--output-reproducible", "--validate"]
    command += ["--pyproject", str(ROOT / "pyproject.toml"), "--index-url", INDEX, "--mc-type", "library"]
    command += ["--output-file", str(folder / f"{subject.name}.cdx.json"), "-"]
    subprocess.run(command, input=text, text=True, check=True)


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    settings = Settings(INDEX, PINS, (PYTHON,), str(Path(sys.executable).with_name("uv")))
    try:
        with tempfile.TemporaryDirectory() as wheels:
            every = list(subjects())
            with ThreadPoolExecutor(os.cpu_count() or 1) as pool:  # resolving waits on the network
                texts = pool.map(lambda subject: requirements(subject, settings, Path(wheels)), every)
                for subject, text in zip(every, texts, strict=True):
                    write(subject, text, folder)
    except (NoIndexError, UnresolvableError) as error:
        sys.stderr.write(f"sboms: expected {INDEX} to have what y12's extras ask for, found: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
