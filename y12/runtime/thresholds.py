"""What a confidence of another model means for this artefact: INT8 shrinks scores, and thresholds move with them."""

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from y12.errors import ArtefactError, InputError

KEEPS = ("precision", "recall")
MAX_ROWS = 64  # a table has to fit into an engine's name, beside the class names
_MAX_WORDS = 120  # characters; for the same reason


class ShiftRow(NamedTuple):
    """A confidence of the reference, and those of the artefact that keep its precision and its recall there.

    None where that could not be measured.
    """

    conf: float
    precision: float | None
    recall: float | None


@dataclass(frozen=True)
class ConfidenceTable:
    """The table that leads from the reference's confidences to the artefact's.

    Attributes:
        against: the reference, such as "fp32".
        data: what it was measured on, in a few words, such as "128 images, labels".
        rows: by ascending confidence of the reference.

    Raises:
        ArtefactError: the table contradicts itself.
    """

    against: str
    data: str
    rows: tuple[ShiftRow, ...]

    def __post_init__(self) -> None:
        for name in ("against", "data"):
            words = getattr(self, name)
            if not isinstance(words, str) or not words.isprintable() or len(words) > _MAX_WORDS:
                raise ArtefactError(
                    f"thresholds: expected {name} in at most {_MAX_WORDS} characters, found {words!r:.60}"
                )
        if not 1 <= len(self.rows) <= MAX_ROWS:
            raise ArtefactError(f"thresholds: expected 1 to {MAX_ROWS} rows, found {len(self.rows)}")
        confs = [row.conf for row in self.rows]
        if not all(map(_is_share, confs)) or any(a >= b for a, b in pairwise(confs)):
            raise ArtefactError(f"thresholds: expected ascending confidences from 0 to 1, found {confs!r:.80}")
        for keep in KEEPS:
            values = [value for row in self.rows if (value := getattr(row, keep)) is not None]
            if not all(map(_is_share, values)) or any(a > b for a, b in pairwise(values)):
                raise ArtefactError(
                    f"thresholds: expected confidences from 0 to 1 that do not fall, for {keep}, found {values!r:.80}"
                )

    def interval(self, keep: str) -> tuple[float, float] | None:
        """Return the lowest and the highest confidence of the reference that was measured; None where none was."""
        measured = self._measured(keep)
        return (measured[0][0], measured[-1][0]) if measured else None

    def conf_for(self, conf: float, keep: str) -> float:
        """Return the artefact's confidence that keeps what the reference has at `conf`; linear between the rows.

        Args:
            conf: a confidence of the reference.
            keep: "precision" or "recall".

        Raises:
            InputError: `conf` is outside of what was measured, or `keep` is another word.
        """
        check_keep(keep)
        measured = self._measured(keep)
        if not measured:
            raise InputError(f"keep: {keep} was not measured at any conf of {self.against} ({self.data})")
        (lowest, _), (highest, at_highest) = measured[0], measured[-1]
        if not lowest <= conf <= highest:
            raise InputError(
                f"keep: expected a conf of {lowest:g} to {highest:g}, found {conf:g}: no more is known of the {keep} "
                f"of {self.against} ({self.data})"
            )
        for (low, at_low), (high, at_high) in pairwise(measured):
            if conf <= high:
                return at_low + (conf - low) / (high - low) * (at_high - at_low)
        return at_highest

    def _measured(self, keep: str) -> list[tuple[float, float]]:
        return [(row.conf, value) for row in self.rows if (value := getattr(row, keep)) is not None]


def check_keep(keep: str | None) -> None:
    """Refuse what is neither "precision" nor "recall".

    Raises:
        InputError: it is not.
    """
    if keep not in KEEPS:
        raise InputError(f"keep: expected one of {', '.join(KEEPS)}, found {keep!r:.60}")


def _is_share(value: object) -> bool:
    """Return whether a value is a number from 0 to 1."""
    return type(value) in (int, float) and 0 <= value <= 1  # type: ignore[operator]  # False for NaN
