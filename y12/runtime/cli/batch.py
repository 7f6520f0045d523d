"""How many images a run of the network takes, as a user asks for it."""

from typing import TYPE_CHECKING

from y12.errors import InputError

if TYPE_CHECKING:
    from y12.runtime.artefact.manifest import AxisRange

__all__ = ["check_batch"]


def check_batch(batch: int | None, limits: "AxisRange") -> None:
    """Refuse a number of images that the network is not made for.

    Raises:
        InputError: it is outside the artefact's profile.
    """
    if batch is None or limits.min <= batch <= limits.max:
        return
    if limits.is_fixed:
        wanted, remedy = f"{limits.min}, which the artefact is fixed to", "export it with --batch 1:4:8 for others"
    else:
        wanted, remedy = f"{limits.min} to {limits.max}", f"its profile is {limits.min}:{limits.opt}:{limits.max}"
    raise InputError(f"--batch: expected {wanted}, found {batch}; {remedy}")
