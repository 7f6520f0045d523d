"""How the service takes requests, refused at construction."""

from dataclasses import dataclass

from y12.errors import OptionsError

__all__ = ["LEAST_BUFFERED", "ServeOptions"]

MIB = 1 << 20
LEAST_BUFFERED = 256 * MIB
_UPLOADS_AT_ONCE = 8  # of the largest size; smaller ones are many more
_HEAD_S = 10.0  # at most, whatever a body may take
_BOUNDS = {  # what each option may be, and how its unit is called
    "queue": (1, 100_000, "images"),
    "workers": (1, 64, "threads"),
    "max_wait_s": (0, 10, "seconds"),
    "max_upload": (1024, 1 << 30, "bytes"),
    "upload_timeout_s": (0.1, 3600, "seconds"),
}


@dataclass(frozen=True)
class ServeOptions:
    """What is taken, and how much of it.

    Attributes:
        queue: images that may wait; beyond, a request is refused with 503.
        workers: threads on each device that take batches from the queue; with two, one decodes while the network runs
            what the other has decoded.
        max_wait_s: how long the first image of a batch may wait for others.
        max_upload: bytes of a request's body, as it comes and as it is inflated.
        upload_timeout_s: how long a request may take to come.

    Raises:
        OptionsError: a value is out of range.
    """

    queue: int = 64
    workers: int = 1
    max_wait_s: float = 0.002
    max_upload: int = 32 * MIB
    upload_timeout_s: float = 30.0

    def __post_init__(self) -> None:
        for name, (least, most, unit) in _BOUNDS.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise OptionsError(f"{name}: expected {least:,} to {most:,} {unit}, found {value}")

    @property
    def head_timeout_s(self) -> float:
        """How long a request's head may take to come."""
        return min(_HEAD_S, self.upload_timeout_s)

    @property
    def max_buffered(self) -> int:
        """Bytes of all requests together that are held, encoded; beyond, a request is refused with 503."""
        return max(LEAST_BUFFERED, _UPLOADS_AT_ONCE * self.max_upload)
