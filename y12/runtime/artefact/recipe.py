"""What an artefact was made with, as far as it decides the bytes: no date, host, user or path.

With the source, whose SHA-256 the manifest has, and the rest of the manifest it says how to make the artefact again.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Self

from y12.runtime.artefact import fields

__all__ = ["RANGES_KEY", "Recipe", "sha256_of"]

RANGES_KEY = "y12.ranges"  # the metadata_props entry of an INT8 .onnx that holds its ranges, as JSON
_TEXTS = ("images", "ranges", "sha256")


def sha256_of(text: str) -> str:
    """Return the hash of a text, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Recipe:
    """What was asked for, and what did it.

    Attributes:
        options: of the export, by name: those that decide the bytes, are not in the manifest otherwise, and are unlike
            what they are where nothing is asked.
        versions: of y12 and of the packages that took part, by name; without a build's label, such as "+cpu".
        images: of INT8 that was calibrated, the hash of the sorted hashes of the images; empty otherwise.
        ranges: of INT8, the hash of the ranges that it is made with; the .onnx holds them. Empty otherwise.
        sha256: of a recipe that is too long for where this stands, its `digest`, and nothing else of it; else empty.
    """

    options: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    images: str = ""
    ranges: str = ""
    sha256: str = ""

    def to_data(self) -> dict[str, object]:
        """Return the recipe in its one canonical form: what is empty is left out, and keys are in order."""
        return {key: dict(sorted(v.items())) if isinstance(v, dict) else v for key, v in asdict(self).items() if v}

    @property
    def digest(self) -> str:
        """The hash of the canonical form."""
        return sha256_of(json.dumps(self.to_data(), sort_keys=True, ensure_ascii=False, separators=(",", ":")))

    @property
    def as_digest(self) -> Self:
        """What stands for it where it does not fit."""
        return type(self)(sha256=self.digest)

    @classmethod
    def from_data(cls, value: object) -> Self | None:
        """Read what `to_data` returned; None where there is none, as an older y12 wrote none.

        Raises:
            ArtefactError: a field is of another type, or unknown.
        """
        if value is None:
            return None
        data = fields.mapping(value, "recipe", (), ("options", "versions", *_TEXTS))
        texts = {key: fields.text(data.get(key, ""), f"recipe.{key}", 64) for key in _TEXTS}
        options, versions = (fields.texts_by_text(data.get(k, {}), f"recipe.{k}") for k in ("options", "versions"))
        return cls(options, versions, **texts)
