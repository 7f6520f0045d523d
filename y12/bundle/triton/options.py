"""What a bundle for Triton is to be, refused at construction."""

import re
from dataclasses import dataclass

from y12.errors import OptionsError
from y12.text import shown

__all__ = ["BACKENDS", "DEVICES", "TritonOptions"]

BACKENDS = ("tensorrt", "onnxruntime", "python")
DEVICES = ("auto", "cpu", "gpu")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")  # of a folder, and of an address's part, without quoting
_BOUNDS = {"instances": (1, 64), "queue": (1, 100_000), "max_wait_us": (0, 10_000_000)}


@dataclass(frozen=True)
class TritonOptions:
    """What a bundle is to be.

    Attributes:
        name: of the model.
        backend: the one repository to write, one of `BACKENDS`; None for the network's own backend, and python.
        device: where instances run, one of `DEVICES`; "auto" leaves it to Triton: on GPUs where it finds any.
        instances: how many there are of each model, on each device; None: one of the network, two of the model
            of images, of which one decodes while the other runs its network.
        queue: requests that may wait; further ones are refused.
        max_wait_us: microseconds for which the first request of a batch waits for others.

    Raises:
        OptionsError: a value cannot be used.
    """

    name: str
    backend: str | None = None
    device: str = "auto"
    instances: int | None = None
    queue: int = 64
    max_wait_us: int = 2000

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise OptionsError(
                f"--name: expected up to 200 letters, digits, '.', '_' and '-', found {shown(self.name)}; "
                "choose another with --name"
            )
        for name, among in (("backend", (*BACKENDS, None)), ("device", DEVICES)):
            if getattr(self, name) not in among:
                raise OptionsError(f"{name}: expected one of {among}, found {shown(getattr(self, name))}")
        for name, (least, most) in _BOUNDS.items():
            if getattr(self, name) is not None and not least <= getattr(self, name) <= most:
                raise OptionsError(f"{name}: expected {least} to {most}, found {getattr(self, name)}")
