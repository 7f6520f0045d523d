"""Ordinary JPEGs, decoded by OpenCV: by the same library as in Pillow and to the same pixels, in less time.

Ordinary are those whose segments follow each other without a gap, whose one frame is Huffman-coded, of 8 bits, gray or
of three colours, and that have an end. Both decoders then find the same size in them, which is checked before either
makes room for pixels. All others are Pillow's: CMYK, arithmetic coding, junk between segments, what was cut.
"""

import struct

import numpy as np
from numpy.typing import NDArray

__all__ = ["ordinary_jpeg"]

_FRAMES = (0xC0, 0xC1, 0xC2)  # ITU-T T.81, table B.1: baseline, extended, progressive
_TABLES = (0xC4, 0xDB, 0xDD)  # Huffman's, quantisation's, the restart interval
_COMMENT, _SCAN = 0xFE, 0xDA
_APPLICATION = range(0xE0, 0xF0)
_END = b"\xff\xd9"
_MAX_SEGMENTS = 10_000  # an ICC profile or Exif of the largest kind takes some hundred


def ordinary_jpeg(content: bytes, hw: tuple[int, int], factor: int = 1) -> NDArray[np.uint8] | None:
    """Return the pixels of an ordinary JPEG, (h, w, 3) BGR as stored; None of another one, or where it is damaged.

    Args:
        content: the file's.
        hw: height and width, as another reader has found them; a file that says otherwise is not ordinary.
        factor: 2, 4 or 8 returns (ceil(h / factor), ceil(w / factor), 3) pixels, each the mean of a square.
    """
    import cv2

    if not _is_ordinary(content, hw):
        return None
    flags = {
        1: cv2.IMREAD_COLOR,
        2: cv2.IMREAD_REDUCED_COLOR_2,
        4: cv2.IMREAD_REDUCED_COLOR_4,
        8: cv2.IMREAD_REDUCED_COLOR_8,
    }
    bgr = cv2.imdecode(np.frombuffer(content, np.uint8), flags[factor] | cv2.IMREAD_IGNORE_ORIENTATION)
    if bgr is None or bgr.shape != (-(-hw[0] // factor), -(-hw[1] // factor), 3):
        return None
    return np.asarray(bgr, np.uint8)


def _is_ordinary(content: bytes, hw: tuple[int, int]) -> bool:
    position, frames = 2, 0  # behind the first two bytes, by which Pillow knew it
    try:
        for _ in range(_MAX_SEGMENTS):
            mark, kind, length = struct.unpack_from(">BBH", content, position)
            if mark != 0xFF or length < 2:
                return False
            if kind == _SCAN:
                return frames == 1 and content.find(_END, position + 2 + length) > 0
            if kind in _FRAMES:
                bits, height, width, components = struct.unpack_from(">BHHB", content, position + 4)
                if bits != 8 or (height, width) != hw or components not in (1, 3):
                    return False
                frames += 1
            elif kind not in _TABLES and kind not in _APPLICATION and kind != _COMMENT:
                return False
            position += 2 + length
    except struct.error:  # it ends before its pixels
        pass
    return False
