"""What figures do not say: of labels of one class, and where a model was right in nothing."""

from collections.abc import Collection, Iterable

from y12.text import NAME, shown

__all__ = ["on_classes", "on_success"]


def on_classes(labelled: Collection[str], classes: int) -> tuple[str, ...]:
    """Return a note where the labels are of one class alone, and the model knows others.

    Args:
        labelled: names of the classes that have labels.
        classes: how many the model has.
    """
    if len(labelled) != 1 or classes < 2:
        return ()
    (name,) = labelled
    return (
        f"all labels are of one class, {shown(name, NAME)}: the figures say nothing of the model's other {classes - 1}",
    )


def on_success(figures: Iterable[float | None], found: int) -> tuple[str, ...]:
    """Return a note where nothing was right, or nothing could be.

    Args:
        figures: the least strict ones, such as AP50: 0 where nothing was right, None where no label counts.
        found: how many objects the model found, or images it gave classes to.
    """
    told = [figure for figure in figures if figure is not None]
    if not told:
        return ("no label counts, such as where all are of crowds: there is no figure",)
    if any(told):
        return ()
    if not found:
        return ("the model found nothing: the figures are 0 for want of detections",)
    return (
        "nothing that the model found is right: are the labels of its classes, and is this the image size it is for?",
    )
