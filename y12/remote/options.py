"""How a model is fetched, refused at construction."""

import re
from dataclasses import dataclass

from y12.errors import OptionsError
from y12.text import shown

__all__ = ["FetchOptions"]

_HASH = re.compile(r"[0-9a-f]{64}")
_MOST_BYTES = 1 << 40


@dataclass(frozen=True)
class FetchOptions:
    """How a model is fetched.

    Attributes:
        sha256: of the file, in hex: another file is refused before it is opened, one on this machine too. None takes
            what comes.
        max_bytes: a larger file is not fetched.
        plain_http: allow `http://` beyond this machine, where whoever is on the way can change what comes.
        offline: use what was fetched before, and ask nobody.
        timeout_s: seconds without a sign of the server after which a transfer counts as broken off.

    Raises:
        OptionsError: a value is out of range, or no hash.
    """

    sha256: str | None = None
    max_bytes: int = 2 << 30
    plain_http: bool = False
    offline: bool = False
    timeout_s: float = 30.0

    def __post_init__(self) -> None:
        if self.sha256 is not None:
            object.__setattr__(self, "sha256", self.sha256.lower())
            if not _HASH.fullmatch(self.sha256):
                raise OptionsError(f"--sha256: expected 64 hexadecimal digits, found {shown(self.sha256)}")
        if not 1 <= self.max_bytes <= _MOST_BYTES:
            raise OptionsError(f"--max-download: expected more than 0 and at most {_MOST_BYTES >> 30} GiB")
        if not 0 < self.timeout_s <= 3600:
            raise OptionsError(f"timeout_s: expected seconds, more than 0 and at most 3600, found {self.timeout_s}")
