"""The parts of an `ExportConfig` from the options of a command line; what they contradict is refused here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from y12.errors import ArtefactError, OptionsError
from y12.exporter.export_config import Int8Options
from y12.exporter.precision.mixed.budget_options import BudgetOptions
from y12.exporter.precision.quantization_options import CalibrationOptions, QuantizeOptions
from y12.exporter.verify.verify_options import VerifyOptions
from y12.remote.address import file_name
from y12.runtime.artefact.nms_settings import MAX_NMS_CANDIDATES, NmsSettings
from y12.runtime.options import DetectOptions

__all__ = ["DEFAULT_NMS_CANDIDATES", "int8_of", "nms_of", "precision_of", "verify_of"]

DEFAULT_NMS_CANDIDATES = 1024


def precision_of(*, half: bool, int8: bool) -> str:
    """Return the precision that is asked for.

    Raises:
        OptionsError: both are.
    """
    if half and int8:
        raise OptionsError("precision: choose one of --half and --int8 (or --quantize 16 and 8); found both")
    return "int8" if int8 else "fp16" if half else "fp32"


def verify_of(
    images: Path | None, *, wanted: bool, allow_inconclusive: bool, bits: int | None = None
) -> VerifyOptions | None:
    """Return what to verify on; None where it is not wanted. `bits` are of 16-bit images.

    Raises:
        OptionsError: it is not wanted, and something is said of it.
    """
    if not wanted and (images or allow_inconclusive):
        raise OptionsError("--no-verify contradicts --images and --allow-inconclusive, which are of the verification")
    return VerifyOptions(images, allow_inconclusive=allow_inconclusive, bits=bits) if wanted else None


def nms_of(thresholds: Mapping[str, Any], shape: Mapping[str, Any], *, wanted: bool) -> NmsSettings | None:
    """Return the NMS to put into the graph; None where it is not wanted.

    Args:
        thresholds: of `DetectOptions`, those that were given.
        shape: the `form` of `NmsSettings` and its `candidates`, where they were given.
        wanted: whether there is to be one.

    Raises:
        InputError: a threshold is out of range.
        OptionsError: it is not wanted, and something is said of it; or there are too many candidates, or too few.
    """
    if not wanted:
        if thresholds or shape:
            raise OptionsError("--conf, --iou, --max-det, --classes, --agnostic-nms and --nms-… are of --nms: add it")
        return None
    options = DetectOptions(**thresholds)
    usual = max(DEFAULT_NMS_CANDIDATES, min(options.max_det, MAX_NMS_CANDIDATES))
    try:
        return NmsSettings(shape.get("form", "packed"), shape.get("candidates", usual), options)
    except ArtefactError as error:
        raise OptionsError(f"--{error}") from error


def int8_of(
    model: str | None, precision: str, images: Path | None, asked: Mapping[str, Any], target: str = "trt"
) -> Int8Options | None:
    """Return how INT8 is to be made; None where nothing is said of it.

    Args:
        model: as an `ExportConfig` has it.
        precision: as an `ExportConfig` has it.
        images: to calibrate on.
        asked: what else was said: calib_method, calib_limit, int8_attention, max_drop, max_drop_data.
        target: what the graph is written for.

    Raises:
        OptionsError: something is said of INT8 without images, or of a budget without one.
    """
    learned = precision == "int8" and _may_have_ranges(model) and not asked.keys() & {"calib_method", "calib_limit"}
    if images is None and not learned:
        if asked:
            raise OptionsError("--calib-…, --int8-… and --max-drop need --calib: add it")
        return None
    if "max_drop_data" in asked and "max_drop" not in asked:
        raise OptionsError("--max-drop-data is what --max-drop is measured on: add --max-drop, or drop it")
    return Int8Options(
        images,
        CalibrationOptions(asked.get("calib_method", "auto"), symmetric=target == "trt", bits=asked.get("bits")),
        QuantizeOptions(target, attention=asked.get("int8_attention", False)),
        BudgetOptions(asked["max_drop"], asked.get("max_drop_data")) if "max_drop" in asked else None,
        asked.get("calib_limit"),
    )


def _may_have_ranges(model: str | None) -> bool:
    return model is not None and Path(file_name(model)).suffix == ".safetensors"
