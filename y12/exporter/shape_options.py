"""The input shapes that are asked for, and the profile that they make for a network."""

from dataclasses import dataclass

from y12.errors import ArtefactError, OptionsError
from y12.runtime.artefact.manifest import AxisRange, InputProfile

__all__ = ["ShapeOptions"]

Size = tuple[int, int]  # height, width
_LARGEST_SIDE = 8192
_USUAL_SIDE = {"classify": 224}  # of the input in pixels; 640 for the other tasks


@dataclass(frozen=True)
class ShapeOptions:
    """The input shapes asked for.

    Attributes:
        imgsz: one (height, width), or the least, the best and the largest one; where None, what the model was
            made for, or what is usual for the task.
        batch: one batch size, or the least, the best and the largest one; where None, what a graph is fixed to, or 1.
        dynamic: make batch and size free where only one of each is given: batch 1 to `batch` or 8, whichever is
            more, and sides from half to double of `imgsz`.
    """

    imgsz: tuple[Size, ...] | None = None
    batch: tuple[int, ...] | None = None
    dynamic: bool = False

    def __post_init__(self) -> None:
        for name, values in (("--imgsz", self.imgsz), ("--batch", self.batch)):
            if values is not None and len(values) not in (1, 3):
                raise OptionsError(f"{name}: expected one value, or least:best:largest; found {len(values)} values")

    def profile(self, stride: int, task: str = "detect", size: Size | None = None, batch: int = 1) -> InputProfile:
        """Return the input profile for a network of a task whose sides must be multiples of `stride` pixels.

        Where none was asked for, the input has the `size` that the model was made for, else what is usual for the task,
        and this `batch`.

        Raises:
            OptionsError: a side is no multiple of it or too large, or a range is not in order.
        """
        sides = self.imgsz or (size or (_USUAL_SIDE.get(task, 640),) * 2,)
        batches = (batch,) if self.batch is None else self.batch
        if self.dynamic and len(sides) == 1:
            ((h, w),) = sides
            sides = ((_multiple(h // 2, stride), _multiple(w // 2, stride)), (h, w), (2 * h, 2 * w))
        if self.dynamic and len(batches) == 1:
            batches = (1, batches[0], max(8, batches[0]))
        for h, w in sides:
            for side in (h, w):
                if side % stride or not stride <= side <= _LARGEST_SIDE:
                    lower, upper = max(stride, side // stride * stride), (side // stride + 1) * stride
                    raise OptionsError(
                        f"--imgsz: expected multiples of the stride {stride} up to {_LARGEST_SIDE}, found {side}; "
                        f"the nearest are {lower} and {min(upper, _LARGEST_SIDE)}"
                    )
        try:
            return InputProfile(
                AxisRange(*_three(batches)),
                AxisRange(*_three([h for h, _ in sides])),
                AxisRange(*_three([w for _, w in sides])),
            )
        except ArtefactError as error:
            raise OptionsError(f"--batch, --imgsz: {error}") from error


def _multiple(value: int, stride: int) -> int:
    return max(stride, round(value / stride) * stride)


def _three(values: tuple[int, ...] | list[int]) -> tuple[int, int, int]:
    return (values[0], values[0], values[0]) if len(values) == 1 else (values[0], values[1], values[2])
