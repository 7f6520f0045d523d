"""How many heads an attention has where a row does not say, and which of them TensorRT does not fuse. No torch here.

Tried with TensorRT-RTX 1.7.1 on maps of 10x10 cells (docs/decisions/0021-own-networks.md): heads of 12 channels and
more are fused, those of 8 are not, and neither is a single head over a whole map.
"""

from collections.abc import Iterable
from typing import Any

__all__ = ["HEAD_DIM", "LEAST_HEAD_DIM", "divisors", "heads_note", "heads_of", "unfused_note"]

HEAD_DIM = 32  # channels of a head, as in the published networks
LEAST_HEAD_DIM = 12  # TensorRT fuses no attention whose heads are narrower
_DESIGN_HEADS = 8


def heads_of(c2: int, num_heads: int | None = None) -> int:
    """Return the heads of an attention over `c2` channels, a multiple of 8: as asked, else of about 32 channels.

    That is the multiple of 8 nearest to 32 that divides them; of two the wider.
    """
    if num_heads is not None:
        return num_heads
    dims = [dim for dim in range(8, c2 + 1, 8) if c2 % dim == 0]
    return c2 // min(dims, key=lambda dim: (abs(dim - HEAD_DIM), -dim), default=c2)


def divisors(c2: int) -> str:
    """Return the numbers of heads that `c2` channels can have, in words."""
    return ", ".join(str(n) for n in range(1, min(c2, 512) + 1) if c2 % n == 0)


def unfused_note(c2: int, num_heads: int | None, area: Any) -> str:
    """Return why TensorRT does not fuse an attention, with what it would fuse; empty where it does."""
    heads = heads_of(c2, num_heads)
    fused = next((n for n in sorted({heads_of(c2), 2, 1}, reverse=True) if c2 % n == 0 and _fuses(c2, n, area)), None)
    would = f"num_heads {fused} would be" if fused else "more channels or areas would be"
    if c2 // heads < LEAST_HEAD_DIM:
        return f"heads of {c2 // heads} channels ({c2} in {heads}) are not fused by TensorRT; {would}"
    if not _fuses(c2, heads, area):
        return f"a single head over the whole map is not fused by TensorRT; {would}"
    return ""


def _fuses(c2: int, heads: int, area: Any) -> bool:
    return c2 // heads >= LEAST_HEAD_DIM and (heads > 1 or area not in (None, 1, (1, 1)))


def heads_note(rows: Iterable[tuple[int, int]]) -> str:
    """Return in one line which heads rows have that do not say; empty where all have the design's eight.

    Args:
        rows: (number of the row, its channels).
    """
    others = [
        f"row {row}: {heads_of(c2)} of {c2 // heads_of(c2)} channels"
        for row, c2 in rows
        if heads_of(c2) != _DESIGN_HEADS
    ]
    return f"attention heads by default: {'; '.join(others)} (num_heads names another number)" if others else ""
