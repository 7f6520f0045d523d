"""What lies among the images of a data set and is not used: it is told, or nobody would know."""

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from y12.files import counted, first_of, is_image_name, is_litter, unread_images

__all__ = ["labels_without_image", "unread_in"]

_NO_LABELS = frozenset(("classes.txt", "labels.txt", "notes.txt", "readme.txt"))  # of tools, beside the labels


def unread_in(folders: Sequence[Path]) -> tuple[str, ...]:
    """Return a note of the pictures in these folders whose format is not read; none where there are none."""
    return unread_images(name for folder in dict.fromkeys(folders) for name in _names(folder))


def labels_without_image(images: Sequence[Path], label_path: Callable[[Path], Path]) -> tuple[str, ...]:
    """Return a note of the label files that no image belongs to.

    An image that is there but was not named, as one of another split, is not missed.

    Args:
        images: those that are used.
        label_path: gives where an image's labels are.
    """
    folders: dict[Path, set[Path]] = defaultdict(set)
    for image in images:
        folders[label_path(image).parent].add(image.parent)
    found = []
    for labels, of_images in folders.items():
        names = [name for name in _names(labels) if name.endswith(".txt") and name.lower() not in _NO_LABELS]
        if names:
            known = {
                os.path.splitext(name)[0] for folder in of_images for name in filter(is_image_name, _names(folder))
            }
            found += [name for name in names if name.removesuffix(".txt") not in known]
    if not found:
        return ()
    return (f"{counted(found, 'label file')} without an image: {first_of(found)}",)


def _names(folder: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if not is_litter(name))
    except OSError:  # there are no labels there; whoever reads the images says what is wrong with their folder
        return []
