"""The address for people: an image in the body, as it is or as a form sends it; JSON or the drawn picture back."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from python_multipart.exceptions import FormParserError
from starlette.datastructures import Headers, QueryParams, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from y12.errors import InputError
from y12.runtime.artefact.manifest import Manifest
from y12.runtime.preprocess.reduced import Image
from y12.runtime.results.detections import Detections
from y12.serve import asked
from y12.serve.queue import Finish, Found
from y12.serve.refusals import bad
from y12.text import printable_json, shown, visible

__all__ = ["DetectRequest", "Upload", "finish_of", "request_from", "upload_from"]

JPEG, JSON = "image/jpeg", "application/json"
_QUALITY = 90
_FORMS = ("rle", "polygon")
_FIELDS = 16  # of a form beside its file
_NAME = 200  # characters of a file's name
_YES, _NO = ("1", "true", "yes"), ("0", "false", "no", "")


@dataclass(frozen=True)
class DetectRequest:
    """What is asked of the answer.

    Attributes:
        picture: the drawn picture instead of JSON.
        masks: "rle" or "polygon" puts masks into the JSON.
        asked: thresholds and classes, by name, as text.
    """

    picture: bool
    masks: str | None
    asked: dict[str, Any]


@dataclass(frozen=True)
class Upload:
    """An image as it came.

    Attributes:
        name: of its file, where a form tells it.
        content: the file.
    """

    name: str
    content: bytes


def request_from(query: QueryParams, accept: str, manifest: Manifest) -> DetectRequest:
    """Read what is asked of the answer.

    Raises:
        Refusal: an unknown name or value, or masks of a model without them.
    """
    known = ("picture", "masks", *asked.NAMES)
    for name in query:
        if name not in known:
            raise bad(f"expected some of {', '.join(known)} behind the address, found {shown(name)}")
    picture = query.get("picture")
    if picture is not None and picture not in _YES + _NO:
        raise bad(f"picture: expected 1 or 0, found {shown(picture)}")
    form = query.get("masks") or None
    if form is not None and form not in _FORMS:
        raise bad(f"masks: expected one of {', '.join(_FORMS)}, found {shown(form)}")
    if form is not None and manifest.task not in ("segment", "multitask"):
        raise bad(f"masks: expected a segmentation model, found one for the task {manifest.task!r}")
    by_header = JPEG in accept and JSON not in accept
    return DetectRequest(
        by_header if picture is None else picture in _YES,
        form,
        {name: query[name] for name in asked.NAMES if name in query},
    )


async def upload_from(headers: Headers, body: "bytes | bytearray") -> Upload:
    """Return the image in a body: all of it, or the one file of a form.

    Raises:
        Refusal: the form is damaged, or has not one file.
    """
    if not headers.get("content-type", "").lower().startswith("multipart/form-data"):
        return Upload("", bytes(body))

    async def whole() -> AsyncIterator[bytes]:
        yield bytes(body)

    parser = MultiPartParser(headers, whole(), max_files=1, max_fields=_FIELDS)  # type: ignore[arg-type]
    parser.spool_max_size = len(body) + 1  # never on a disk
    try:
        form = await parser.parse()
    except (MultiPartException, FormParserError, UnicodeDecodeError) as error:
        said = getattr(error, "message", None) or str(error)
        raise bad(f"expected a form with one file, found one that cannot be read ({said})") from None
    files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
    if len(files) != 1:
        raise bad("expected a form with one file, such as of `curl -F image=@photo.jpg`, found none")
    content = await files[0].read()
    await form.close()
    return Upload(visible(files[0].filename or "", _NAME), content)


def finish_of(asked_for: DetectRequest, name: str) -> Finish:
    """Return what turns results into the answer's body; called in the thread that runs the network."""
    if asked_for.picture:
        return lambda found: _picture(found.detections, found.image)
    return lambda found: _record(found, name, asked_for.masks)


def _record(found: Found, name: str, masks: str | None) -> bytes:
    """Return what `y12-infer --json` says of an image."""
    detections = found.detections
    height, width = detections.image_hw
    record = {
        "source": name,
        "frame": None,
        "time_s": None,
        "height": height,
        "width": width,
        "detections": detections.as_records(masks),
        "counts": detections.counts(),
        "truncated": detections.truncated,
        "ms": {stage: round(ms, 3) for stage, ms in found.ms.items()},
    }
    return printable_json(json.dumps(record, ensure_ascii=False)).encode()


def _picture(found: Detections, image: Image) -> bytes:
    import cv2

    from y12.runtime.results.draw import annotated

    assert isinstance(image, np.ndarray), "asked for in full"
    drawn = annotated(image, found)
    try:
        done, content = cv2.imencode(".jpg", drawn, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    except cv2.error:  # such as of more than 65,500 pixels
        done = False
    if not done:
        raise InputError(f"a picture of {drawn.shape[1]}x{drawn.shape[0]} cannot be written as JPEG: ask for JSON")
    return content.tobytes()
