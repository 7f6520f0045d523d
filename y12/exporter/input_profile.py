"""The input shapes of an export: what was asked for, where nothing was, the model's own; written into a given graph."""

from dataclasses import replace

from y12.errors import OptionsError
from y12.exporter.export_config import ExportConfig
from y12.exporter.graph.foreign.input_shape import with_input_shape
from y12.exporter.report.words import profile_in_words
from y12.exporter.source import Source
from y12.runtime.artefact.manifest import InputProfile

__all__ = ["with_profile"]

_AXES = ("batch", "height", "width")


def with_profile(config: ExportConfig, source: Source) -> tuple[Source, InputProfile]:
    """Return the source, its graph at the shapes that are asked for, and those shapes.

    A graph of fixed shape keeps it. Of one whose axes are free, those that nothing is said of become fixed: batch 1,
    and the size it was made for; the user is told.

    Raises:
        OptionsError: the model does not take what is asked for.
    """
    profile = _profile(config, source)
    if source.graph is None or source.profile is None:
        return source, profile
    notes = (*source.notes, *_closed_axes(config, source.profile, profile))
    return replace(source, graph=with_input_shape(source.graph, profile), notes=notes), profile


def _profile(config: ExportConfig, source: Source) -> InputProfile:
    accepted = source.profile
    stride = max(source.strides, default=1)
    if accepted is None:
        size = None if source.side is None else (source.side, source.side)
        requested = config.shapes.profile(stride, source.task, size)
        if source.detector is not None:
            source.detector.head.check_image_size((requested.height.max, requested.width.max))
        return requested
    batch = accepted.batch.opt if accepted.batch.is_fixed else 1
    requested = config.shapes.profile(stride, source.task, accepted.opt_hw, batch)
    for axis in _AXES:
        own, other = getattr(accepted, axis), getattr(requested, axis)
        if own.is_fixed and other != own:
            raise OptionsError(
                f"{source.file}: its {axis} is fixed to {own.opt}, asked for {other.min} to {other.max}; "
                "leave out --imgsz, --batch and --dynamic to have its own shape, or export from the checkpoint"
            )
    return requested


def _closed_axes(config: ExportConfig, accepted: InputProfile, profile: InputProfile) -> list[str]:
    """Return what to tell of free axes that were made fixed unasked."""
    asked = {"batch": config.shapes.batch, "height": config.shapes.imgsz, "width": config.shapes.imgsz}
    closed = [
        axis
        for axis in _AXES
        if asked[axis] is None and not getattr(accepted, axis).is_fixed and getattr(profile, axis).is_fixed
    ]
    if not closed:
        return []
    return [
        f"its {', '.join(closed)} can be of any size; nothing was said of that, so that it is made for "
        f"{profile_in_words(profile)}: --batch and --imgsz choose others, --dynamic leaves them free"
    ]
