"""Whether a file has a name for each class of its network, by what its outputs are said to be; nothing is run.

Every output whose number of rows or columns is known is looked at, also where the number of anchor points is free.
"""

from collections.abc import Iterable, Mapping

from y12.errors import ArtefactError
from y12.runtime.artefact.manifest import Manifest
from y12.runtime.artefact.onnx_header import TensorHeader
from y12.runtime.artefact.output_layout import PROTOS, OutputLayout, heights_of, output_layout, words_of

__all__ = ["check_class_count"]

_Shape = tuple[int | None, ...]


def check_class_count(manifest: Manifest, outputs: Iterable[TensorHeader], in_rows: int | None = None) -> None:
    """Refuse a manifest whose names, or what else its task adds, are not as many as the network has.

    Args:
        manifest: what the file says.
        outputs: of the graph.
        in_rows: how many classes the operators have that pick rows of objects, where that is known.

    Raises:
        ArtefactError: they contradict each other.
    """
    names = len(manifest.names)
    if manifest.nms is not None:  # rows of objects: their number says nothing of classes
        if in_rows not in (None, names):
            raise ArtefactError(f"expected names for {in_rows} classes, as the graph has, found {_named(names)}")
        return
    shapes = {tensor.name: tensor.shape[1:] for tensor in outputs if tensor.has_rank and tensor.shape}
    layout = output_layout(manifest)
    if layout is None:
        for name, shape in shapes.items():
            if len(shape) == 1 and shape[0] not in (None, names):
                raise ArtefactError(
                    f"expected an output ({names},) for {names} classes, found '{name:.60}' ({shape[0]},): the file "
                    f"has {_named(names)}"
                )
        return
    _check_rows(layout, shapes)


def _check_rows(layout: OutputLayout, shapes: Mapping[str, _Shape]) -> None:
    prototypes = _prototypes(layout, shapes)
    if prototypes is None:
        return
    rows = layout.rows(prototypes)
    for name, height in heights_of(rows).items():
        shape = shapes.get(name, ())
        if len(shape) != 2 or shape[0] in (None, height):
            continue
        found = shape[0] - height + layout.class_count if shape[0] is not None else 0
        classes = f"the network seems to have {found} classes, the file has {_named(layout.class_count)}"
        hint = f"{classes}: " if found > 0 and "scores" in rows and rows["scores"].output == name else ""
        of_what = f"({height}, A)" if not layout.is_separate else f"{name} ({height}, A)"
        sizes = ", ".join("any" if size is None else str(size) for size in shape)
        raise ArtefactError(
            f"expected an output {of_what} for {layout.class_count} classes{words_of(rows)}, found ({sizes}); {hint}"
            "the artefact's manifest does not fit its network"
        )


def _prototypes(layout: OutputLayout, shapes: Mapping[str, _Shape]) -> int | None:
    """Return how many prototypes of masks there are, 0 where there can be none; None where that is not said."""
    if not layout.has_masks:
        return 0
    planes = {name: shape for name, shape in shapes.items() if len(shape) == 3}
    if layout.is_separate and not planes:
        return 0
    one = planes.get(PROTOS) or (next(iter(planes.values())) if len(planes) == 1 else None)
    return None if one is None else one[0]


def _named(names: int) -> str:
    return f"{names} name{'s' * (names > 1)}"
