"""ONNX Runtime Web: which files of npm's package a page needs, and where they come from.

y12 does not carry them: they are taken from a file that is given, from the user's cache, or from npm's registry. Each
is held against the SHA-256 that stands here, wherever it comes from, and the package against npm's own integrity
before anything of it is unpacked.
"""

import base64
import hashlib
import http.client
import io
import os
import tarfile
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from y12.disk_cache import DiskCache, user_cache
from y12.errors import InputError
from y12.files import check_file
from y12.runtime.cli.common import say
from y12.text import one_line, visible

__all__ = ["VERSION", "WASM", "WEBGPU", "onnxruntime_web"]

VERSION = "1.30.0"
REGISTRY = "https://registry.npmjs.org"
_VARIABLES = ("npm_config_registry", "NPM_CONFIG_REGISTRY")  # as npm's own programs read them
_WAIT_S = 30.0  # for the registry's next word
_PIECE = 1 << 20
_CACHE_BYTES = 96 << 20


@dataclass(frozen=True)
class Member:
    """A file of the package.

    Attributes:
        name: in its folder `dist`.
        size: in bytes.
        sha256: in hex.
    """

    name: str
    size: int
    sha256: str

    def is_sound(self, content: bytes) -> bool:
        """Return whether this is the file."""
        return len(content) == self.size and hashlib.sha256(content).hexdigest() == self.sha256


@dataclass(frozen=True)
class Package:
    """npm's package as it was published.

    Attributes:
        size: of the .tgz, in bytes.
        integrity: its SHA-512 as npm writes it.
    """

    size: int
    integrity: str


PACKAGE = Package(
    33_106_585, "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
)
WASM = (
    Member("ort.wasm.min.mjs", 50_126, "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b"),
    Member("ort-wasm-simd-threaded.mjs", 24_381, "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b"),
    Member(
        "ort-wasm-simd-threaded.wasm", 14_239_897, "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2"
    ),
)
WEBGPU = (
    Member("ort.webgpu.min.mjs", 66_349, "3dffff71811bc13a3a3d9591c57ca5ee5735b8f5f3eaf789510b02bb040ae3a0"),
    Member(
        "ort-wasm-simd-threaded.asyncify.mjs",
        53_057,
        "3d1c85995364bb643302fc6fd877a0c3ba5ae72401815e0f24828a53d9191e28",
    ),
    Member(
        "ort-wasm-simd-threaded.asyncify.wasm",
        26_781_914,
        "39f9f0894d478800487ed9f7dbe92618498db320cf55c8e3d89adff8dce658da",
    ),
)


def onnxruntime_web(members: Sequence[Member], package: Path | None = None) -> dict[str, bytes]:
    """Return files of ONNX Runtime Web by name.

    Args:
        members: of the package.
        package: its .tgz; None takes the user's cache, or fetches it and keeps those files.

    Raises:
        InputError: it is another file, or cannot be fetched.
    """
    if package is not None:
        return _unpacked(_read(package), str(package), members)
    cache = DiskCache(user_cache("web"), _CACHE_BYTES)
    kept = {member.name: cache.get(_key(member)) for member in members}
    found = {one.name: content for one in members if (content := kept[one.name]) is not None and one.is_sound(content)}
    if len(found) == len(members):
        return found
    registry = next(filter(None, map(os.environ.get, _VARIABLES)), REGISTRY)
    found = _unpacked(_fetched(registry), f"what {_host(registry)} sent", members)
    for member in members:
        cache.put(_key(member), found[member.name])
    return found


def _key(member: Member) -> str:
    return f"onnxruntime-web-{VERSION}-{member.name}"


def _read(path: Path) -> bytes:
    check_file(path, f"npm's package onnxruntime-web {VERSION} (.tgz)", PACKAGE.size)
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error


def _fetched(registry: str) -> bytes:
    """Return the package as a registry has it; no more than it should have is read."""
    if urlsplit(registry).scheme not in ("http", "https"):
        raise InputError(f"npm_config_registry: expected an address of https://, found {visible(registry, 80)}")
    say(f"fetching onnxruntime-web {VERSION} ({PACKAGE.size / 1e6:.0f} MB) from {_host(registry)} …")
    address = f"{registry.rstrip('/')}/onnxruntime-web/-/onnxruntime-web-{VERSION}.tgz"
    content = bytearray()
    try:
        with urllib.request.urlopen(address, timeout=_WAIT_S) as answer:
            while len(content) <= PACKAGE.size and (piece := answer.read(_PIECE)):
                content += piece
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        reason = getattr(reason, "strerror", None) or reason
        raise InputError(
            f"expected onnxruntime-web {VERSION} from {_host(registry)}, got none ({one_line(str(reason), 100)}): go "
            "online, set npm_config_registry, or give its .tgz by --onnxruntime-web (elsewhere: npm pack "
            f"onnxruntime-web@{VERSION})"
        ) from error
    return bytes(content)


def _host(registry: str) -> str:
    """Return a registry's name; its address may hold a password."""
    return visible(urlsplit(registry).hostname or "the registry", 80)


def _unpacked(content: bytes, place: str, members: Sequence[Member]) -> dict[str, bytes]:
    """Return files of the package; it is opened only where it is what npm published, to the byte."""
    found = "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()
    if len(content) != PACKAGE.size or found != PACKAGE.integrity:
        raise InputError(
            f"{visible(place, 200)}: expected npm's package onnxruntime-web {VERSION} ({PACKAGE.size} bytes, "
            f"{PACKAGE.integrity[:19]}…), found another ({found[:19]}…): npm pack onnxruntime-web@{VERSION} gets it"
        )
    files: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        for member in members:
            stream = archive.extractfile(f"package/dist/{member.name}")
            files[member.name] = b"" if stream is None else stream.read(member.size + 1)
            if not member.is_sound(files[member.name]):
                raise InputError(
                    f"{visible(place, 200)}: {member.name}: expected SHA-256 {member.sha256}, found another"
                )
    return files
