"""What the bytes of a TensorRT plan tell with no TensorRT, driver or GPU: flavour, version, size and name.

The header, little-endian, is the same in full TensorRT and in TensorRT-RTX:

    offset  0   4 bytes  "ftrt" (full TensorRT) or "vtrt" (TensorRT-RTX)
            4   uint32   serialization version, 0
           16   uint64   size of the plan in bytes (measured for RTX, which refuses a plan of another size)
           24   4 bytes  major, minor, patch and build of the TensorRT that built it

The network's name stands further on as plain characters, in RTX after its length as uint64; in all engines measured
within the first 10 KB. NVIDIA's trtexec reads tag and version at the same places (`--getPlanVersionOnly`).
"""

import re
import struct
from dataclasses import dataclass

from y12.runtime.artefact.manifest import NAME_LIMIT, NAME_PREFIX

Plan = bytes | memoryview
FLAVOURS = {b"ftrt": "full", b"vtrt": "rtx"}
PRODUCTS = {"full": "TensorRT", "rtx": "TensorRT-RTX"}
HEADER_BYTES = 64
SEARCHED_BYTES = 64 << 20  # for the network's name; a file may be far larger than what it takes on the disk
_PACKED_NAME = re.compile(re.escape(NAME_PREFIX).encode() + rb"[A-Za-z0-9+/]+={0,2}")


@dataclass(frozen=True)
class PlanHeader:
    """The first bytes of a plan.

    Attributes:
        flavour: "full" or "rtx".
        version: major, minor, patch and build of the TensorRT that built it.
        size_bytes: what the plan says its size is.
    """

    flavour: str
    version: tuple[int, int, int, int]
    size_bytes: int

    @property
    def product(self) -> str:
        """What built the plan, such as "TensorRT-RTX 1.7.1.116"."""
        return f"{PRODUCTS[self.flavour]} {'.'.join(map(str, self.version))}"


def read_plan_header(plan: Plan) -> PlanHeader | None:
    """Read the header; None where the bytes do not begin like a plan (see `plan_problem` for the reason)."""
    tag = bytes(plan[:4])
    if len(plan) < HEADER_BYTES or tag not in FLAVOURS or plan[4:8] != bytes(4):
        return None
    (size_bytes,) = struct.unpack_from("<Q", plan, 16)
    return PlanHeader(FLAVOURS[tag], struct.unpack_from("4B", plan, 24), size_bytes)


def plan_problem(plan: Plan) -> str | None:
    """Say in one line why the bytes cannot be a whole plan; None where nothing speaks against it.

    The size in full TensorRT's header is not compared: it is not documented; TensorRT checks it on loading.
    """
    if not plan:
        return "expected a TensorRT plan, found an empty file: export again"
    header, tag = read_plan_header(plan), bytes(plan[:4])
    if header is None and tag in FLAVOURS:
        return (
            f"expected a TensorRT plan with a header of {HEADER_BYTES} bytes and serialization version 0, "
            f"found {plan[:8].hex(' ')} in {len(plan)} bytes: truncated, or of a version y12 does not know"
        )
    if header is None:
        return (
            f"expected a TensorRT plan, which begins with ftrt or vtrt, found {tag!r}: "
            "not an engine file, or something was put before the plan"
        )
    if header.flavour == "rtx" and header.size_bytes != len(plan):
        change = "truncated" if len(plan) < header.size_bytes else "something was appended"
        return (
            f"expected a plan of {header.size_bytes} bytes, as its header says, found {len(plan)}: "
            f"{change}; copy or export it again"
        )
    return None


def network_name_in_plan(plan: Plan) -> str | None:
    """Find the network's name that carries y12's manifest (`Manifest.from_network_name` unpacks it).

    Returns:
        The name, of at most `NAME_LIMIT` characters, or None where the first `SEARCHED_BYTES` have no such name.
    """
    for name in _PACKED_NAME.finditer(plan, 0, SEARCHED_BYTES):
        start, end = name.span()
        (length,) = struct.unpack_from("<Q", plan, start - 8) if start >= 8 else (0,)
        if len(NAME_PREFIX) < length <= min(NAME_LIMIT, end - start):
            end = start + length
        if end - start <= NAME_LIMIT:
            return bytes(plan[start:end]).decode("ascii")
    return None
