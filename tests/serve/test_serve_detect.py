"""POST /detect on a real server: what people send, and what they get."""

import json
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from tests.serve.conftest import encoded, plain
from y12.runtime.cli.infer import main as infer

BOUNDARY = "a-line-between"


def form(*parts):
    """Return a form's body, and its header; a part is (name, file's name or None, content)."""
    body = b""
    for name, file, content in parts:
        named = f'; filename="{file}"' if file is not None else ""
        body += (
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'.encode() + content + b"\r\n"
        )
    return body + f"--{BOUNDARY}--\r\n".encode(), {"Content_Type": f"multipart/form-data; boundary={BOUNDARY}"}


def test_the_json_is_what_y12_infer_prints(server, colours, image, tmp_path, capsys):
    file = tmp_path / "red.png"
    file.write_bytes(image)
    assert infer([str(colours), str(file), "--json"]) == 0
    wanted = json.loads(capsys.readouterr().out)
    status, record = server.detect(image)
    assert status == 200
    assert list(record) == list(wanted)
    assert list(record["ms"]) == list(wanted["ms"])
    for changing in ("source", "ms"):
        del record[changing], wanted[changing]
    assert record == wanted
    assert record["detections"][0]["class_name"] == "red"


def test_a_form_s_file_is_taken_and_named(server, image):
    body, header = form(("note", None, b"a red one"), ("image", "red.png", image))
    status, record = server.detect(body, **header)
    assert (status, record["source"], record["counts"]) == (200, "red.png", {"red": 1})


@pytest.mark.parametrize(("query", "headers"), [("?picture=1", {}), ("", {"Accept": "image/jpeg"})])
def test_the_picture_is_drawn(server, image, query, headers):
    status, answered, content = server.ask("POST", f"/detect{query}", image, headers)
    assert (status, answered["content-type"]) == (200, "image/jpeg")
    with Image.open(BytesIO(content)) as drawn:
        assert (drawn.format, drawn.size) == ("JPEG", (64, 48))
        assert np.abs(np.asarray(drawn).astype(int) - plain()).max() > 100  # a box, and a label


def test_json_is_what_a_browser_gets(server, image):
    assert server.detect(image, Accept="text/html,*/*")[0] == 200
    assert server.detect(image, Accept="application/json, image/jpeg")[0] == 200
    assert server.detect(image, "?picture=0", Accept="image/jpeg")[0] == 200


def test_thresholds_are_asked_for_behind_the_address(server, image):
    assert server.detect(image, "?conf=0.8")[1]["counts"] == {"red": 1}
    assert server.detect(image, "?conf=0.9")[1]["counts"] == {}
    assert server.detect(image, "?classes=red,2")[1]["counts"] == {"red": 1}
    assert server.detect(image, "?classes=1")[1]["counts"] == {}


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("?cnof=0.5", "expected some of picture, masks, conf, iou, max_det, classes behind the address, found 'cnof'"),
        ("?conf=high", "conf: expected a number, found 'high'"),
        ("?conf=2", "conf: expected a number from 0 to 1, found 2.0"),
        ("?conf=nan", "conf: expected a number from 0 to 1, found nan"),
        ("?max_det=1.5", "max_det: expected a whole number, found '1.5'"),
        ("?max_det=0", "max_det: expected a whole number from 1 to 30000, found 0"),
        ("?classes=rde", "(did you mean 'red'?)"),
        ("?classes=7", "classes: expected names, or ids of 0 to 2, found 7"),
        ("?picture=maybe", "picture: expected 1 or 0, found 'maybe'"),
        ("?masks=rle", "masks: expected a segmentation model, found one for the task 'detect'"),
        ("?masks=png", "masks: expected one of rle, polygon, found 'png'"),
    ],
)
def test_what_cannot_be_asked_for(server, image, query, message):
    status, answer = server.detect(image, query)
    assert status == 400
    assert message in answer["error"]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([], "found none"),
        ([("image", None, b"text")], "found none"),
        ([("image", "a.png", b"x"), ("image", "b.png", b"y")], "Too many files"),
        ([(f"{i}", None, b"") for i in range(40)], "Too many fields"),
        ([("image", "a.png", b"")], "found 0 or more"),
        ([("image", "a.png", b"no image")], "found a damaged or a foreign file"),
    ],
)
def test_forms_that_are_refused(server, parts, message):
    body, header = form(*parts)
    status, answer = server.detect(body, **header)
    assert status == 400
    assert message in answer["error"]


@pytest.mark.parametrize("content_type", ["multipart/form-data", f"multipart/form-data; boundary={BOUNDARY}"])
def test_a_form_that_is_none(server, image, content_type):
    status, answer = server.detect(image, Content_Type=content_type)
    assert status == 400
    assert answer["error"].startswith("expected a form with one file")


def test_a_name_of_a_stranger_s_is_shown_not_obeyed(server, image):
    body, header = form(("image", "\u202e\x9b" + "x" * 1000, image))
    status, record = server.detect(body, **header)
    assert status == 200
    assert record["source"].isprintable()
    assert len(record["source"]) <= 200


def test_upright_as_exif_says(server):
    file = BytesIO()
    picture = Image.fromarray(plain(height=30, width=60))
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(file, "JPEG", exif=exif)
    record = server.detect(file.getvalue())[1]
    assert (record["height"], record["width"]) == (60, 30)
    assert server.detect(encoded(plain(height=30, width=60)))[1]["height"] == 30
