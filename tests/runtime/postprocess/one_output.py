"""Boxes from one output, as the simplest networks give them."""

from y12.runtime.artefact.output_layout import OutputLayout
from y12.runtime.postprocess.boxes import decode_boxes

__all__ = ["detections_from_output"]


def detections_from_output(output0, frame, names, options):
    """Return the detections of (4 + nc, A): centre x, y, width, height in pixels of the input, and the nc scores."""
    return decode_boxes({"output0": output0}, frame, options, OutputLayout("detect", len(names)), names)
