"""How much an artefact may differ from the model, each limit beside the sentence that justifies it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["EQUAL", "ROUNDED", "TOLERANCES", "WITHIN_LIMITS", "Tolerance", "VerifyOptions"]

# What is said of what keeps to its limits: to exact ones, and to ones wide enough to lose detections within.
EQUAL, WITHIN_LIMITS = "equal within tolerance", "within its limits"


@dataclass(frozen=True)
class Tolerance:
    """Limits on what matched detections may differ by.

    Attributes:
        shifts: by a statistic ("median", "p95", "max") and what is compared, as `Comparison.shifts` names it: "p95
            logit" limits the shift of log(s / (1 - s)) of the score s, which weighs a score of 0.002 as much as one of
            0.9. Boxes and keypoints are in pixels of the network's input, "mask" is 1 - IoU.
        max_lost: share of the model's detections that the artefact lacks, or the other way round.
        conf: compare detections scored above this. Far below the threshold of use, so that a model whose objects are
            not in the images still shows what it computes.
        verdict: on what keeps to these limits.
    """

    shifts: Mapping[str, float]
    max_lost: float
    conf: float = 0.001
    verdict: str = EQUAL


TOLERANCES: Mapping[str, Tolerance] = {
    # The same arithmetic in another order: two right FP32 implementations differ by 3e-3 px and 3e-5 in scores.
    "fp32": Tolerance(
        {
            "median box_px": 0.02,
            "p95 box_px": 0.1,
            "max box_px": 1.0,
            "p95 logit": 0.01,
            "median keypoint_px": 0.02,
            "p95 keypoint_px": 0.1,
            "p95 mask": 0.02,
            "p95 angle_deg": 0.05,
        },
        max_lost=0.0,
    ),
    # Eleven bits of mantissa through some hundred layers: measured 0.008 px and 0.003 on trained networks; on random
    # ones 0.06 px at the median, 0.6 px at p95, 1.4 px at most, and 0.05. Half a pixel cannot move a COCO IoU step of a
    # box of 32 px, 0.1 in the logit moves a score of 0.9 by 0.009. A share of 1 % allows for scores on the threshold.
    "fp16": Tolerance(
        {
            "median box_px": 0.25,
            "p95 box_px": 1.0,
            "max box_px": 4.0,
            "p95 logit": 0.1,
            "median keypoint_px": 0.5,
            "p95 keypoint_px": 2.0,
            "p95 mask": 0.1,
            "p95 angle_deg": 1.0,
        },
        max_lost=0.01,
    ),
    # Eight bits move every score; what counts is what is found at a threshold of use. Of 16 images the limits catch a
    # broken export (wrong scales, a lost branch), not half a point of AP: y12-val measures that on labels.
    "int8": Tolerance(
        {
            "median box_px": 4.0,
            "p95 box_px": 24.0,
            "p95 logit": 2.0,
            "median keypoint_px": 8.0,
            "median mask": 0.2,
            "median angle_deg": 4.0,
        },
        max_lost=0.15,
        conf=0.25,
        verdict=WITHIN_LIMITS,
    ),
}

# Activations of 8 bits inside the network, in FP32 or FP16: what two right implementations round differently are whole
# steps, whose effect saturates after some layers. Measured on random networks in FP32 as in FP16: 0.6 px at the median,
# 3.5 px at p95 and 0.27 in the logit, as far as rounding the input moves the model itself. These limits catch what
# breaks the rounding; without it, the same graph is held to the limits above.
ROUNDED = Tolerance(
    {
        "median box_px": 2.0,
        "p95 box_px": 8.0,
        "p95 logit": 1.0,
        "median keypoint_px": 4.0,
        "median mask": 0.1,
        "median angle_deg": 2.0,
    },
    max_lost=0.05,
    verdict=WITHIN_LIMITS,
)


@dataclass(frozen=True)
class VerifyOptions:
    """What to verify on.

    Attributes:
        images: a folder of images, one image, or several; y12's own photographs where None.
        max_images: of the folder, the first ones by name.
        max_det: of each image, the best ones.
        min_matched: with fewer matched detections the verdict is "inconclusive".
        allow_inconclusive: let that pass.
        bits: how many bits 16-bit images hold; None goes by each file, else takes all.
    """

    images: Path | tuple[Path, ...] | None = None
    max_images: int = 16
    max_det: int = 100
    min_matched: int = 5
    allow_inconclusive: bool = False
    bits: int | None = None
