"""Whether an engine is worse than the one that it would take the place of: the same export, by other releases.

Nothing is executed: it is judged by what the two builds showed (`build_facts`) and by the sizes of the files.
"""

from dataclasses import dataclass
from typing import Literal

from y12.errors import ArtefactError
from y12.runtime.artefact.build_facts import BuildFacts, build_facts
from y12.runtime.artefact.difference import Difference, other_than_versions
from y12.runtime.artefact.opened import Artefact

__all__ = ["LEEWAY", "Upgrade", "upgrade_between"]

# Of bytes, moved and on the disk: releases pad and pack otherwise, which a hundredth more of them is no sign of.
LEEWAY = 1.01
_WIDTHS = {"int8": 1, "fp16": 2, "bf16": 2, "fp32": 4}  # bytes
_NAMED = 3  # convolutions in a line; all are in the JSON

Verdict = Literal["worse", "not worse", "not judged"]


@dataclass(frozen=True)
class Upgrade:
    """Two engines of one export, of which the second would take the place of the first.

    Attributes:
        precision: that the export was asked for.
        sizes: of the two files, in bytes.
        facts: of the two builds; None where those of one are not known.
        unknown: why they are not; empty where they are.
    """

    precision: str
    sizes: tuple[int, int]
    facts: tuple[BuildFacts, BuildFacts] | None
    unknown: str = ""

    @property
    def convolutions(self) -> dict[str, tuple[str, str]]:
        """Name → precisions, of each convolution that is not computed in the same one, as far as both have it."""
        if self.facts is None:
            return {}
        first, second = (facts.convolutions for facts in self.facts)
        return {name: (first[name], second[name]) for name in first if second.get(name, first[name]) != first[name]}

    @property
    def untold(self) -> tuple[str, ...]:
        """Convolutions of which nobody can say whether they got wider: one of the logs does not tell."""
        return tuple(
            name
            for name, (first, second) in self.convolutions.items()
            if second != self.precision and not {first, second} <= _WIDTHS.keys()
        )

    @property
    def worse(self) -> tuple[str, ...]:
        """What got worse, in words."""
        found = {}
        if self.facts is not None:
            first, second = self.facts
            found["kernels"] = second.kernels > first.kernels
            found["fused attentions"] = not set(second.unfused) <= set(first.unfused)
            found["precision"] = any(_is_wider(*precisions) for precisions in self.convolutions.values())
            found["bytes moved"] = second.bytes_moved > LEEWAY * first.bytes_moved
            found["size"] = self.sizes[1] > LEEWAY * self.sizes[0]
        return tuple(what for what, is_worse in found.items() if is_worse)

    @property
    def verdict(self) -> Verdict:
        """Whether the second is worse than the first; what cannot be told is not called good."""
        if self.worse:
            return "worse"
        return "not judged" if self.facts is None or self.untold else "not worse"

    def to_data(self) -> dict[str, object]:
        """Return all of it, JSON-able; each pair is the first engine's and the second's."""
        known = self.facts or ()
        return {
            "verdict": self.verdict,
            "worse": list(self.worse),
            "unknown": self.unknown,
            "kernels": [facts.kernels for facts in known],
            "attentions": [facts.attentions_expected for facts in known],
            "attentions_fused": [facts.attentions_fused for facts in known],
            "unfused": [list(facts.unfused) for facts in known],
            "convolutions": [facts.convolutions_by_precision for facts in known],
            "convolutions_changed": {name: list(pair) for name, pair in self.convolutions.items()},
            "convolutions_untold": list(self.untold),
            "bytes_moved": [facts.bytes_moved for facts in known],
            "bytes": list(self.sizes),
        }

    def __str__(self) -> str:
        """Return it in one line."""
        if self.facts is None:
            return f"not judged, as {self.unknown}"
        first, second = self.facts
        verdict = self.verdict + (f" in {', '.join(self.worse)}" if self.worse else "")
        if self.untold:
            verdict += f", as of {len(self.untold)} convolutions a log does not tell the precision"
        return (
            f"{verdict}: kernels {first.kernels} -> {second.kernels}, attentions fused {first.attentions_fused} -> "
            f"{second.attentions_fused} of {second.attentions_expected}, {self._convolutions_in_words()}, "
            f"MB moved {first.bytes_moved / 1e6:.1f} -> {second.bytes_moved / 1e6:.1f}, "
            f"MB in the file {self.sizes[0] / 1e6:.1f} -> {self.sizes[1] / 1e6:.1f}"
        )

    def _convolutions_in_words(self) -> str:
        changed = self.convolutions
        if not changed or self.facts is None:
            return "convolutions in the same precision"
        named = [f"{name} {first} -> {second}" for name, (first, second) in list(changed.items())[:_NAMED]]
        more = [f"{len(changed) - _NAMED} more"] if len(changed) > _NAMED else []
        return f"{len(changed)} convolutions in another precision ({', '.join(named + more)})"


def upgrade_between(first: Artefact, second: Artefact, found: Difference) -> Upgrade | None:
    """Return what two engines have become worse in; None where they are none of one export by two releases.

    Args:
        first: the engine that is there.
        second: the one that would take its place.
        found: what they differ in first.
    """
    if first.kind != "engine" or found.kind != "version" or other_than_versions(first, second) is not None:
        return None
    sizes = (first.path.stat().st_size, second.path.stat().st_size)
    precision = second.manifest.precision
    try:
        facts = (build_facts(first.path, first.sha256()), build_facts(second.path, second.sha256()))
    except ArtefactError as error:
        return Upgrade(precision, sizes, None, str(error))
    return Upgrade(precision, sizes, facts)


def _is_wider(first: str, second: str) -> bool:
    return {first, second} <= _WIDTHS.keys() and _WIDTHS[second] > _WIDTHS[first]
