"""From the network's outputs to Detections: threshold, labels, corners, NMS, back to the original image.

predictions.py  raw outputs, taken apart     candidates.py  which of them become objects
in_graph.py     artefacts that end in NMS    boxes.py       every task that finds boxes     classify.py  classifiers
"""
