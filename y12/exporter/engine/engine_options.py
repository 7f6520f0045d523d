"""What an engine is built for."""

from dataclasses import dataclass

from y12.errors import OptionsError

__all__ = ["EngineOptions"]


@dataclass(frozen=True)
class EngineOptions:
    """The engine asked for.

    Attributes:
        tensorrt: "auto", "full" or "rtx".
        workspace_gib: scratch memory of a layer at most, in GiB.
        sms: compute capabilities to build for, in TensorRT-RTX.
    """

    tensorrt: str = "auto"
    workspace_gib: float | None = None
    sms: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.workspace_gib is not None and not 0 < self.workspace_gib <= 1024:
            raise OptionsError(f"--workspace: expected GiB from above 0 to 1024, found {self.workspace_gib:g}")
        if self.sms and self.tensorrt == "full":
            raise OptionsError(
                "--sm chooses targets for TensorRT-RTX; full TensorRT builds for the GPU at hand: drop one of them"
            )
        if len(set(self.sms)) != len(self.sms):
            raise OptionsError(f"--sm: expected each target once, found {', '.join(map(str, self.sms))}")
