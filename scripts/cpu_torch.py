"""A stand-in for torch's CPU build: a wheel of metadata alone, for a resolver to read.

The CPU build requires what PyPI's build of the same version does, less the packages of CUDA.
"""

import io
import json
import re
import urllib.request
import zipfile
from pathlib import Path

OF_CUDA = re.compile(r"(nvidia|cuda)-|triton\b")
TIMEOUT = 60


class RemoteFile(io.RawIOBase):
    """A file that a server gives in pieces: a wheel's metadata are a thousandth of it."""

    def __init__(self, url: str) -> None:
        self.url, self.place = url, 0
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=TIMEOUT) as answer:
            self.size = int(answer.headers["Content-Length"])

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, and return it."""
        self.place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.place, io.SEEK_END: self.size}[whence]
        return self.place

    def readinto(self, buffer: memoryview) -> int:
        """Fill the buffer as far as the file goes, and return how far."""
        end = min(self.place + len(buffer), self.size)
        if end <= self.place:
            return 0
        request = urllib.request.Request(self.url, headers={"Range": f"bytes={self.place}-{end - 1}"})
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            if answer.status != 206:
                raise OSError(f"expected a part of {self.url}, found the answer {answer.status}")
            part = answer.read()
        buffer[: len(part)] = part
        self.place += len(part)
        return len(part)


def wheel_url(version: str, index: str) -> str:
    """Return the address of an index's torch wheel for Linux; each Python's requires the same."""
    page = f"{index.rstrip('/')}/torch/"
    request = urllib.request.Request(page, headers={"Accept": "application/vnd.pypi.simple.v1+json"})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        files = json.load(answer)["files"]
    wheel = re.compile(rf"torch-{re.escape(version)}-cp\d+-cp\d+-manylinux\w*_x86_64\.whl")
    return str(next(file["url"] for file in files if wheel.fullmatch(file["filename"])))


def requirements(version: str, index: str) -> list[str]:
    """Return what an index's torch requires, less CUDA's packages.

    Raises:
        OSError: the index does not answer.
    """
    with zipfile.ZipFile(io.BufferedReader(RemoteFile(wheel_url(version, index)), 1 << 18)) as wheel:
        lines = wheel.read(f"torch-{version}.dist-info/METADATA").decode().splitlines()
    required = [line.partition(": ")[2] for line in lines if line.startswith("Requires-Dist: ")]
    return [line for line in required if not OF_CUDA.match(line)]


def write(version: str, required: list[str], folder: Path) -> str:
    """Write the stand-in of a version to a folder, and return the stand-in's version."""
    local = f"{version}+cpu"
    info = f"torch-{local}.dist-info"
    metadata = "".join(f"Requires-Dist: {line}\n" for line in required)
    with zipfile.ZipFile(folder / f"torch-{local}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: torch\nVersion: {local}\n{metadata}")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return local
