"""What `y12 --version --verbose` says: what a report of a fault should hold, and nothing of the person or the place.

Versions, the processor and the GPUs; no path, no name of a host or a user, no variable.
"""

import os
import platform
import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from y12.text import visible

__all__ = ["about"]

# Of what a processor can, what decides which kernels torch, oneDNN and ONNX Runtime take.
_INSTRUCTIONS = ("sse4_1", "avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimd", "asimddp", "sve")
_LONGEST = 100  # characters of what a driver or an installed package calls itself


def about() -> list[str]:
    """Return the lines."""
    facts = {
        "y12": metadata.version("y12"),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": _system(),
        "processor": _processor(Path("/proc/cpuinfo")),
        "GPU": ", ".join(_gpus()) or "none that CUDA finds",
        "driver": _driver(Path("/proc/driver/nvidia/version")),
    }
    packages = sorted(_packages(), key=str.lower)
    return [f"{name:<10} {visible(fact, _LONGEST)}" for name, fact in facts.items()] + ["packages", *packages]


def _system() -> str:
    release = platform.release()
    number = re.match(r"[\d.]*\d", release)  # what follows it may be a company's
    parts = [
        f"{platform.system()} {number[0] if number else ''}".strip(),
        platform.machine(),
        " ".join(platform.libc_ver()).strip(),
        "WSL" if "microsoft" in release.lower() else "",
    ]
    return ", ".join(part for part in parts if part)


def _processor(file: Path) -> str:
    """Return the processor's name, how many cores this process may use, and its instructions that matter."""
    try:
        text = file.read_text(errors="replace")
    except OSError:
        text = ""
    name = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE)
    known = set(flags[1].split()) if flags else set()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return ", ".join(
        [
            name[1] if name else platform.machine(),
            f"{cores} {'core' if cores == 1 else 'cores'}",
            *([" ".join(one for one in _INSTRUCTIONS if one in known)] if known else []),
        ]
    )


def _gpus() -> tuple[str, ...]:
    from y12.runtime.gpu.cuda import gpu_names  # numpy comes with it

    return gpu_names()


def _driver(file: Path) -> str:
    try:
        found = re.search(r"Kernel Module(?: for \S+)?\s+(\d[\d.]*)", file.read_text(errors="replace"))
    except OSError:
        return "none of NVIDIA's"
    return f"NVIDIA {found[1]}" if found else "NVIDIA, of a version that it does not tell"


def _packages() -> Iterator[str]:
    """Yield what is installed of all that y12 and its extras ask for, but for what only its developers need."""
    lines = [line for line in metadata.requires("y12") or () if not re.search(r"""extra == ['"]dev['"]""", line)]
    names = {re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in lines}
    for name in names:
        try:
            yield f"  {name}=={visible(metadata.version(name), _LONGEST)}"
        except metadata.PackageNotFoundError:
            continue
