"""From the network's outputs to Detections: threshold, labels, corners, NMS, back to the original image.

predictions.py  raw outputs, taken apart     select.py  which of them become objects
in_graph.py     artefacts that end in NMS    boxes.py   every task that finds boxes     classify.py  classifiers
"""

from runtime.decode.boxes import detections_from_output
from runtime.decode.select import xyxy_from_xywh

__all__ = ["detections_from_output", "xyxy_from_xywh"]
