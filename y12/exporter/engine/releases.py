"""What was measured of TensorRT-RTX's releases, by `make test-trt`; docs/fusion.md has all of its figures."""

from y12.errors import OptionsError
from y12.runtime.backends.tensorrt.executor import Bindings

__all__ = ["KERNELS", "check_int8", "newer_note"]

# Kernels an inference of FP16 at 640x640, by release, the newest last: of yolov12n and of yolo11n.
KERNELS = {"1.4.0.76": (197, 159), "1.5.0.114": (197, 159), "1.6.1.120": (197, 159), "1.7.1.116": (148, 108)}
# These build no INT8 convolution of any network that was tried: they want FP16, BF16 or FP8 there.
_WITHOUT_INT8 = (1, 6)


def newer_note(builder: str) -> str:
    """Return what the newest release that was measured would give in place of an older one; empty for others.

    Args:
        builder: such as "TensorRT-RTX 1.6.1.120".
    """
    product, _, release = builder.rpartition(" ")
    newest = list(KERNELS)[-1]
    if product != "TensorRT-RTX" or release not in KERNELS or release == newest:
        return ""
    (turbo, eleven), (newer_turbo, newer_eleven) = KERNELS[release], KERNELS[newest]
    return (
        f"{builder} is older than {newest}, which takes {newer_turbo} kernels in place of {turbo} for yolov12n, and "
        f"{newer_eleven} in place of {eleven} for yolo11n (FP16, 640x640). Whether it is better here is told by "
        "y12-inspect OLD.engine --diff NEW.engine"
    )


def check_int8(bindings: Bindings) -> None:
    """Refuse INT8 before any work where TensorRT-RTX is one that cannot build it.

    Raises:
        OptionsError: it is.
    """
    if bindings.flavour == "rtx" and tuple(map(int, bindings.version.split(".")[:2])) <= _WITHOUT_INT8:
        raise OptionsError(
            f"--int8: expected a TensorRT-RTX that builds INT8 convolutions, as 1.4 to 1.6 do not, found "
            f"{bindings.version}; upgrade it, or use --half"
        )
