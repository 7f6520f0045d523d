"""Write docker/hashes.txt: for each pin of the images, the SHA-256 of every file that they may take for it.

uv asks PyPI. Of what it knows only that is kept which fits the images: sources, and wheels for Linux on x86-64 and for
the Pythons of their bases. To be run after a change of either file of pins (`make hashes`).
"""

import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from packaging.tags import Tag
from packaging.utils import parse_wheel_filename
from resolve import INDEX, PINS, own_settings_off

PYTHONS = (11, 12)  # minor versions: Debian's stand-in for the bases, and Ubuntu 24.04's
HASHES = Path(__file__).resolve().parents[1] / "docker" / "hashes.txt"


def main() -> int:
    """Ask, and write the file."""
    with tempfile.TemporaryDirectory() as folder:
        lock = Path(folder, "pylock.toml")
        command = [Path(sys.executable).with_name("uv"), "pip", "compile", "--no-config", "--quiet", "--no-deps"]
        command += ["--universal", "--python-version", f"3.{PYTHONS[0]}", "--default-index", INDEX, "-o", lock, *PINS]
        subprocess.run([*map(str, command)], env=own_settings_off(), check=True)
        packages = tomllib.loads(lock.read_text())["packages"]
    HASHES.write_text("".join(f"{line}\n" for line in map(pin, packages)))
    return 0


def pin(package: dict) -> str:
    """Return a pin with its hashes, as pip reads them."""
    hashes = sorted(hashes_of(package))
    return " ".join([f"{package['name']}=={package['version']}", *(f"--hash=sha256:{sha256}" for sha256 in hashes)])


def hashes_of(package: dict) -> Iterator[str]:
    """Yield the hash of each file that fits."""
    for wheel in package.get("wheels", ()):
        name = unquote(wheel["url"].rpartition("/")[2])
        if any(map(fits, parse_wheel_filename(name)[3])):
            yield wheel["hashes"]["sha256"]
    if "sdist" in package:
        yield package["sdist"]["hashes"]["sha256"]


def fits(tag: Tag) -> bool:
    """Return whether a wheel of this tag can be installed in an image."""
    minor = tag.interpreter.removeprefix("cp3")
    python = tag.interpreter in ("py3", *(f"cp3{python}" for python in PYTHONS))
    stable = tag.abi == "abi3" and minor.isdigit() and int(minor) <= max(PYTHONS)
    here = tag.platform == "any" or (
        tag.platform.startswith(("manylinux", "linux")) and tag.platform.endswith("x86_64")
    )
    return (python or stable) and here


if __name__ == "__main__":
    sys.exit(main())
