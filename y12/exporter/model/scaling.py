"""From the numbers of a row to those of a scale: repeats by depth, channels by width and a limit. No torch here."""

import math
from dataclasses import dataclass

from y12.errors import ModelSpecError
from y12.exporter.model.signature import MAX_CHANNELS
from y12.exporter.model.values import is_value
from y12.text import shown

__all__ = ["CAPPED_AFTER", "PUBLISHED", "RULES", "Ratios", "Scaling"]

PUBLISHED, CAPPED_AFTER = "published", "capped_after"
RULES = (PUBLISHED, CAPPED_AFTER)
MAX_RATIO = 8
_ROUNDING = 1e-9  # 100 * 0.29 is 28.999999999999996


@dataclass(frozen=True)
class Scaling:
    """One scale of a network.

    The published networks cut channels to the limit before the width scales them, and round repeats to the nearest;
    y12's own scale first and round down (docs/design.md). Under both, channels are a multiple of 8, upwards, a row has
    one repeat at least, and a row of one repeat keeps it: it is a step of the network, not its depth.

    Attributes:
        depth: what repeats are multiplied by.
        width: what channels are multiplied by.
        max_channels: what channels are cut to.
        rule: one of `RULES`.
    """

    depth: float
    width: float
    max_channels: int
    rule: str = PUBLISHED

    def repeats(self, repeats: int) -> int:
        """Return how often a row of so many repeats stands at this scale."""
        scaled = repeats * self.depth
        return max(round(scaled) if self.rule == PUBLISHED else int(scaled + _ROUNDING), 1) if repeats > 1 else 1

    def channels(self, channels: int) -> int:
        """Return how many channels a row of so many has at this scale."""
        if self.rule == PUBLISHED:
            return 8 * math.ceil(min(channels, self.max_channels) * self.width / 8)
        return 8 * math.ceil(min(int(channels * self.width + _ROUNDING), self.max_channels) / 8)


@dataclass(frozen=True)
class Ratios:
    """What is asked for in place of the numbers of a YAML's scale; None leaves them.

    Raises:
        ModelSpecError: one is out of range.
    """

    depth: float | None = None
    width: float | None = None
    max_channels: int | None = None

    def __post_init__(self) -> None:
        for name, ratio in (("--depth", self.depth), ("--width", self.width)):
            if ratio is not None and not (is_value(ratio, (int, float)) and 0 < ratio <= MAX_RATIO):
                raise ModelSpecError(f"{name}: expected a number above 0 and up to {MAX_RATIO}, found {shown(ratio)}")
        limit = self.max_channels
        if limit is not None and not (is_value(limit, int) and 8 <= limit <= MAX_CHANNELS):
            raise ModelSpecError(f"--max-channels: expected a number from 8 to {MAX_CHANNELS}, found {shown(limit)}")

    def __bool__(self) -> bool:
        return self != Ratios()

    def suffix(self) -> str:
        """Return what tells a network of these ratios from that of the scale, such as "-d33w50"."""
        parts = (("d", self.depth, 100), ("w", self.width, 100), ("c", self.max_channels, 1))
        text = "".join(f"{letter}{round(value * factor, 4):g}" for letter, value, factor in parts if value is not None)
        return f"-{text.replace('.', 'p')}" if text else ""
