"""What models of each task found in an image of 400x200 pixels: a few objects with round numbers."""

import math

import numpy as np

from y12 import Detections
from y12.runtime.results.masks import Masks

NAMES = ("person", "bus")
WIDTH, HEIGHT = 400, 200


def detections(**more):
    """Two boxes, of which the second ends with the image."""
    return Detections(
        xyxy=np.array([[40, 20, 120, 100], [200.5, 50, 400, 200]], np.float32),
        confidence=np.array([0.9, 0.6], np.float32),
        class_id=np.array([1, 0]),
        names=NAMES,
        image_hw=(HEIGHT, WIDTH),
        **more,
    )


def bitmaps():
    """The left half of the first box, and of the second all but a corner."""
    masks = np.zeros((2, HEIGHT, WIDTH), np.bool_)
    masks[0, 20:100, 40:80] = True
    masks[1, 60:200, 210:400] = True
    return masks


def segmented():
    return detections(masks=Masks.from_bitmaps(bitmaps()))


def posed():
    points = np.array([[[50, 30, 0.9], [60, 40, 0.1]], [[300, 100, 0.8], [310, 110, 0.7]]], np.float32)
    return detections(keypoints=points)


def oriented():
    return detections(xywhr=np.array([[80, 60, 60, 20, math.pi / 6], [300, 100, 50, 40, 0]], np.float32))


def classified():
    return detections(whole_image=True)
